//! The tests in C, compiled by the C compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Returns a library of this crate, which cargo builds beside the tests.
fn library(name: &str) -> PathBuf {
    env::current_exe().expect("this test is a file").with_file_name(name)
}

/// Compiles `tests/NAME.c` with what it is linked to, and runs it.
fn run(name: &str, linked: &[&Path], arguments: &[&Path]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(directory.join("include"))
        .arg(directory.join(format!("tests/{name}.c")))
        .args(linked)
        .args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
        .arg(&program)
        .status()
        .unwrap_or_else(|error| panic!("cannot run the C compiler {compiler:?}: {error}"));
    assert!(compiled.success(), "tests/{name}.c does not compile");
    let ran = Command::new(&program).args(arguments).output().expect("it was just compiled");
    fs::remove_file(&program).expect("it is there");
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_c_test_passes() {
    run("semaphore", &[&library("libsystem_semaphore_c.a")], &[]);
}

#[cfg(target_os = "linux")]
#[test]
fn unloaded_library_outlives_its_thread() {
    run("unload", &[], &[&library("libsystem_semaphore_c.so")]);
}
