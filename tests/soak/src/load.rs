//! [`Load`]: so many clients of each kind at all times. One that has ended is followed by another of its kind, until it is over.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fault_proxy::Dice;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clients::{dying, echo, feed, flood, reconnecting, room};
use crate::tally::Tally;

/// What all clients share.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) tally: Tally,
    over: watch::Sender<bool>,
}

type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A kind of clients: how many there are at once, and the life of one. It gets its place among them and dice of its own.
struct Kind {
    count: usize,
    live: fn(Arc<Load>, usize, Dice) -> Life,
}

const KINDS: [Kind; 9] = [
    Kind {
        count: 100,
        live: |load, _, dice| Box::pin(async move { echo::live(&load, dice).await }),
    },
    Kind {
        count: 80,
        live: |load, place, dice| Box::pin(async move { room::live(&load, place, dice).await }),
    },
    Kind {
        count: 20,
        live: |load, _, dice| Box::pin(async move { feed::listen(&load, dice).await }),
    },
    Kind {
        count: 20,
        live: |load, _, dice| Box::pin(async move { feed::dawdle(&load, dice).await }),
    },
    Kind {
        count: 3,
        live: |load, _, _| Box::pin(async move { flood::read_late(&load).await }),
    },
    Kind {
        count: 6,
        live: |load, _, dice| Box::pin(async move { flood::never_read(&load, dice).await }),
    },
    Kind {
        count: 10,
        live: |load, _, dice| Box::pin(async move { dying::be_swallowed(&load, dice).await }),
    },
    Kind {
        count: 30,
        live: |load, _, dice| Box::pin(async move { dying::die(&load, dice).await }),
    },
    Kind {
        count: 10,
        live: |load, _, dice| Box::pin(async move { reconnecting::live(&load, dice).await }),
    },
];

impl Load {
    pub(crate) fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            address,
            tally: Tally::default(),
            over: watch::Sender::new(false),
        })
    }

    /// Starts all clients. The tasks end when it is over.
    pub(crate) fn start(self: &Arc<Self>, dice: &mut Dice) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for kind in KINDS {
            for place in 0..kind.count {
                let (load, mut dice) = (Arc::clone(self), Dice::new(dice.seed()));
                tasks.spawn(async move {
                    // They do not all come at once.
                    load.pause(dice.time(Duration::ZERO, Duration::from_secs(3)))
                        .await;
                    while !load.is_over() {
                        let dice = Dice::new(dice.seed());
                        (kind.live)(Arc::clone(&load), place, dice).await;
                    }
                });
            }
        }
        tasks
    }

    /// From now on clients come to their ends, each in its way.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// A moment, or less if it is over before.
    pub(crate) async fn pause(&self, time: Duration) {
        self.pause_until(Instant::now() + time).await;
    }

    pub(crate) async fn pause_until(&self, time: Instant) {
        let mut over = self.over.subscribe();
        tokio::select! {
            () = tokio::time::sleep_until(time) => {}
            // An error can't come: the sender is in `self`.
            _ = over.wait_for(|is_over| *is_over) => {}
        }
    }
}
