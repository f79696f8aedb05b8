//! [`fuzz_bodies::inflate`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::inflate::run(input));
