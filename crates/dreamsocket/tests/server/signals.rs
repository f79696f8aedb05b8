//! What a process does when it is told to end.

use std::fs::File;
use std::io::{BufRead, Write};
use std::time::Duration;

use dreamsocket::{Config, Hub, Server};

use crate::app;
use crate::client::{Client, TEXT};
use crate::process::{Process, in_parent, is_child};

/// What a `main` does.
#[tokio::main(flavor = "current_thread")]
async fn serve(config: Config) {
    let hub = Hub::new(config);
    let (router, _notes, _gate) = app::router(&hub);
    let server = Server::new(router).with_hub(hub);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", server.local_addr());
    println!("{}", server.run().await.unwrap());
}

/// What a `main` does that has axum's own server.
#[tokio::main(flavor = "current_thread")]
async fn serve_with_axum(config: Config) {
    let hub = Hub::new(config);
    let (router, _notes, _gate) = app::router(&hub);
    let listener = app::listener().await;
    println!("listening on {}", listener.local_addr().unwrap());
    let server = axum::serve(listener, router.layer(hub.layer()))
        .with_graceful_shutdown(hub.drain_on_signal());
    println!("{}", hub.run(server).await.unwrap());
}

/// SIGTERM, as service managers send it.
#[test]
fn sigterm_closes_with_1001_and_exits_with_0() {
    if is_child() {
        return serve(app::long());
    }
    in_parent(async {
        let process = Process::start("signals::sigterm_closes_with_1001_and_exits_with_0");
        let mut client = Client::open(process.address, "/").await;
        client.echo("hello").await;
        process.signal("TERM");
        client.expect_close(1001).await;
        process
            .expect_end("1 WebSockets ended cleanly, 0 were cut")
            .await;
    });
}

/// SIGINT, as Ctrl-C sends it, with everything that can hang: the bounds of the configuration are the end.
#[test]
fn sigint_exits_with_0_within_the_bounds_whatever_hangs() {
    if is_child() {
        return serve(app::config());
    }
    in_parent(async {
        let process =
            Process::start("signals::sigint_exits_with_0_within_the_bounds_whatever_hangs");
        expect_end_whatever_hangs(process).await;
    });
}

#[test]
fn hub_run_around_axum_serve_exits_with_0_within_the_bounds_whatever_hangs() {
    if is_child() {
        return serve_with_axum(app::config());
    }
    in_parent(async {
        let process = Process::start(
            "signals::hub_run_around_axum_serve_exits_with_0_within_the_bounds_whatever_hangs",
        );
        expect_end_whatever_hangs(process).await;
    });
}

async fn expect_end_whatever_hangs(process: Process) {
    let mut hanging = Client::open(process.address, "/").await;
    hanging.send(TEXT, b"hang").await;
    let mut half = Client::connect(process.address).await;
    half.write(b"GET /hello HT").await;
    let mut stuck = Client::connect(process.address).await;
    stuck
        .write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut idle = Client::open(process.address, "/").await;
    idle.echo("hello").await;
    process.signal("INT");
    process
        .expect_end("1 WebSockets ended cleanly, 1 were cut")
        .await;
}

/// The bounds are minutes here, so only the second signal can be what ends it.
#[test]
fn a_second_signal_ends_at_once() {
    if is_child() {
        return serve(app::long());
    }
    in_parent(async {
        expect_end_by_second_signal(Process::start("signals::a_second_signal_ends_at_once")).await;
    });
}

#[test]
fn a_second_signal_ends_hub_run_at_once() {
    if is_child() {
        return serve_with_axum(app::long());
    }
    in_parent(async {
        expect_end_by_second_signal(Process::start(
            "signals::a_second_signal_ends_hub_run_at_once",
        ))
        .await;
    });
}

async fn expect_end_by_second_signal(process: Process) {
    let mut hanging = Client::open(process.address, "/").await;
    hanging.send(TEXT, b"hang").await;
    let mut idle = Client::open(process.address, "/").await;
    idle.echo("hello").await;
    process.signal("TERM");
    idle.expect_close(1001).await;
    process.signal("TERM");
    process.expect_end("1 were cut").await;
}

/// A drain that the application has started, say from the hook that Kubernetes calls before it sends SIGTERM, is not ended
/// by the first signal.
#[test]
fn the_first_signal_does_not_end_a_drain_that_runs() {
    if is_child() {
        return serve(app::long());
    }
    in_parent(async {
        let test = "signals::the_first_signal_does_not_end_a_drain_that_runs";
        let mut process = Process::start(test);
        let mut hanging = Client::open(process.address, "/").await;
        hanging.send(TEXT, b"hang").await;
        let mut client = Client::open(process.address, "/").await;
        client.send(TEXT, b"drain").await;
        client.expect_close(1001).await;
        process.signal("TERM");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(process.child.try_wait().unwrap(), None);
        process.signal("TERM");
        process.expect_end("1 were cut").await;
    });
}

const HELLO: &[u8] = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Whether an answer comes soon. It may come later, so false is no proof.
async fn is_answered_soon(client: &mut Client) -> bool {
    tokio::time::timeout(Duration::from_millis(300), client.answer())
        .await
        .is_ok()
}

#[test]
fn the_limit_of_open_files_is_a_cap() {
    if is_child() {
        return serve(app::long().with_head_timeout(Duration::from_secs(600)));
    }
    in_parent(async {
        // 64 are kept spare: 16 of the 20 come in.
        let process = Process::start_with_files(80, "signals::the_limit_of_open_files_is_a_cap");
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(process.address).await;
            client.write(HELLO).await;
            clients.push(client);
        }
        let mut waiting = clients.split_off(16);
        for client in &mut clients {
            assert_eq!(client.answer().await.status, 200);
        }
        assert!(!is_answered_soon(&mut waiting[0]).await);
        drop(clients);
        for client in &mut waiting {
            assert_eq!(client.answer().await.status, 200);
        }
        process.signal("TERM");
        process.expect_end("0 were cut").await;
    });
}

/// EMFILE: something else in the process takes all files, and gives them back.
#[test]
fn accepting_goes_on_after_files_have_run_out() {
    if is_child() {
        std::thread::spawn(|| {
            let read_line = || std::io::stdin().read_line(&mut String::new()).unwrap();
            read_line();
            let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            assert!(!files.is_empty());
            println!("took all files");
            read_line();
            drop(files);
        });
        return serve(app::long());
    }
    in_parent(async {
        let test = "signals::accepting_goes_on_after_files_have_run_out";
        let mut process = Process::start_with_files(100, test);
        let mut before = Client::open(process.address, "/").await;
        process.input.write_all(b"\n").unwrap();
        let mut line = String::new();
        process.output.read_line(&mut line).unwrap();
        assert!(line.contains("took all files"), "{line}");
        let mut client = Client::connect(process.address).await;
        client.write(HELLO).await;
        assert!(!is_answered_soon(&mut client).await);
        before.echo("still here").await;
        process.input.write_all(b"\n").unwrap();
        assert_eq!(client.answer().await.status, 200);
        process.signal("TERM");
        before.expect_close(1001).await;
        process.expect_end("1 WebSockets ended cleanly").await;
    });
}
