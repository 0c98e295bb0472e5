//! What was done to whom, in figures.

use std::collections::BTreeMap;
use std::fmt;

use crate::shared_state::Stage;

/// What a process was about when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Situation {
    Recovering,
    At(Stage),
}

impl Situation {
    fn words(self) -> &'static str {
        match self {
            Self::Recovering => "giving back what a dead one held",
            Self::At(Stage::Absent | Stage::Starting | Stage::Idle) => "between two operations",
            Self::At(Stage::Asking) => "asking, or looking for dead ones",
            Self::At(Stage::Acquiring) => "acquiring",
            Self::At(Stage::Asleep) => "asleep, or about to sleep or take what it was woken for",
            Self::At(Stage::Holding) => "holding",
            Self::At(Stage::GivingBack) => "giving back",
            Self::At(Stage::Hammering) => "taking and giving back without a pause",
            Self::At(Stage::Forking) => "forking",
            Self::At(Stage::Becoming) => "becoming another program",
            Self::At(Stage::Closing) => "closing",
            Self::At(Stage::Opening) => "opening",
            Self::At(Stage::Minting) => "creating or forgetting",
            Self::At(Stage::Resetting) => "resetting",
        }
    }
}

#[derive(Default)]
pub(crate) struct Statistics {
    pub(crate) kills: u64,
    situations: BTreeMap<&'static str, u64>,
    pub(crate) held_permits: u64,
    pub(crate) stopped: u64,
    pub(crate) children: u64,
    pub(crate) stops: u64,
    pub(crate) frozen: u64,
    pub(crate) quiet: u64,
    pub(crate) quiet_with_doubt: u64,
    pub(crate) through: u64,
    pub(crate) queues: u64,
    pub(crate) late_queues: u64,
    pub(crate) rounds: BTreeMap<String, u64>,
}

impl Statistics {
    pub(crate) fn count(&mut self, situation: Situation) {
        self.kills += 1;
        *self.situations.entry(situation.words()).or_default() += 1;
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, held_permits, stopped, children, stops, frozen, .. } = self;
        let Self { quiet, quiet_with_doubt, through, queues, late_queues, .. } = self;
        writeln!(f, "{kills} kills of processes that were")?;
        let mut situations: Vec<_> = self.situations.iter().collect();
        situations.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (words, count) in situations {
            writeln!(f, "{count:8} {words}")?;
        }
        writeln!(
            f,
            "of them {held_permits} held permits, {stopped} were stopped, {children} were forked children"
        )?;
        writeln!(
            f,
            "{stops} stops besides; {frozen} times all were stopped at once and what they held was added up"
        )?;
        writeln!(
            f,
            "{through} waiters of {queues} queues got through; in {late_queues} some only when they looked for themselves"
        )?;
        let rounds: Vec<String> =
            self.rounds.iter().map(|(scene, count)| format!("{count} {scene}")).collect();
        writeln!(f, "rounds: {}", rounds.join(", "))?;
        writeln!(
            f,
            "{quiet} quiet points; before {quiet_with_doubt} of them somebody was killed while it created or forgot"
        )
    }
}
