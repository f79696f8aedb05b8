//! [`Plan`]: what a seed means. Everything that is chosen before a schedule begins: the topology, the bounds, what the
//! clients and the operator do and when, and what goes wrong. Plain data, printed when a seed is replayed.

use std::time::Duration;

use dreamsocket::{Compression, Config};

use crate::oracle::Bounds;
use crate::random::Rng;
use crate::script::Script;
use crate::tap::Shake;

/// Which way the bytes of the server's sessions take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    Fast,
    Generic,
}

/// What goes wrong with the network between the server and a host of clients, or with the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing arrives for so long, and then everything.
    Hold(usize, Duration),
    /// Everything under way is lost, and for so long whatever is sent.
    Partition(usize, Duration),
    /// The same in one direction: to the server.
    PartitionToServer(usize, Duration),
    /// The same in the other.
    PartitionFromServer(usize, Duration),
    /// The server's host is gone without a word, and comes back.
    Crash(Duration),
}

/// What the operator does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Publish(u64),
    Feed(u64),
    Send,
    /// Sends what a client's handlers obey.
    Order,
    Ping,
    Close,
}

#[derive(Debug, Clone)]
pub(crate) enum ClientKind {
    /// Writes frames of its own making.
    Raw,
    /// The library's client, on the fast path or not, and whether it connects again.
    Library { is_fast: bool, reconnects: bool },
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// On which of the clients' hosts.
    pub(crate) host: usize,
    pub(crate) kind: ClientKind,
    pub(crate) script: Script,
    pub(crate) seed: u64,
}

/// The bounds of all sessions, as durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) close: Duration,
    handler: Duration,
    init: Duration,
    send: Duration,
    stall: Duration,
    drain: Duration,
    drain_spread: Duration,
    heartbeat: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) path: PathKind,
    pub(crate) tick: Duration,
    pub(crate) latency: (Duration, Duration),
    /// How many segments are under way on a stream at most.
    pub(crate) segments: usize,
    pub(crate) hosts: usize,
    pub(crate) clients: Vec<Client>,
    pub(crate) times: Times,
    outbox: usize,
    max_message: usize,
    compression: Compression,
    shakes: [Shake; 2],
    pub(crate) operator: Vec<(Duration, Deed)>,
    pub(crate) faults: Vec<(Duration, Fault)>,
    pub(crate) drain_at: Duration,
    /// When everything has to be over.
    pub(crate) end: Duration,
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let path = match rng.percent(60) {
            true => PathKind::Fast,
            false => PathKind::Generic,
        };
        let hosts = 1 + rng.below(3);
        let times = Times::of(&mut rng);
        let count = hosts.max(1 + rng.below(5));
        let clients = (0..count)
            .map(|index| Client {
                host: index % hosts,
                kind: match rng.below(10) {
                    0..=5 => ClientKind::Raw,
                    _ => ClientKind::Library {
                        is_fast: rng.percent(60),
                        reconnects: rng.percent(30),
                    },
                },
                script: Script::of(&mut rng),
                seed: rng.draw(),
            })
            .collect::<Vec<_>>();
        let drain_at = match rng.percent(25) {
            // In the middle of everything.
            true => millis(rng.within(30..=600)),
            false => {
                let longest = clients.iter().map(|client| client.script.length()).max();
                longest.unwrap_or_default() + millis(rng.within(10..=300))
            }
        };
        let operator = operator(&mut rng, drain_at);
        let faults = faults(&mut rng, hosts, drain_at);
        let base = rng.within(0..=6);
        Self {
            seed,
            path,
            tick: millis(*rng.pick(&[5, 10, 10, 20])),
            latency: (millis(base), millis(base + rng.within(0..=40))),
            segments: *rng.pick(&[8, 16, 64]),
            hosts,
            clients,
            times,
            outbox: *rng.pick(&[600, 3_000, 8_000, 20_000, 64_000]),
            max_message: 60_000,
            compression: match rng.below(10) {
                0..=5 => Compression::off(),
                6..=7 => Compression::shared().with_threshold(20),
                _ => {
                    let window_bits = *rng.pick(&[9, 11, 15]);
                    Compression::dedicated(window_bits).with_threshold(20)
                }
            },
            shakes: [Shake::of(&mut rng), Shake::of(&mut rng)],
            operator,
            faults,
            drain_at,
            end: drain_at + times.drain + times.close * 6 + millis(1_500),
        }
    }

    /// The luck of the next stream.
    pub(crate) fn shake(&self, rng: &mut Rng) -> Shake {
        *rng.pick(&self.shakes)
    }

    pub(crate) fn config(&self) -> Config {
        let times = &self.times;
        Config::default()
            .with_close_time(times.close)
            .with_handler_timeout(Some(times.handler))
            .with_init_timeout(times.init)
            .with_send_timeout(times.send)
            .with_stall_timeout(times.stall)
            .with_drain_time(times.drain)
            .with_drain_spread(times.drain_spread)
            .with_heartbeat(times.heartbeat)
            .with_outbox(self.outbox)
            .with_max_message(self.max_message)
            .with_max_frame(self.max_message)
            .with_control_frames(1_000_000)
            .with_compression(self.compression)
            .with_head_timeout(millis(400))
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let times = &self.times;
        Bounds {
            tick: micros(self.tick),
            close_time: micros(times.close),
            handler_timeout: micros(times.handler),
            init_timeout: micros(times.init),
            send_timeout: micros(times.send),
            stall_timeout: micros(times.stall),
            drain_time: micros(times.drain),
            is_drain_spread: !times.drain_spread.is_zero(),
            heartbeat: times.heartbeat.map(micros),
            outbox: self.outbox,
            max_message: self.max_message,
        }
    }
}

impl Times {
    fn of(rng: &mut Rng) -> Self {
        let drain = millis(rng.within(60..=300));
        Self {
            close: millis(rng.within(60..=250)),
            handler: millis(rng.within(80..=300)),
            init: millis(rng.within(60..=200)),
            send: millis(rng.within(30..=200)),
            stall: millis(rng.within(150..=400)),
            drain,
            drain_spread: match rng.percent(20) {
                true => drain / 2,
                false => Duration::ZERO,
            },
            heartbeat: rng.percent(80).then(|| millis(rng.within(60..=300))),
        }
    }
}

impl Shake {
    fn of(rng: &mut Rng) -> Self {
        let calm = rng.percent(25);
        let mut luck = |most: u64| if calm { 0 } else { rng.within(0..=most) };
        Self {
            short_reads: luck(30),
            false_wakes: luck(15),
            late_reads: luck(40),
            short_writes: luck(20),
            late_writes: luck(15),
            segment: *rng.pick(&[700, 2_000, 8_000, 70_000]),
            is_buffering: rng.percent(30),
        }
    }
}

fn operator(rng: &mut Rng, until: Duration) -> Vec<(Duration, Deed)> {
    let mut deeds = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        // Several at once now and then, so that channels overflow.
        if !rng.percent(40) {
            at += millis(rng.within(1..=60));
        }
        if at >= until || deeds.len() == 80 {
            return deeds;
        }
        let deed = match rng.below(20) {
            0..=7 => Deed::Publish(rng.within(0..=2)),
            8..=12 => Deed::Feed(*rng.pick(&[0, 1, 2, 2])),
            13..=15 => Deed::Send,
            16..=17 => Deed::Order,
            18 => Deed::Ping,
            _ => match rng.percent(25) {
                true => Deed::Close,
                false => Deed::Send,
            },
        };
        deeds.push((at, deed));
    }
}

fn faults(rng: &mut Rng, hosts: usize, until: Duration) -> Vec<(Duration, Fault)> {
    let count = *rng.pick(&[0, 0, 1, 1, 2, 3]);
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let at = millis(rng.within(5..=u64::try_from(until.as_millis()).unwrap_or(5).max(6)));
            let (host, time) = (rng.below(hosts), millis(rng.within(5..=500)));
            let fault = match rng.below(12) {
                0..=4 => Fault::Hold(host, time),
                5..=7 => Fault::Partition(host, time),
                8 => Fault::PartitionToServer(host, time),
                9 => Fault::PartitionFromServer(host, time),
                10 => Fault::Crash(time.min(millis(100))),
                _ => Fault::Hold(host, time / 10),
            };
            (at, fault)
        })
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}
