//! Echo, in a closed loop: whenever replies come, as many new messages go out with one write.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::messages::{self, Outgoing, Replies, Sending};
use super::{POLL, Server, Window};
use crate::client::{Clients, Got, PATIENCE, Ready, Role, Target};
use crate::frame::{self, Frame, FrameReader};
use crate::latency::SendTimes;
use crate::spec::{Report, Work};

/// One connection.
#[derive(Debug, Default)]
struct Peer {
    sending: Sending,
    incoming: Incoming,
    sent: SendTimes,
    under_way: u64,
}

/// How replies are told apart.
#[derive(Debug)]
enum Incoming {
    /// All equally long.
    Bytes(Replies),
    /// Compressed: how long, is up to the server. The first is inflated and compared.
    Frames { reader: FrameReader, checked: bool },
}

impl Default for Incoming {
    fn default() -> Self {
        Self::Bytes(Replies::default())
    }
}

impl Incoming {
    fn take(&mut self, bytes: &[u8], expected: &[u8]) -> Result<u64> {
        match self {
            Self::Bytes(replies) => replies.take(bytes, expected),
            Self::Frames { reader, checked } => {
                let mut count = 0;
                reader.read(bytes, |frame| {
                    if frame.opcode == frame::CLOSE {
                        bail!("the server closed");
                    }
                    if frame.opcode < frame::CLOSE && frame.last {
                        count += 1;
                        if !*checked {
                            *checked = true;
                            check_compressed(&frame, expected)?;
                        }
                    }
                    Ok(())
                })?;
                Ok(count)
            }
        }
    }
}

fn check_compressed(reply: &Frame<'_>, expected: &[u8]) -> Result<()> {
    ensure!(reply.compressed, "the reply is not compressed");
    ensure!(
        frame::inflate(reply.payload)? == expected,
        "the reply is not what was sent"
    );
    Ok(())
}

struct Echo<'a> {
    clients: Clients,
    peers: Vec<Peer>,
    outgoing: Outgoing,
    expected: Vec<u8>,
    window: Window<'a>,
}

pub(super) fn run(target: &Target) -> Result<Report> {
    let Work::Echo {
        connections,
        size,
        in_flight,
        json,
        until,
    } = target.spec.work
    else {
        bail!("not an echo");
    };
    let payload = if json {
        messages::json(size)
    } else {
        messages::binary(size)
    };
    let by_frames = target.spec.deflate && !target.spec.raw;
    let (message, expected) = if target.spec.deflate {
        let message = frame::masked(frame::TEXT, true, &frame::deflate(&payload)?);
        let expected = if by_frames { payload } else { message.clone() };
        (message, expected)
    } else {
        messages::frames(&payload, target.spec.raw)
    };

    let server = Server::new(&target.spec)?;
    let mut clients = Clients::new()?;
    clients.open(target, connections, |_| Role::Echo, false)?;
    server.settle()?;
    let peer = || Peer {
        incoming: if by_frames {
            Incoming::Frames {
                reader: FrameReader::default(),
                checked: false,
            }
        } else {
            Incoming::default()
        },
        ..Peer::default()
    };
    let mut echo = Echo {
        peers: (0..connections).map(|_| peer()).collect(),
        clients,
        outgoing: Outgoing::new(&message, in_flight),
        expected,
        window: Window::new(&server, until)?,
    };
    echo.measure(in_flight as u64)?;
    echo.drain()?;
    let mut report = echo.window.report;
    report.connections = connections as u64;
    Ok(report)
}

impl Echo<'_> {
    fn measure(&mut self, in_flight: u64) -> Result<()> {
        for connection in 0..self.peers.len() {
            self.send(connection, in_flight, Instant::now())?;
        }
        let mut ready = Vec::new();
        while !self.window.is_over(Instant::now())? {
            self.clients.wait(&mut ready, POLL)?;
            if ready.is_empty() {
                self.window.nothing_came();
            }
            for &event in &ready {
                let replies = self.handle(event)?;
                if replies > 0 {
                    self.send(event.connection, replies, Instant::now())?;
                } else if event.writable {
                    self.write(event.connection)?;
                }
            }
        }
        Ok(())
    }

    /// Takes in what is under way, and looks whether it came out even.
    fn drain(&mut self) -> Result<()> {
        let mut ready = Vec::new();
        while self.peers.iter().any(|peer| peer.under_way > 0) {
            let silence = self.window.last.elapsed();
            ensure!(silence < PATIENCE, "replies are missing at the end");
            self.clients.wait(&mut ready, POLL)?;
            for &event in &ready {
                self.handle(event)?;
                if event.writable {
                    self.write(event.connection)?;
                }
            }
        }
        let even = self.peers.iter().all(|peer| match &peer.incoming {
            Incoming::Bytes(replies) => replies.is_even(self.expected.len()),
            Incoming::Frames { .. } => true,
        });
        ensure!(even, "bytes came that belong to no reply");
        Ok(())
    }

    /// Reads; as many replies came.
    fn handle(&mut self, event: Ready) -> Result<u64> {
        let mut replies = 0;
        if event.readable {
            let peer = &mut self.peers[event.connection];
            match self.clients.read(event.connection)? {
                Got::Bytes(bytes) => replies = peer.incoming.take(bytes, &self.expected)?,
                Got::Nothing => {}
                Got::Closed => bail!("the server closed connection {}", event.connection),
            }
            let now = Instant::now();
            peer.under_way = peer
                .under_way
                .checked_sub(replies)
                .context("more came back than was sent")?;
            for _ in 0..replies {
                self.window.came(peer.sent.replied(), now);
            }
        }
        Ok(replies)
    }

    fn send(&mut self, connection: usize, messages: u64, now: Instant) -> Result<()> {
        let peer = &mut self.peers[connection];
        peer.sending.add(messages, &self.outgoing);
        peer.sent.sent(messages, now);
        peer.under_way += messages;
        self.write(connection)
    }

    fn write(&mut self, connection: usize) -> Result<()> {
        let clients = &mut self.clients;
        self.peers[connection]
            .sending
            .write(&self.outgoing, |bytes| clients.write(connection, bytes))
    }
}
