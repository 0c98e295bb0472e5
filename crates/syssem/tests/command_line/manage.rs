//! `create`, `take`, `release`, `reset`, `remove`, `list`, `show`, `key`, `doctor`, completions and manual pages.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use system_semaphore::{KeyType, SystemSemaphore};

use crate::harness::{CLEANING, Process, Stage, json, must, output, pid_in, syssem, text};

#[test]
fn a_semaphore_s_life() {
    let stage = Stage::new();
    let robust = format!("robust:{}", stage.key);
    assert_eq!(must(stage.syssem("create").args(["-p", "3", "--max", "5"])), "", "nothing went wrong");
    let shown = json(&mut stage.syssem("show"));
    assert_eq!(shown["key"], robust);
    assert_eq!(shown["type"], "robust");
    assert_eq!(
        (&shown["available"], &shown["initial_value"], &shown["max_permits"]),
        (&json!(3), &json!(3), &json!(5))
    );
    assert_eq!(
        (&shown["persistent"], &shown["leftover"], &shown["users"]),
        (&json!(true), &json!(false), &json!(0))
    );
    assert_eq!(
        (&shown["holders"], &shown["waiters"], &shown["last_pid"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(shown["permissions"], "0600");

    assert_eq!(json(stage.syssem("take").arg("2")), json!({ "key": robust, "available": 1 }));
    let busy = output(stage.syssem("take").args(["2", "-n", "-E", "9"]));
    assert_eq!((busy.status.code(), text(&busy.stderr)), (Some(9), String::new()));
    assert_eq!(json(&mut stage.syssem("release"))["available"], 2);
    assert_eq!(json(stage.syssem("release").arg("3"))["available"], 5);
    let full = output(&mut stage.syssem("release"));
    assert_eq!(full.status.code(), Some(125));
    assert!(text(&full.stderr).contains("at most 5"), "{}", text(&full.stderr));
    assert_eq!(json(stage.syssem("reset").arg("4"))["available"], 4);
    assert_eq!(json(&mut stage.syssem("show"))["persistent"], true, "it stays what it was");

    let again = output(&mut stage.syssem("create"));
    assert_eq!(again.status.code(), Some(125));
    assert!(text(&again.stderr).contains("--exist-ok"), "{}", text(&again.stderr));
    assert_eq!(json(stage.syssem("create").args(["--exist-ok", "-p", "1"]))["available"], 4);
    must(&mut stage.syssem("remove"));
    for command in ["show", "take", "release", "remove"] {
        let missing = output(&mut stage.syssem(command));
        let told = text(&missing.stderr);
        assert_eq!(missing.status.code(), Some(125), "{command}");
        assert!(told.contains(&robust) && told.contains("syssem list"), "{command}: {told}");
    }
}

#[test]
fn reset_neither_makes_one_nor_makes_one_stay() {
    let stage = Stage::new();
    let missing = output(stage.syssem("reset").arg("4"));
    assert_eq!(missing.status.code(), Some(125));
    assert!(stage.look().is_none());
    let semaphore = SystemSemaphore::create(&stage.key, 1).expect("it can be made");
    must(stage.syssem("reset").arg("4"));
    assert_eq!(semaphore.available_permits().expect("it is told"), 4);
    assert_eq!(stage.look().and_then(|seen| seen.persistent), Some(false));
}

#[test]
fn other_types_do_what_they_can() {
    let stage = Stage::new();
    for key_type in ["systemv", "posix"] {
        let typed = |command: &str| {
            let mut command = stage.syssem(command);
            command.args(["-t", key_type]).env("TMPDIR", stage.path("").as_os_str());
            command
        };
        must(typed("create").args(["-p", "3"]));
        assert_eq!(json(typed("take").arg("1"))["available"], 2);
        assert_eq!(json(&mut typed("release"))["available"], 3);
        let shown = json(&mut typed("show"));
        assert_eq!(
            (&shown["type"], &shown["available"], &shown["holders"]),
            (&json!(key_type), &json!(3), &Value::Null)
        );
        let list = json(syssem("list").env("TMPDIR", stage.path("").as_os_str()));
        let is_it = |entry: &&Value| {
            shown["key"].as_str().is_some_and(|key| {
                entry["key"]
                    .as_str()
                    .is_some_and(|listed| key.starts_with(listed) && listed.contains("qipc_systemsem_"))
            })
        };
        let entry = list.as_array().and_then(|entries| entries.iter().find(is_it)).expect("it is listed");
        assert_eq!(entry["sight"]["available"], 3);
        must(&mut typed("remove"));
    }
}

#[test]
fn everybody_s_doings_are_shown() {
    let stage = Stage::new();
    let mut gate = stage.gate("gate");
    let holder = Process::start(&mut stage.run(&["-p", "2", "--count", "2"], "echo $$ > up; read x < gate"));
    // who only holds may be syssem still
    assert_eq!(pid_in(&stage, "up"), holder.id());
    let waiter = Process::start(&mut stage.run(&["-p", "2"], "exit 0"));
    stage.wait_until_waiting(1);
    let shown = json(&mut stage.syssem("show"));
    let [held] = &shown["holders"].as_array().expect("they are told")[..] else { panic!("{shown}") };
    assert_eq!(
        (&held["pid"], &held["command"], &held["permits"]),
        (&json!(holder.id()), &json!("sh"), &json!(2))
    );
    assert!(held["since"].as_u64().is_some_and(|since| since > 1_600_000_000), "{held}");
    let [waits] = &shown["waiters"].as_array().expect("they are told")[..] else { panic!("{shown}") };
    assert_eq!(
        (&waits["pid"], &waits["command"], &waits["threads"]),
        (&json!(waiter.id()), &json!("syssem"), &json!(1))
    );

    let for_people = must(&mut stage.syssem("show"));
    assert!(for_people.contains(&format!("{} sh", holder.id())), "{for_people}");
    assert!(
        for_people.contains("2 permits") && for_people.contains(&format!("{} syssem", waiter.id())),
        "{for_people}"
    );
    assert!(!for_people.contains('\u{1b}'), "no colours where there is no terminal");
    let list = must(&mut syssem("list"));
    let line = list.lines().find(|line| line.contains(&stage.key)).expect("it is listed");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[1..4], ["0", "2", "1"], "{list}");
    gate.let_pass(1);
    assert!(waiter.end().status.success());
    assert!(holder.end().status.success());
}

#[test]
fn what_a_crash_has_left_is_found_and_cleaned() {
    let _turn = CLEANING.take();
    let stage = Stage::new();
    assert!(output(&mut stage.run(&[], "kill -KILL $$")).status.code().is_none());
    let robust = format!("robust:{}", stage.key);
    let leftover = |report: &Value| -> Option<Value> {
        let leftovers = report["leftovers"].as_array().expect("there are leftovers").iter();
        leftovers.into_iter().find(|leftover| leftover["what"] == robust.as_str()).cloned()
    };
    let doctor = |arguments: &[&str]| -> Value {
        let told = output(syssem("doctor").arg("--json").args(arguments));
        serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&told.stderr)))
    };
    let found = leftover(&doctor(&[])).expect("it is found");
    assert_eq!((&found["certain"], &found["removed"]), (&json!(true), &json!(false)));
    assert_eq!(found["remove_with"], format!("syssem remove {robust}"));
    assert!(stage.look().is_some(), "looking changes nothing");
    // as it is told
    let told =
        found["remove_with"].as_str().expect("it is text").strip_prefix("syssem ").expect("it is ours");
    must(Command::new(env!("CARGO_BIN_EXE_syssem")).args(told.split(' ')));
    assert!(stage.look().is_none());

    assert!(output(&mut stage.run(&[], "kill -KILL $$")).status.code().is_none());
    let living = Stage::new();
    let _semaphore = SystemSemaphore::create(&living.key, 1).expect("it can be made");
    let for_people = output(&mut syssem("doctor"));
    assert_eq!(for_people.status.code(), Some(1));
    assert!(text(&for_people.stdout).contains(&robust) && !text(&for_people.stdout).contains(&living.key));
    assert_eq!(leftover(&doctor(&["--clean"])).expect("it is found")["removed"], true);
    assert!(stage.look().is_none() && living.look().is_some());
}

#[test]
fn leftovers_of_strangers_are_told_but_not_touched() {
    let _turn = CLEANING.take();
    let stage = Stage::new();
    let temporary = stage.path("");
    let key = system_semaphore::NativeIpcKey::new(format!("/{}", stage.key), KeyType::Posix);
    let semaphore = SystemSemaphore::builder(&key).persistent(true).build().expect("it can be made");
    fs::write(stage.path("qipc_systemsem_x0123"), "").expect("it can be written");
    let report = |clean: &[&str]| -> Value {
        let told = output(syssem("doctor").arg("--json").args(clean).env("TMPDIR", &temporary));
        serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&told.stderr)))
    };
    let remedy = |report: &Value, what: &str| -> Option<String> {
        let leftovers = report["leftovers"].as_array().expect("there are leftovers");
        let leftover = leftovers
            .iter()
            .find(|leftover| leftover["what"].as_str().is_some_and(|name| name.contains(what)))?;
        assert_eq!(leftover["certain"], false);
        leftover["remove_with"].as_str().map(str::to_owned)
    };
    assert_eq!(remedy(&report(&[]), &stage.key), None, "it is in use");
    drop(semaphore);
    let after = report(&["--clean"]);
    assert_eq!(remedy(&after, &stage.key), Some(format!("syssem remove posix:/{}", stage.key)));
    assert!(remedy(&after, "qipc_systemsem_x0123").is_some_and(|remedy| remedy.starts_with("rm ")));
    assert!(stage.path("qipc_systemsem_x0123").exists(), "it was only told");
    SystemSemaphore::remove(&key).expect("it was only told");
}

#[test]
fn doctor_tries_every_type() {
    let told = output(syssem("doctor").arg("--json"));
    let report: Value = serde_json::from_slice(&told.stdout).expect("it is JSON");
    for one in report["types"].as_array().expect("there are types") {
        assert_eq!(one["error"], Value::Null, "{one}");
        let is_there = one["type"] != "windows";
        assert_eq!(one["supported"], is_there, "{one}");
        assert_eq!(one["returns_on_death"].as_bool(), is_there.then_some(one["type"] != "posix"), "{one}");
    }
    assert!(report["limits"].as_array().is_some_and(|limits| limits.len() >= 4));
}

#[test]
fn a_name_becomes_what_qt_makes_of_it() {
    let keys = json(syssem("key").arg("printer").env("TMPDIR", "/nowhere").env_remove("XDG_RUNTIME_DIR"));
    let of = |key_type: &str, what: &str| {
        let all = keys.as_array().expect("there are four").iter();
        all.into_iter().find(|key| key["type"] == key_type).expect("it is there")[what].clone()
    };
    let legacy = "qipc_systemsem_printer3d3221b2db3115d65e938a1c497f209256c6185f";
    assert_eq!(of("robust", "legacy"), "robust:printer");
    assert_eq!(of("robust", "default"), true);
    assert_eq!(of("systemv", "legacy"), format!("systemv:/nowhere/{legacy}"));
    assert_eq!(of("posix", "legacy"), format!("posix:/{legacy}"));
    assert_eq!(of("posix", "platform_safe"), "posix:/printer");
    assert_eq!(of("windows", "platform_safe"), "windows:sem_printer");
    assert_eq!((of("windows", "supported"), of("windows", "number")), (json!(false), json!(257)));
    assert!(must(syssem("key").arg("printer")).contains(legacy));
}

#[test]
fn errors_can_be_read_by_programs() {
    let stage = Stage::new();
    let missing = output(stage.syssem("show").arg("--json"));
    let told: Value = serde_json::from_slice(&missing.stderr).expect("it is JSON");
    assert_eq!(told["error"]["kind"], "NotFound");
    assert_eq!(told["error"]["key"], format!("robust:{}", stage.key));
    assert!(
        told["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("there is no such semaphore"))
    );
}

#[test]
fn removing_several_removes_what_can_be() {
    let (one, other) = (Stage::new(), Stage::new());
    must(&mut one.syssem("create"));
    let removed = output(syssem("remove").args([&other.key, &one.key]));
    assert_eq!(removed.status.code(), Some(125));
    assert!(text(&removed.stderr).contains(&other.key));
    assert!(one.look().is_none());
    let removed = output(syssem("remove").args(["--json", &other.key, &one.key]));
    assert_eq!(removed.status.code(), Some(125));
    let errors: Vec<serde_json::Value> =
        text(&removed.stderr).lines().map(|line| serde_json::from_str(line).expect("each is JSON")).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|error| error["error"]["kind"] == "NotFound"), "{errors:?}");
}

#[test]
fn completions_and_manual_pages_know_all_commands() {
    let commands =
        ["run", "create", "take", "release", "reset", "remove", "list", "show", "watch", "key", "doctor"];
    for shell in ["bash", "zsh", "fish"] {
        let script = must(syssem("completions").arg(shell));
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let stage = Stage::new();
    let directory = stage.path("man");
    must(syssem("manual").arg(&directory));
    for command in commands {
        let page = fs::read_to_string(directory.join(format!("syssem-{command}.1"))).expect("it is there");
        assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    }
    assert!(fs::read_to_string(directory.join("syssem.1")).expect("it is there").contains("Exit status"));
}

#[test]
fn who_does_not_read_on_is_no_trouble() {
    let mut child =
        syssem("list").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn it_tells_its_version() {
    assert_eq!(must(&mut syssem("--version")), format!("syssem {}\n", env!("CARGO_PKG_VERSION")));
    assert!(must(&mut syssem("--help")).contains("Exit status"));
}
