//! Subscribers of the feed: one that reads everything, and one that is too slow for it.

use std::time::Duration;

use fault_proxy::{Dice, Ledger};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use super::raw::{PONG, Raw, TEXT};
use super::{Good, PATIENCE};
use crate::load::Load;
use crate::tally::Tally;

const PATH: &str = "/feed";

/// Reads everything: nothing may be missing without a word.
pub(crate) async fn listen(load: &Load, mut dice: Dice) {
    let Some(mut good) = Good::open(load, PATH, &mut dice).await else {
        load.pause(Duration::from_secs(1)).await;
        return;
    };
    let lifetime = dice.time(Duration::from_secs(5), Duration::from_secs(90));
    let end = Instant::now() + lifetime;
    let mut ledger = Ledger::midway();
    let mut failure = None;
    while Instant::now() < end && !load.is_over() {
        match timeout(PATIENCE, good.text()).await {
            Ok(Some(text)) => note(load, &mut ledger, &text),
            Ok(None) => failure = Some(format!("ended: {:?}", good.socket.closed())),
            Err(_) => failure = Some("silent".to_owned()),
        }
        if failure.is_some() {
            break;
        }
    }
    load.tally.add_wrong(&ledger);
    match failure {
        None => good.close(load, PATH).await,
        Some(failure) => load.tally.fail(format!("{PATH}: {failure}")),
    }
}

fn note(load: &Load, ledger: &mut Ledger, text: &str) {
    Tally::add(&load.tally.received, 1);
    match text.split_once(' ') {
        Some(("missed", count)) => match count.parse() {
            Ok(count) => {
                Tally::add(&load.tally.declared, count);
                ledger.declare(count);
            }
            Err(_) => load.tally.fail(format!("{PATH}: {text}")),
        },
        Some((number, _)) => match number.parse() {
            Ok(number) => ledger.note("feed", number),
            Err(_) => load.tally.fail(format!("{PATH}: no number")),
        },
        None => load.tally.fail(format!("{PATH}: {text}")),
    }
}

/// Reads a third of what comes, so that it falls behind: what it misses must be told. It may be closed for it.
pub(crate) async fn dawdle(load: &Load, mut dice: Dice) {
    Tally::add(&load.tally.bad, 1);
    let Some(mut raw) = Raw::open_slow(load.address, PATH).await else {
        return load.pause(Duration::from_secs(1)).await;
    };
    let lifetime = dice.time(Duration::from_secs(10), Duration::from_secs(60));
    let end = Instant::now() + lifetime;
    let mut ledger = Ledger::midway();
    for round in 0_u32.. {
        if Instant::now() >= end || load.is_over() {
            break;
        }
        let mut some = [0; 1700];
        let reading = timeout(Duration::from_secs(5), raw.io.read(&mut some)).await;
        let Ok(Ok(length @ 1..)) = reading else { break };
        raw.received
            .extend_from_slice(some.get(..length).unwrap_or_default());
        while let Some(frame) = raw.next_frame() {
            if frame.opcode == TEXT {
                note(load, &mut ledger, &String::from_utf8_lossy(&frame.payload));
            }
        }
        // A ping of the heartbeat would come too late; anything is a sign of life.
        if round % 20 == 0 && !raw.send(PONG, b"").await {
            break;
        }
        load.pause(Duration::from_millis(100)).await;
    }
    load.tally.add_wrong(&ledger);
}
