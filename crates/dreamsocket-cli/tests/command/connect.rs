//! `connect`: pipes, what is told of an end, and exit codes.

#[cfg(unix)]
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

#[cfg(unix)]
use crate::process::interrupt;
use crate::process::{command, finish, run, within};
use crate::server::{accept, serve, serve_at, serve_tls};

#[tokio::test]
async fn lines_in_messages_out() {
    let url = format!("ws://{}/echo", serve().await);
    let done = run(&["connect", &url, "-n", "3"], b"one\n\ntwo").await;
    done.expect(0, "one\n\ntwo\n");
    assert!(done.err.contains("connected to ws://"), "{}", done.err);
    assert!(
        done.err.contains("closed with 1000 (normal)"),
        "{}",
        done.err
    );
    let done = run(&["connect", &url, "--quiet", "--wait", "0.1"], b"").await;
    done.expect(0, "");
    assert_eq!(done.err, "");
}

#[tokio::test]
async fn more_than_both_sides_hold_goes_through() {
    let url = format!("{}/echo", serve().await);
    // The server stops reading while its answers are not read.
    let line = "x".repeat(1000) + "\n";
    let input = line.repeat(10_000);
    let done = run(&["connect", &url, "-n", "10000"], input.as_bytes()).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out == input, "as it was sent");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let url = format!("{}/echo", serve().await);
    let mut child = command(&["connect", &url]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"one\n").await.unwrap();
    assert_eq!(within(lines.next_line()).await.unwrap().unwrap(), "one");
    drop(lines);
    // More than one: a process that another test starts may hold the other end for a moment.
    tokio::spawn(async move {
        while stdin.write_all(b"two\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let done = finish(child).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!done.err.contains("panicked"), "{}", done.err);
}

#[tokio::test]
async fn binary_messages_as_bytes_or_as_hexadecimal() {
    let address = serve().await;
    let url = format!("{address}/binary");
    let run = async |flags: &[&str], input: &[u8]| {
        let arguments = [&["connect", &*url, "-q", "-n", "2"], flags].concat();
        let mut child = command(&arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let output = within(child.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        output.stdout
    };
    assert_eq!(run(&[], b"text\n").await, b"000aff\ntext\n");
    assert_eq!(
        run(&["--hex"], b"dead be ef\n").await,
        b"000aff\ndeadbeef\n"
    );
    assert_eq!(run(&["--binary"], b"\xfe\n").await, b"\x00\x0a\xff\xfe");
}

#[tokio::test]
async fn json_tells_everything_in_order() {
    let url = format!("ws://{}/echo", serve().await);
    let flags = [
        "--subprotocol",
        "echo.v1",
        "--compression",
        "shared",
        "-n",
        "1",
    ];
    let arguments = [&["connect", &*url, "--json"], &flags[..]].concat();
    let done = run(&arguments, b"hi\n").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let events = done.events();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["open", "sent", "message", "closed"]);
    let [open, _, message, closed] = &events[..] else {
        panic!("four of them");
    };
    assert_eq!(open["status"], 101);
    assert_eq!(open["headers"]["upgrade"], "websocket");
    assert_eq!(open["subprotocol"], "echo.v1");
    let compression = open["compression"].as_str().unwrap();
    assert!(
        compression.starts_with("permessage-deflate; "),
        "{compression}"
    );
    assert_eq!(
        (&message["kind"], &message["text"]),
        (&"text".into(), &"hi".into())
    );
    assert_eq!(
        (&closed["code"], &closed["clean"]),
        (&1000.into(), &true.into())
    );
}

#[tokio::test]
async fn pings_are_timed() {
    let url = format!("{}/echo", serve().await);
    let arguments = ["connect", &url, "--json", "--ping", "0.05"];
    let mut child = command(&arguments).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut pongs = 0;
    while pongs < 5 {
        let line = within(lines.next_line()).await.unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "pong" {
            assert!(event["round_trip"].as_f64().unwrap() > 0.0);
            pongs += 1;
        }
    }
    drop(stdin);
    drop(lines);
    assert_eq!(finish(child).await.code, Some(0));
}

#[tokio::test]
async fn a_close_by_the_server_is_told_and_its_code_decides() {
    let address = serve().await;
    for (code, expected) in [(1000, 0), (1001, 0), (1011, 1), (4000, 1)] {
        let url = format!("{address}/close/{code}");
        let done = run(&["connect", &url], b"go\n").await;
        done.expect(expected, "");
        let line = format!("closed with {code}");
        assert!(done.err.contains(&line), "{}", done.err);
        assert!(done.err.contains(": as you like"), "{}", done.err);
    }
}

#[tokio::test]
async fn what_was_read_and_not_sent_is_a_loss() {
    let url = format!("{}/close/1000", serve().await);
    let done = run(&["connect", &url], &b"line\n".repeat(100_000)).await;
    done.expect(1, "");
    let line = "dreamsocket: lines of the input were not sent";
    assert!(done.err.contains(line), "{}", done.err);
}

#[tokio::test]
async fn a_reader_may_leave_in_the_middle_of_much() {
    let url = format!("{}/echo", serve().await);
    let mut child = command(&["connect", &url]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::spawn(async move { stdin.write_all(&b"line\n".repeat(100_000)).await });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(within(lines.next_line()).await.unwrap().unwrap(), "line");
    drop(lines);
    let done = finish(child).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
}

#[tokio::test]
async fn what_a_lost_connection_had_taken_is_a_loss_for_whoever_connects_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", listener.local_addr().unwrap());
    let server = async {
        let mut stream = accept(&listener).await;
        stream.read_u8().await.unwrap();
        drop(stream);
        let mut stream = accept(&listener).await;
        stream
            .write_all(b"\x81\x05again\x88\x02\x03\xe8")
            .await
            .unwrap();
        // The answer to the close.
        stream.read_exact(&mut [0; 8]).await.unwrap();
    };
    let arguments = ["connect", "-q", "--reconnect", "-n1", &url];
    let (done, ()) = tokio::join!(run(&arguments, b"one\n"), server);
    done.expect(1, "again\n");
    let line = "dreamsocket: something that was sent may not have arrived\n";
    assert_eq!(done.err, line);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_output_that_takes_nothing_is_a_failure() {
    let url = format!("{}/echo", serve().await);
    for arguments in [
        &["connect", "-q", &*url][..],
        &["load", "-q", "--json", "--duration", "0.1", &*url],
        &["completions", "bash"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut child = command(arguments).stdout(full.unwrap()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Not all of them read it.
        let _ = stdin.write_all(b"line\n").await;
        let done = finish(child).await;
        assert_eq!(done.code, Some(1), "{arguments:?}: {}", done.err);
        let line = "dreamsocket: the standard output cannot be written: No space left";
        assert!(done.err.contains(line), "{}", done.err);
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_handshake_opens_no_websocket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", listener.local_addr().unwrap());
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
    };
    let arguments = ["connect", &url];
    let (done, ()) = tokio::join!(run(&arguments, b""), accept);
    assert_eq!(done.code, Some(4), "{}", done.err);
    assert!(
        done.err.contains("the exchange of the handshake failed"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn a_lost_connection_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", listener.local_addr().unwrap());
    let server = async {
        let mut stream = accept(&listener).await;
        stream.write_all(b"\x81\x04last").await.unwrap();
    };
    let arguments = ["connect", &url];
    let (done, ()) = tokio::join!(run(&arguments, b""), server);
    done.expect(1, "last\n");
    assert!(
        done.err.contains("closed with 1006 (lost), not cleanly"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn no_pong_means_that_the_server_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", listener.local_addr().unwrap());
    let mut child = command(&["connect", &url, "--ping", "0.05"])
        .spawn()
        .unwrap();
    let _stdin = child.stdin.take().unwrap();
    let _silent = within(accept(&listener)).await;
    let done = finish(child).await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("no pong"), "{}", done.err);
}

#[tokio::test]
async fn no_connection_no_websocket_and_no_sense_have_codes_of_their_own() {
    let address = serve().await;
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("{}/", refused.local_addr().unwrap());
    drop(refused);
    let (refuses, echo) = (format!("{address}/refuses"), format!("{address}/echo"));
    let over_tls = format!("wss://{address}/echo");
    for (arguments, code, line) in [
        (&[&*nobody][..], 3, "the host cannot be reached"),
        (
            &["ws://nowhere.invalid/"],
            3,
            "the host's name does not resolve",
        ),
        (&[&*over_tls], 3, "the TLS handshake failed"),
        (
            &[&*refuses],
            4,
            "403 Forbidden\n  not you\\u{1b}[31m\n  nor anybody\n",
        ),
        (&["ws://user@localhost/"], 2, "`Authorization`"),
        (&["ftp://localhost/"], 2, "no handshake can be made"),
        (
            &[&*echo, "-H", "Upgrade: x"],
            2,
            "`upgrade` is the handshake's own",
        ),
        (&[&*echo, "-H", "no colon"], 2, "NAME: VALUE"),
        (&[&*echo, "--ca", "/nowhere"], 2, "--ca /nowhere"),
        (&[&*echo, "--binary", "--json"], 2, "cannot be used with"),
        (&[], 2, "required"),
    ] {
        let arguments = [&["connect"], arguments].concat();
        let done = run(&arguments, b"").await;
        done.expect(code, "");
        assert!(done.err.contains(line), "{arguments:?}: {}", done.err);
    }
    let done = run(&["connect", &echo, "--hex"], b"00\nxyz\n").await;
    assert_eq!(done.code, Some(2));
    assert!(
        done.err
            .contains("line 2 of the input: it is not hexadecimal"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let (address, certificate) = serve_tls().await;
    let url = format!("wss://localhost:{}/echo", address.port());
    let folder = std::env::temp_dir().join(format!("dreamsocket-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let file = file.to_str().unwrap();

    let done = run(&["connect", "-n1", "-v", "--ca", file, &url], b"hi\n").await;
    done.expect(0, "hi\n");
    assert!(done.err.contains("TLSv1_3, TLS13_"), "{}", done.err);
    assert!(
        done.err.contains("ALPN http/1.1, certificates: 1"),
        "{}",
        done.err
    );
    let done = run(&["connect", &url], b"hi\n").await;
    done.expect(3, "");
    assert!(
        done.err.contains("invalid peer certificate"),
        "{}",
        done.err
    );
    let flag = "--danger-accept-any-certificate";
    let done = run(&["connect", "-n1", flag, &url], b"hi\n").await;
    done.expect(0, "hi\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn it_connects_again_and_input_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let closing = serve_at(&address.to_string()).await;
    let url = format!("{closing}/close/1012");
    let arguments = ["connect", &url, "--reconnect", "--json"];
    let mut child = command(&arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    let mut events = Vec::new();
    while events.iter().filter(|event| *event == "open").count() < 2 {
        let line = within(lines.next_line()).await.unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        events.push(event["event"].as_str().unwrap().to_owned());
    }
    // The second line may have gone with the first connection.
    events.retain(|event| event != "sent");
    assert_eq!(events, ["open", "closed", "reconnect", "open"]);
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_closes_in_order() {
    let url = format!("{}/echo", serve().await);
    let mut child = command(&["connect", &url, "--json"]).spawn().unwrap();
    let _stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within(lines.next_line()).await.unwrap().unwrap();
    assert!(first.contains("open"), "{first}");
    interrupt(&child).await;
    let closed = within(lines.next_line()).await.unwrap().unwrap();
    assert!(closed.contains("\"code\":1000"), "{closed}");
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_it_though_nobody_reads() {
    for interrupts in [1, 2] {
        let url = format!("{}/echo", serve().await);
        let mut child = command(&["connect", "--json", &url]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        within(out.read_u8()).await.unwrap();
        // Until the pipes, and all between them, hold no more.
        let line = "x".repeat(1000) + "\n";
        let fill = async { while stdin.write_all(line.as_bytes()).await.is_ok() {} };
        let full = tokio::time::timeout(Duration::from_secs(2), fill).await;
        assert!(full.is_err(), "it goes on");
        for _ in 0..interrupts {
            interrupt(&child).await;
        }
        let code = within(child.wait()).await.unwrap().code();
        // A machine may be so busy that the first one is enough.
        assert!(
            code == Some(1) || (interrupts == 2 && code == Some(130)),
            "{code:?}"
        );
        drop(out);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_before_there_is_a_connection_is_no_success() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/", listener.local_addr().unwrap());
    let child = command(&["connect", &url]).spawn().unwrap();
    // It has to listen for signals by now.
    let _silent = within(listener.accept()).await.unwrap();
    interrupt(&child).await;
    assert_eq!(finish(child).await.code, Some(130));
}
