//! Each fault over real sockets. When and in which pieces bytes go on is tested in `shaper.rs`, in simulated time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use fault_proxy::{Dice, End, Flow, Plan, Proxy, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Makes a hang a failure. Long, since a busy machine is no bug.
#[track_caller]
fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(Duration::from_secs(60), future).await {
            Ok(output) => output,
            Err(_) => panic!("still waiting at {caller}"),
        }
    }
}

/// Nothing comes within a moment.
async fn expect_silence(stream: &mut TcpStream) {
    let reading = tokio::time::timeout(Duration::from_millis(300), stream.read_u8());
    assert!(reading.await.is_err());
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Both ends of a connection through a proxy with this plan: the client's and the server's.
async fn connect(plan: Plan) -> (Proxy, TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let proxy = Proxy::start(address, plan, 1).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = within(listener.accept()).await.unwrap();
    (proxy, client, server)
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// Sends all of it, ends, and reads up to the other's end.
async fn exchange(mut stream: TcpStream, sent: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = stream.split();
    let mut received = Vec::new();
    let writing = async {
        writer.write_all(sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let ((), read) =
        within(async { tokio::join!(writing, reader.read_to_end(&mut received)) }).await;
    read.unwrap();
    received
}

#[tokio::test]
async fn whatever_the_flow_bytes_and_ends_arrive_as_they_were_sent() {
    let millis = Duration::from_millis;
    let mut flows = vec![
        Flow::calm(),
        Flow::calm().with_delay(millis(1), millis(20)),
        Flow::calm().split(5),
        Flow::calm().coalesced(millis(20)),
        Flow::calm().throttled(50_000),
        Flow::calm().with_delay(millis(0), millis(5)).split(100),
        Flow::calm().coalesced(millis(5)).throttled(50_000),
    ];
    let mut dice = Dice::new(fault_proxy::seed());
    flows.extend((0..8).map(|_| Flow::drawn(&mut dice)));
    for flow in flows {
        println!("{flow:?}");
        let plan = Plan::calm().with_up(flow.clone()).with_down(flow);
        let (proxy, client, server) = connect(plan).await;
        let (up, down) = (numbered(20_000), numbered(10_000));
        let (at_client, at_server) = tokio::join!(exchange(client, &up), exchange(server, &down));
        assert!(at_client == down && at_server == up);
        assert_eq!(
            (proxy.passed(Way::Up), proxy.passed(Way::Down)),
            (20_000, 10_000)
        );
        within(async {
            while proxy.connections() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// The split shows at the other end, too: not all comes with one read.
#[tokio::test]
async fn what_is_split_comes_with_many_reads() {
    let plan = Plan::calm().with_down(Flow::calm().split(3));
    let (_proxy, mut client, mut server) = connect(plan).await;
    server.write_all(&numbered(1000)).await.unwrap();
    drop(server);
    let mut reads = 0;
    while within(client.read(&mut [0; 1000])).await.unwrap() > 0 {
        reads += 1;
    }
    assert!(reads > 1);
}

#[tokio::test]
async fn a_cut_is_an_end_for_both_after_exactly_so_many_bytes() {
    let plan = Plan::calm().with_end(End::Cut, Way::Down, 1234);
    let (_proxy, client, mut server) = connect(plan).await;
    server.write_all(&numbered(5000)).await.unwrap();
    let mut client = client;
    let mut received = Vec::new();
    within(client.read_to_end(&mut received)).await.unwrap();
    assert!(received == numbered(1234));
    assert_eq!(within(server.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reset_is_one_for_both() {
    let plan = Plan::calm().with_end(End::Reset, Way::Up, 1000);
    let (_proxy, mut client, mut server) = connect(plan).await;
    client.write_all(&numbered(5000)).await.unwrap();
    for stream in [&mut client, &mut server] {
        let mut received = Vec::new();
        let error = within(stream.read_to_end(&mut received)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(numbered(1000).starts_with(&received));
    }
}

/// One side's reset is passed on.
#[tokio::test]
async fn a_reset_by_one_side_is_one_for_the_other() {
    let (_proxy, client, mut server) = connect(Plan::calm()).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let error = within(server.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_black_hole_swallows_everything_and_tells_nobody() {
    let plan = Plan::calm().with_end(End::BlackHole, Way::Up, 4);
    let (proxy, mut client, mut server) = connect(plan).await;
    client.write_all(b"four and more").await.unwrap();
    let mut four = [0; 4];
    within(server.read_exact(&mut four)).await.unwrap();
    assert_eq!(&four, b"four");
    server.write_all(b"hello?").await.unwrap();
    expect_silence(&mut client).await;
    expect_silence(&mut server).await;
    // Not even an end.
    client.shutdown().await.unwrap();
    expect_silence(&mut server).await;
    assert_eq!(proxy.connections(), 1);
    proxy.end_all(End::Reset);
    assert!(within(server.read(&mut [0])).await.is_err());
    drop(proxy);
}

#[tokio::test]
async fn what_is_held_waits_and_goes_on_when_it_is_released() {
    let (proxy, mut client, mut server) = connect(Plan::calm()).await;
    client.write_all(b"before").await.unwrap();
    within(server.read_exact(&mut [0; 6])).await.unwrap();
    proxy.hold();
    client.write_all(b"held").await.unwrap();
    client.shutdown().await.unwrap();
    expect_silence(&mut server).await;
    proxy.release();
    let mut received = String::new();
    within(server.read_to_string(&mut received)).await.unwrap();
    assert_eq!(received, "held");
}

#[tokio::test]
async fn all_that_there_are_are_ended_and_those_that_come_are_not() {
    let (listener, address) = listen().await;
    let proxy = Proxy::start(address, Plan::calm(), 1).await.unwrap();
    for end in [End::Cut, End::Reset] {
        let mut pairs = Vec::new();
        for _ in 0..3 {
            let client = TcpStream::connect(proxy.address()).await.unwrap();
            pairs.push((client, within(listener.accept()).await.unwrap().0));
        }
        proxy.end_all(end);
        for (client, server) in &mut pairs {
            for stream in [client, server] {
                let read = within(stream.read(&mut [0])).await;
                assert_eq!(read.ok(), (end == End::Cut).then_some(0));
            }
        }
    }
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    client.write_all(b"new").await.unwrap();
    within(server.read_exact(&mut [0; 3])).await.unwrap();
}

#[tokio::test]
async fn whoever_is_refused_is_reset_and_the_others_stay() {
    let (listener, address) = listen().await;
    let proxy = Proxy::start(address, Plan::calm(), 1).await.unwrap();
    let mut before = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    proxy.refuse(true);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(within(refused.read(&mut [0])).await.is_err());
    before.write_all(b"here").await.unwrap();
    within(server.read_exact(&mut [0; 4])).await.unwrap();
    proxy.refuse(false);
    let mut after = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    after.write_all(b"again").await.unwrap();
    within(server.read_exact(&mut [0; 5])).await.unwrap();
}

/// A server that is not there is a reset for the client.
#[tokio::test]
async fn without_a_server_the_client_is_reset() {
    let (listener, address) = listen().await;
    drop(listener);
    let proxy = Proxy::start(address, Plan::calm(), 1).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn dropping_the_proxy_ends_its_connections() {
    let (proxy, mut client, mut server) = connect(Plan::calm()).await;
    drop(proxy);
    for stream in [&mut client, &mut server] {
        assert!(matches!(
            within(stream.read(&mut [0])).await,
            Ok(0) | Err(_)
        ));
    }
}
