//! Clients that send as fast as they can: one that reads late, and gets everything all the same, and ones that never read.

use std::time::Duration;

use fault_proxy::{Dice, Ledger};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;
use super::raw::{PING, Raw, TEXT, frame};
use crate::load::Load;
use crate::tally::Tally;

/// How many messages of a flood that is read, and their length: far more than all buffers together hold.
const MESSAGES: u64 = 1_000;
const LENGTH: usize = 2_000;

/// Sends all, and does not read for the first second: the server holds it back. Then it wants everything.
pub(crate) async fn read_late(load: &Load) {
    let Some(raw) = Raw::open(load.address, "/echo").await else {
        load.tally.fail("a flood: not opened".to_owned());
        return load.pause(Duration::from_secs(1)).await;
    };
    let Raw {
        mut io,
        received: early,
    } = raw;
    let (mut reader, mut writer) = io.split();
    let writing = async {
        for number in 0..MESSAGES {
            let mut text = format!("{number} ");
            text.extend(std::iter::repeat_n('x', LENGTH));
            writer.write_all(&frame(TEXT, text.as_bytes())).await?;
        }
        std::io::Result::Ok(())
    };
    let mut ledger = Ledger::from_the_start();
    let reading = async {
        sleep(Duration::from_secs(1)).await;
        let mut received = early;
        while ledger.received() < MESSAGES && reader.read_buf(&mut received).await? > 0 {
            while let Some(number) = take_number(&mut received) {
                ledger.note("flood", number);
            }
        }
        std::io::Result::Ok(())
    };
    let both = timeout(PATIENCE, async { tokio::join!(writing, reading) }).await;
    Tally::add(&load.tally.received, ledger.received());
    load.tally.add_wrong(&ledger);
    if ledger.received() < MESSAGES {
        let received = ledger.received();
        load.tally
            .fail(format!("a flood: {received} came back: {both:?}"));
    }
    load.pause(Duration::from_secs(5)).await;
}

/// The number of the text at the front, if it is whole. All have the same length but for their numbers.
fn take_number(received: &mut Vec<u8>) -> Option<u64> {
    let &[_, 126, high, low, ..] = received.as_slice() else {
        return None;
    };
    let end = 4 + usize::from(u16::from_be_bytes([high, low]));
    let payload = received.get(4..end)?;
    let digits = payload.split(|byte| *byte == b' ').next()?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok();
    received.drain(..end);
    number
}

/// Sends messages or pings and reads nothing, until the server ends it or it has had enough.
pub(crate) async fn never_read(load: &Load, mut dice: Dice) {
    Tally::add(&load.tally.bad, 1);
    let Some(mut raw) = Raw::open(load.address, "/echo").await else {
        return load.pause(Duration::from_secs(1)).await;
    };
    let bytes = if dice.once_in(2) {
        frame(TEXT, &[b'x'; 1000]).repeat(8)
    } else {
        frame(PING, b"are you there?").repeat(64)
    };
    let time = dice.time(Duration::from_secs(1), Duration::from_secs(15));
    let end = Instant::now() + time;
    let flooding = async {
        while !load.is_over() && raw.io.write_all(&bytes).await.is_ok() {
            // Others in this process have their turn.
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = flooding => {}
        () = load.pause_until(end) => {}
    }
    if dice.once_in(2) {
        raw.reset();
    }
}
