//! One bad client harms nobody else (where the original lost innocent connections, and after ten the server).

use crate::app::{App, long};
use crate::client::{Client, PING, TEXT, handshake, masked};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_bad_clients_leave_100_other_connections_untouched() {
    let app = App::start(long()).await;
    let mut innocents = Vec::new();
    for _ in 0..100 {
        innocents.push(Client::open(app.address, "/").await);
    }
    for round in 0..20 {
        // A panic in a handler.
        let mut client = Client::open(app.address, "/").await;
        client.send(TEXT, b"panic").await;
        client.expect_close(1011).await;
        // A panic in an HTTP handler.
        let mut client = Client::connect(app.address).await;
        client
            .write(b"GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        client.expect_end().await;
        // Frames that break the rules: reserved bits, unmasked, an unknown opcode, a long control frame, bad UTF-8.
        for (frame, code) in [
            (&b"\xf1\x80\0\0\0\0"[..], 1002),
            (b"\x81\x01x", 1002),
            (b"\x83\x80\0\0\0\0", 1002),
            (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
            (b"\x81\x82\0\0\0\0\xc3\x28", 1007),
            (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1002),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
        ] {
            let mut client = Client::open(app.address, "/").await;
            client.write(frame).await;
            client.expect_close(code).await;
        }
        // A ping and then a reset, so that the pong meets a dead socket.
        let mut client = Client::open(app.address, "/").await;
        let mut pings = masked(PING, b"gone");
        pings.extend(masked(TEXT, b"gone"));
        client.write(&pings).await;
        client.reset();
        // A reset in the middle of the handshake, and one in the middle of a frame.
        let mut client = Client::connect(app.address).await;
        client.write(handshake("/").as_bytes()).await;
        client.reset();
        let mut client = Client::open(app.address, "/").await;
        client.write(b"\x82\xff\0").await;
        client.reset();
        // Not HTTP, and HTTP/1.1 without a Host.
        let mut client = Client::connect(app.address).await;
        assert_eq!(client.request("\x16\x03\x01\r\n\r\n").await.status, 400);
        let mut client = Client::connect(app.address).await;
        let request = handshake("/").replace("Host: localhost\r\n", "") + "\r\n";
        assert_eq!(client.request(&request).await.status, 400);
        // A peer that never reads its echoes, and stays.
        if round == 0 {
            let client = Client::open(app.address, "/").await;
            let echoes = masked(TEXT, &[b'x'; 100]);
            while client.io.try_write(&echoes).is_ok() {}
            std::mem::forget(client);
        }
    }
    for (index, client) in innocents.iter_mut().enumerate() {
        client.echo(&format!("I am number {index}")).await;
    }
}
