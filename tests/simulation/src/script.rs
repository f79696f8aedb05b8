//! [`Script`]: what a client does, step by step.

use std::time::Duration;

use crate::order::Order;
use crate::random::Rng;

/// One frame, or the fragments of a message.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Order(Order),
    /// In so many fragments, perhaps with a ping between them.
    Fragments(Order, usize, bool),
    Binary(usize),
    Ping,
    Pong,
}

/// How the protocol is broken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cheat {
    Opcode,
    Unmasked,
    Reserved,
    Utf8,
    TooLarge,
    Continuation,
    LongPing,
    BadClose,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// All of it at once, in so many segments, with a pause between them.
    Send {
        parts: Vec<Part>,
        cuts: usize,
        pause: Duration,
    },
    Wait(Duration),
    /// Reads nothing for a while.
    Stall(Duration),
    /// Reads so many bytes in that time.
    Trickle(usize, Duration),
    /// Answers no pings from here on, or does again.
    Mute(bool),
    Close(u16),
    Cheat(Cheat),
    HalfClose,
    /// Is gone, without a word.
    Vanish,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// When it connects.
    pub(crate) start: Duration,
    pub(crate) steps: Vec<Step>,
    /// Whether frames come in the packet of the request.
    pub(crate) is_early: bool,
    /// Whether it offers compression, and how it compresses then.
    pub(crate) offers_deflate: bool,
}

impl Script {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let start = Duration::from_millis(match rng.percent(60) {
            true => rng.within(0..=10),
            false => rng.within(0..=300),
        });
        let count = 2 + rng.below(9);
        let mut steps: Vec<Step> = (0..count).map(|_| Step::of(rng)).collect();
        steps.push(match rng.below(12) {
            0..=2 => Step::Close(*rng.pick(&[1000, 1001, 4_200])),
            3 => Step::Cheat(Cheat::of(rng)),
            4 => Step::HalfClose,
            5 => Step::Vanish,
            6..=9 => Step::Send {
                parts: ending(rng),
                cuts: rng.below(3),
                pause: Duration::from_millis(rng.within(0..=5)),
            },
            // The server has to.
            _ => Step::Wait(Duration::from_millis(100)),
        });
        Self {
            start,
            steps,
            is_early: rng.percent(25),
            offers_deflate: rng.percent(60),
        }
    }

    /// How long it takes at least.
    pub(crate) fn length(&self) -> Duration {
        let steps = self.steps.iter().map(|step| match step {
            Step::Send { cuts, pause, .. } => {
                *pause * u32::try_from(*cuts).unwrap_or_default() + Duration::from_millis(15)
            }
            Step::Wait(time) | Step::Stall(time) | Step::Trickle(_, time) => *time,
            _ => Duration::ZERO,
        });
        self.start + steps.sum::<Duration>()
    }
}

/// The last word: an order that ends the connection, with others around it.
fn ending(rng: &mut Rng) -> Vec<Part> {
    let mut parts: Vec<Part> = (0..rng.below(6)).map(|_| Part::of(rng)).collect();
    parts.push(Part::Order(Order::last(rng)));
    parts.extend((0..rng.below(4)).map(|_| Part::of(rng)).collect::<Vec<_>>());
    parts
}

impl Part {
    fn of(rng: &mut Rng) -> Self {
        match rng.below(20) {
            0..=13 => Self::Order(Order::lasting(rng)),
            14..=15 => Self::Fragments(Order::lasting(rng), 2 + rng.below(4), rng.percent(50)),
            16 => Self::Binary(rng.below(3_000)),
            17..=18 => Self::Ping,
            _ => Self::Pong,
        }
    }
}

impl Cheat {
    fn of(rng: &mut Rng) -> Self {
        *rng.pick(&[
            Self::Opcode,
            Self::Unmasked,
            Self::Reserved,
            Self::Utf8,
            Self::TooLarge,
            Self::Continuation,
            Self::LongPing,
            Self::BadClose,
        ])
    }
}

impl Step {
    fn of(rng: &mut Rng) -> Self {
        let time = Duration::from_millis(rng.within(1..=120));
        match rng.below(40) {
            0..=19 => Self::Send {
                parts: (0..1 + rng.below(8)).map(|_| Part::of(rng)).collect(),
                cuts: rng.below(4),
                pause: Duration::from_millis(rng.within(0..=6)),
            },
            // Many small ones at once.
            20..=22 => {
                let quiet = rng.percent(50);
                Self::Send {
                    parts: (0..20 + rng.below(120))
                        .map(|_| {
                            Part::Order(match quiet {
                                true => Order::with(crate::order::Deed::Echo, rng),
                                false => Order::lasting(rng),
                            })
                        })
                        .collect(),
                    cuts: rng.below(2),
                    pause: Duration::ZERO,
                }
            }
            // More pings than are kept.
            23 => Self::Send {
                parts: (0..rng.within(5..=120)).map(|_| Part::Ping).collect(),
                cuts: 0,
                pause: Duration::ZERO,
            },
            // More than is read ahead, behind a slow handler.
            24..=25 => {
                let mut parts = vec![Part::Order(Order {
                    deed: crate::order::Deed::Slow,
                    count: rng.within(20..=250),
                    size: 0,
                })];
                parts.extend(
                    (0..10 + rng.below(15))
                        .map(|_| Part::Binary(1_000 + rng.below(1_500)))
                        .collect::<Vec<_>>(),
                );
                parts.push(Part::Ping);
                Self::Send {
                    parts,
                    cuts: rng.below(3),
                    pause: Duration::from_millis(rng.within(0..=6)),
                }
            }
            26 => Self::Send {
                parts: vec![Part::Binary(rng.below(50_000))],
                cuts: rng.below(6),
                pause: Duration::from_millis(rng.within(0..=10)),
            },
            27..=32 => Self::Wait(time),
            33..=35 => Self::Stall(time * 2),
            36..=37 => Self::Trickle(rng.below(4_000), time),
            38 => Self::Mute(true),
            _ => Self::Mute(false),
        }
    }
}
