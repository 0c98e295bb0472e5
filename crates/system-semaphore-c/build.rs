//! Gives the shared library the name that programs ask for at run time.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // changes with each version that breaks programs; `install` puts the file there under this name
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsystem_semaphore.so.0");
    }
}
