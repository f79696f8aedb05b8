//! [`fuzz_bodies::differential`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::differential::run(input));
