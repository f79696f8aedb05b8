//! Attacks by number: a thousand that come at once, and a thousand that come and go.

use std::net::SocketAddr;
use std::time::Duration;

use dreamsocket::Config;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::budget::quiet;
use crate::peer::{Answer, HANDSHAKE, Peer, within};
use crate::target::Attack;

const STORM: usize = 1000;

/// How many more come when the server is full.
const TOO_MANY: usize = 200;

/// Room for a storm in this process and the server's.
fn allow_files() {
    let wanted = 4 * STORM as u64;
    let limit = rlimit::increase_nofile_limit(wanted).unwrap();
    assert!(limit >= wanted, "a limit of {limit} open files is too low");
}

/// So many handshakes at once, and what came of them; the connections stay open.
async fn storm(address: SocketAddr, count: usize) -> Vec<(Peer, Answer)> {
    let mut opening = JoinSet::new();
    for _ in 0..count {
        opening.spawn(async move {
            let mut peer = Peer::new(within(TcpStream::connect(address)).await.unwrap());
            let answer = peer.request(&format!("{HANDSHAKE}\r\n")).await;
            (peer, answer)
        });
    }
    opening.join_all().await
}

#[test]
fn of_a_thousand_handshakes_at_once_none_is_refused_below_the_cap_and_all_above() {
    allow_files();
    // With the bystander's.
    let config = Config::default().with_max_connections(STORM + 1);
    let memory = quiet(&config, STORM + TOO_MANY);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let inside = storm(target.address, STORM).await;
            assert!(inside.iter().all(|(_, answer)| answer.status == 101));
            let outside = storm(target.address, TOO_MANY).await;
            for (_, answer) in &outside {
                assert_eq!(answer.status, 503);
                assert!(
                    answer.body.contains("Config::max_connections"),
                    "{answer:?}"
                );
            }
            target.expect(&[("refused 503", TOO_MANY as u64)]).await;
            // All of them work.
            for (mut peer, _) in inside {
                peer.echo("in").await;
            }
            assert_eq!(target.report().await["opened"], STORM as u64 + 1);
        });
}

/// Places are given back, and nothing is left behind: ten at a time never come to the cap, nor to more memory
/// than those under it.
#[test]
fn a_thousand_that_come_and_go_without_a_close_leave_nothing_behind() {
    const AT_ONCE: usize = 10;
    allow_files();
    let config = Config::default()
        .with_max_connections(STORM / 10)
        .with_close_time(Duration::from_millis(500));
    let memory = quiet(&config, STORM / 10);
    Attack::on(config)
        .within_memory(memory)
        .run(async |target| {
            let address = target.address;
            let mut storms = JoinSet::new();
            for _ in 0..AT_ONCE {
                storms.spawn(async move {
                    for _ in 0..STORM / AT_ONCE {
                        let mut peer =
                            Peer::new(within(TcpStream::connect(address)).await.unwrap());
                        peer.upgrade("/").await;
                        peer.echo("here and gone").await;
                    }
                });
            }
            storms.join_all().await;
            let count = STORM as u64;
            target
                .expect(&[("on_close lost 1006", count), ("closed lost", count)])
                .await;
        });
}
