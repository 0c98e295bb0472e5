//! Tests `run`.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use test_support::{process, wait_until};

use crate::harness::{Fixture, INOTIFY, Process, output, read_pid, text};

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(pid, signal).expect("the process is alive");
}

#[test]
fn run_becomes_the_command() {
    let fixture = Fixture::new();
    let child = Process::start(&mut fixture.run(&[], "echo $$; exit 7"));
    let pid = child.id();
    let output = child.wait_with_output();
    assert_eq!((code(&output), text(&output.stdout)), (Some(7), format!("{pid}\n")));
    assert_eq!(text(&output.stderr), "");
    for mode in [&[][..], &["--fork"], &["--close"]] {
        let output = output_of(&fixture, mode, "kill -TERM $$; read never");
        assert_eq!(output.status.signal(), Some(15), "{mode:?}");
        assert_eq!(code(&output_of(&fixture, mode, "exit 9")), Some(9), "{mode:?}");
    }
}

fn output_of(fixture: &Fixture, arguments: &[&str], script: &str) -> Output {
    output(&mut fixture.run(arguments, script))
}

#[test]
fn signals_reach_the_command() {
    for mode in [&[][..], &["--fork"], &["--close"]] {
        let fixture = Fixture::new();
        // The script must not block: a shell handles a signal that arrives just before a `read`
        // only after that read.
        let script = "trap 'echo $$ > seen' USR2; trap 'echo usr1; exit 3' USR1; echo $$ > up; \
                      while [ -e up ]; do :; done";
        let run = Process::start(&mut fixture.run(mode, script));
        let command = read_pid(&fixture, "up");
        assert_eq!(command == run.id(), mode.is_empty());
        send(run.id(), Signal::USR2);
        // The shell may handle two pending signals in either order, so the second waits for the
        // first.
        assert_eq!(read_pid(&fixture, "seen"), command);
        send(run.id(), Signal::USR1);
        let output = run.wait_with_output();
        assert_eq!((code(&output), text(&output.stdout)), (Some(3), "usr1\n".to_owned()), "{mode:?}");
    }
}

#[test]
fn child_of_killed_command_keeps_its_permit() {
    let fixture = Fixture::new();
    let mut gate = fixture.gate("gate");
    let script = "sh -c 'echo $$ > child; read x < gate' & read never < never";
    let _never = fixture.gate("never");
    let mut run = Process::start(&mut fixture.run(&[], script));
    let child = read_pid(&fixture, "child");
    fixture.wait_until_held(1);
    run.kill();
    assert!(!process::is_gone(child));
    assert_eq!(fixture.held(), 1, "the child still holds the permit");
    assert_eq!(code(&output_of(&fixture, &["-n"], "exit 0")), Some(1));
    let next = Process::start(&mut fixture.run(&[], "echo mine"));
    fixture.wait_until_waiting(1);
    gate.admit(1);
    assert_eq!(text(&next.wait_with_output().stdout), "mine\n");
}

#[test]
fn killed_command_returns_its_permit() {
    let fixture = Fixture::new();
    let _never = fixture.gate("never");
    let mut run = Process::start(&mut fixture.run(&[], "read never < never"));
    fixture.wait_until_held(1);
    let next = Process::start(&mut fixture.run(&[], "echo mine"));
    fixture.wait_until_waiting(1);
    run.kill();
    assert_eq!(text(&next.wait_with_output().stdout), "mine\n");
}

#[test]
fn two_hundred_jobs_share_three_permits() {
    let _lock = INOTIFY.lock();
    let fixture = Fixture::new();
    let mut gate = fixture.gate("gate");
    // Each append is atomic, so the order of the lines is the order of the events.
    let script = "echo + >> log; read x < gate; echo - >> log";
    let jobs: Vec<Process> =
        (0..200).map(|_| Process::start(&mut fixture.run(&["-p", "3"], script))).collect();
    fixture.wait_until_waiting(197);
    let log = || fs::read_to_string(fixture.path("log")).unwrap_or_default();
    wait_until("three jobs hold a permit", || log().lines().count() == 3);
    gate.admit(200);
    for job in jobs {
        let output = job.wait_with_output();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let log = log();
    let mut holders = 0;
    let counts = log.lines().map(|line| {
        holders += if line == "+" { 1 } else { -1 };
        holders
    });
    assert_eq!((counts.max(), log.lines().count()), (Some(3), 400));
}

#[test]
fn several_permits_are_acquired_all_or_none() {
    let fixture = Fixture::new();
    let _never = fixture.gate("never");
    let _two = Process::start(&mut fixture.run(&["-p", "3", "--count", "2"], "read never < never"));
    fixture.wait_until_held(2);
    assert_eq!(code(&output_of(&fixture, &["-p", "3", "-n", "--count", "2"], "exit 0")), Some(1));
    assert_eq!(code(&output_of(&fixture, &["-p", "3", "-n"], "exit 0")), Some(0));
}

#[test]
fn busy_semaphore_sets_the_exit_status() {
    let fixture = Fixture::new();
    let _never = fixture.gate("never");
    let _holder = Process::start(&mut fixture.run(&[], "read never < never"));
    fixture.wait_until_held(1);
    for (arguments, status) in [
        (&["-n"][..], 1),
        (&["-w", "0.02"], 1),
        (&["-w", "0"], 1),
        (&["-nE", "77"], 77),
        (&["-w0.01", "-E", "0"], 0),
    ] {
        for mode in [&[][..], &["--fork"], &["--close"]] {
            let output = output_of(&fixture, &[arguments, mode].concat(), "echo ran");
            assert_eq!(
                (code(&output), text(&output.stdout)),
                (Some(status), String::new()),
                "{arguments:?} {mode:?}"
            );
            assert_eq!(text(&output.stderr), "");
        }
    }
}

#[test]
fn wait_with_timeout_ends_when_a_permit_returns() {
    let fixture = Fixture::new();
    let mut gate = fixture.gate("gate");
    let _holder = Process::start(&mut fixture.run(&[], "read x < gate"));
    fixture.wait_until_held(1);
    let next = Process::start(&mut fixture.run(&["-w", "60"], "exit 5"));
    fixture.wait_until_waiting(1);
    gate.admit(1);
    assert_eq!(code(&next.wait_with_output()), Some(5));
}

#[test]
fn missing_and_unexecutable_commands_have_own_exit_statuses() {
    let fixture = Fixture::new();
    for mode in [&[][..], &["--fork"], &["--close"]] {
        let run = |command: &str| output(fixture.syssem("run").args(mode).args(["--", command]));
        let missing = run("no-such-command-anywhere");
        assert_eq!(code(&missing), Some(127));
        assert!(text(&missing.stderr).contains("no-such-command-anywhere"));
        fs::write(fixture.path("script"), "not executable").expect("the directory is writable");
        assert_eq!(code(&run(fixture.path("script").to_str().expect("the path is UTF-8"))), Some(126));
        assert_eq!(fixture.held(), 0, "the permit has returned");
    }
}

#[test]
fn wrong_usage_exits_with_125() {
    let fixture = Fixture::new();
    let cases: [&[&str]; 8] = [
        &["run"],
        &["run", &fixture.key],
        &["run", &fixture.key, "-n", "-w", "1", "--", "true"],
        &["run", &fixture.key, "-w", "-1", "--", "true"],
        &["run", &fixture.key, "-w", "soon", "--", "true"],
        &["run", &fixture.key, "-t", "carrier-pigeon", "--", "true"],
        &["no-such-command"],
        &["run", "systemv-999:/x", "--", "true"],
    ];
    for arguments in cases {
        let output = output(Command::new(env!("CARGO_BIN_EXE_syssem")).args(arguments));
        assert_eq!(code(&output), Some(125), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn count_above_the_maximum_fails_immediately() {
    let fixture = Fixture::new();
    let output = output_of(&fixture, &["--count", "4000000000"], "exit 0");
    assert_eq!(code(&output), Some(125));
    assert!(text(&output.stderr).contains(&fixture.key), "{}", text(&output.stderr));
}

#[test]
fn run_warns_of_another_limit() {
    let fixture = Fixture::new();
    let _never = fixture.gate("never");
    let _holder = Process::start(&mut fixture.run(&["-p", "3"], "read never < never"));
    fixture.wait_until_held(1);
    assert_eq!(text(&output_of(&fixture, &["-p", "3"], "exit 0").stderr), "");
    for arguments in [&["-p", "2"][..], &[]] {
        let warning = text(&output_of(&fixture, arguments, "exit 0").stderr);
        assert!(warning.contains("3 permits") && warning.contains(&fixture.key), "{warning}");
    }
    let set = output_of(&fixture, &["-p", "2", "--create"], "exit 0");
    assert_eq!((code(&set), text(&set.stderr)), (Some(0), String::new()));
    assert_eq!(fixture.snapshot().and_then(|snapshot| snapshot.initial_value), Some(2));
}

/// Closes all descriptors except the standard ones, as sudo and Python's `subprocess` do.
///
/// Only bash, among common shells, can close descriptors above 9.
const CLOSE_ALL: &str = r#"for fd in /proc/$$/fd/*; do
    fd=${fd##*/}
    [ "$fd" -le 2 ] || eval "exec $fd>&-"
done
"#;

#[test]
fn fork_and_close_keep_permits_of_a_command_that_closes_descriptors() {
    for (mode, held) in [(&[][..], 0), (&["--fork"], 1), (&["--close"], 1)] {
        let fixture = Fixture::new();
        let mut gate = fixture.gate("gate");
        let script = format!("{CLOSE_ALL} echo $$ > up; read x < gate");
        let mut command = fixture.run(mode, "exec bash -c \"$SCRIPT\"");
        let run = Process::start(command.env("SCRIPT", script));
        read_pid(&fixture, "up");
        assert_eq!(fixture.held(), held, "{mode:?}");
        gate.admit(1);
        assert!(run.wait_with_output().status.success());
        fixture.wait_until_held(0);
    }
}

#[test]
fn child_that_outlives_the_command_holds_its_permit_except_with_close() {
    for (mode, held) in [(&[][..], 1), (&["--fork"], 1), (&["--close"], 0)] {
        let fixture = Fixture::new();
        let mut gate = fixture.gate("gate");
        let script = "sh -c 'echo $$ > child; read x < gate' > /dev/null 2>&1 & exit 0";
        let run = Process::start(&mut fixture.run(mode, script));
        let child = read_pid(&fixture, "child");
        assert!(run.wait_with_output().status.success());
        assert_eq!(fixture.held(), held, "{mode:?}");
        gate.admit(1);
        wait_until("the child ends", || process::is_gone(child));
        fixture.wait_until_held(0);
    }
}

#[test]
fn verbose_run_prints_holders_and_wait_time() {
    let fixture = Fixture::new();
    let mut gate = fixture.gate("gate");
    let _holder = Process::start(&mut fixture.run(&[], "echo $$ > up; read x < gate"));
    // A process that holds permits may still be syssem. The script proves that it is the shell.
    let pid = read_pid(&fixture, "up");
    let next = Process::start(&mut fixture.run(&["--verbose"], "exit 0"));
    fixture.wait_until_waiting(1);
    gate.admit(1);
    let messages = text(&next.wait_with_output().stderr);
    assert!(messages.contains(&format!("held by {pid} sh")) && messages.contains("got 1 of"), "{messages}");
}

#[test]
fn system_v_permit_follows_the_command_and_posix_needs_close() {
    let fixture = Fixture::new();
    let typed = |key_type: &str, arguments: &[&str], script: &str| {
        let mut run = fixture.run(&[&["-t", key_type], arguments].concat(), script);
        output(run.env("TMPDIR", fixture.path("").as_os_str()))
    };
    let remove = |key_type: &str| {
        let mut remove = fixture.syssem("remove");
        assert!(
            output(remove.args(["-t", key_type]).env("TMPDIR", fixture.path("").as_os_str()))
                .status
                .success()
        );
    };
    assert_eq!(code(&typed("systemv", &[], "exit 4")), Some(4));
    assert_eq!(code(&typed("systemv", &["-n"], "exit 5")), Some(5), "the kernel returned the permit");
    assert_eq!(code(&typed("systemv", &["-n", "--close"], "exit 6")), Some(6));
    remove("systemv");
    let refused = typed("posix", &[], "exit 4");
    assert_eq!(code(&refused), Some(125));
    assert!(text(&refused.stderr).contains("--close"), "{}", text(&refused.stderr));
    assert_eq!(code(&typed("posix", &["--close"], "exit 5")), Some(5));
    assert_eq!(code(&typed("posix", &["--close", "-n"], "exit 6")), Some(6), "the permit was released");
    assert_eq!(typed("posix", &["--close", "-n"], "kill -TERM $$").status.signal(), Some(15));
    assert_eq!(code(&typed("posix", &["--close", "-n"], "exit 7")), Some(7), "the permit was released");
    remove("posix");
}

/// Scripts use descriptor 3 as a log channel, for example, and make uses it for its job server.
#[test]
fn command_that_writes_to_low_descriptors_harms_no_semaphore() {
    let fixture = Fixture::new();
    let script = "for n in 3 4 5 6 7 8 9; do eval 'echo progress >&'$n; done 2>/dev/null; exit 4";
    for mode in [&[][..], &["--fork"], &["--close"]] {
        assert_eq!(code(&output(&mut fixture.run(mode, script))), Some(4), "{mode:?}");
        assert_eq!(code(&output(&mut fixture.run(&["-n"], "exit 5"))), Some(5), "{mode:?}");
    }
    assert_eq!(fixture.held(), 0);
}
