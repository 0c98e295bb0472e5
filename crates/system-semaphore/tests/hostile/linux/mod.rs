//! The cases, and how one is run.

mod crowded;
mod full;
mod helper;
mod limits;
mod minimal_environment;
mod planted;
mod scribbled;
mod squatted;
mod standard_descriptors;
mod stopped;
mod syscalls;
mod test_file;
mod users;

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use test_support::robust_file::{effective_uid, remove_files_with};

/// How long a case may take: far more than it ever does.
const LIMIT: Duration = Duration::from_secs(240);

/// The variable that makes this program run one case, with nothing around it.
const CASE: &str = "SYSTEM_SEMAPHORE_HOSTILE_CASE";
/// The variable that makes this program another user's.
const USER: &str = "SYSTEM_SEMAPHORE_HOSTILE_USER";
/// The user that is nobody.
const NOBODY: u32 = 65534;
/// A user that no other case is, so that nobody gives back what it has used up.
const EXCLUSIVE_USER: u32 = 65533;

struct Case {
    name: &'static str,
    environment: Environment,
    run: fn(),
}

/// Where a case runs.
#[derive(Clone, Copy)]
enum Environment {
    Here,
    /// Not as root.
    Ordinary,
    /// With a new `/dev/shm`, mounted with these options.
    SharedMemory(&'static str),
    /// Both.
    OrdinaryWithSharedMemory(&'static str),
    /// The same, with rights that only root can have: to be several users.
    Users(&'static str),
    /// Where there are no inotify instances.
    NoInotify,
    /// Where there are instances, but no watches.
    NoWatches,
}

/// Names functions together with themselves.
macro_rules! cases {
    ($($environment:expr => $module:ident { $($name:ident),* $(,)? })*) => {
        &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            environment: $environment,
            run: $module::$name,
        }),*),*]
    };
}

const CASES: &[Case] = cases![
    Environment::Here => planted {
        short_or_long_file_is_refused,
        random_bytes_are_refused,
        other_magic_or_version_is_refused,
        object_that_is_no_file_is_refused,
        link_is_never_followed,
        other_name_with_same_hash_is_refused,
        users_continue_after_their_file_is_unlinked,
        stale_file_is_replaced,
    }
    Environment::SharedMemory("size=4m") => planted {
        device_is_refused,
        file_of_another_user_is_refused,
    }
    Environment::Ordinary => planted {
        users_continue_after_their_file_loses_its_permissions,
        unreadable_file_is_refused,
    }
    Environment::OrdinaryWithSharedMemory("size=4m") => planted {
        unreadable_directory_is_refused,
    }
    Environment::Here => scribbled {
        any_value_in_any_header_field_is_survived,
        any_value_in_any_slot_field_is_survived,
        file_of_garbage_ends_no_process,
        continuous_random_writes_end_no_process,
        any_bytes_in_header_of_open_file_are_survived,
        slot_with_unfinished_operation_is_reported,
    }
    Environment::SharedMemory("size=4m") => squatted {
        file_instead_of_directory_is_refused,
        link_instead_of_directory_is_refused,
        directory_of_another_user_is_refused,
        directory_open_to_others_is_refused,
        directory_made_and_removed_concurrently_blocks_nobody,
        read_only_file_system_is_named,
    }
    Environment::SharedMemory("size=1m") => full {
        create_fails_cleanly_on_full_file_system,
        open_semaphores_continue_on_full_file_system,
        opener_without_memory_for_its_slot_is_refused,
        dead_holders_beyond_first_page_are_recovered,
        slots_in_file_holes_are_harmless,
    }
    Environment::SharedMemory("size=1m,nr_inodes=12") => full {
        lack_of_inodes_is_an_error,
    }
    Environment::SharedMemory("size=1m") => limits {
        lack_of_descriptors_is_an_error,
    }
    Environment::Here => limits {
        waiter_without_descriptors_sees_deaths,
        waiter_begins_watch_when_descriptors_are_free,
        waiter_with_one_descriptor_sees_deaths,
        waiter_with_two_descriptors_sees_deaths,
        close_without_descriptors_is_harmless,
        small_file_size_limit_is_an_error,
        lack_of_memory_is_an_error,
        lack_of_address_space_for_second_part_is_an_error,
    }
    Environment::Ordinary => limits {
        waiter_without_threads_sees_deaths,
        waiter_without_threads_is_no_watcher,
    }
    Environment::NoInotify => limits {
        waiter_without_inotify_sees_deaths,
        many_waiters_without_inotify_see_deaths,
    }
    Environment::NoWatches => limits {
        waiter_without_inotify_watches_sees_deaths,
    }
    Environment::Here => crowded {
        opener_without_free_slot_is_refused,
        slots_claimed_for_dead_users_are_freed,
        last_slot_of_seemingly_living_user_is_found,
    }
    Environment::Here => stopped {
        stopped_registry_owner_is_named,
        registry_owner_writes_its_pid,
        unknown_registry_owner_is_not_named,
        close_does_not_wait_for_stopped_registry_owner,
        last_user_removes_file_despite_lock_that_is_no_slot,
        stopped_recoverer_is_named,
        reset_does_not_wait_for_stopped_recoverer,
        waiter_gets_permits_after_recoverer_is_killed,
        waiter_gets_permits_after_recoverer_resumes_and_ends,
    }
    Environment::Users("size=4m") => users {
        private_global_name_is_refused_to_other_users,
        shared_global_name_is_shared_by_users,
        stale_file_that_opener_may_not_unlink_starts_afresh,
        removed_file_that_opener_may_not_unlink_starts_afresh,
        same_name_of_two_users_is_two_semaphores,
        unwritable_shared_memory_is_named,
        file_of_another_user_in_own_directory_is_refused,
    }
    Environment::Here => standard_descriptors {
        no_descriptor_takes_the_number_of_a_closed_standard_stream,
        thread_that_prints_to_closed_streams_harms_no_semaphore,
        count_above_the_maximum_is_corrupt_for_its_users,
        inheritable_permit_has_a_number_that_programs_do_not_use,
    }
    Environment::OrdinaryWithSharedMemory("size=4m") => minimal_environment {
        umask_does_not_change_permissions,
    }
    Environment::SharedMemory("size=4m") => minimal_environment {
        empty_environment_is_sufficient,
        tmp_is_used_without_shared_memory,
        create_without_proc_succeeds_or_names_proc,
        open_semaphores_continue_without_proc,
    }
];

pub(crate) fn main() {
    if let Ok(user) = env::var(USER) {
        let user = user.parse().expect("a number");
        syscalls::become_user(user).unwrap_or_else(|error| panic!("cannot become user {user}: {error}"));
    }
    if env::var_os(CASE).is_some() {
        end_with_any_thread();
    }
    test_support::serve();
    helper::serve();
    if let Ok(name) = env::var(CASE) {
        let case = CASES.iter().find(|case| case.name == name).expect("there is such a case");
        case.environment.prepare();
        (case.run)();
        return;
    }
    let arguments = Arguments::from_args();
    // one cannot be several users without root; in CI that is a failure, elsewhere it is shown as ignored
    let lacks_root = effective_uid() != 0 && env::var_os("CI").is_none();
    let trials = CASES.iter().map(|case| {
        let is_ignored = lacks_root && matches!(case.environment, Environment::Users(_));
        Trial::test(case.name, || case.check()).with_ignored_flag(is_ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// A panic in a thread that the library has started ends its process: nobody would see it else.
fn end_with_any_thread() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        if thread::current().name() != Some("main") {
            std::process::abort();
        }
    }));
}

impl Case {
    /// Runs it in a process of its own.
    fn check(&self) -> Result<(), Failed> {
        let mut command = Command::new(env::current_exe()?);
        command.env(CASE, self.name).process_group(0).stdin(Stdio::null()).stderr(Stdio::piped());
        if matches!(self.environment, Environment::Ordinary) && effective_uid() == 0 {
            command.env(USER, NOBODY.to_string());
        }
        let mut child = command.spawn()?;
        let mut stderr = child.stderr.take().expect("it is piped");
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let begin = Instant::now();
        while !syscalls::has_ended(child.id()) && begin.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(2));
        }
        let hangs = !syscalls::has_ended(child.id());
        // with what it has started, which a failure may have left
        syscalls::kill_group(child.id());
        let status = child.wait()?;
        let text = reader.join().expect("it does not panic");
        remove_files_with(&test_file::prefix(child.id()));
        match status.success() {
            true => Ok(()),
            false if hangs => Err(format!("hung for {LIMIT:?}\n{text}").into()),
            false => Err(format!("{status}\n{text}").into()),
        }
    }
}

impl Environment {
    fn prepare(self) {
        match self {
            Self::Here => {}
            Self::Ordinary => assert_ne!(effective_uid(), 0, "this is no ordinary user"),
            Self::SharedMemory(options) => new_shared_memory(options),
            Self::OrdinaryWithSharedMemory(options) => {
                let is_root = effective_uid() == 0;
                new_shared_memory(options);
                let dropped =
                    if is_root { syscalls::become_user(NOBODY) } else { syscalls::drop_capabilities() };
                dropped.expect("rights can be given up");
            }
            Self::Users(options) => {
                assert!(
                    effective_uid() == 0,
                    "this case needs several users: run it as root, with the right to become another user and to \
                     mount (CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_SYS_ADMIN)"
                );
                new_shared_memory(options);
            }
            Self::NoInotify => no_inotify(),
            Self::NoWatches => {
                let entered = syscalls::enter_user_namespace();
                entered.expect("this case needs the right to make a user namespace");
                forbid("max_inotify_watches");
            }
        }
    }
}

fn new_shared_memory(options: &str) {
    syscalls::enter_mount_namespace().unwrap_or_else(|error| {
        panic!(
            "this case needs a mount namespace of its own: run it as root with CAP_SYS_ADMIN, or where users may make \
             user namespaces (see user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns): {error}"
        )
    });
    let options = format!("mode=1777,{options}");
    syscalls::mount_tmpfs(Path::new("/dev/shm"), &options).expect("who has a mount namespace may mount");
}

/// Lets this user namespace have none of something.
fn forbid(what: &str) {
    fs::write(format!("/proc/sys/user/{what}"), "0").expect("its maker may limit the namespace");
}

fn no_inotify() {
    if syscalls::enter_user_namespace().is_ok() {
        forbid("max_inotify_instances");
    } else {
        syscalls::become_user(EXCLUSIVE_USER).unwrap_or_else(|error| {
            panic!(
                "this case needs a user of whom it may use up the inotify instances: run it as root, or where users \
                 may make user namespaces: {error}"
            )
        });
        // they are gone with this process
        while let Ok(instance) = syscalls::inotify_instance() {
            std::mem::forget(instance);
        }
    }
    syscalls::inotify_instance().expect_err("there are none left");
}
