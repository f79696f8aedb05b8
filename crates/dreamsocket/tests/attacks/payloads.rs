//! Attacks with what is in the frames: text that is none, and compressed data that is more than it seems.

use std::io::Write;
use std::time::Duration;

use dreamsocket::{Compression, Config};
use flate2::write::DeflateEncoder;

use crate::peer::{BINARY, CONTINUATION, FIN, TEXT, frame};
use crate::target::Attack;

/// The first reserved bit: the message is compressed (RFC 7692 §6).
const RSV1: u8 = 0x40;

const EXTENSION: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

fn config() -> Config {
    Config::default().with_close_time(Duration::from_millis(500))
}

fn compressing() -> Config {
    config().with_compression(Compression::shared())
}

#[test]
fn text_that_is_no_utf8_in_its_last_byte_is_1007() {
    Attack::on(config()).run(async |target| {
        let mut peer = target.open().await;
        let mut text = vec![b'x'; 1024 * 1024];
        *text.last_mut().unwrap() = 0xff;
        peer.write(&frame(FIN | TEXT, &text)).await.unwrap();
        peer.expect_close(1007).await;
        peer.expect_end().await;
        target
            .expect(&[("on_close protocol 1007", 1), ("closed protocol", 1)])
            .await;
    });
}

/// 64 MiB in 64 KiB.
#[test]
fn an_inflate_bomb_is_1009() {
    Attack::on(compressing()).run(async |target| {
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 1024 * 1024];
        for _ in 0..64 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let mut peer = target.connect().await;
        peer.upgrade_with("/", EXTENSION).await;
        peer.write(&frame(FIN | RSV1 | BINARY, &bomb))
            .await
            .unwrap();
        peer.expect_close(1009).await;
        peer.expect_end().await;
        target
            .expect(&[("on_close limit 1009", 1), ("closed limit", 1)])
            .await;
    });
}

/// `c2 02 03 80`, a frame that some libraries never got over: a last block with nothing in it, and bits behind it.
#[test]
fn a_block_with_bits_behind_it_is_an_empty_message() {
    Attack::on(compressing()).run(async |target| {
        let mut peer = target.connect().await;
        peer.upgrade_with("/", EXTENSION).await;
        let bytes = frame(FIN | RSV1 | BINARY, &[0x03, 0x80]);
        for _ in 0..1000 {
            peer.write(&bytes).await.unwrap();
        }
        for _ in 0..1000 {
            let message = peer.frame().await.expect("an echo");
            assert_eq!((message.opcode, &*message.payload), (BINARY, &b""[..]));
        }
        peer.echo("still here").await;
        target.expect(&[]).await;
    });
}

/// Blocks of deflate that are empty, from which nothing ever comes.
#[test]
fn inflating_without_progress_is_1009() {
    Attack::on(compressing()).run(async |target| {
        // A stored block of no bytes: 3 bits, padding, its length and the complement of that.
        let empty = [0, 0, 0, 0xff, 0xff].repeat(1000);
        let mut peer = target.connect().await;
        peer.upgrade_with("/", EXTENSION).await;
        peer.write(&frame(RSV1 | BINARY, &empty)).await.unwrap();
        peer.flood(&frame(CONTINUATION, &empty), |_| false).await;
        peer.expect_close(1009).await;
        target
            .expect(&[("on_close limit 1009", 1), ("closed limit", 1)])
            .await;
    });
}
