//! [`fuzz_bodies::handshake_client`], for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_bodies::handshake_client::run(input));
