#![no_main]

#[path = "../targets/buffers.rs"]
mod buffers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buffers::buffers(bytes));
