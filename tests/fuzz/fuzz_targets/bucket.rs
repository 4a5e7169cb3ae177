#![no_main]

#[path = "../targets/agent.rs"]
mod agent;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::bucket(bytes));
