//! How long many small tests take. Nothing is asserted of the time: `cargo test -p dreamsocket --all-features --test kit
//! -- many --nocapture` prints it.

use std::time::Instant;

use dreamsocket::testing::{self, Client};
use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection};

use crate::app::router;

const TESTS: u32 = 1_000;

async fn on_init(_: &Connection, (): &()) -> (u32, Option<Selector>) {
    (0, None)
}

async fn on_message(
    count: &mut u32,
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        *count += 1;
        connection.send_text(format!("{count}: {text}")).await?;
    }
    Ok(continue_connection())
}

async fn on_close(_: u32, (): &()) {}

/// A runtime of its own, as each `#[tokio::test]` has.
fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test);
}

async fn end(mut client: Client) {
    client.expect_nothing().await;
    client.close(1000, "").await;
    client.expect_closed(1000).await;
    client.ended().await;
}

fn report(what: &str, begin: Instant) {
    use std::io::Write as _;

    let time = begin.elapsed();
    let _ = writeln!(std::io::stdout(), "{TESTS} tests {what}: {time:?}");
}

#[test]
fn many_through_handlers_and_many_through_a_router() {
    let begin = Instant::now();
    for _ in 0..TESTS {
        run(async {
            let mut client = testing::connect((), on_init, on_message, on_close);
            client.send_text("hello").await;
            client.expect_text("1: hello").await;
            end(client).await;
        });
    }
    report("of handlers", begin);
    let begin = Instant::now();
    for _ in 0..TESTS {
        run(async {
            let server = testing::serve(router());
            let mut client = server.connect("/chat?user=ada").await;
            client.expect_text("hello ada").await;
            client.send_text("count").await;
            client.expect_text("0").await;
            end(client).await;
        });
    }
    report("through a router", begin);
}
