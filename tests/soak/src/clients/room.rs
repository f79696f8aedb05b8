//! A good client in a room: says numbered messages, and hears everybody's, its own among them.

use std::time::Duration;

use fault_proxy::{Dice, Ledger};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Good, PATIENCE};
use crate::load::Load;
use crate::tally::Tally;

const ROOMS: usize = 8;

pub(crate) async fn live(load: &Load, place: usize, mut dice: Dice) {
    // A name of its own, since numbers begin anew.
    let name = format!("{place}.{}", dice.seed());
    let path = format!("/room?room={}&name={name}", place % ROOMS);
    let Some(mut good) = Good::open(load, &path, &mut dice).await else {
        load.pause(Duration::from_secs(1)).await;
        return;
    };
    let lifetime = dice.time(Duration::from_secs(2), Duration::from_secs(60));
    let mut member = Member {
        name,
        said: 0,
        // Others have spoken before.
        ledger: Ledger::midway(),
    };
    let result = member
        .talk(load, &mut good, Instant::now() + lifetime, &mut dice)
        .await;
    load.tally.add_wrong(&member.ledger);
    match result {
        Ok(()) => good.close(load, "/room").await,
        Err(failure) => load.tally.fail(format!("/room: {failure}")),
    }
}

struct Member {
    name: String,
    /// How many messages it has said.
    said: u64,
    ledger: Ledger,
}

impl Member {
    /// Speaks and listens until then, and listens until it has heard itself to the end.
    async fn talk(
        &mut self,
        load: &Load,
        good: &mut Good,
        end: Instant,
        dice: &mut Dice,
    ) -> Result<(), String> {
        let mut next = Instant::now();
        while Instant::now() < end && !load.is_over() {
            tokio::select! {
                text = good.text() => self.hear(load, text.as_deref(), good)?,
                () = sleep_until(next) => {
                    let text = self.said.to_string();
                    let sent = timeout(PATIENCE, good.socket.send_text(text)).await;
                    sent.map_err(|_| "nothing is taken")?.map_err(|error| error.to_string())?;
                    self.said += 1;
                    next = Instant::now()
                        + dice.time(Duration::from_millis(200), Duration::from_millis(800));
                }
            }
        }
        while self.ledger.next(&self.name) < self.said {
            let text = timeout(PATIENCE, good.text()).await;
            let text = text.map_err(|_| "its own words never came")?;
            self.hear(load, text.as_deref(), good)?;
        }
        Ok(())
    }

    fn hear(&mut self, load: &Load, line: Option<&str>, good: &Good) -> Result<(), String> {
        let line = line.ok_or_else(|| format!("ended: {:?}", good.socket.closed()))?;
        Tally::add(&load.tally.received, 1);
        let words: Vec<_> = line.split(' ').collect();
        match *words {
            ["said", name, number] => {
                let number = number.parse().map_err(|_| "no number")?;
                self.ledger.note(name, number);
            }
            ["missed", source, count] => {
                let count = count.parse().map_err(|_| "no count")?;
                Tally::add(&load.tally.declared, count);
                if source == "said" {
                    self.ledger.declare(count);
                }
            }
            ["came" | "went", _] => {}
            _ => return Err(format!("nonsense: {line}")),
        }
        Ok(())
    }
}
