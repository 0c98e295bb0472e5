//! The examples that a newcomer copies must hold the limit that they show.

use std::fs;
use std::path::Path;

/// Opening joins a semaphore in use. Creating resets it and voids the permits that others hold.
#[test]
fn first_examples_reset_no_semaphore_in_use() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples = 0;
    for file in ["../../README.md", "src/lib.rs", "src/semaphore.rs", "src/permit.rs", "src/observer.rs"] {
        let text = fs::read_to_string(crate_root.join(file)).expect("the file is in the repository");
        let shown = text.lines().filter(|line| file.ends_with(".md") || line.trim_start().starts_with("//"));
        for line in shown {
            assert!(!line.contains("SystemSemaphore::create("), "{file}: {line}");
            examples += usize::from(line.contains("SystemSemaphore::open("));
        }
    }
    assert!(examples >= 4, "the examples are elsewhere now: {examples}");
}
