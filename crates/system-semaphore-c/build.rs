//! Passes options of the shared library to the linker.

const ELF: [&str; 7] = ["android", "dragonfly", "freebsd", "linux", "netbsd", "nto", "openbsd"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    // The name that programs ask for at run time. It changes with each version that breaks programs; `install` puts the
    // file there under this name.
    if system == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsystem_semaphore.so.0");
    }
    // `dlclose` must not unmap the code of the thread that watches for deaths, nor of the `pthread_atfork` handlers.
    if ELF.contains(&system.as_str()) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
