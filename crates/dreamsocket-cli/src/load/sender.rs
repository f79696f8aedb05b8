//! One connection: sends what is due, and times what comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dreamsocket::client::{Progress, Received, Socket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Plan;
use super::payload;
use super::schedule::counts_from;
use super::tally::Tally;
use crate::interrupt::Interrupt;

/// Tells which connection it is and how many messages it sent.
pub(super) async fn run(
    index: usize,
    plan: Arc<Plan>,
    tally: Arc<Tally>,
    mut started: watch::Receiver<Option<Instant>>,
    mut interrupt: Interrupt,
) -> (usize, u64) {
    let opened = tokio::select! {
        opened = open(index, &plan, &tally) => opened,
        () = interrupt.wait() => None,
    };
    tally.tried();
    let Some(mut socket) = opened else {
        return (index, 0);
    };
    let mut sent = 0;
    let is_ours = match wait_for_start(&tally, &mut socket, &mut started, &mut interrupt).await {
        Start::At(start) => {
            let mut exchange = Exchange {
                index,
                plan: &plan,
                tally: &tally,
                start,
                sends_for: plan.schedule.duration,
                number: 0,
                answered: 0,
                is_held_up: false,
            };
            let is_ours = exchange.run(&mut socket, &mut interrupt).await;
            sent = exchange.number;
            is_ours
        }
        Start::Never => true,
        Start::Closed => false,
    };
    if is_ours {
        let _ = socket.close(1000, "").await;
    } else {
        tally.closed(socket.closed());
    }
    tally.open.fetch_sub(1, Ordering::Relaxed);
    (index, sent)
}

async fn open(index: usize, plan: &Plan, tally: &Tally) -> Option<Socket> {
    let share = plan.ramp.as_secs_f64() / share_of(plan.connections);
    sleep(Duration::from_secs_f64(share * share_of(index))).await;
    let since = Instant::now();
    match plan.connect.clone().open().await {
        Ok(socket) => {
            tally.opened(index, since.elapsed());
            Some(socket)
        }
        Err(error) => {
            tally.failed(error);
            None
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "of so many connections one cannot be told from the next"
)]
const fn share_of(count: usize) -> f64 {
    count as f64
}

/// What comes of waiting for the start.
enum Start {
    At(Instant),
    /// The user wants an end.
    Never,
    /// The connection has ended.
    Closed,
}

async fn wait_for_start(
    tally: &Tally,
    socket: &mut Socket,
    started: &mut watch::Receiver<Option<Instant>>,
    interrupt: &mut Interrupt,
) -> Start {
    loop {
        tokio::select! {
            start = started.wait_for(Option::is_some) => {
                return match start.ok().and_then(|start| *start) {
                    Some(start) => Start::At(start),
                    None => Start::Never,
                };
            }
            () = interrupt.wait() => return Start::Never,
            received = socket.receive() => match received {
                Some(Received::Text(_) | Received::Binary(_)) => {
                    tally.unexpected.fetch_add(1, Ordering::Relaxed);
                }
                Some(_) => {}
                None => return Start::Closed,
            },
        }
    }
}

struct Exchange<'a> {
    index: usize,
    plan: &'a Plan,
    tally: &'a Tally,
    start: Instant,
    /// How long messages are due.
    sends_for: Duration,
    /// Of the next message.
    number: u64,
    /// The number after that of the last answer.
    answered: u64,
    /// Whether the next message is due and waits until the one before is taken.
    is_held_up: bool,
}

impl Exchange<'_> {
    /// Sends and receives until all is answered or the time is up. False if the connection ended before.
    async fn run(&mut self, socket: &mut Socket, interrupt: &mut Interrupt) -> bool {
        let mut is_interrupted = false;
        loop {
            let end = self.start + self.sends_for + self.plan.wait;
            if !self.send_due(socket) {
                // It has ended, or is about to: what came before is answered all the same.
                while let Ok(Some(received)) = timeout_at(end, socket.receive()).await {
                    self.receive(&received);
                }
                return false;
            }
            let is_done = !self.has_next();
            if is_done && self.answered == self.number {
                return true;
            }
            let next = self.due();
            tokio::select! {
                () = sleep_until(next), if !is_done && !self.is_held_up => {}
                progress = socket.receive_or_sent() => match progress {
                    Some(Progress::Received(received)) => self.receive(&received),
                    Some(_) => {}
                    None => return false,
                },
                () = interrupt.wait(), if !is_interrupted => {
                    // Nothing more is sent, and what was sent is still answered.
                    is_interrupted = true;
                    self.sends_for = self.sends_for.min(self.start.elapsed());
                }
                () = sleep_until(end) => return true,
            }
        }
    }

    fn has_next(&self) -> bool {
        self.plan.schedule.due(self.index, self.number) < self.sends_for
    }

    /// When the next message is due.
    fn due(&self) -> Instant {
        self.start + self.plan.schedule.due(self.index, self.number)
    }

    /// Sends what is due, as far as the server takes it. False if the connection has ended.
    fn send_due(&mut self, socket: &mut Socket) -> bool {
        while self.has_next() {
            let (due, now) = (self.due(), Instant::now());
            if due > now {
                break;
            }
            if !socket.is_sent() {
                self.is_held_up = true;
                return true;
            }
            let from = counts_from(due, now, self.is_held_up);
            let nanoseconds = from.saturating_duration_since(self.start).as_nanos();
            let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
            let text = payload::write(self.number, nanoseconds, self.plan.size);
            let sent = if self.plan.is_binary {
                socket.try_send_binary(text)
            } else {
                socket.try_send_text(text)
            };
            if sent.is_err() {
                return false;
            }
            let lateness = (!self.is_held_up).then(|| now - due);
            self.tally.sent(self.index, lateness);
            self.number += 1;
        }
        self.is_held_up = false;
        true
    }

    fn receive(&mut self, received: &Received) {
        let message = match received {
            Received::Text(text) => text.as_bytes(),
            Received::Binary(bytes) => bytes,
            _ => return,
        };
        // Answers come in order; one that is passed over is lost, one that comes twice counts once.
        match payload::read(message, self.plan.size) {
            Some((number, nanoseconds)) if (self.answered..self.number).contains(&number) => {
                let from = self.start + Duration::from_nanos(nanoseconds);
                let latency = Instant::now().saturating_duration_since(from);
                self.tally.answered(self.index, latency);
                self.answered = number + 1;
            }
            _ => {
                self.tally.unexpected.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
