//! [`fuzz_bodies::decoder`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::decoder::run(input));
