//! `load`: what it counts. How fast anything is depends on the machine, and is not looked at.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::process::{Done, run};
#[cfg(unix)]
use crate::process::{command, finish, interrupt, within};
use crate::server::{accept, serve};

async fn load(url: &str, flags: &[&str]) -> (Done, Value) {
    let arguments = [&["load", url, "--json", "--quiet", "--ramp", "0.1"], flags].concat();
    let done = run(&arguments, b"").await;
    let result = serde_json::from_str(&done.out).unwrap();
    (done, result)
}

#[tokio::test]
async fn every_message_that_is_due_is_sent_and_answered() {
    let url = format!("ws://{}/echo", serve().await);
    let short = ["--connections", "5", "--rate", "20", "--duration", "1"];
    let long = ["--size", "20KiB", "--binary", "--compression", "shared"];
    for more in [&[][..], &long] {
        let (done, result) = load(&url, &[&short, more].concat()).await;
        assert_eq!(done.code, Some(0), "{result}");
        let counts = [
            "opened",
            "sent",
            "answered",
            "unsent",
            "unanswered",
            "unexpected",
        ];
        let counts = counts.map(|name| result[name].as_u64().unwrap());
        assert_eq!(counts, [5, 100, 100, 0, 0, 0]);
        let bars = result["histogram"].as_array().unwrap();
        let sum: u64 = bars.iter().map(|bar| bar["count"].as_u64().unwrap()).sum();
        assert_eq!(sum, 100);
        let figure = |name: &str| result["latency_ms"][name].as_f64().unwrap();
        assert!(
            0.0 < figure("p50") && figure("p50") <= figure("max"),
            "{result}"
        );
        assert_eq!(done.err, "");
    }
}

#[tokio::test]
async fn a_person_gets_a_table_and_progress() {
    let url = format!("ws://{}/echo", serve().await);
    let flags = ["--connections", "2", "--duration", "1.5", "--ramp", "0"];
    let done = run(&[&["load", &*url], &flags[..]].concat(), b"").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    for line in [
        "opened      2 of 2 in ",
        "sent        30, ",
        "answered    30\n",
        "p99.9",
        "up to ms",
        "####",
    ] {
        assert!(done.out.contains(line), "{line} in {}", done.out);
    }
    assert!(done.err.contains("open 2 of 2"), "{}", done.err);
}

#[tokio::test]
async fn closes_and_refusals_are_counted_by_kind() {
    let address = serve().await;
    let few = ["--connections", "3", "--duration", "0.5", "--wait", "50"];
    let (done, result) = load(&format!("{address}/close/4001"), &few).await;
    assert_eq!(done.code, Some(1));
    assert_eq!(result["closes"]["4001"], 3);
    assert_eq!(
        (&result["opened"], &result["answered"]),
        (&3.into(), &0.into())
    );
    let due = result["sent"].as_u64().unwrap() + result["unsent"].as_u64().unwrap();
    assert_eq!(due, 15, "{result}");

    let (done, result) = load(&format!("{address}/refuses"), &few).await;
    assert_eq!(done.code, Some(4));
    assert_eq!(result["failures"]["refused with 403"], 3);
    // What was due on connections that never were, counts.
    assert_eq!(
        (&result["sent"], &result["unsent"]),
        (&0.into(), &15.into())
    );
    assert!(done.err.contains("not you"), "{}", done.err);

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let (done, result) = load(&url, &few).await;
    assert_eq!(done.code, Some(3));
    assert_eq!(result["failures"]["not connected: connection refused"], 3);

    // It says something first, and then answers.
    let (done, result) = load(&format!("{address}/escapes"), &few).await;
    assert_eq!(done.code, Some(0), "{result}");
    assert_eq!(result["unexpected"], 3);
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_sending_and_nothing_is_lost() {
    let url = format!("{}/echo", serve().await);
    let arguments = ["load", &url, "--json", "--duration", "600", "--ramp", "0"];
    let mut child = command(&arguments).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..2 {
        let line = within(progress.next_line()).await.unwrap().unwrap();
        assert!(line.contains("open 10 of 10"), "{line}");
    }
    interrupt(&child).await;
    let done = finish(child).await;
    let result: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(done.code, Some(0), "{result}");
    assert!(result["sent"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(result["sent"], result["answered"]);
    assert_eq!(result["interrupted"], true);
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_while_connections_are_opened_is_no_success() {
    let url = format!("{}/echo", serve().await);
    let mut child = command(&["load", &url, "--ramp", "600"]).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = within(progress.next_line()).await.unwrap().unwrap();
    assert!(line.contains("open 1 of 10"), "{line}");
    interrupt(&child).await;
    let done = finish(child).await;
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(done.out.contains("opened      1 of 10"), "{}", done.out);
    assert!(done.out.contains("\ninterrupted: "), "{}", done.out);
    let last = progress.next_line().await.unwrap().unwrap();
    assert!(
        last.starts_with("dreamsocket: not every connection"),
        "{last}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_before_there_was_a_connection_has_a_code_of_its_own() {
    // Accepted by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let mut child = command(&["load", &url]).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = within(progress.next_line()).await.unwrap().unwrap();
    assert!(line.contains("open 0 of 10"), "{line}");
    interrupt(&child).await;
    let done = finish(child).await;
    assert_eq!(done.code, Some(130), "{}", done.out);
}

#[tokio::test]
async fn answers_that_are_too_long_are_not_asked_for() {
    let sizes = ["--size", "2KiB", "--max-message", "1KiB"];
    let done = run(&[&["load", "localhost:1/"], &sizes[..]].concat(), b"").await;
    done.expect(2, "");
    assert!(done.err.contains("--max-message 1024"), "{}", done.err);
}

/// Answers the handshake, and when something comes reads nothing for a second; then sends back what came, unmasked.
async fn stall(listener: TcpListener) {
    let mut stream = accept(&listener).await;
    stream.readable().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    loop {
        let first = stream.read_u8().await.unwrap();
        let short = stream.read_u8().await.unwrap() & 0x7f;
        let mut answer = vec![first, short];
        let length = match short {
            127 => {
                let length = stream.read_u64().await.unwrap();
                answer.extend(length.to_be_bytes());
                usize::try_from(length).unwrap()
            }
            126 => panic!("no message of the test has such a length"),
            _ => usize::from(short),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await.unwrap();
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        stream.write_all(&answer).await.unwrap();
        stream.write_all(&payload).await.unwrap();
        if first == 0x88 {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_not_flattered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(stall(listener));
    // More than the buffers of both sockets hold.
    let flags = ["--rate", "100", "--duration", "0.9", "--size", "256KiB"];
    let one = ["--connections", "1", "--wait", "50"];
    let (done, result) = load(&url, &[flags.as_slice(), &one].concat()).await;
    assert_eq!(done.code, Some(0), "{result}");
    assert_eq!(result["answered"], 90);
    // All were due within the second in which the server did nothing, half of them in its first half.
    let p50 = result["latency_ms"]["p50"].as_f64().unwrap();
    assert!(p50 >= 500.0, "{result}");
    server.await.unwrap();
}
