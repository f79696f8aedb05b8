//! A network that fails as a whole: for a while, or again and again under a client that connects again.

use std::time::Duration;

use dreamsocket::Cause;
use dreamsocket::client::Reconnect;
use fault_proxy::{End, Plan, Proxy, Way};

use crate::book::{Book, Side};
use crate::ends::{connect, serve, within};

/// Waits until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// What comes back before anybody is called dead is as if nothing had been.
#[tokio::test]
async fn a_network_that_fails_for_a_while_loses_nothing() {
    const MESSAGES: u64 = 500;
    let book = Book::default();
    let (address, hub) = serve(book.clone()).await;
    let proxy = Proxy::start(address, Plan::calm(), 1).await.unwrap();
    let connected = connect(&book, proxy.address(), 0, MESSAGES, |with| with);
    let connected = connected.await.unwrap();
    for round in 1..=3 {
        until(|| {
            let seen = book.read(Side::Client, 0);
            seen.first().is_some_and(|seen| seen.received > round * 50)
        })
        .await;
        proxy.hold();
        let passed = proxy.passed(Way::Up);
        // Shorter than a heartbeat, which is no end yet.
        tokio::time::sleep(Duration::from_millis(500)).await;
        // At most the piece that was being written.
        assert!(proxy.passed(Way::Up) - passed <= 16 * 1024);
        proxy.release();
    }
    let ended = within(connected.ended()).await;
    assert_eq!(
        (ended.closed.cause, ended.closed.clean),
        (Cause::Stopped, true)
    );
    until(|| hub.connections() == 0).await;
    for side in [Side::Client, Side::Server] {
        let seen = &book.read(side, 0)[0];
        assert_eq!((seen.received, seen.closes.len()), (MESSAGES, 1));
        assert!(seen.wrong.is_empty(), "{seen:?}");
    }
}

/// Each connection of a client that connects again is one of its own: with its own messages from the first on, and with one
/// `on_close` at either end.
#[tokio::test]
async fn each_connection_of_a_client_that_connects_again_has_one_on_close() {
    const ENDS: [End; 6] = [
        End::Cut,
        End::Reset,
        End::Cut,
        End::Cut,
        End::Reset,
        End::BlackHole,
    ];
    let book = Book::default();
    let (address, hub) = serve(book.clone()).await;
    let proxy = Proxy::start(address, Plan::calm(), 1).await.unwrap();
    let reconnect = Reconnect::new()
        .with_first_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(200));
    let connected = connect(&book, proxy.address(), 0, u64::MAX, |with| {
        with.with_reconnect(reconnect)
    });
    let connected = connected.await.unwrap();
    let client = || book.read(Side::Client, 0);
    let has_begun = |connections: usize| {
        let seen = client();
        seen.len() == connections && seen[connections - 1].received > 20
    };
    for (index, end) in ENDS.into_iter().enumerate() {
        until(|| has_begun(index + 1)).await;
        // Attempts fail for a while, too.
        proxy.refuse(true);
        proxy.end_all(end);
        until(|| client()[index].closes.len() == 1).await;
        proxy.refuse(false);
    }
    until(|| has_begun(ENDS.len() + 1)).await;
    connected.stop();
    let ended = within(connected.ended()).await;
    assert_eq!(ended.reconnects as usize, ENDS.len());
    until(|| hub.connections() == 0).await;

    for side in [Side::Client, Side::Server] {
        let connections = book.read(side, 0);
        assert_eq!(connections.len(), ENDS.len() + 1);
        let (last, before) = connections.split_last().unwrap();
        for seen in before {
            assert_eq!((seen.told, seen.closes.len()), (1, 1), "{seen:?}");
            assert_eq!(seen.closes[0].cause, Cause::Lost);
            assert!(seen.wrong.is_empty(), "{seen:?}");
        }
        assert!(last.wrong.is_empty() && last.closes[0].clean, "{last:?}");
    }
}
