//! Run with `cargo run --release -p sans-io -- 127.0.0.1:3004`.
//!
//! The protocol crate alone: an echo over `std::net`, one thread for each connection, without tokio, hyper or a line of `async`.
//! What the library adds is missing here: origins are not checked, so any page may connect, and there is no heartbeat but
//! a time limit on reading.

mod head;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use dreamsocket_protocol::handshake::check_request;
use dreamsocket_protocol::{Engine, Event, Limits, MaskKey, MessageKind, Role};

/// Connections, and so threads, at a time.
const MOST_CONNECTIONS: usize = 64;
/// How long a peer may be silent, and how long it may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a request may take, and what a peer sends behind its close.
const OPENING: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(5);

#[expect(clippy::print_stdout, reason = "tells the address")]
fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1);
    let listener = TcpListener::bind(listen.as_deref().unwrap_or("127.0.0.1:3004"))?;
    println!("listening on {}", listener.local_addr()?);
    let places = Arc::new(());
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(100)); // Out of files, say: others may end.
            continue;
        };
        let place = Arc::clone(&places);
        if Arc::strong_count(&places) > MOST_CONNECTIONS + 1 {
            continue; // Dropping the stream closes it.
        }
        let spawned = std::thread::Builder::new().spawn(move || {
            let _place = place;
            if let Err(error) = serve(&stream) {
                eprintln!("{peer}: {error}");
            }
        });
        if let Err(error) = spawned {
            eprintln!("{peer}: {error}");
        }
    }
}

/// Opens a connection's WebSocket, or says why not; then echoes.
fn serve(stream: &TcpStream) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut input = BytesMut::new();
    let request = head::read_request(stream, &mut input, Instant::now() + OPENING)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match check_request(&request) {
        Ok(accepted) => {
            head::write_switch(stream, &accepted.accept_key)?;
            echo(stream, input)
        }
        Err(error) => Ok(head::write_refusal(stream, error)?),
    }
}

/// Sends every message back until the connection is closed. `input` has what came behind the request.
fn echo(mut stream: &TcpStream, mut input: BytesMut) -> Result<(), Box<dyn Error>> {
    let mut engine = Engine::new(Role::Server, Limits::default());
    let mut output = BytesMut::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        while let Some(event) = engine.handle_input(&mut input) {
            let (kind, payload) = match event {
                Event::Text(text) => (MessageKind::Text, text.into_bytes()),
                Event::Binary(bytes) => (MessageKind::Binary, bytes),
                // The engine answers these itself.
                Event::Ping(_) | Event::Pong(_) | Event::Close(_) | Event::Violation(_) => continue,
            };
            engine.encode_message(kind, &payload, no_key, &mut output)?;
        }
        engine.poll_control(no_key, &mut output);
        engine.poll_close(no_key, &mut output);
        stream.write_all(&output)?;
        output.clear();
        if engine.is_close_sent() {
            break;
        }
        // What is left in `input` is an unfinished frame: the new bytes go behind it.
        match stream.read(&mut chunk)? {
            0 => return Err("the peer is gone without a close".into()),
            read => input.extend_from_slice(&chunk[..read]),
        }
    }
    // RFC 6455 §7.1.1: the server ends TCP first. What still comes is read, or the kernel would reset the connection, and
    // with it the close frame that the peer has not read.
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let end = Instant::now() + FAREWELL;
    while Instant::now() < end && matches!(stream.read(&mut chunk), Ok(1..)) {}
    Ok(())
}

/// A client masks its frames, a server does not.
fn no_key() -> MaskKey {
    [0; 4]
}
