//! What every type of semaphore must do, written once and run for each.
//!
//! A case is a function that takes a [`Subject`]: a type of semaphore and a private place for names. Where a type
//! cannot do something, the case checks that it says so. Other processes are this program again, as puppets.

mod acquiring;
mod deaths;
mod keys;
mod lifetime;
mod owning;
mod posix;
mod several_processes;
mod subject;
mod system_v;

use libtest_mimic::{Arguments, Trial};
use subject::Subject;
use system_semaphore::KeyType;

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
    acquiring::more_than_there_can_be_is_refused,
    acquiring::several_are_taken_all_or_none,
    acquiring::trying_takes_nothing_when_there_is_too_little,
    acquiring::a_timeout_passes_and_takes_nothing,
    acquiring::a_deadline_in_the_past_still_takes_what_is_free,
    acquiring::a_wait_with_a_deadline_ends_when_a_permit_comes,
    acquiring::a_wait_can_be_ended_from_outside,
    acquiring::a_waiting_thread_is_woken_by_another,
    owning::dropping_gives_back_and_so_does_release,
    owning::forgotten_permits_stay_taken,
    owning::held_permits_stay_until_released_through_any_handle,
    owning::what_is_held_after_a_reset_is_known_after_the_last_handle,
    owning::releasing_more_than_is_held_creates,
    owning::adding_never_discharges_what_is_held,
    owning::guards_split_and_merge,
    owning::guards_of_two_semaphores_do_not_merge,
    owning::a_permit_can_be_given_back_by_another_thread,
    owning::an_owned_permit_keeps_the_semaphore_open,
    owning::held_permits_can_be_forgotten,
    owning::releasing_too_many_changes_nothing,
    owning::giving_back_to_a_full_count_fills_it_up,
    lifetime::modes_do_what_they_say,
    lifetime::the_last_handle_of_the_maker_removes_it,
    lifetime::who_did_not_make_it_removes_nothing,
    lifetime::a_persistent_one_stays_until_removed,
    lifetime::setting_the_key_of_one_clone_leaves_the_others,
    lifetime::what_cannot_be_set_changes_nothing,
    lifetime::a_maximum_of_its_own_is_refused,
    lifetime::a_forked_child_owns_nothing,
    lifetime::users_come_and_go_at_once_without_hanging,
    keys::bad_keys_are_refused_by_name,
    keys::a_key_of_another_type_than_asked_for_is_refused,
    keys::a_plain_name_is_qts_legacy_key,
    keys::too_large_an_initial_value_harms_nobody,
    deaths::a_killed_holders_permits_come_back_where_promised,
    deaths::a_waiter_wakes_when_the_holder_is_killed_where_promised,
    deaths::an_exit_is_a_death,
    deaths::what_was_created_stays_when_its_creator_dies,
    deaths::what_a_killed_maker_made_stays_as_it_was,
    deaths::what_was_forgotten_stays_taken_when_its_taker_dies,
    deaths::a_killed_waiter_takes_nothing_along,
    deaths::a_producer_that_has_gone_leaves_its_posts,
    several_processes::never_more_than_three_at_once,
    several_processes::the_same_test_at_four_sees_four,
    several_processes::a_hundred_thousand_items_pass,
];

/// For System V alone: what only it has, or can be seen from outside.
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
const POSIX_CASES: &[Case] = cases![
    posix::create_makes_a_new_one_and_leaves_the_old_to_its_users,
    posix::a_newer_one_of_the_same_name_is_not_removed,
    posix::a_file_that_is_no_semaphore_is_refused,
];

/// For the crash-safe engine alone.
const ROBUST_CASES: &[Case] = cases![];

fn main() {
    puppet::serve();
    let arguments = Arguments::from_args();
    let before = subject::sets_of_this_run();
    let mut trials = Vec::new();
    for (key_type, label, cases) in [
        (subject::system_v(), "system_v", [CASES, SYSTEM_V_CASES]),
        (KeyType::Posix, "posix", [CASES, POSIX_CASES]),
        (KeyType::Robust, "robust", [CASES, ROBUST_CASES]),
    ] {
        for (name, case) in cases.into_iter().flatten() {
            trials.push(Trial::test(format!("{label}::{name}"), move || {
                Subject::check(key_type, name, *case);
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left: Vec<String> = subject::sets_of_this_run().difference(&before).cloned().collect();
    if !left.is_empty() {
        eprintln!("left behind by this run, see `ipcs -s`: {left:?}");
        std::process::exit(101);
    }
    conclusion.exit()
}
