#![no_main]

#[path = "../targets/zone.rs"]
mod zone;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zone::held_changes(bytes));
