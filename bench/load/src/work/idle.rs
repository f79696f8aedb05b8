//! Connections that say nothing: what each keeps resident, and what all of them cost while nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Server, Window};
use crate::client::{Clients, Got, Role, Target};
use crate::frame::{self, FrameReader};
use crate::spec::{Report, Until, Work};

/// From the last opening to the look at the memory.
const SETTLE: f64 = 1.0;
/// How long a poll waits: nothing is due that a sleep could make dearer.
const POLL: Duration = Duration::from_millis(20);

pub(super) fn run(target: &Target) -> Result<Report> {
    let Work::Idle {
        connections,
        topic,
        seconds,
    } = target.spec.work
    else {
        bail!("not idle");
    };
    let role = if topic { Role::Topic } else { Role::Echo };
    let server = Server::new(&target.spec)?;
    let mut clients = Clients::new()?;
    clients.open(target, connections, |_| role, false)?;
    let mut readers: Vec<FrameReader> = Vec::new();
    readers.resize_with(connections, FrameReader::default);
    let until = Until::Seconds {
        warm_up: SETTLE,
        window: seconds,
    };
    let mut window = Window::new(&server, until)?;
    let mut ready = Vec::new();
    loop {
        let now = Instant::now();
        window.last = now;
        if window.is_over(now)? {
            break;
        }
        clients.wait(&mut ready, POLL)?;
        if ready.is_empty() {
            window.nothing_came();
        }
        for event in ready.iter().filter(|event| event.readable) {
            answer(
                &mut clients,
                &mut readers[event.connection],
                event.connection,
            )?;
        }
    }
    let mut report = window.report;
    report.connections = connections as u64;
    Ok(report)
}

/// Answers the heartbeat, if one comes.
fn answer(clients: &mut Clients, reader: &mut FrameReader, connection: usize) -> Result<()> {
    let mut pongs = Vec::new();
    match clients.read(connection)? {
        Got::Bytes(bytes) => reader.read(bytes, |frame| {
            match frame.opcode {
                frame::PING => pongs.extend(frame::masked(frame::PONG, false, frame.payload)),
                frame::CLOSE => bail!("the server closed an idle connection"),
                _ => {}
            }
            Ok(())
        })?,
        Got::Nothing => {}
        Got::Closed => bail!("the server closed idle connection {connection}"),
    }
    if !pongs.is_empty() {
        // A few bytes on an idle connection always fit.
        clients.write(connection, &pongs)?;
    }
    Ok(())
}
