//! Hostile peers over real sockets: what ends each of them, what the operator sees of it, what it costs, and that a
//! bystander on the same server notices nothing.
//!
//! Each test starts itself again as the server, so that the memory measured is the server's alone. Nothing here asserts
//! how fast something is; timeouts only turn a hang into a failure.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what fails in a test's helper fails the test; the servers in processes of their own print like a `main`"
)]

use std::collections::BTreeSet;

mod budget;
mod frames;
mod handlers;
mod http1;
mod http2;
mod payloads;
mod peer;
mod rates;
mod served;
mod slow;
mod storms;
mod target;
mod tls;

/// The table in SECURITY.md has a row for each attack, and none for another.
#[test]
fn every_attack_is_listed() {
    let sources = [
        include_str!("frames.rs"),
        include_str!("handlers.rs"),
        include_str!("http1.rs"),
        include_str!("http2.rs"),
        include_str!("payloads.rs"),
        include_str!("rates.rs"),
        include_str!("slow.rs"),
        include_str!("storms.rs"),
        include_str!("tls.rs"),
    ];
    let tests = sources.iter().flat_map(|source| {
        let tests = source.split("#[test]\nfn ").skip(1);
        tests.map(|test| test.split_once("()").unwrap().0)
    });
    let (_, tried) = include_str!("../../../../SECURITY.md")
        .split_once("## What is tried")
        .unwrap();
    let rows = tried.lines().filter_map(|line| line.strip_suffix("` |"));
    let listed = rows.map(|row| row.rsplit_once('`').unwrap().1);
    let tests: BTreeSet<_> = tests.collect();
    assert!(tests.len() >= 24);
    assert_eq!(tests, listed.collect());
}
