//! Passes an option of the extension module to the linker.

const ELF: [&str; 7] = ["android", "dragonfly", "freebsd", "linux", "netbsd", "nto", "openbsd"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    // `dlclose` must not unmap the code of the thread that watches for deaths, nor of the `pthread_atfork` handlers.
    if ELF.contains(&system.as_str()) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
