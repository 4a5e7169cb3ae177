//! The stub refers to libc's functions weakly, and optimization over all crates makes that weak for
//! the standard library, too. A static link would then leave them out: they are asked for by name.

/// What the stub and the standard library both use.
const FUNCTIONS: [&str; 7] = [
    "__errno_location",
    "calloc",
    "clock_gettime",
    "free",
    "getauxval",
    "getenv",
    "malloc",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for function in FUNCTIONS {
        println!("cargo:rustc-link-arg-bins=-Wl,-u,{function}");
    }
}
