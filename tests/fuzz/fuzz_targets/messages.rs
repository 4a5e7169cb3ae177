#![no_main]

#[path = "../targets/messages.rs"]
mod messages;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| messages::messages(bytes));
