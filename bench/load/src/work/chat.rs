//! Chat, in an open loop: everybody says something once a second, evenly spread, whether the server keeps up or not.
//!
//! A message carries the time at which it was due, so that what waits in front of a slow server counts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{POLL, Server, Window};
use crate::client::{Clients, Got, Role, Target};
use crate::frame;
use crate::spec::{Report, Work};

const HEAD: &str = "{\"user\":\"someone\",\"at\":\"";
/// Digits of the time, in microseconds.
const DIGITS: usize = 12;
/// Each member, once.
const PERIOD: Duration = Duration::from_secs(1);

/// What one member receives, put together to whole messages.
#[derive(Debug, Default)]
struct Member {
    held: Vec<u8>,
    unwritten: Vec<u8>,
}

pub(super) fn run(target: &Target) -> Result<Report> {
    let Work::Chat {
        rooms,
        members,
        size,
        until,
    } = target.spec.work
    else {
        bail!("no chat");
    };
    ensure!(rooms <= 256, "a room is one byte");
    let everyone = rooms * members;
    let server = Server::new(&target.spec)?;
    let mut clients = Clients::new()?;
    let role = |number: usize| Role::Member {
        room: (number % rooms) as u8,
    };
    clients.open(target, everyone, role, false)?;
    server.settle()?;

    let format = Format::new(size, target.spec.raw);
    let mut everybody: Vec<Member> = Vec::new();
    everybody.resize_with(everyone, Member::default);
    let mut window = Window::new(&server, until)?;
    let start = Instant::now();
    let between = PERIOD / everyone as u32;
    let (mut said, mut ready) = (0_u32, Vec::new());
    loop {
        let now = Instant::now();
        if window.is_over(now)? {
            break;
        }
        while start + between * said <= now {
            let due = between * said;
            // A stride that is prime to the rooms would do too; this way a room hears something every `rooms` messages.
            let speaker = said as usize % everyone;
            let member = &mut everybody[speaker];
            member.unwritten.extend(format.encode(due));
            let written = clients.write(speaker, &member.unwritten)?;
            member.unwritten.drain(..written);
            said += 1;
        }
        clients.wait(&mut ready, POLL)?;
        if ready.is_empty() {
            window.nothing_came();
        }
        for event in ready.iter().filter(|event| event.readable) {
            let member = &mut everybody[event.connection];
            match clients.read(event.connection)? {
                Got::Bytes(bytes) => member.held.extend(bytes),
                Got::Nothing => {}
                Got::Closed => bail!("the server closed member {}", event.connection),
            }
            let now = Instant::now();
            let whole = member.held.len() / format.length * format.length;
            for message in member.held[..whole].chunks_exact(format.length) {
                window.came(Some(start + format.decode(message)?), now);
            }
            member.held.drain(..whole);
        }
    }
    let mut report = window.report;
    report.connections = everyone as u64;
    Ok(report)
}

/// Messages of one length, out and in.
#[derive(Debug)]
struct Format {
    size: usize,
    /// Of a frame that comes in.
    length: usize,
    masked: bool,
    head: [u8; 2],
}

impl Format {
    fn new(size: usize, raw: bool) -> Self {
        let payload = payload(size, Duration::ZERO);
        let incoming = if raw {
            frame::masked(frame::TEXT, false, &payload)
        } else {
            frame::unmasked(frame::TEXT, &payload)
        };
        Self {
            size,
            length: incoming.len(),
            masked: raw,
            head: [incoming[0], incoming[1]],
        }
    }

    fn encode(&self, due: Duration) -> Vec<u8> {
        frame::masked(frame::TEXT, false, &payload(self.size, due))
    }

    /// When the message was due.
    fn decode(&self, message: &[u8]) -> Result<Duration> {
        ensure!(message[..2] == self.head, "a frame of another kind came");
        let mut payload = message[message.len() - self.size..].to_vec();
        if self.masked {
            frame::mask(&mut payload);
        }
        let digits = payload.get(HEAD.len()..HEAD.len() + DIGITS);
        let digits = std::str::from_utf8(digits.unwrap_or_default())?;
        let microseconds = digits.parse().context("another message came")?;
        Ok(Duration::from_micros(microseconds))
    }
}

fn payload(size: usize, due: Duration) -> Vec<u8> {
    let start = format!("{HEAD}{:0DIGITS$}\",\"text\":\"", due.as_micros());
    let rest = size.saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "-".repeat(rest)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_comes_back() {
        let due = Duration::from_micros(12_345_678);
        let raw = Format::new(100, true);
        assert_eq!(raw.decode(&raw.encode(due)).unwrap(), due);
        assert_eq!(payload(100, due).len(), 100);
        assert!(serde_json::from_slice::<serde_json::Value>(&payload(100, due)).is_ok());
        let plain = Format::new(100, false);
        let reply = frame::unmasked(frame::TEXT, &payload(100, due));
        assert_eq!(plain.decode(&reply).unwrap(), due);
        assert!(
            plain
                .decode(&frame::unmasked(frame::PING, &[0; 100]))
                .is_err()
        );
    }
}
