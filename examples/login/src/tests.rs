//! Each way with the right credentials, with wrong ones and with none: the whole router, in memory.

use std::time::Duration;

use dreamsocket::testing::{self, Client, Server, advance};

use crate::router;

const FORM: &str = "application/x-www-form-urlencoded";

fn server() -> Server {
    testing::serve(router())
}

/// Ada's session.
async fn log_in(server: &Server) -> String {
    let login = server.at("/login").with_header("content-type", FORM);
    let answer = login.post("name=ada&password=lovelace").await;
    assert_eq!((answer.status().as_u16(), answer.text().len()), (200, 32));
    answer.text().to_owned()
}

/// Ada's ticket.
async fn ticket(server: &Server) -> String {
    let session = log_in(server).await;
    let asking = server
        .at("/ticket")
        .with_header("authorization", format!("Bearer {session}"));
    let answer = asking.post("").await;
    assert_eq!(answer.status(), 200);
    answer.text().to_owned()
}

async fn expect_ada(mut client: Client) {
    client.expect_text("hello ada").await;
    client.send_text("I am here").await;
    client.expect_text("ada: I am here").await;
}

#[tokio::test(start_paused = true)]
async fn by_cookie() {
    let server = server();
    let session = log_in(&server).await;
    let cookie = format!("theme=dark; session={session}");
    let ada = server.at("/by-cookie").with_header("cookie", cookie);
    expect_ada(ada.clone().connect().await).await;
    let wrong = server
        .at("/by-cookie")
        .with_header("cookie", "session=x")
        .refused();
    assert_eq!(wrong.await.status(), 401);
    assert_eq!(server.refused("/by-cookie").await.status(), 401);
    // A page of another site brings the cookie along, and is refused for where it comes from.
    let foreign = ada.with_header("origin", "https://evil.example").refused();
    assert_eq!(foreign.await.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn the_cookie_is_the_browsers_alone() {
    let server = server();
    let login = server.at("/login").with_header("content-type", FORM);
    let answer = login.post("name=ada&password=lovelace").await;
    let cookie = answer.header("set-cookie").unwrap_or_default();
    let expected = format!("session={}; HttpOnly; SameSite=Strict", answer.text());
    assert!(cookie.starts_with(&expected), "{cookie}");
}

#[tokio::test(start_paused = true)]
async fn by_token() {
    let server = server();
    let session = log_in(&server).await;
    let with = |token: &str| {
        server
            .at("/by-token")
            .with_header("authorization", format!("Bearer {token}"))
    };
    expect_ada(with(&session).connect().await).await;
    assert_eq!(with("x").refused().await.status(), 401);
    assert_eq!(server.refused("/by-token").await.status(), 401);
    let login = server.at("/login").with_header("content-type", FORM);
    let guess = login.post("name=ada&password=guess").await;
    assert_eq!(guess.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn by_a_ticket_that_is_good_once() {
    let server = server();
    let path = format!("/by-ticket?ticket={}", ticket(&server).await);
    expect_ada(server.connect(&path).await).await;
    assert_eq!(server.refused(&path).await.status(), 401);
    assert_eq!(server.at("/ticket").post("").await.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_good_for_half_a_minute() {
    let server = server();
    for (seconds, is_good) in [(29, true), (30, false)] {
        let path = format!("/by-ticket?ticket={}", ticket(&server).await);
        advance(Duration::from_secs(seconds)).await;
        if is_good {
            expect_ada(server.connect(&path).await).await;
        } else {
            assert_eq!(server.refused(&path).await.status(), 401);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn by_the_first_message() {
    let server = server();
    let session = log_in(&server).await;
    let mut client = server.connect("/by-first-message").await;
    client.send_text(session).await;
    client.expect_text("hello ada").await;
    // Longer and more often than a stranger may, and for longer.
    let long = "x".repeat(5_000);
    for _ in 0..10 {
        client.send_text(&long).await;
        client.expect_text(format!("ada: {long}")).await;
    }
    advance(Duration::from_secs(60)).await;
    client.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_gets_nothing() {
    let server = server();
    for (message, code) in [("let me in".to_owned(), 1008), ("x".repeat(201), 1009)] {
        let mut client = server.connect("/by-first-message").await;
        client.send_text(message).await;
        client.expect_closed(code).await;
    }
    // Whoever says nothing may stay ten seconds.
    let mut client = server.connect("/by-first-message").await;
    advance(Duration::from_secs(9)).await;
    client.expect_nothing().await;
    advance(Duration::from_secs(1)).await;
    client.expect_closed(1001).await;
}
