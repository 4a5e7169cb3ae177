//! How the shim is linked; the module's build script has the same list.

fn main() {
    for argument in [
        // No libc, no start files: nothing of a libc may be imported or required.
        "-nostdlib",
        "-nostartfiles",
        // the name under which it is preloaded.
        "-Wl,-soname,libnss_k8s_preload.so",
        // An undefined strong symbol fails the link: the proof that no panic survived needs it.
        "-Wl,-z,defs",
        // Never unloaded: mappings and parsed files stay published for the life of the process.
        "-Wl,-z,nodelete",
        "-Wl,-z,noexecstack",
        "-Wl,-z,nopack-relative-relocs",
        "-Wl,--hash-style=gnu",
        "-Wl,--gc-sections",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,shstk");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
