//! Heartbeats and timeouts, on a clock that the test moves.

use std::time::Duration;

use dreamsocket::testing::{self, advance};
use dreamsocket::{Cause, Config};

use crate::app::router;

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_lives_and_one_that_stalls_is_lost() {
    let server = testing::serve(router());
    let mut alive = server.connect("/chat?user=ada").await;
    let mut dead = server.connect("/chat?user=grace").await;
    dead.stall();
    advance(Duration::from_secs(91)).await;
    assert!(!alive.is_ended());
    dead.ended().await;
    assert_eq!(server.hub().counts().closed(Cause::Lost), 1);
    alive.expect_text("hello ada").await;
    alive.expect_ping().await;
    alive.send_text("count").await;
    alive.expect_text("0").await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_cut() {
    let config = Config::default().with_handler_timeout(Some(Duration::from_secs(10)));
    let server = testing::run(dreamsocket::Server::new(router()).with_config(config));
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.send_text("later").await;
    advance(Duration::from_millis(9_900)).await;
    client.expect_nothing().await;
    advance(Duration::from_millis(200)).await;
    client.expect_closed(1011).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_waits_for_comes_when_its_time_has_come() {
    let server = testing::serve(router());
    let mut client = server.connect("/chat?user=ada").await;
    client.expect_text("hello ada").await;
    client.send_text("later").await;
    client.expect_nothing().await;
    advance(Duration::from_secs(20)).await;
    client.expect_text("now").await;
}
