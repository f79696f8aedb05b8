//! Clients of which some live and some die, each over a line with faults of its own.

use std::time::Duration;

use dreamsocket::{Cause, CloseCode};
use fault_proxy::{Dice, End, Plan, Proxy, Way, seed};
use tokio::task::JoinSet;

use crate::book::{Book, Seen, Side};
use crate::ends::{connect, serve, within};

const CLIENTS: u64 = 40;

/// How many messages a client that lives gets back.
const MESSAGES: u64 = 150;

/// After at most so many bytes a client dies that is to: less than go either way, even compressed.
const DEADLY: u64 = 20_000;

/// How a client is to fare; `None` lives.
fn fate(client: u64, dice: &mut Dice) -> (Option<End>, Plan) {
    let plan = Plan::drawn(dice);
    let end = match client % 4 {
        0 => return (None, plan),
        1 => End::Cut,
        2 => End::Reset,
        _ => End::BlackHole,
    };
    let way = if dice.once_in(2) { Way::Up } else { Way::Down };
    // From inside the handshake on.
    (Some(end), plan.with_end(end, way, dice.draw(0..DEADLY)))
}

/// L2, L4, L5: nothing is lost, doubled or out of order on connections that live, and both ends of those that die have one
/// `on_close`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_live_get_everything_and_those_that_die_have_one_on_close() {
    let seed = seed();
    println!("FAULTS_SEED={seed}");
    let mut dice = Dice::new(seed);
    let book = Book::default();
    let (address, hub) = serve(book.clone()).await;
    let mut clients = JoinSet::new();
    let mut fates = Vec::new();
    for client in 0..CLIENTS {
        let (end, plan) = fate(client, &mut dice);
        fates.push((end, plan.clone()));
        let (seed, book) = (dice.seed(), book.clone());
        clients.spawn(async move {
            let proxy = Proxy::start(address, plan, seed).await.unwrap();
            match connect(&book, proxy.address(), client, MESSAGES, |with| with).await {
                Ok(connected) => drop(within(connected.ended()).await),
                // It died in the handshake.
                Err(error) => assert!(end.is_some(), "{client}: {error}"),
            }
            // The server's end is not to hear of it from the proxy.
            proxy
        });
    }
    let proxies = within(clients.join_all()).await;
    within(async {
        while hub.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(proxies);

    for (client, (end, plan)) in (0..).zip(fates) {
        let at_client = book.read(Side::Client, client);
        let at_server = book.read(Side::Server, client);
        println!("{client}: {plan:?}\n  client {at_client:?}\n  server {at_server:?}");
        if end.is_none() {
            expect_whole(&at_client, Cause::Stopped, 0);
            expect_whole(&at_server, Cause::Peer, 1);
        } else {
            expect_lost(&at_client);
            expect_lost(&at_server);
        }
    }
}

#[track_caller]
fn expect_whole(connections: &[Seen], cause: Cause, told: usize) {
    let [seen] = connections else {
        panic!("one connection, and one alone")
    };
    assert_eq!(
        (seen.received, seen.told, seen.closes.len()),
        (MESSAGES, told, 1)
    );
    let closed = &seen.closes[0];
    assert_eq!(
        (closed.cause, closed.code, closed.clean),
        (cause, CloseCode::NORMAL, true)
    );
    assert!(seen.wrong.is_empty());
}

/// There may be none, if it died in the handshake.
#[track_caller]
fn expect_lost(connections: &[Seen]) {
    assert!(connections.len() <= 1);
    for seen in connections {
        assert!(seen.wrong.is_empty());
        assert!(seen.received < MESSAGES);
        assert_eq!((seen.told, seen.closes.len()), (1, 1));
        assert_eq!(
            (seen.closes[0].cause, seen.closes[0].clean),
            (Cause::Lost, false)
        );
    }
}
