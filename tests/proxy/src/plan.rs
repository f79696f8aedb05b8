//! What is to happen to a connection: [`Plan`]. Plain data; nothing here happens.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::dice::Dice;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// Each side sees the end of the other (FIN), wherever in a message that is, as when the other's process dies.
    Cut,
    /// Each side sees a reset (RST).
    Reset,
    /// Nothing goes through any more, either way, and nobody is told, as when a cable is pulled. Both sockets stay until the
    /// proxy is dropped or told another end.
    BlackHole,
}

/// What happens to the bytes that go one way. Their order and their content stay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a flow does nothing until it is in a plan"]
pub struct Flow {
    pub(crate) delay: (Duration, Duration),
    pub(crate) pieces: Pieces,
    /// Bytes a second.
    pub(crate) rate: Option<NonZeroU64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    AsTheyCome,
    /// Of at most so many bytes.
    Split(NonZeroU64),
    /// What comes within this time goes together.
    Coalesced(Duration),
}

impl Flow {
    /// Bytes go on as they come.
    pub const fn calm() -> Self {
        Self {
            delay: (Duration::ZERO, Duration::ZERO),
            pieces: Pieces::AsTheyCome,
            rate: None,
        }
    }

    /// Each piece is under way for a time between these; none overtakes another.
    pub const fn with_delay(mut self, least: Duration, most: Duration) -> Self {
        self.delay = (least, most);
        self
    }

    /// What comes together goes on in pieces of at most so many bytes, at least 1, each with a write of its own and now and
    /// then a pause after it. Instead of [`coalesced`](Self::coalesced).
    pub fn split(mut self, most: u64) -> Self {
        self.pieces = Pieces::Split(NonZeroU64::new(most).unwrap_or(NonZeroU64::MIN));
        self
    }

    /// What comes within this time after a first byte goes on together with it. Instead of [`split`](Self::split).
    pub const fn coalesced(mut self, time: Duration) -> Self {
        self.pieces = Pieces::Coalesced(time);
        self
    }

    /// At most so many bytes a second go through, at least 1. What is more waits with the sender.
    pub fn throttled(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(NonZeroU64::new(bytes_per_second).unwrap_or(NonZeroU64::MIN));
        self
    }

    /// Any of these, or several, such that a connection with little to say still does so within seconds.
    pub fn drawn(dice: &mut Dice) -> Self {
        let mut flow = Self::calm();
        if dice.once_in(2) {
            let most = Duration::from_millis(dice.draw(1..30));
            flow = flow.with_delay(Duration::ZERO, most);
        }
        flow = match dice.draw(0..3) {
            0 => flow,
            1 => flow.split(dice.draw(16..300)),
            _ => flow.coalesced(Duration::from_millis(dice.draw(1..20))),
        };
        if dice.once_in(4) {
            flow = flow.throttled(dice.draw(64..256) * 1024);
        }
        flow
    }
}

/// What happens to each connection that goes through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a plan does nothing until a proxy has it"]
pub struct Plan {
    pub(crate) up: Flow,
    pub(crate) down: Flow,
    /// After how many bytes that way which end comes.
    pub(crate) end: Option<(Way, u64, End)>,
}

impl Plan {
    /// Bytes go on as they come, and the connection ends when its ends say so.
    pub const fn calm() -> Self {
        Self {
            up: Flow::calm(),
            down: Flow::calm(),
            end: None,
        }
    }

    /// A plan of drawn flows, without an end.
    pub fn drawn(dice: &mut Dice) -> Self {
        Self::calm()
            .with_up(Flow::drawn(dice))
            .with_down(Flow::drawn(dice))
    }

    /// What happens to what the client sends.
    pub fn with_up(mut self, flow: Flow) -> Self {
        self.up = flow;
        self
    }

    /// What happens to what the server sends.
    pub fn with_down(mut self, flow: Flow) -> Self {
        self.down = flow;
        self
    }

    /// The connection ends like this once exactly so many bytes went that way.
    pub const fn with_end(mut self, end: End, way: Way, after: u64) -> Self {
        self.end = Some((way, after, end));
        self
    }
}
