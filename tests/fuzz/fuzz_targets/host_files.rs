#![no_main]

#[path = "../targets/stub.rs"]
mod stub;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stub::host_files(bytes));
