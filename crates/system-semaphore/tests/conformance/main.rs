//! What every type of semaphore must do, written once and run for each.
//!
//! A case is a function that takes a [`Subject`]: a type of semaphore and a private place for names. Where a type
//! cannot do something, the case checks that it says so. Other processes are this program again, as puppets.

#![cfg_attr(windows, allow(dead_code, unused_imports, reason = "what some of Unix's cases need"))]

mod acquiring;
mod deaths;
mod keys;
mod lifetime;
#[cfg(unix)]
mod observing;
mod owning;
#[cfg(unix)]
mod posix;
#[cfg(unix)]
mod robust;
mod several_processes;
#[cfg(unix)]
mod system_v;
mod tested_type;
#[cfg(windows)]
mod windows;

use libtest_mimic::{Arguments, Trial};
use system_semaphore::KeyType;
use tested_type::Subject;

type Case = (&'static str, fn(&Subject));

/// Names functions together with themselves.
macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn(&Subject))),*]
    };
}

/// For every type.
const CASES: &[Case] = cases![
    acquiring::the_example_of_the_documentation_counts_as_it_says,
    acquiring::none_at_all_come_at_once,
    acquiring::what_is_tried_at_once_is_done_or_not,
    acquiring::more_than_there_can_be_is_refused,
    acquiring::several_are_taken_all_or_none,
    acquiring::trying_takes_nothing_when_there_is_too_little,
    acquiring::a_timeout_passes_and_takes_nothing,
    acquiring::a_deadline_in_the_past_still_takes_what_is_free,
    acquiring::a_wait_with_a_deadline_ends_when_a_permit_comes,
    acquiring::a_waiting_thread_is_woken_by_another,
    owning::dropping_gives_back_and_so_does_release,
    owning::forgotten_permits_stay_taken,
    owning::held_permits_stay_until_released_through_any_handle,
    owning::releasing_more_than_is_held_creates,
    owning::adding_never_discharges_what_is_held,
    owning::guards_split_and_merge,
    owning::guards_of_two_semaphores_do_not_merge,
    owning::a_permit_can_be_given_back_by_another_thread,
    owning::an_owned_permit_keeps_the_semaphore_open,
    owning::held_permits_can_be_forgotten,
    lifetime::the_last_handle_of_the_maker_removes_it,
    lifetime::who_did_not_make_it_removes_nothing,
    lifetime::setting_the_key_of_one_clone_leaves_the_others,
    lifetime::users_come_and_go_at_once_without_hanging,
    keys::a_plain_name_is_qts_legacy_key,
    keys::too_large_an_initial_value_harms_nobody,
    deaths::a_killed_holders_permits_come_back_where_promised,
    deaths::a_waiter_wakes_when_the_holder_is_killed_where_promised,
    deaths::an_exit_is_a_death,
    deaths::what_was_created_stays_when_its_creator_dies,
    deaths::what_was_forgotten_stays_taken_when_its_taker_dies,
    deaths::a_killed_waiter_takes_nothing_along,
    deaths::a_producer_that_has_gone_leaves_its_posts,
    several_processes::never_more_than_three_at_once,
    several_processes::the_same_test_at_four_sees_four,
    several_processes::a_hundred_thousand_items_pass,
];

/// For every type of Unix's: what is about forks, signals, counts that are set or full, semaphores that stay, and looking from
/// outside.
#[cfg(unix)]
const UNIX_CASES: &[Case] = cases![
    acquiring::a_wait_can_be_ended_from_outside,
    owning::what_is_held_after_a_reset_is_known_after_the_last_handle,
    owning::releasing_too_many_changes_nothing,
    owning::giving_back_to_a_full_count_fills_it_up,
    lifetime::modes_do_what_they_say,
    lifetime::a_persistent_one_stays_until_removed,
    lifetime::what_cannot_be_set_changes_nothing,
    lifetime::a_maximum_of_its_own_is_kept_or_refused,
    lifetime::a_forked_child_owns_nothing,
    keys::bad_keys_are_refused_by_name,
    keys::a_key_of_another_type_than_asked_for_is_refused,
    deaths::what_a_killed_maker_made_stays_or_ends_as_promised,
    observing::who_looks_sees_what_users_see,
    observing::who_looks_learns_that_it_is_gone,
    observing::what_there_is_is_listed,
];

/// For System V alone: what only it has, or can be seen from outside.
#[cfg(unix)]
const SYSTEM_V_CASES: &[Case] = cases![
    system_v::large_numbers_are_refused_not_cut,
    system_v::forgetting_works_at_both_ends_of_the_count,
    system_v::a_reset_wakes_waiters_and_voids_what_is_owed,
    system_v::a_thread_woken_by_its_own_process_s_reset_owns_its_permit,
    system_v::a_removed_semaphore_says_so,
    system_v::a_waiter_learns_of_the_removal,
    system_v::files_that_are_not_ours_stay,
    system_v::a_key_file_that_was_replaced_stays,
    system_v::a_maker_at_work_is_waited_for,
    system_v::create_waits_for_a_maker_at_work_too,
    system_v::a_left_key_file_can_be_removed,
    system_v::a_semaphore_that_is_not_removed_can_be_found,
    system_v::neighbours_with_reused_file_numbers_stay_apart,
    system_v::a_zero_that_was_set_is_not_waited_for,
    system_v::others_clearing_the_debt_again_and_again_does_no_harm,
    system_v::a_dangling_link_and_a_missing_directory_are_named,
    system_v::who_waits_and_who_was_last_is_told,
];

/// For POSIX alone.
#[cfg(unix)]
const POSIX_CASES: &[Case] = cases![
    posix::create_makes_a_new_one_and_leaves_the_old_to_its_users,
    posix::a_newer_one_of_the_same_name_is_not_removed,
    posix::a_file_that_is_no_semaphore_is_refused,
];

/// For the crash-safe engine alone.
#[cfg(unix)]
const ROBUST_CASES: &[Case] = cases![
    observing::what_the_dead_hold_is_seen_and_left_alone,
    observing::looking_wakes_nobody,
    observing::awkward_names_are_listed_as_they_are,
    robust::who_waits_sleeps,
    robust::who_looks_wakes_one_process_at_most,
    robust::who_holds_how_many_since_when_is_told,
    robust::who_waits_is_counted_by_threads,
    robust::recoveries_count_the_dead_that_held_something,
    robust::any_text_is_a_name_and_different_ones_never_meet,
    robust::local_is_the_user_s_own_and_global_is_not,
    robust::the_file_s_mode_is_what_was_asked_for,
    robust::neither_environment_nor_umask_matters,
    robust::another_user_meets_it_where_it_is_global_and_allowed,
    robust::the_last_user_takes_the_file_along_whoever_made_it,
    robust::one_that_is_held_at_the_end_is_no_longer_there,
    robust::a_leaked_guard_outlives_the_last_handle,
    robust::a_persistent_one_outlives_a_kill_and_a_close_of_its_last_user,
    robust::another_s_file_is_never_removed,
    robust::users_and_waiters_learn_of_a_removal,
    robust::one_that_is_not_removed_can_be_found,
    robust::a_process_can_open_one_twice_and_two_at_once,
    robust::a_release_wakes_at_once,
    robust::a_reset_wakes_at_once,
    robust::one_death_wakes_many_at_once,
    robust::a_removal_wakes_at_once,
    robust::a_death_itself_wakes_a_waiter,
    robust::the_watcher_may_die_with_the_holder,
    robust::a_death_wakes_a_thread_of_a_third_process,
    robust::whoever_comes_next_finds_what_the_dead_held,
    robust::a_death_among_many_is_seen_at_once,
    robust::a_dead_holder_may_have_had_threads,
    robust::held_forgotten_split_and_merged_permits_die_right,
    robust::a_dead_holder_may_leave_children,
    robust::many_may_die_and_many_wait,
    robust::whom_a_permit_wakes_may_be_killed_at_once,
    robust::a_death_at_any_moment_loses_nothing,
    robust::a_hundred_processes_can_use_it,
    robust::a_child_whose_parent_has_left_opens_it_anew,
    robust::a_child_whose_parent_has_left_finds_what_others_use,
    robust::a_child_can_wait_for_a_death_itself,
    robust::a_child_inherits_no_watch,
    robust::a_child_of_a_process_with_many_keeps_nothing,
    robust::a_fork_in_the_midst_of_an_open_keeps_nothing,
    robust::permits_end_when_another_program_is_executed,
    robust::inheritable_permits_follow_the_program,
    robust::inheritable_permits_stay_until_the_last_that_has_them_goes,
    robust::an_inheritable_permit_keeps_the_semaphore,
    robust::closing_foreign_descriptors_gives_nothing_away,
    robust::a_reset_feeds_waiters_and_voids_what_was_taken,
    robust::who_dies_after_a_reset_gives_nothing_back,
    robust::a_thread_woken_by_its_own_process_s_reset_owns_its_permit,
    robust::void_permits_and_new_ones_are_kept_apart,
    robust::a_reset_to_nothing_leaves_waiters_waiting,
    robust::uncontended_pairs_make_no_system_call,
    robust::a_pair_that_wakes_makes_a_system_call,
    robust::a_semaphore_costs_two_descriptors_and_three_pages,
    robust::a_thread_is_there_only_while_somebody_sleeps_for_long,
    robust::a_stopped_process_is_in_nobody_s_way,
    robust::a_waiter_does_not_starve,
    robust::a_stopped_waiter_keeps_nothing_from_the_others,
    robust::with_any_one_stopped_at_any_moment_the_others_go_on,
    robust::visitors_that_are_killed_leave_nothing,
    robust::there_are_never_two_of_one_name,
    robust::threads_may_open_and_close_at_once,
    robust::deaths_stops_and_threads_at_random_lose_nothing,
    robust::deaths_and_resets_at_random_lose_nothing,
];

/// For Windows alone.
#[cfg(windows)]
const WINDOWS_CASES: &[Case] = cases![
    windows::what_there_is_no_way_to_do_is_refused,
    windows::bad_keys_are_refused_by_name,
    windows::a_name_is_this_session_s_unless_it_says_otherwise,
    windows::a_name_that_belongs_to_something_else_is_refused,
    windows::create_leaves_one_in_use_alone,
    windows::a_maximum_is_kept,
    windows::the_maximum_is_its_maker_s,
    windows::a_stranger_shares_it,
    windows::names_are_told_apart_to_the_last_unit,
    windows::holders_that_die_empty_it,
    windows::giving_back_to_a_full_count_fills_it_up,
    windows::a_hook_is_asked_while_it_waits,
    windows::a_panic_gives_permits_back,
    windows::one_that_its_last_user_took_along_starts_afresh,
];

/// Each type of semaphore with its cases.
#[cfg(unix)]
fn suites() -> Vec<(KeyType, &'static str, Vec<&'static [Case]>)> {
    vec![
        // the slowest case first
        (KeyType::Robust, "robust", vec![ROBUST_CASES, CASES, UNIX_CASES]),
        (tested_type::system_v(), "system_v", vec![CASES, UNIX_CASES, SYSTEM_V_CASES]),
        (KeyType::Posix, "posix", vec![CASES, UNIX_CASES, POSIX_CASES]),
    ]
}

#[cfg(windows)]
fn suites() -> Vec<(KeyType, &'static str, Vec<&'static [Case]>)> {
    vec![(KeyType::Windows, "windows", vec![CASES, WINDOWS_CASES])]
}

fn main() {
    test_support::serve();
    let arguments = Arguments::from_args();
    #[cfg(unix)]
    let before = tested_type::sets_of_this_run();
    let mut trials = Vec::new();
    for (key_type, label, cases) in suites() {
        for (name, case) in cases.into_iter().flatten() {
            trials.push(Trial::test(format!("{label}::{name}"), move || {
                Subject::check(key_type, name, *case);
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    #[cfg(unix)]
    assert_nothing_is_left(&before);
    conclusion.exit()
}

#[cfg(unix)]
fn assert_nothing_is_left(before: &std::collections::BTreeSet<String>) {
    let left: Vec<String> = tested_type::sets_of_this_run().difference(before).cloned().collect();
    if !left.is_empty() {
        eprintln!("left behind by this run, see `ipcs -s`: {left:?}");
        std::process::exit(101);
    }
    let left = tested_type::files_of_this_run();
    if !left.is_empty() {
        eprintln!("left behind by this run: {left:?}");
        std::process::exit(101);
    }
}
