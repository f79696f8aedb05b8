//! Allocations for a message that is echoed, when everything is warm.

use crate::peer::Peer;
use crate::process::Process;

const BATCHES: usize = 1000;
const AT_ONCE: usize = 16;

/// For a small message: its payload, which is copied out of the read buffer so that it may be kept.
const SMALL: usize = 1;

/// For one that is split off the read buffer, which has to be replaced then. Less on average, by how TCP cuts a batch.
const LARGE: usize = 1;

/// Sends messages of this size, and counts what an echo takes.
fn check(server: &mut Process, size: usize, budget: usize) {
    let mut peer = Peer::open(server.address, "/");
    let mut echo = |batches| {
        for _ in 0..batches {
            peer.echo(AT_ONCE, size);
        }
    };
    echo(BATCHES / 10);
    let before = server.at_rest(1).allocations;
    echo(BATCHES);
    let after = server.at_rest(1).allocations;
    let (allocations, messages) = (after - before, BATCHES * AT_ONCE);
    println!("{size} bytes: {allocations} allocations for {messages} messages");
    assert!(
        allocations <= budget * messages,
        "echoes of {size} bytes: {allocations} allocations for {messages} messages, the budget is {budget} each"
    );
}

#[test]
fn a_small_echo_allocates_its_payload_only() {
    Process::run(|server| check(server, 32, SMALL));
}

#[test]
fn a_large_echo_stays_within_its_budget() {
    Process::run(|server| check(server, 8 * 1024, LARGE));
}
