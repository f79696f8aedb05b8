//! A good client that says numbered messages, of all lengths, and wants each of them back.

use std::ops::Range;
use std::time::Duration;

use fault_proxy::{Dice, Ledger};
use tokio::time::{Instant, timeout};

use super::{Good, PATIENCE};
use crate::load::Load;
use crate::tally::Tally;

const PATH: &str = "/echo";

pub(crate) async fn live(load: &Load, mut dice: Dice) {
    let Some(mut good) = Good::open(load, PATH, &mut dice).await else {
        load.pause(Duration::from_secs(1)).await;
        return;
    };
    let lifetime = dice.time(Duration::from_secs(1), Duration::from_secs(40));
    let end = Instant::now() + lifetime;
    let mut ledger = Ledger::from_the_start();
    let mut number = 0;
    while Instant::now() < end && !load.is_over() {
        let first = number;
        number += dice.draw(1..9);
        if let Err(failure) = exchange(&mut good, first..number, &mut dice, &mut ledger).await {
            load.tally.fail(format!("{PATH}: {failure}"));
            load.tally.add_wrong(&ledger);
            return;
        }
        Tally::add(&load.tally.received, number - first);
        load.pause(dice.time(Duration::ZERO, Duration::from_millis(400)))
            .await;
    }
    load.tally.add_wrong(&ledger);
    good.close(load, PATH).await;
}

/// Says these numbers, one right after the other, and hears them.
async fn exchange(
    good: &mut Good,
    numbers: Range<u64>,
    dice: &mut Dice,
    ledger: &mut Ledger,
) -> Result<(), String> {
    let mut said = Vec::new();
    for number in numbers {
        let length = match dice.draw(0..50) {
            // Not several: all of them are sent before one is read.
            0 if said.is_empty() => 40_000,
            1..10 => dice.draw(500..4_000),
            _ => dice.draw(0..200),
        };
        let text = message(number, length);
        let sent = timeout(PATIENCE, good.socket.send_text(text.as_str())).await;
        sent.map_err(|_| "nothing is taken")?
            .map_err(|error| error.to_string())?;
        said.push((number, text));
    }
    for (number, text) in said {
        let came = timeout(PATIENCE, good.text()).await;
        let came = came.map_err(|_| "no echo")?;
        let came = came.ok_or_else(|| format!("ended: {:?}", good.socket.closed()))?;
        let (digits, _) = came.split_once(' ').unwrap_or_default();
        let got = digits.parse().map_err(|_| "no number")?;
        ledger.note("echo", got);
        // Another number is for the ledger.
        if got == number && came.as_str() != text {
            return Err(format!("not the same text as number {number}"));
        }
    }
    Ok(())
}

/// Its number, and some that is not all the same.
fn message(number: u64, length: u64) -> String {
    let mut text = format!("{number} ");
    text.extend((0..length).map(|at| char::from(b'a' + ((at * (number + 7)) % 26) as u8)));
    text
}
