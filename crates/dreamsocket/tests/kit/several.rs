//! Several clients, joined by a topic.

use dreamsocket::testing::{self, Client};

use crate::app::{Said, router};

async fn expect_said(client: &mut Client, user: &str, text: &str) {
    let expected = Said {
        user: user.into(),
        text: text.into(),
    };
    assert_eq!(client.expect_json::<Said>().await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_one_says_all_hear() {
    let server = testing::serve(router());
    let mut clients = Vec::new();
    for user in ["ada", "grace", "edsger"] {
        let mut client = server.connect(&format!("/chat?user={user}")).await;
        client.expect_text(format!("hello {user}")).await;
        clients.push(client);
    }
    clients[0].send_text("hi").await;
    for client in &mut clients {
        expect_said(client, "ada", "hi").await;
        client.expect_nothing().await;
    }
    // Who has left hears nothing, and the others do.
    clients.remove(1).vanish().await;
    clients[1].send_text("who is there?").await;
    for client in &mut clients {
        expect_said(client, "edsger", "who is there?").await;
    }
}

/// `expect_nothing` waits for all that the servers do, also for what goes through the other's task.
#[tokio::test(start_paused = true)]
async fn nothing_is_expected_only_when_nothing_is_under_way() {
    let server = testing::serve(router());
    let mut ada = server.connect("/chat?user=ada").await;
    let mut grace = server.connect("/chat?user=grace").await;
    ada.expect_text("hello ada").await;
    grace.expect_text("hello grace").await;
    for _ in 0..10 {
        // Not awaited: sent, and nothing has run.
        drop(ada.send_text("hi"));
        let came = crate::failing::failure(grace.expect_nothing()).await;
        assert!(came.starts_with("expected nothing, got the text"), "{came}");
        expect_said(&mut ada, "ada", "hi").await;
    }
}
