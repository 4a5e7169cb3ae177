#![no_main]

#[path = "../targets/replies.rs"]
mod replies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replies::replies(bytes));
