//! Opening handshakes one after the other, each ended by a reset; with a raw server, bare connections.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use mio::{Events, Poll, Token};

use super::{POLL, Server, Window};
use crate::client::{Opening, Role, Step, Target};
use crate::spec::{Report, Work};

pub(super) fn run(target: &Target) -> Result<Report> {
    let Work::Handshakes { concurrent, until } = target.spec.work else {
        bail!("no handshakes");
    };
    let server = Server::new(&target.spec)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 16 * 1024];
    let mut begun = 0;
    let mut begin = |poll: &Poll, slot: usize| -> Result<(Opening, Instant)> {
        let mut opening = target.begin(Role::Echo, begun, false)?;
        begun += 1;
        if target.spec.raw {
            opening = opening.without_request();
        }
        opening.register(poll.registry(), Token(slot))?;
        Ok((opening, Instant::now()))
    };
    let mut slots = Vec::with_capacity(concurrent);
    for slot in 0..concurrent {
        slots.push(begin(&poll, slot)?);
    }
    let mut window = Window::new(&server, until)?;
    while !window.is_over(Instant::now())? {
        let polled = poll.poll(&mut events, Some(POLL));
        if let Err(error) = polled
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        if events.is_empty() {
            window.nothing_came();
        }
        for event in &events {
            let slot = event.token().0;
            let (opening, since) = &mut slots[slot];
            let step = opening.advance(&mut buffer);
            if step.with_context(|| format!("after {} handshakes", window.messages))? == Step::Open
            {
                window.came(Some(*since), Instant::now());
                slots[slot] = begin(&poll, slot)?;
            }
        }
    }
    let mut report = window.report;
    report.connections = concurrent as u64;
    Ok(report)
}
