//! [`fuzz_bodies::mask`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::mask::run(input));
