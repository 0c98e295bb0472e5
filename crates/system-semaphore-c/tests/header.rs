//! The header for C is what cbindgen makes of the sources today.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_header_is_up_to_date() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = directory.join("include/system_semaphore.h");
    let mut header = Vec::new();
    cbindgen::generate(directory).expect("cbindgen reads the sources").write(&mut header);
    let header = String::from_utf8(header).expect("a header is text");
    if env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&file, &header).expect("the header can be written");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == header,
        "include/system_semaphore.h is old: run UPDATE_HEADER=1 cargo test -p system-semaphore-c --test header"
    );
}
