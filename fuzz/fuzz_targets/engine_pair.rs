//! [`fuzz_bodies::engine_pair`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::engine_pair::run(input));
