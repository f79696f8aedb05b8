//! What a server can make the small client hold. Apart from the other tests of the client, since it measures the process.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test's helper fails the test"
)]

#[path = "client/peer.rs"]
#[expect(dead_code, reason = "the tests of the client need more of it")]
mod peer;

use dreamsocket::client::{Received, Socket};

use crate::peer::{PING, PONG, Peer, frame, listen, within};

const PINGS: u32 = 250_000;
const AT_ONCE: u32 = 500;

/// What the process holds, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

fn payload(number: u32) -> [u8; 125] {
    let mut payload = [b'.'; 125];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

#[tokio::test]
async fn a_server_that_pings_and_reads_nothing_does_not_fill_the_memory() {
    let (listener, url) = listen().await;
    let (socket, mut peer) = tokio::join!(within(Socket::connect(url)), Peer::open(&listener));
    let mut socket = socket.unwrap();
    let before = resident();
    for first in (0..PINGS).step_by(AT_ONCE as usize) {
        let numbers = first..first + AT_ONCE;
        let pings: Vec<u8> = numbers
            .clone()
            .flat_map(|number| frame(PING, &payload(number)))
            .collect();
        let receive = async {
            for number in numbers {
                let ping = Received::Ping(payload(number).to_vec().into());
                assert_eq!(within(socket.receive()).await, Some(ping));
            }
        };
        tokio::join!(peer.write(&pings), receive);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes");

    // RFC 6455 §5.5.3: the most recent ping is answered, and what the client sends itself is not lost.
    let read = async {
        loop {
            let frame = peer.frame().await.unwrap();
            assert_eq!(frame.opcode, PONG);
            if frame.payload == payload(PINGS - 1) {
                break;
            }
        }
        peer.expect(PING, b"and you").await;
    };
    let (sent, ()) = tokio::join!(within(socket.ping("and you")), within(read));
    sent.unwrap();
}
