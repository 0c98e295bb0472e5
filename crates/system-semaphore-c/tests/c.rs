//! The C test, compiled by the C compiler and linked to the static library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[test]
fn the_c_test_passes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("semaphore-{}", std::process::id()));
    let built = env::current_exe().expect("this test is a file");
    let library = built.with_file_name("libsystem_semaphore_c.a");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(directory.join("include"))
        .arg(directory.join("tests/semaphore.c"))
        .arg(library)
        .args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
        .arg(&program)
        .status()
        .unwrap_or_else(|error| panic!("cannot run the C compiler {compiler:?}: {error}"));
    assert!(compiled.success(), "tests/semaphore.c does not compile");
    let ran = Command::new(&program).output().expect("it was just compiled");
    fs::remove_file(&program).expect("it is there");
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
}
