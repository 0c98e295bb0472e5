//! `run`.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use puppet::{process, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{INOTIFY, Process, Stage, output, pid_in, text};

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("it is a pid");
    kill_process(pid, signal).expect("it lives");
}

#[test]
fn it_becomes_the_command() {
    let stage = Stage::new();
    let child = Process::start(&mut stage.run(&[], "echo $$; exit 7"));
    let pid = child.id();
    let output = child.end();
    assert_eq!((code(&output), text(&output.stdout)), (Some(7), format!("{pid}\n")));
    assert_eq!(text(&output.stderr), "");
    for mode in [&[][..], &["--fork"], &["--close"]] {
        let output = output_of(&stage, mode, "kill -TERM $$; read never");
        assert_eq!(output.status.signal(), Some(15), "{mode:?}");
        assert_eq!(code(&output_of(&stage, mode, "exit 9")), Some(9), "{mode:?}");
    }
}

fn output_of(stage: &Stage, arguments: &[&str], script: &str) -> Output {
    output(&mut stage.run(arguments, script))
}

#[test]
fn signals_are_the_command_s() {
    for mode in [&[][..], &["--fork"], &["--close"]] {
        let stage = Stage::new();
        // no waiting in it: a signal that comes just before a shell's `read` is seen to when that has ended
        let script = "trap 'echo $$ > seen' USR2; trap 'echo usr1; exit 3' USR1; echo $$ > up; while [ -e up ]; do :; done";
        let run = Process::start(&mut stage.run(mode, script));
        let command = pid_in(&stage, "up");
        assert_eq!(command == run.id(), mode.is_empty());
        send(run.id(), Signal::USR2);
        // of two that come at once, the shell may see to the second first
        assert_eq!(pid_in(&stage, "seen"), command);
        send(run.id(), Signal::USR1);
        let output = run.end();
        assert_eq!((code(&output), text(&output.stdout)), (Some(3), "usr1\n".to_owned()), "{mode:?}");
    }
}

/// The command has started a worker that outlives it.
#[test]
fn permits_follow_the_command_and_its_children() {
    let stage = Stage::new();
    let mut gate = stage.gate("gate");
    let script = "sh -c 'echo $$ > worker; read x < gate' & read never < never";
    let _never = stage.gate("never");
    let mut run = Process::start(&mut stage.run(&[], script));
    let worker = pid_in(&stage, "worker");
    stage.wait_until_held(1);
    run.kill();
    assert!(!process::is_gone(worker));
    assert_eq!(stage.held(), 1, "the worker has it");
    assert_eq!(code(&output_of(&stage, &["-n"], "exit 0")), Some(1));
    let next = Process::start(&mut stage.run(&[], "echo mine"));
    stage.wait_until_waiting(1);
    gate.let_pass(1);
    assert_eq!(text(&next.end().stdout), "mine\n");
}

#[test]
fn a_killed_worker_lets_the_next_one_in() {
    let stage = Stage::new();
    let _never = stage.gate("never");
    let mut run = Process::start(&mut stage.run(&[], "read never < never"));
    stage.wait_until_held(1);
    let next = Process::start(&mut stage.run(&[], "echo mine"));
    stage.wait_until_waiting(1);
    run.kill();
    assert_eq!(text(&next.end().stdout), "mine\n");
}

#[test]
fn two_hundred_jobs_go_through_three_permits() {
    let _turn = INOTIFY.take();
    let stage = Stage::new();
    let mut gate = stage.gate("gate");
    // appending a line is one step, so the lines are in the order of what happened
    let script = "echo + >> log; read x < gate; echo - >> log";
    let jobs: Vec<Process> = (0..200).map(|_| Process::start(&mut stage.run(&["-p", "3"], script))).collect();
    stage.wait_until_waiting(197);
    let log = || fs::read_to_string(stage.path("log")).unwrap_or_default();
    wait_for("three are inside", || log().lines().count() == 3);
    gate.let_pass(200);
    for job in jobs {
        let output = job.end();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let log = log();
    let mut inside = 0;
    let most = log.lines().map(|line| {
        inside += if line == "+" { 1 } else { -1 };
        inside
    });
    assert_eq!((most.max(), log.lines().count()), (Some(3), 400));
}

#[test]
fn several_are_taken_all_or_none() {
    let stage = Stage::new();
    let _never = stage.gate("never");
    let _two = Process::start(&mut stage.run(&["-p", "3", "--count", "2"], "read never < never"));
    stage.wait_until_held(2);
    assert_eq!(code(&output_of(&stage, &["-p", "3", "-n", "--count", "2"], "exit 0")), Some(1));
    assert_eq!(code(&output_of(&stage, &["-p", "3", "-n"], "exit 0")), Some(0));
}

#[test]
fn busy_has_an_exit_status_of_its_own() {
    let stage = Stage::new();
    let _never = stage.gate("never");
    let _holder = Process::start(&mut stage.run(&[], "read never < never"));
    stage.wait_until_held(1);
    for (arguments, status) in [
        (&["-n"][..], 1),
        (&["-w", "0.02"], 1),
        (&["-w", "0"], 1),
        (&["-nE", "77"], 77),
        (&["-w0.01", "-E", "0"], 0),
    ] {
        for mode in [&[][..], &["--fork"], &["--close"]] {
            let output = output_of(&stage, &[arguments, mode].concat(), "echo ran");
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
fn a_wait_with_a_limit_ends_when_it_is_free() {
    let stage = Stage::new();
    let mut gate = stage.gate("gate");
    let _holder = Process::start(&mut stage.run(&[], "read x < gate"));
    stage.wait_until_held(1);
    let next = Process::start(&mut stage.run(&["-w", "60"], "exit 5"));
    stage.wait_until_waiting(1);
    gate.let_pass(1);
    assert_eq!(code(&next.end()), Some(5));
}

#[test]
fn what_cannot_be_run_is_told_apart() {
    let stage = Stage::new();
    for mode in [&[][..], &["--fork"], &["--close"]] {
        let run = |command: &str| output(stage.syssem("run").args(mode).args(["--", command]));
        let missing = run("no-such-command-anywhere");
        assert_eq!(code(&missing), Some(127));
        assert!(text(&missing.stderr).contains("no-such-command-anywhere"));
        fs::write(stage.path("script"), "not executable").expect("it can be written");
        assert_eq!(code(&run(stage.path("script").to_str().expect("it is text"))), Some(126));
        assert_eq!(stage.held(), 0, "the permit is back");
    }
}

#[test]
fn wrong_usage_is_125() {
    let stage = Stage::new();
    let cases: [&[&str]; 8] = [
        &["run"],
        &["run", &stage.key],
        &["run", &stage.key, "-n", "-w", "1", "--", "true"],
        &["run", &stage.key, "-w", "-1", "--", "true"],
        &["run", &stage.key, "-w", "soon", "--", "true"],
        &["run", &stage.key, "-t", "carrier-pigeon", "--", "true"],
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
fn more_than_there_can_ever_be_is_refused_at_once() {
    let stage = Stage::new();
    let output = output_of(&stage, &["--count", "4000000000"], "exit 0");
    assert_eq!(code(&output), Some(125));
    assert!(text(&output.stderr).contains(&stage.key), "{}", text(&output.stderr));
}

#[test]
fn another_number_of_permits_is_warned_of() {
    let stage = Stage::new();
    let _never = stage.gate("never");
    let _holder = Process::start(&mut stage.run(&["-p", "3"], "read never < never"));
    stage.wait_until_held(1);
    assert_eq!(text(&output_of(&stage, &["-p", "3"], "exit 0").stderr), "");
    for arguments in [&["-p", "2"][..], &[]] {
        let warning = text(&output_of(&stage, arguments, "exit 0").stderr);
        assert!(warning.contains("3 permits") && warning.contains(&stage.key), "{warning}");
    }
    let set = output_of(&stage, &["-p", "2", "--create"], "exit 0");
    assert_eq!((code(&set), text(&set.stderr)), (Some(0), String::new()));
    assert_eq!(stage.look().and_then(|seen| seen.initial_value), Some(2));
}

/// As Python's subprocess does, and sudo.
const CLOSE_ALL: &str = "ulimit -S -n 100; for f in 3 4 5 6 7 8 9; do eval \"exec $f>&-\"; done; ";

/// The same command with a limit of ten descriptors, so that the permit's one has a number that a shell can close.
fn with_ten_descriptors(run: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 10; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    limited.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(run.get_current_dir().expect("it runs in the case's directory"));
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    limited
}

#[test]
fn a_command_that_closes_descriptors_keeps_its_permits_with_fork() {
    for (mode, held) in [(&[][..], 0), (&["--fork"], 1), (&["--close"], 1)] {
        let stage = Stage::new();
        let mut gate = stage.gate("gate");
        let script = format!("{CLOSE_ALL} echo $$ > up; read x < gate");
        let run = Process::start(&mut with_ten_descriptors(&stage.run(mode, &script)));
        pid_in(&stage, "up");
        assert_eq!(stage.held(), held, "{mode:?}");
        gate.let_pass(1);
        assert!(run.end().status.success());
        stage.wait_until_held(0);
    }
}

#[test]
fn who_is_left_behind_has_the_permit_but_for_close() {
    for (mode, held) in [(&[][..], 1), (&["--fork"], 1), (&["--close"], 0)] {
        let stage = Stage::new();
        let mut gate = stage.gate("gate");
        let script = "sh -c 'echo $$ > worker; read x < gate' > /dev/null 2>&1 & exit 0";
        let run = Process::start(&mut stage.run(mode, script));
        let worker = pid_in(&stage, "worker");
        assert!(run.end().status.success());
        assert_eq!(stage.held(), held, "{mode:?}");
        gate.let_pass(1);
        wait_for("the worker ends", || process::is_gone(worker));
        stage.wait_until_held(0);
    }
}

#[test]
fn it_tells_how_long_it_waited_and_for_whom() {
    let stage = Stage::new();
    let mut gate = stage.gate("gate");
    let _holder = Process::start(&mut stage.run(&[], "echo $$ > up; read x < gate"));
    // who only holds may be syssem still
    let pid = pid_in(&stage, "up");
    let next = Process::start(&mut stage.run(&["--verbose"], "exit 0"));
    stage.wait_until_waiting(1);
    gate.let_pass(1);
    let told = text(&next.end().stderr);
    assert!(told.contains(&format!("held by {pid} sh")) && told.contains("got 1 of"), "{told}");
}

#[test]
fn system_v_permits_go_with_the_command_and_posix_ones_need_close() {
    let stage = Stage::new();
    let typed = |key_type: &str, arguments: &[&str], script: &str| {
        let mut run = stage.run(&[&["-t", key_type], arguments].concat(), script);
        output(run.env("TMPDIR", stage.path("").as_os_str()))
    };
    let remove = |key_type: &str| {
        let mut remove = stage.syssem("remove");
        assert!(
            output(remove.args(["-t", key_type]).env("TMPDIR", stage.path("").as_os_str())).status.success()
        );
    };
    assert_eq!(code(&typed("systemv", &[], "exit 4")), Some(4));
    assert_eq!(code(&typed("systemv", &["-n"], "exit 5")), Some(5), "it came back by itself");
    assert_eq!(code(&typed("systemv", &["-n", "--close"], "exit 6")), Some(6));
    remove("systemv");
    let refused = typed("posix", &[], "exit 4");
    assert_eq!(code(&refused), Some(125));
    assert!(text(&refused.stderr).contains("--close"), "{}", text(&refused.stderr));
    assert_eq!(code(&typed("posix", &["--close"], "exit 5")), Some(5));
    assert_eq!(code(&typed("posix", &["--close", "-n"], "exit 6")), Some(6), "it was given back");
    assert_eq!(typed("posix", &["--close", "-n"], "kill -TERM $$").status.signal(), Some(15));
    assert_eq!(code(&typed("posix", &["--close", "-n"], "exit 7")), Some(7), "it was given back");
    remove("posix");
}

/// A script's log channel, or make's jobserver, is descriptor 3.
#[test]
fn command_that_writes_to_low_descriptors_harms_no_semaphore() {
    let stage = Stage::new();
    let script = "for n in 3 4 5 6 7 8 9; do eval 'echo progress >&'$n; done 2>/dev/null; exit 4";
    for mode in [&[][..], &["--fork"], &["--close"]] {
        assert_eq!(code(&output(&mut stage.run(mode, script))), Some(4), "{mode:?}");
        assert_eq!(code(&output(&mut stage.run(&["-n"], "exit 5"))), Some(5), "{mode:?}");
    }
    assert_eq!(stage.held(), 0);
}
