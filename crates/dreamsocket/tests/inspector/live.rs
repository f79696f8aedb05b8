//! The page's WebSocket, over a real server; its drain.

use std::net::SocketAddr;
use std::time::Duration;

use dreamsocket::client::{Connect, Received, Socket};
use dreamsocket::inspector::Inspector;
use dreamsocket::{Config, DrainReport, Hub, Server};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::stage::{column, connect};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server with an inspector of its hub, and the address.
async fn serve(hub: &Hub) -> (SocketAddr, JoinHandle<DrainReport>) {
    let router = axum::Router::<()>::new().nest_service("/inspect", Inspector::new(hub));
    let server = Server::new(router)
        .with_hub(hub.clone())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr();
    let running = tokio::spawn(async move { server.run_until_drained().await.unwrap() });
    (address, running)
}

async fn open(address: SocketAddr) -> Socket {
    let url = format!("ws://{address}/inspect/live");
    timeout(PATIENCE, Socket::connect(url))
        .await
        .unwrap()
        .unwrap()
}

/// The next update for which this is so.
async fn next(socket: &mut Socket, is_wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let received = timeout(PATIENCE, socket.receive()).await.unwrap();
        let Some(Received::Text(text)) = received else {
            panic!("no update: {received:?}");
        };
        let update = serde_json::from_str(&text).unwrap();
        if is_wanted(&update) {
            return update;
        }
    }
}

#[tokio::test]
async fn a_page_is_told_what_it_wants_to_see_again_and_again() {
    let hub = Hub::new(Config::default());
    let (address, running) = serve(&hub).await;
    let clients = [1, 2, 3].map(|number| connect(&hub, [10, 0, 0, number], None));
    let mut page = open(address).await;
    // Itself is not in the list.
    let first = next(&mut page, |_| true).await;
    assert_eq!(first["summary"]["connections"], 3);
    assert_eq!(column(&first["connections"], "id").len(), 3);

    let view = json!({ "sort": "peer", "order": "ascending", "search": "player", "offset": 1, "limit": 1 });
    page.send_text(view.to_string()).await.unwrap();
    let update = next(&mut page, |update| update["connections"]["sort"] == "peer").await;
    assert_eq!(
        column(&update["connections"], "peer_addr"),
        ["10.0.0.2:4321"]
    );
    assert_eq!(update["connections"]["matched"], 3);
    drop(clients);
    next(&mut page, |update| update["summary"]["connections"] == 0).await;

    page.send_text("{}}").await.unwrap();
    while timeout(PATIENCE, page.receive()).await.unwrap().is_some() {}
    assert_eq!(
        page.closed().map(|closed| u16::from(closed.code)),
        Some(1008)
    );
    running.abort();
}

#[tokio::test]
async fn a_drain_is_watched_to_its_end_and_not_held_up() {
    let hub = Hub::new(Config::default().with_drain_time(PATIENCE));
    let (address, running) = serve(&hub).await;
    let mut slow = connect(&hub, [10, 0, 0, 1], None);
    slow.mute();
    let mut page = open(address).await;
    next(&mut page, |update| update["summary"]["drain"].is_null()).await;
    hub.drain();
    let update = next(&mut page, |update| !update["summary"]["drain"].is_null()).await;
    assert_eq!(update["summary"]["drain"]["left"], 1);
    slow.vanish().await;
    let report = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!((report.clean, report.cut), (1, 0));
}

/// A program that ends with its server still shows the end.
#[tokio::test]
async fn a_page_sees_the_end_of_a_drain_before_the_program_ends() {
    let hub = Hub::new(Config::default().with_drain_time(PATIENCE));
    let (bound, address) = tokio::sync::oneshot::channel();
    let served = hub.clone();
    let program = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (address, running) = serve(&served).await;
            bound.send(address).unwrap();
            running.await.unwrap()
        })
    });
    let address = address.await.unwrap();
    let mut slow = connect(&hub, [10, 0, 0, 1], None);
    slow.mute();
    let mut page = open(address).await;
    next(&mut page, |update| update["summary"]["connections"] == 1).await;
    hub.drain();
    next(&mut page, |update| update["summary"]["drain"]["left"] == 1).await;
    slow.vanish().await;
    let last = next(&mut page, |update| update["summary"]["drain"]["left"] == 0).await;
    assert_eq!(last["connections"]["totals"]["connections"], 0);
    assert_eq!(last["summary"]["drain"]["clean"], 1);
    while timeout(PATIENCE, page.receive()).await.unwrap().is_some() {}
    let closed = page.closed().unwrap();
    assert_eq!((u16::from(closed.code), &*closed.reason), (1001, "drained"));
    let report = tokio::task::spawn_blocking(|| program.join().unwrap());
    let report = timeout(PATIENCE, report).await.unwrap().unwrap();
    assert_eq!((report.clean, report.cut), (1, 0));
}

#[tokio::test]
async fn pages_of_other_origins_see_nothing_and_few_look_at_a_time() {
    let hub = Hub::new(Config::default());
    let (address, running) = serve(&hub).await;
    let foreign = Connect::new(format!("ws://{address}/inspect/live"))
        .with_header("origin", "https://evil.example")
        .open();
    let refused = timeout(PATIENCE, foreign).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");

    let mut pages = Vec::new();
    for _ in 0..16 {
        pages.push(open(address).await);
    }
    let url = format!("ws://{address}/inspect/live");
    let refused = timeout(PATIENCE, Socket::connect(url)).await.unwrap();
    assert!(refused.unwrap_err().to_string().contains("503"));
    running.abort();
}
