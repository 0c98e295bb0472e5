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
const LONER: u32 = 65533;

struct Case {
    name: &'static str,
    stage: Stage,
    run: fn(),
}

/// Where a case runs.
#[derive(Clone, Copy)]
enum Stage {
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
    ($($stage:expr => $module:ident { $($name:ident),* $(,)? })*) => {
        &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            stage: $stage,
            run: $module::$name,
        }),*),*]
    };
}

const CASES: &[Case] = cases![
    Stage::Here => planted {
        a_short_or_long_file_is_refused,
        random_bytes_are_refused,
        another_magic_or_version_is_refused,
        what_is_no_file_is_refused,
        a_link_is_never_followed,
        another_name_with_the_same_hash_is_refused,
        a_file_that_was_taken_away_leaves_its_users,
        a_leftover_is_no_trouble,
    }
    Stage::SharedMemory("size=4m") => planted {
        a_device_is_refused,
        what_belongs_to_somebody_else_is_refused,
    }
    Stage::Ordinary => planted {
        a_lock_of_permissions_under_its_users_is_no_trouble,
        what_may_not_be_read_is_refused,
    }
    Stage::OrdinaryWithSharedMemory("size=4m") => planted {
        a_directory_that_may_not_be_entered_is_refused,
    }
    Stage::Here => scribbled {
        every_field_can_be_anything,
        every_field_of_a_slot_can_be_anything,
        a_file_of_garbage_ends_no_process,
        random_bytes_all_the_time_end_no_process,
        the_head_can_be_anything_under_its_users,
        what_seems_unfinished_is_told,
    }
    Stage::SharedMemory("size=4m") => squatted {
        a_file_in_the_place_of_the_directory_is_refused,
        a_link_in_the_place_of_the_directory_is_refused,
        a_directory_of_somebody_else_is_refused,
        a_directory_open_to_others_is_refused,
        a_directory_that_comes_and_goes_is_in_nobodys_way,
        a_place_that_is_read_only_is_named,
    }
    Stage::SharedMemory("size=1m") => full {
        nothing_is_made_where_nothing_fits,
        what_is_there_goes_on,
        a_process_too_many_for_the_memory_is_refused,
        the_dead_beyond_the_first_page_give_back,
        slots_that_are_not_there_do_no_harm,
    }
    Stage::SharedMemory("size=1m,nr_inodes=12") => full {
        no_inodes_are_no_room,
    }
    Stage::SharedMemory("size=1m") => limits {
        no_descriptors_are_an_error,
    }
    Stage::Here => limits {
        who_waits_without_descriptors_sees_deaths,
        who_waits_begins_to_be_told_when_it_can,
        who_waits_with_one_descriptor_sees_deaths,
        who_waits_with_two_descriptors_sees_deaths,
        a_close_without_descriptors_hurts_nobody,
        a_small_limit_of_file_sizes_is_an_error,
        no_memory_is_an_error,
        no_room_for_a_part_is_an_error,
    }
    Stage::Ordinary => limits {
        who_waits_without_threads_sees_deaths,
        who_has_waited_without_threads_is_no_watcher,
    }
    Stage::NoInotify => limits {
        who_waits_without_inotify_sees_deaths,
        a_crowd_without_inotify_sees_deaths,
    }
    Stage::NoWatches => limits {
        who_waits_without_watches_sees_deaths,
    }
    Stage::Here => crowded {
        one_process_too_many_is_refused,
        claimed_slots_of_the_dead_are_freed,
        the_last_place_of_one_who_seems_to_live_is_found,
    }
    Stage::Here => stopped {
        a_stopped_registrar_is_named,
        a_registrar_says_who_it_is,
        who_is_not_known_is_not_named,
        a_close_does_not_wait_for_a_stopped_registrar,
        the_last_user_removes_the_file_whoever_has_another_lock,
        a_stopped_recoverer_is_named,
        a_reset_does_not_wait_for_a_stopped_recoverer,
        who_waits_gets_what_a_killed_recoverer_leaves,
        who_waits_gets_what_a_recoverer_leaves_that_goes_on_and_ends,
    }
    Stage::Users("size=4m") => users {
        a_private_global_name_is_refused_to_others,
        a_shared_global_name_is_shared,
        a_leftover_that_others_may_not_unlink_starts_afresh,
        a_removed_one_that_others_may_not_unlink_starts_afresh,
        names_of_two_users_are_two,
        where_nothing_may_be_made_it_is_said,
        a_file_in_the_users_directory_may_not_be_a_strangers,
    }
    Stage::Here => standard_descriptors {
        no_descriptor_takes_the_number_of_a_closed_standard_stream,
        thread_that_prints_to_closed_streams_harms_no_semaphore,
        count_above_the_maximum_is_corrupt_for_its_users,
        inheritable_permit_has_a_number_that_programs_do_not_use,
    }
    Stage::OrdinaryWithSharedMemory("size=4m") => minimal_environment {
        permissions_are_what_was_said_whatever_the_umask,
    }
    Stage::SharedMemory("size=4m") => minimal_environment {
        no_environment_is_needed,
        without_shared_memory_there_is_another_place,
        without_proc_a_new_one_is_made_or_it_is_said_why_not,
        without_proc_what_is_there_goes_on,
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
        case.stage.prepare();
        (case.run)();
        return;
    }
    let arguments = Arguments::from_args();
    // one cannot be several users without root; in CI that is a failure, elsewhere it is shown as ignored
    let lacks_root = effective_uid() != 0 && env::var_os("CI").is_none();
    let trials = CASES.iter().map(|case| {
        let is_ignored = lacks_root && matches!(case.stage, Stage::Users(_));
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
        if matches!(self.stage, Stage::Ordinary) && effective_uid() == 0 {
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

impl Stage {
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
        syscalls::become_user(LONER).unwrap_or_else(|error| {
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
