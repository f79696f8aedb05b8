//! Bytes that a connection holds while it has nothing to do.

use std::net::SocketAddr;

use crate::peer::Peer;
use crate::process::Process;
use crate::served::STATE;

const CONNECTIONS: usize = 1000;

/// So many come and go before anything is measured, so that pools are filled.
const WARM: usize = 100;

/// Bytes of an idle connection whose handlers echo: all of it, under `Server`, with its hub and a heartbeat.
const PLAIN: usize = 1520 + METERED;

/// The same with a topic through a selector.
const WITH_TOPIC: usize = 1824 + METERED;

/// What the feature `metrics` adds: what was told of the connection already.
const METERED: usize = if cfg!(feature = "metrics") { 56 } else { 0 };

/// What may differ between connections that talked and those that did not.
const AFTER_TRAFFIC: usize = 16;

/// How a test's peers are opened, and what they say when they talk.
#[derive(Clone, Copy)]
struct Kind {
    open: fn(SocketAddr, &str) -> Peer,
    talk: fn(&mut Peer),
}

const PLAINLY: Kind = Kind {
    open: Peer::open,
    // The last one is larger than a read buffer.
    talk: |peer| {
        for _ in 0..3 {
            peer.echo(16, 32);
        }
        peer.echo(1, 40_000);
    },
};

const COMPRESSING: Kind = Kind {
    open: Peer::open_compressing,
    talk: |peer| {
        for _ in 0..3 {
            peer.echo(16, 32);
        }
        peer.echo_compressed(40_000);
    },
};

impl Process {
    /// Connections of this path, and what each of them holds.
    fn open_idle(&mut self, kind: Kind, path: &str) -> (Vec<Peer>, usize) {
        rlimit::increase_nofile_limit(16 * 1024).unwrap();
        let mut warm: Vec<_> = (0..WARM).map(|_| (kind.open)(self.address, path)).collect();
        warm.iter_mut().for_each(kind.talk);
        drop(warm);
        let before = self.at_rest(0).live;
        let peers = (0..CONNECTIONS).map(|_| (kind.open)(self.address, path));
        let peers = peers.collect();
        let live = self.at_rest(CONNECTIONS).live;
        (peers, (live - before).div_ceil(CONNECTIONS))
    }
}

fn check(what: &str, bytes: usize, budget: usize) {
    println!("{what}: {bytes} of {budget} bytes");
    assert!(
        bytes <= budget,
        "an idle connection, {what}: {bytes} bytes, the budget is {budget}"
    );
}

#[test]
fn an_idle_connection_stays_within_its_budget() {
    Process::run(|server| {
        let (_peers, bytes) = server.open_idle(PLAINLY, "/");
        check("plain", bytes, PLAIN);
    });
}

#[test]
fn an_idle_connection_with_a_topic_stays_within_its_budget() {
    Process::run(|server| {
        let (_peers, bytes) = server.open_idle(PLAINLY, "/topic");
        check("with a topic", bytes, WITH_TOPIC);
    });
}

#[test]
fn a_state_costs_its_size() {
    Process::run(|server| {
        let (_peers, bytes) = server.open_idle(PLAINLY, "/state");
        check("with a state", bytes, PLAIN + STATE);
    });
}

/// Talks on connections that have never talked, and looks at what they hold afterwards.
fn check_kept(server: &mut Process, kind: Kind) {
    let (mut peers, fresh) = server.open_idle(kind, "/");
    let before = server.at_rest(CONNECTIONS).live;
    peers.iter_mut().for_each(kind.talk);
    let after = server.at_rest(CONNECTIONS).live;
    let kept = after.saturating_sub(before).div_ceil(CONNECTIONS);
    check("after traffic", fresh + kept, fresh + AFTER_TRAFFIC);
}

#[test]
fn nothing_is_kept_of_messages() {
    Process::run(|server| check_kept(server, PLAINLY));
}

#[test]
fn nothing_is_kept_of_compressed_messages() {
    Process::run(|server| check_kept(server, COMPRESSING));
}
