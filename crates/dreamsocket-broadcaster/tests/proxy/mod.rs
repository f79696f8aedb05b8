//! A network between a node and a server that can be cut, or fall silent.

#![allow(dead_code, reason = "each test uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Carries,
    /// Open connections stay, and nothing comes through; new ones, too.
    Silent,
    /// All connections are closed.
    Refuses,
}

pub(crate) struct Proxy {
    scheme: String,
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// In front of the server of that URL.
    pub(crate) async fn start(url: &str) -> Self {
        let (scheme, server) = url.split_once("://").unwrap();
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Carries);
        let modes = mode.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, modes.clone()));
            }
        });
        Self {
            scheme: scheme.to_owned(),
            address,
            mode,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Carries again; connections that were silent are closed.
    pub(crate) fn accept(&self) {
        self.mode.send_replace(Mode::Carries);
    }

    pub(crate) fn hold(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    pub(crate) fn refuse(&self) {
        self.mode.send_replace(Mode::Refuses);
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut modes: watch::Receiver<Mode>) {
    if *modes.borrow_and_update() == Mode::Refuses {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let closed = async {
        let mut closing = modes.clone();
        // A silence that ends closes, so that what was held does not come through after all.
        let mut was_silent = false;
        loop {
            let mode = *closing.borrow_and_update();
            match mode {
                Mode::Refuses => return,
                Mode::Carries if was_silent => return,
                Mode::Carries => {}
                Mode::Silent => was_silent = true,
            }
            if closing.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = copy(from_client, to_server, modes.clone()) => {}
        () = copy(from_server, to_client, modes.clone()) => {}
        () = closed => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, modes: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if *modes.borrow() == Mode::Silent {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
