//! One message to many: a window of published messages, which moves on when the slowest subscriber that reads has the oldest.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::messages::{self, Outgoing, Replies, Sending};
use super::{POLL, Server, Window};
use crate::client::{Clients, Got, PATIENCE, Role, Target};
use crate::spec::{Report, Work};

/// What fills the sockets of those that read nothing, before it is measured: more than the 80 KiB that they take.
const FILL: (u64, usize) = (2, 64 * 1024);
/// Between the window's end and the look at who was closed.
const GRACE: Duration = Duration::from_millis(50);

/// A published message that not all have.
#[derive(Debug, Clone, Copy)]
struct Published {
    at: Instant,
    missing: usize,
}

/// What is under way, oldest first.
#[derive(Debug, Default)]
struct Flight {
    /// The number of the oldest.
    first: u64,
    published: VecDeque<Published>,
}

impl Flight {
    fn publish(&mut self, messages: u64, at: Instant, subscribers: usize) {
        for _ in 0..messages {
            self.published.push_back(Published {
                at,
                missing: subscribers,
            });
        }
    }

    /// A subscriber got the message of that number.
    fn deliver(&mut self, number: u64) -> Option<Instant> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let published = self.published.get_mut(index)?;
        published.missing = published.missing.checked_sub(1)?;
        Some(published.at)
    }

    /// Forgets those that all have, and says how many.
    fn advance(&mut self) -> u64 {
        let mut done = 0;
        while self
            .published
            .front()
            .is_some_and(|oldest| oldest.missing == 0)
        {
            self.published.pop_front();
            done += 1;
        }
        self.first += done;
        done
    }
}

pub(super) fn run(target: &Target) -> Result<Report> {
    let Work::FanOut {
        subscribers,
        stalled,
        size,
        window: at_once,
        handled,
        until,
    } = target.spec.work
    else {
        bail!("not a fan-out");
    };
    let (message, expected) = messages::frames(&messages::binary(size), target.spec.raw);
    let outgoing = Outgoing::new(&message, at_once);

    // The subscribers come first, then those that stall, then the publisher.
    let role = |_| Role::Subscriber { handled };
    let publisher = subscribers + stalled;
    let server = Server::new(&target.spec)?;
    let mut clients = Clients::new()?;
    clients.open(target, subscribers, role, false)?;
    clients.open(target, stalled, role, true)?;
    clients.open(target, 1, |_| Role::Publisher, false)?;
    server.settle()?;

    if stalled > 0 {
        fill(&mut clients, target.spec.raw, subscribers, publisher)?;
    }

    let mut window = Window::new(&server, until)?;
    let mut replies = vec![Replies::default(); subscribers];
    let mut received = vec![0_u64; subscribers];
    let mut flight = Flight::default();
    let mut sending = Sending::default();
    let mut publish = |flight: &mut Flight, clients: &mut Clients, messages: u64| {
        flight.publish(messages, Instant::now(), subscribers);
        sending.add(messages, &outgoing);
        sending.write(&outgoing, |bytes| clients.write(publisher, bytes))
    };
    publish(&mut flight, &mut clients, at_once as u64)?;
    let mut ready = Vec::new();
    while !window.is_over(Instant::now())? {
        clients.wait(&mut ready, POLL)?;
        if ready.is_empty() {
            window.nothing_came();
        }
        for event in &ready {
            let connection = event.connection;
            if connection == publisher {
                publish(&mut flight, &mut clients, 0)?;
            }
            if connection >= subscribers || !event.readable {
                continue;
            }
            let count = match clients.read(connection)? {
                Got::Bytes(bytes) => replies[connection].take(bytes, &expected)?,
                Got::Nothing => 0,
                Got::Closed => bail!("the server closed subscriber {connection}"),
            };
            let now = Instant::now();
            for number in received[connection]..received[connection] + count {
                let sent = flight.deliver(number);
                window.came(Some(sent.context("more came than was published")?), now);
            }
            received[connection] += count;
        }
        let done = flight.advance();
        if done > 0 {
            publish(&mut flight, &mut clients, done)?;
        }
    }
    let mut report = window.report;
    report.connections = publisher as u64 + 1;
    if stalled > 0 {
        std::thread::sleep(GRACE);
        for connection in subscribers..publisher {
            report.closed += u64::from(is_closed(&mut clients, connection)?);
        }
    }
    Ok(report)
}

/// Publishes a few large messages and waits until all that read have them.
fn fill(clients: &mut Clients, raw: bool, subscribers: usize, publisher: usize) -> Result<()> {
    let (count, size) = FILL;
    let (message, expected) = messages::frames(&messages::binary(size), raw);
    let outgoing = Outgoing::new(&message, 1);
    let mut sending = Sending::default();
    sending.add(count, &outgoing);
    let mut replies = vec![Replies::default(); subscribers];
    let mut missing = subscribers as u64 * count;
    let mut ready = Vec::new();
    let mut last = Instant::now();
    while missing > 0 {
        ensure!(last.elapsed() < PATIENCE, "no large message comes through");
        sending.write(&outgoing, |bytes| clients.write(publisher, bytes))?;
        clients.wait(&mut ready, POLL)?;
        for event in &ready {
            if event.connection >= subscribers || !event.readable {
                continue;
            }
            match clients.read(event.connection)? {
                Got::Bytes(bytes) => missing -= replies[event.connection].take(bytes, &expected)?,
                Got::Nothing => {}
                Got::Closed => bail!("the server closed subscriber {}", event.connection),
            }
            last = Instant::now();
        }
    }
    Ok(())
}

/// Reads what a stalled subscriber has, to see whether it ends.
fn is_closed(clients: &mut Clients, connection: usize) -> Result<bool> {
    loop {
        match clients.read(connection)? {
            Got::Bytes(_) => {}
            Got::Nothing => return Ok(false),
            Got::Closed => return Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_waits_for_the_slowest() {
        let mut flight = Flight::default();
        let at = Instant::now();
        flight.publish(3, at, 2);
        assert_eq!(flight.deliver(0), Some(at));
        assert_eq!(flight.deliver(1), Some(at));
        assert_eq!(flight.advance(), 0);
        assert_eq!(flight.deliver(0), Some(at));
        assert_eq!(flight.deliver(1), Some(at));
        assert_eq!(flight.advance(), 2);
        assert_eq!(flight.deliver(2), Some(at));
        assert_eq!(flight.deliver(3), None);
        assert_eq!(flight.deliver(1), None);
    }
}
