//! Attacks with too much of what is allowed in itself.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use dreamsocket::{Config, Excess, Rate};

use tokio::io::AsyncWriteExt;

use crate::peer::{FIN, PING, PONG, TEXT, frame};
use crate::target::Attack;

/// How many pings may have been answered since `start`, with the default of 100 at once and 100 a second. The session reads
/// 16 KiB at a time and may have begun one more.
fn allowed(start: Instant) -> usize {
    const READ_AHEAD: usize = 16 * 1024;
    let smallest = frame(FIN | PING, b"").len();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    100 + 100 * seconds + READ_AHEAD / smallest
}

#[test]
fn a_flood_of_pings_is_held_to_the_bucket() {
    Attack::on(Config::default()).run(async |target| {
        let mut peer = target.open().await;
        let start = Instant::now();
        let least = Duration::from_secs(2);
        let flood = frame(FIN | PING, b"").repeat(1000);
        peer.flood(&flood, |_| target.is_calm() && start.elapsed() >= least)
            .await;
        let pongs = peer.received().len() / 2;
        assert!(
            peer.received()
                .iter()
                .all(|byte| [0x80 | PONG, 0].contains(byte))
        );
        assert!((100..=allowed(start)).contains(&pongs), "{pongs} pongs");
        assert!(!peer.has_ended().await);
        target.expect(&[]).await;
    });
}

#[test]
fn a_flood_of_pongs_is_held_to_the_bucket() {
    Attack::on(Config::default()).run(async |target| {
        let mut peer = target.open().await;
        let start = Instant::now();
        let least = Duration::from_secs(2);
        // Only an echo shows how far the server has read.
        let mut flood = frame(FIN | PONG, b"").repeat(99);
        flood.extend(frame(FIN | TEXT, b""));
        peer.flood(&flood, |_| target.is_calm() && start.elapsed() >= least)
            .await;
        let pongs = 99 * peer.received().len() / 2;
        assert!((99..=allowed(start)).contains(&pongs), "{pongs} pongs");
        assert!(!peer.has_ended().await);
        target.expect(&[]).await;
    });
}

/// Their pongs stay within the reserve of control frames, and reading pauses.
#[test]
fn pings_whose_pongs_are_not_read_cost_no_more_than_the_reserve() {
    Attack::on(Config::default()).run(async |target| {
        let mut peer = target.open().await;
        let flood = frame(FIN | PING, &[0; 125]);
        let (mut next, mut was_pushed_back) = (0, false);
        let start = Instant::now();
        while !target.is_calm() || start.elapsed() < Duration::from_secs(2) {
            let writing = peer.io.write(&flood[next..]);
            match tokio::time::timeout(Duration::from_millis(100), writing).await {
                Ok(written) => next = (next + written.unwrap()) % flood.len(),
                Err(_) => was_pushed_back = true,
            }
        }
        // Pushed back, not cut off.
        assert!(was_pushed_back);
        assert!(!peer.has_ended().await);
        target.expect(&[]).await;
    });
}

#[test]
fn a_flood_of_messages_past_the_rate_is_1008() {
    // More at once than the bystander sends.
    let rate =
        Rate::per_second(NonZeroU32::new(50).unwrap()).with_burst(NonZeroU32::new(2000).unwrap());
    let config = Config::default()
        .with_close_time(Duration::from_millis(500))
        .with_message_rate(Some(rate))
        .with_rate_excess(Excess::Close);
    Attack::on(config).run(async |target| {
        let mut peer = target.open().await;
        peer.flood(&frame(FIN | TEXT, b"").repeat(5000), |_| false)
            .await;
        peer.expect_close(1008).await;
        target
            .expect(&[("on_close limit 1008", 1), ("closed limit", 1)])
            .await;
    });
}
