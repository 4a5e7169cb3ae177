#![no_main]

#[path = "../targets/corefile.rs"]
mod corefile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corefile::corefile(bytes));
