//! The clients, by what they do. Good ones use this library's client and count as a failure whatever they do not get; the
//! others write bytes.

pub(crate) mod dying;
pub(crate) mod echo;
pub(crate) mod feed;
pub(crate) mod flood;
pub(crate) mod reconnecting;
pub(crate) mod room;

mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use dreamsocket::client::{Connect, Received, Socket};
use dreamsocket::{Compression, Config, Text};
use fault_proxy::{Dice, Plan, Proxy};

use crate::load::Load;

/// How long a good client waits for what must come. Long, since a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// A good client's connection, and what it goes through.
struct Good {
    socket: Socket,
    _proxy: Option<Proxy>,
}

impl Good {
    /// Connects to a path: some with compression, some through a network with faults. `None` is a failure, and counted.
    async fn open(load: &Load, path: &str, dice: &mut Dice) -> Option<Self> {
        let mut address = load.address;
        let mut proxy = None;
        if dice.once_in(4) {
            let plan = Plan::drawn(dice);
            match Proxy::start(address, plan, dice.seed()).await {
                Ok(started) => {
                    address = started.address();
                    proxy = Some(started);
                }
                Err(error) => load.tally.fail(format!("no proxy: {error}")),
            }
        }
        let mut config = Config::default();
        if dice.once_in(2) {
            config = config.with_compression(Compression::shared());
        }
        let connect = Connect::new(url(address, path)).with_config(config);
        match connect.with_handshake_timeout(PATIENCE).open().await {
            Ok(socket) => Some(Self {
                socket,
                _proxy: proxy,
            }),
            Err(error) => {
                load.tally.fail(format!("{path}: {error}"));
                None
            }
        }
    }

    /// The next text; `None` if the connection has ended. May be dropped, and nothing is lost.
    async fn text(&mut self) -> Option<Text> {
        loop {
            if let Received::Text(text) = self.socket.receive().await? {
                return Some(text);
            }
        }
    }

    /// Closes, which must end cleanly.
    async fn close(mut self, load: &Load, path: &str) {
        match self.socket.close(1000, "").await {
            Ok(closed) if closed.clean => {}
            other => load.tally.fail(format!("{path}: closed {other:?}")),
        }
    }
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("ws://{address}{path}")
}
