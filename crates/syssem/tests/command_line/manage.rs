//! Tests all commands except `run` and `watch`.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use system_semaphore::{KeyType, SystemSemaphore};

use crate::harness::{CLEANING, Fixture, Process, json, output, read_pid, stdout, syssem, text};

#[test]
fn commands_create_change_and_remove_a_semaphore() {
    let fixture = Fixture::new();
    let robust = format!("robust:{}", fixture.key);
    assert_eq!(stdout(fixture.syssem("create").args(["-p", "3", "--max", "5"])), "", "text output is empty");
    let shown = json(&mut fixture.syssem("show"));
    assert_eq!(shown["key"], robust);
    assert_eq!(shown["type"], "robust");
    assert_eq!(
        (&shown["available"], &shown["initial_value"], &shown["max_permits"]),
        (&json!(3), &json!(3), &json!(5))
    );
    assert_eq!(
        (&shown["persistent"], &shown["stale"], &shown["users"]),
        (&json!(true), &json!(false), &json!(0))
    );
    assert_eq!(
        (&shown["holders"], &shown["waiters"], &shown["last_pid"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(shown["permissions"], "0600");

    assert_eq!(json(fixture.syssem("take").arg("2")), json!({ "key": robust, "available": 1 }));
    let busy = output(fixture.syssem("take").args(["2", "-n", "-E", "9"]));
    assert_eq!((busy.status.code(), text(&busy.stderr)), (Some(9), String::new()));
    assert_eq!(json(&mut fixture.syssem("release"))["available"], 2);
    assert_eq!(json(fixture.syssem("release").arg("3"))["available"], 5);
    let full = output(&mut fixture.syssem("release"));
    assert_eq!(full.status.code(), Some(125));
    assert!(text(&full.stderr).contains("at most 5"), "{}", text(&full.stderr));
    assert_eq!(json(fixture.syssem("reset").arg("4"))["available"], 4);
    assert_eq!(json(&mut fixture.syssem("show"))["persistent"], true, "reset keeps the semaphore persistent");

    let again = output(&mut fixture.syssem("create"));
    assert_eq!(again.status.code(), Some(125));
    assert!(text(&again.stderr).contains("--exist-ok"), "{}", text(&again.stderr));
    assert_eq!(json(fixture.syssem("create").args(["--exist-ok", "-p", "1"]))["available"], 4);
    stdout(&mut fixture.syssem("remove"));
    for command in ["show", "take", "release", "remove"] {
        let missing = output(&mut fixture.syssem(command));
        let message = text(&missing.stderr);
        assert_eq!(missing.status.code(), Some(125), "{command}");
        assert!(message.contains(&robust) && message.contains("syssem list"), "{command}: {message}");
    }
}

#[test]
fn reset_neither_creates_nor_persists() {
    let fixture = Fixture::new();
    let missing = output(fixture.syssem("reset").arg("4"));
    assert_eq!(missing.status.code(), Some(125));
    assert!(fixture.snapshot().is_none());
    let semaphore = SystemSemaphore::create(&fixture.key, 1).expect("it can be created");
    stdout(fixture.syssem("reset").arg("4"));
    assert_eq!(semaphore.available_permits().expect("the count can be read"), 4);
    assert_eq!(fixture.snapshot().and_then(|snapshot| snapshot.persistent), Some(false));
}

#[test]
fn system_v_and_posix_commands_work() {
    let fixture = Fixture::new();
    for key_type in ["systemv", "posix"] {
        let typed = |command: &str| {
            let mut command = fixture.syssem(command);
            command.args(["-t", key_type]).env("TMPDIR", fixture.path("").as_os_str());
            command
        };
        stdout(typed("create").args(["-p", "3"]));
        assert_eq!(json(typed("take").arg("1"))["available"], 2);
        assert_eq!(json(&mut typed("release"))["available"], 3);
        let shown = json(&mut typed("show"));
        assert_eq!(
            (&shown["type"], &shown["available"], &shown["holders"]),
            (&json!(key_type), &json!(3), &Value::Null)
        );
        let list = json(syssem("list").env("TMPDIR", fixture.path("").as_os_str()));
        let is_same_key = |entry: &&Value| {
            shown["key"].as_str().is_some_and(|key| {
                entry["key"]
                    .as_str()
                    .is_some_and(|listed| key.starts_with(listed) && listed.contains("qipc_systemsem_"))
            })
        };
        let entry =
            list.as_array().and_then(|entries| entries.iter().find(is_same_key)).expect("it is listed");
        assert_eq!(entry["state"]["available"], 3);
        stdout(&mut typed("remove"));
    }
}

#[test]
fn show_and_list_print_holders_and_waiters() {
    let fixture = Fixture::new();
    let mut gate = fixture.gate("gate");
    let holder =
        Process::start(&mut fixture.run(&["-p", "2", "--count", "2"], "echo $$ > up; read x < gate"));
    // A process that holds permits may still be syssem. The script proves that it is the shell.
    assert_eq!(read_pid(&fixture, "up"), holder.id());
    let waiter = Process::start(&mut fixture.run(&["-p", "2"], "exit 0"));
    fixture.wait_until_waiting(1);
    let shown = json(&mut fixture.syssem("show"));
    let [held] = &shown["holders"].as_array().expect("an array")[..] else { panic!("{shown}") };
    assert_eq!(
        (&held["pid"], &held["command"], &held["permits"]),
        (&json!(holder.id()), &json!("sh"), &json!(2))
    );
    assert!(held["since"].as_u64().is_some_and(|since| since > 1_600_000_000), "{held}");
    let [waiting] = &shown["waiters"].as_array().expect("an array")[..] else { panic!("{shown}") };
    assert_eq!(
        (&waiting["pid"], &waiting["command"], &waiting["threads"]),
        (&json!(waiter.id()), &json!("syssem"), &json!(1))
    );

    let table = stdout(&mut fixture.syssem("show"));
    assert!(table.contains(&format!("{} sh", holder.id())), "{table}");
    assert!(table.contains("2 permits") && table.contains(&format!("{} syssem", waiter.id())), "{table}");
    assert!(!table.contains('\u{1b}'), "colours need a terminal");
    let list = stdout(&mut syssem("list"));
    let line = list.lines().find(|line| line.contains(&fixture.key)).expect("it is listed");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[1..4], ["0", "2", "1"], "{list}");
    gate.admit(1);
    assert!(waiter.wait_with_output().status.success());
    assert!(holder.wait_with_output().status.success());
}

#[test]
fn doctor_finds_and_cleans_stale_semaphores() {
    let _lock = CLEANING.lock();
    let fixture = Fixture::new();
    assert!(output(&mut fixture.run(&[], "kill -KILL $$")).status.code().is_none());
    let robust = format!("robust:{}", fixture.key);
    let find_stale = |report: &Value| -> Option<Value> {
        let stale = report["stale"].as_array().expect("an array");
        stale.iter().find(|stale| stale["resource"] == robust.as_str()).cloned()
    };
    let doctor = |arguments: &[&str]| -> Value {
        let output = output(syssem("doctor").arg("--json").args(arguments));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
    };
    let stale = find_stale(&doctor(&[])).expect("it is stale");
    assert_eq!((&stale["certain"], &stale["removed"]), (&json!(true), &json!(false)));
    assert_eq!(stale["remove_with"], format!("syssem remove {robust}"));
    assert!(fixture.snapshot().is_some(), "doctor removes nothing without --clean");
    let remove_with = stale["remove_with"].as_str().expect("a string");
    let arguments = remove_with.strip_prefix("syssem ").expect("a command of syssem");
    stdout(Command::new(env!("CARGO_BIN_EXE_syssem")).args(arguments.split(' ')));
    assert!(fixture.snapshot().is_none());

    assert!(output(&mut fixture.run(&[], "kill -KILL $$")).status.code().is_none());
    let used = Fixture::new();
    let _semaphore = SystemSemaphore::create(&used.key, 1).expect("it can be created");
    let table = output(&mut syssem("doctor"));
    assert_eq!(table.status.code(), Some(1));
    assert!(text(&table.stdout).contains(&robust) && !text(&table.stdout).contains(&used.key));
    assert_eq!(find_stale(&doctor(&["--clean"])).expect("it is stale")["removed"], true);
    assert!(fixture.snapshot().is_none() && used.snapshot().is_some());
}

#[test]
fn doctor_reports_but_keeps_untracked_resources() {
    let _lock = CLEANING.lock();
    let fixture = Fixture::new();
    let temporary = fixture.path("");
    let key = system_semaphore::NativeIpcKey::new(format!("/{}", fixture.key), KeyType::Posix);
    let semaphore = SystemSemaphore::builder(&key).persistent(true).build().expect("it can be created");
    fs::write(fixture.path("qipc_systemsem_x0123"), "").expect("the directory is writable");
    let report = |clean: &[&str]| -> Value {
        let output = output(syssem("doctor").arg("--json").args(clean).env("TMPDIR", &temporary));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
    };
    let remove_with = |report: &Value, name: &str| -> Option<String> {
        let stale = report["stale"].as_array().expect("an array");
        let is_named = |stale: &&Value| stale["resource"].as_str().is_some_and(|text| text.contains(name));
        let stale = stale.iter().find(is_named)?;
        assert_eq!(stale["certain"], false);
        stale["remove_with"].as_str().map(str::to_owned)
    };
    assert_eq!(remove_with(&report(&[]), &fixture.key), None, "it is in use");
    drop(semaphore);
    let after = report(&["--clean"]);
    assert_eq!(remove_with(&after, &fixture.key), Some(format!("syssem remove posix:/{}", fixture.key)));
    assert!(remove_with(&after, "qipc_systemsem_x0123").is_some_and(|command| command.starts_with("rm ")));
    assert!(fixture.path("qipc_systemsem_x0123").exists(), "doctor only reports it");
    SystemSemaphore::remove(&key).expect("doctor only reports it");
}

#[test]
fn doctor_checks_every_type() {
    let output = output(syssem("doctor").arg("--json"));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    for key_type in report["types"].as_array().expect("an array") {
        assert_eq!(key_type["error"], Value::Null, "{key_type}");
        let supported = key_type["type"] != "windows";
        assert_eq!(key_type["supported"], supported, "{key_type}");
        let returns_on_death = supported.then_some(key_type["type"] != "posix");
        assert_eq!(key_type["returns_on_death"].as_bool(), returns_on_death, "{key_type}");
    }
    assert!(report["limits"].as_array().is_some_and(|limits| limits.len() >= 4));
}

#[test]
fn key_derives_the_keys_that_qt_derives() {
    let keys = json(syssem("key").arg("printer").env("TMPDIR", "/nowhere").env_remove("XDG_RUNTIME_DIR"));
    let of = |key_type: &str, field: &str| {
        let keys = keys.as_array().expect("an array");
        keys.iter().find(|key| key["type"] == key_type).expect("all types are listed")[field].clone()
    };
    let legacy = "qipc_systemsem_printer3d3221b2db3115d65e938a1c497f209256c6185f";
    assert_eq!(of("robust", "legacy"), "robust:printer");
    assert_eq!(of("robust", "default"), true);
    assert_eq!(of("systemv", "legacy"), format!("systemv:/nowhere/{legacy}"));
    assert_eq!(of("posix", "legacy"), format!("posix:/{legacy}"));
    assert_eq!(of("posix", "platform_safe"), "posix:/printer");
    assert_eq!(of("windows", "platform_safe"), "windows:sem_printer");
    assert_eq!((of("windows", "supported"), of("windows", "number")), (json!(false), json!(257)));
    assert!(stdout(syssem("key").arg("printer")).contains(legacy));
}

#[test]
fn json_errors_name_kind_key_and_message() {
    let fixture = Fixture::new();
    let missing = output(fixture.syssem("show").arg("--json"));
    let error: Value = serde_json::from_slice(&missing.stderr).expect("it is JSON");
    assert_eq!(error["error"]["kind"], "NotFound");
    assert_eq!(error["error"]["key"], format!("robust:{}", fixture.key));
    assert!(
        error["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("there is no such semaphore"))
    );
}

#[test]
fn remove_continues_after_an_error() {
    let (existing, missing) = (Fixture::new(), Fixture::new());
    stdout(&mut existing.syssem("create"));
    let removed = output(syssem("remove").args([&missing.key, &existing.key]));
    assert_eq!(removed.status.code(), Some(125));
    assert!(text(&removed.stderr).contains(&missing.key));
    assert!(existing.snapshot().is_none());
    let removed = output(syssem("remove").args(["--json", &missing.key, &existing.key]));
    assert_eq!(removed.status.code(), Some(125));
    let errors: Vec<serde_json::Value> = text(&removed.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|error| error["error"]["kind"] == "NotFound"), "{errors:?}");
}

#[test]
fn completions_and_manual_pages_contain_all_commands() {
    let commands =
        ["run", "create", "take", "release", "reset", "remove", "list", "show", "watch", "key", "doctor"];
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(syssem("completions").arg(shell));
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let fixture = Fixture::new();
    let directory = fixture.path("man");
    stdout(syssem("manual").arg(&directory));
    for command in commands {
        let page =
            fs::read_to_string(directory.join(format!("syssem-{command}.1"))).expect("the page exists");
        assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    }
    assert!(fs::read_to_string(directory.join("syssem.1")).expect("the page exists").contains("Exit status"));
}

#[test]
fn closed_output_pipe_is_no_error() {
    let mut child = syssem("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn version_and_help_are_printed() {
    assert_eq!(stdout(&mut syssem("--version")), format!("syssem {}\n", env!("CARGO_PKG_VERSION")));
    assert!(stdout(&mut syssem("--help")).contains("Exit status"));
}
