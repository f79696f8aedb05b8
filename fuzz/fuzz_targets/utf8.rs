//! [`fuzz_bodies::utf8`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::utf8::run(input));
