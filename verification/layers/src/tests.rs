//! Small crates in memory: each form of import, and each error of a table.

use std::collections::BTreeSet;

use crate::check::Findings;
use crate::model::Sources;
use crate::plant::plant;
use crate::table::{self, Layers};
use crate::{parse, resolve};

fn sources(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect()
}

/// The imports of a crate as "importing file -> imported file".
fn imports(files: &[(&str, &str)]) -> Vec<String> {
    let krate = parse::read(&sources(files), "lib.rs").expect("it can be read");
    let name = |file: usize| krate.files[file].trim_end_matches(".rs");
    let imports: BTreeSet<String> = resolve::imports(&krate)
        .iter()
        .map(|import| format!("{} -> {}", name(import.from), name(import.to)))
        .collect();
    imports.into_iter().collect()
}

/// The imports of `user.rs` in a crate with `a.rs`, `b.rs` and `c/mod.rs`, which declares `c/d.rs`
/// and re-exports a part of it.
fn imports_of_user(text: &str) -> Vec<String> {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod user;"),
        ("a.rs", "pub struct A; pub fn run() {}"),
        ("b.rs", "pub enum B { One }"),
        ("c/mod.rs", "pub mod d; pub use d::D; pub struct C;"),
        ("c/d.rs", "pub struct D; pub struct Hidden;"),
        ("user.rs", text),
    ];
    let prefix = "user -> ";
    imports(&files).iter().filter_map(|import| import.strip_prefix(prefix)).map(Into::into).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn module_declaration_is_no_import() {
    assert_eq!(imports(&[("lib.rs", "mod a;"), ("a.rs", "mod b;"), ("a/b.rs", "")]), NONE);
}

#[test]
fn use_imports_the_file_of_the_item() {
    assert_eq!(imports_of_user("use crate::a::A;"), ["a"]);
    assert_eq!(imports_of_user("use super::a::A;"), ["a"]);
    assert_eq!(imports_of_user("use super::a::A as Other;"), ["a"]);
    assert_eq!(imports_of_user("use super::a::A as _;"), ["a"]);
}

#[test]
fn use_of_a_module_imports_its_file() {
    assert_eq!(imports_of_user("use crate::a;"), ["a"]);
    assert_eq!(imports_of_user("use crate::c::d;"), ["c/d"]);
}

#[test]
fn nested_use_imports_each_file() {
    assert_eq!(imports_of_user("use super::{a::{self, run}, b::B};"), ["a", "b"]);
    assert_eq!(imports_of_user("use super::{a::A, c::{d::{self as other}}};"), ["a", "c/d"]);
    assert_eq!(imports_of_user("use super::{c::{self}};"), ["c/mod"]);
}

#[test]
fn use_in_a_function_is_an_import() {
    assert_eq!(imports_of_user("fn f() { use super::a as x; if true { x::run() } }"), ["a"]);
}

#[test]
fn re_exported_item_imports_both_files() {
    assert_eq!(imports_of_user("use crate::c::D;"), ["c/d", "c/mod"]);
    assert_eq!(imports_of_user("use crate::c; fn f(_: c::D) {}"), ["c/d", "c/mod"]);
    assert_eq!(imports_of_user("use crate::c::d::Hidden;"), ["c/d"]);
}

#[test]
fn re_export_imports_the_child() {
    assert_eq!(imports(&[("lib.rs", "mod a; pub use a::A;"), ("a.rs", "pub struct A;")]), ["lib -> a"]);
}

#[test]
fn glob_imports_the_module_and_what_its_names_lead_to() {
    assert_eq!(imports_of_user("use crate::c::*;"), ["c/mod"]);
    assert_eq!(imports_of_user("use crate::c::*; fn f(_: C) {}"), ["c/mod"]);
    assert_eq!(imports_of_user("use crate::c::*; fn f(_: D) {}"), ["c/d", "c/mod"]);
    assert_eq!(imports_of_user("use crate::c::*; fn f(_: d::Hidden) {}"), ["c/d", "c/mod"]);
}

#[test]
fn glob_re_export_leads_to_the_definition() {
    let files = [
        ("lib.rs", "mod a; mod all; mod user;"),
        ("a.rs", "pub struct A;"),
        ("all.rs", "pub use crate::a::*; pub use all_of_std::*;"),
        ("user.rs", "use crate::all::A;"),
    ];
    assert_eq!(imports(&files), ["all -> a", "user -> a", "user -> all"]);
}

#[test]
fn inline_path_is_an_import() {
    assert_eq!(imports_of_user("fn f() { crate::a::run(); }"), ["a"]);
    assert_eq!(imports_of_user("fn f() -> super::a::A { todo!() }"), ["a"]);
    assert_eq!(imports_of_user("fn f() { if let crate::b::B::One = g() {} }"), ["b"]);
    assert_eq!(imports_of_user("struct S(Option<Box<dyn Fn(crate::a::A)>>);"), ["a"]);
    assert_eq!(imports_of_user("impl crate::a::A { }"), ["a"]);
    assert_eq!(imports_of_user("#[derive(crate::a::A)] struct S;"), ["a"]);
    assert_eq!(imports_of_user("const C: usize = size_of::<super::c::D>();"), ["c/d", "c/mod"]);
}

#[test]
fn call_of_a_child_by_its_parent_is_an_import() {
    let parent = "mod child; fn f() { child::run(); self::child::run(); }";
    assert_eq!(imports(&[("lib.rs", parent), ("child.rs", "pub fn run() {}")]), ["lib -> child"]);
}

#[test]
fn import_from_the_parent_is_an_import() {
    assert_eq!(imports(&[("lib.rs", "mod a; struct S;"), ("a.rs", "use super::S;")]), ["a -> lib"]);
    assert_eq!(imports(&[("lib.rs", "mod a; struct S;"), ("a.rs", "use crate::S;")]), ["a -> lib"]);
}

#[test]
fn path_in_a_macro_is_an_import() {
    assert_eq!(imports_of_user("fn f() { matches!(g(), crate::b::B::One); }"), ["b"]);
    assert_eq!(imports_of_user("fn f() { format!(\"{}\", [super::a::run()]); }"), ["a"]);
    assert_eq!(imports_of_user("use crate::c; fn f() { println!(\"{}\", c::D::new()); }"), ["c/d", "c/mod"]);
    assert_eq!(imports_of_user("macro_rules! m { () => { $crate::a::run() }; }"), ["a"]);
    assert_eq!(
        imports_of_user("macro_rules! m { () => { use $crate::{a, c::{self, D}}; }; }"),
        ["a", "c/d", "c/mod"]
    );
    assert_eq!(imports_of_user("fn f() { vec![0; 0..crate::a::MAX]; }"), ["a"]);
}

#[test]
fn items_in_a_macro_are_items_of_the_module() {
    let files = [
        ("lib.rs", "mod a; mod user;"),
        ("a.rs", "items! { mod inner; struct A { field: inner::B } }"),
        ("a/inner.rs", "pub struct B;"),
        ("user.rs", "use crate::a::inner::B;"),
    ];
    assert_eq!(imports(&files), ["a -> a/inner", "user -> a/inner"]);
}

#[test]
fn method_of_self_imports_the_file_that_defines_it() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        (
            "a.rs",
            "pub struct A; trait T { fn t(&self); } impl T for A { fn t(&self) { self.in_b(); Self::in_c(); } }",
        ),
        ("b.rs", "use crate::a::A; impl A { pub fn in_b(&self) {} }"),
        ("c.rs", "impl super::a::A { pub fn in_c() {} pub fn unused() {} }"),
    ];
    assert_eq!(imports(&files), ["a -> b", "a -> c", "b -> a", "c -> a"]);
}

#[test]
fn inline_module_is_part_of_its_file() {
    assert_eq!(imports_of_user("struct S; mod inner { use super::S; use super::super::a::A; }"), ["a"]);
}

#[test]
fn path_attribute_names_the_file() {
    let files = [
        ("lib.rs", "mod a; #[path = \"other/file.rs\"] mod b;"),
        ("a.rs", "use crate::b::child::B;"),
        ("other/file.rs", "pub mod child;"),
        ("other/child.rs", "pub struct B;"),
    ];
    assert_eq!(imports(&files), ["a -> other/child"]);
}

#[test]
fn modules_of_all_platforms_are_read() {
    let by_attribute = [
        ("lib.rs", "mod user; #[cfg(unix)] mod os; #[cfg(windows)] #[path = \"windows.rs\"] mod os;"),
        ("os.rs", "pub struct S;"),
        ("windows.rs", "pub struct S;"),
        ("user.rs", "use crate::os::S;"),
    ];
    assert_eq!(imports(&by_attribute), ["user -> os", "user -> windows"]);
    let by_condition = [
        ("lib.rs", "mod run;"),
        (
            "run.rs",
            "#[cfg_attr(unix, path = \"run/unix.rs\")] #[cfg_attr(windows, path = \"run/windows.rs\")] mod os;
             fn f() { os::run(); }",
        ),
        ("run/unix.rs", ""),
        ("run/windows.rs", ""),
    ];
    assert_eq!(imports(&by_condition), ["run -> run/unix", "run -> run/windows"]);
}

#[test]
fn tests_import_nothing() {
    assert_eq!(imports_of_user("#[cfg(test)] mod tests { use crate::a::A; }"), NONE);
    assert_eq!(imports_of_user("#[cfg(all(unix, test))] use crate::a::A;"), NONE);
    assert_eq!(imports_of_user("impl S { #[cfg(test)] fn f(_: crate::a::A) {} }"), NONE);
    assert_eq!(imports_of_user("fn f() { #[cfg(test)] crate::a::run(); }"), NONE);
    assert_eq!(imports(&[("lib.rs", "#[cfg(test)] mod a; struct S;"), ("a.rs", "use super::S;")]), NONE);
}

#[test]
fn code_that_tests_lack_is_read() {
    assert_eq!(imports_of_user("#[cfg(not(test))] use crate::a::A;"), ["a"]);
    assert_eq!(imports_of_user("#[cfg(any(test, unix))] use crate::a::A;"), ["a"]);
}

#[test]
fn foreign_names_are_no_imports() {
    assert_eq!(
        imports_of_user("use std::io::{self, Read}; use ::a::A; fn f(a: u8) { a.run(); libc::a(); }"),
        NONE
    );
    let local = [("lib.rs", "mod a; fn f() { let a = 1; g(a); println!(\"{}\", a); }"), ("a.rs", "")];
    assert_eq!(imports(&local), NONE);
}

#[test]
fn visibility_is_no_import() {
    let text = "pub(crate) struct S; pub(in super::super) fn f() {} m! { pub(crate) struct T; + }";
    assert_eq!(imports(&[("lib.rs", "mod a;"), ("a.rs", "mod b;"), ("a/b.rs", text)]), NONE);
}

#[test]
fn imports_in_a_circle_end() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub use crate::b::X; pub use crate::b::*; pub use a::a;"),
        ("b.rs", "pub use crate::a::X; pub use crate::a::*; use self::b::b as b;"),
    ];
    assert_eq!(imports(&files), ["a -> b", "b -> a"]);
}

#[test]
fn missing_file_of_a_module_is_an_error() {
    let error = parse::read(&sources(&[("lib.rs", "\nmod a;")]), "lib.rs").expect_err("a.rs is missing");
    assert_eq!(error, "lib.rs:2: no file of module `a`");
}

/// A crate of two layers.
const FILES: [(&str, &str); 3] =
    [("lib.rs", "mod high; mod low;"), ("high.rs", "use crate::low::L;"), ("low.rs", "pub struct L;")];

fn layers(text: &str) -> Layers {
    let mut table = table::read(&format!("[x]\nroot = \"src/lib.rs\"\n{text}")).expect("it is a table");
    table.remove("x").expect("it has the crate")
}

/// The problems that each of the three checks finds.
fn problems(files: &[(&str, &str)], text: &str) -> [Vec<String>; 3] {
    Findings::new(&sources(files), &layers(text)).expect("it can be read").problems()
}

#[test]
fn import_of_a_lower_layer_is_allowed() {
    let table = r#"layers = [{ name = "high", files = ["lib.rs", "high.rs"] }, { name = "low", files = ["low.rs"] }]"#;
    assert_eq!(problems(&FILES, table), [vec![], vec![], Vec::<String>::new()]);
}

#[test]
fn import_of_a_higher_layer_is_found() {
    let table = r#"layers = [{ name = "low", files = ["low.rs"] }, { name = "high", files = ["lib.rs", "high.rs"] }]"#;
    assert_eq!(problems(&FILES, table)[1], ["high.rs:1: `crate::low::L` -> low.rs"]);
}

#[test]
fn import_of_an_unlisted_layer_is_found() {
    let table = r#"layers = [
        { name = "high", files = ["lib.rs", "high.rs"], may = [] },
        { name = "low", files = ["low.rs"] },
    ]"#;
    assert_eq!(problems(&FILES, table)[1], ["high.rs:1: `crate::low::L` -> low.rs"]);
    let table = table.replace("may = []", r#"may = ["low"]"#);
    assert_eq!(problems(&FILES, &table), [vec![], vec![], Vec::<String>::new()]);
}

#[test]
fn errors_of_the_table_are_found() {
    let table = r#"layers = [
        { name = "high", files = ["lib.rs", "gone.rs", "low.rs"] },
        { name = "low", files = ["low.rs"], may = ["high"] },
    ]"#;
    let files = [&FILES[..], &[("unread.rs", "")]].concat();
    assert_eq!(
        problems(&files, table)[0],
        [
            "gone.rs: named by layer `high`, but not a source file",
            "low.rs: named twice",
            "layer `low` may import `high`: no lower layer",
            "high.rs: in no layer",
            "unread.rs: no module declares it",
        ]
    );
}

#[test]
fn each_import_of_a_cycle_is_named() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;\nfn f(_: B) {}"),
        ("b.rs", "\npub struct B(crate::a::A);"),
    ];
    assert_eq!(
        problems(&files, "layers = []")[2],
        [
            "2 files import each other: a.rs, b.rs",
            "a.rs:1: `crate::b::B` and 1 more -> b.rs",
            "b.rs:2: `crate::a::A` -> a.rs",
        ]
    );
}

#[test]
fn planted_imports_are_found() {
    let table = r#"layers = [{ name = "high", files = ["lib.rs", "high.rs"] }, { name = "low", files = ["low.rs"] }]"#;
    assert_eq!(plant(&sources(&FILES), &layers(table)), Ok((4, 0)));
}

#[test]
fn crate_of_one_layer_has_no_backward_import() {
    let files = [
        ("lib.rs", "mod high; mod low;"),
        ("high.rs", "mod other; use crate::low::L;"),
        ("high/other.rs", ""),
        ("low.rs", "pub struct L;"),
    ];
    let table = r#"layers = [{ name = "high", files = ["lib.rs", "high.rs", "low.rs", "high/other.rs"] }]"#;
    assert_eq!(plant(&sources(&files), &layers(table)), Err("no layer imports a lower one".into()));
}

#[test]
fn file_for_tests_needs_no_layer() {
    let files = [("lib.rs", "#[cfg(test)] mod tests;"), ("tests.rs", "mod more;"), ("tests/more.rs", "")];
    let table = r#"layers = [{ name = "all", files = ["lib.rs"] }]"#;
    assert_eq!(problems(&files, table)[0], Vec::<String>::new());
}
