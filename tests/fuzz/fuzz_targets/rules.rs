#![no_main]

#[path = "../targets/rules.rs"]
mod rules;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rules::rules(bytes));
