//! One who looks on: the three handlers of a connection. The watch is its selector, so each sample runs `on_message`, and what
//! comes while that waits for a slow page is replaced by what comes later.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use dreamsocket::{
    Action, Config, Connection, Message, Selector, SendError, continue_connection,
    upgrade_websocket,
};
use tokio::sync::watch;

use crate::sample::Sample;

type Latest = watch::Receiver<Sample>;

/// Of samples one waits for a page, not a mebibyte of old ones. A page that takes nothing for half a minute is closed with 1013;
/// a send waits longer than that, so that this is what it hears.
pub(crate) fn config() -> Config {
    Config::default()
        .with_outbox(0)
        .with_stall_timeout(Duration::from_secs(30))
        .with_send_timeout(Duration::from_secs(45))
        .with_max_message(1024)
}

pub(crate) async fn live(State(latest): State<Latest>, request: Request) -> Response {
    upgrade_websocket(request, latest, on_init, on_message, on_close)
}

async fn on_init(_: &Connection, latest: &Latest) -> ((), Option<Selector<Sample>>) {
    ((), Some(Selector::from(latest.clone())))
}

async fn on_message(
    (): &mut (),
    message: Message<Sample>,
    connection: &Connection,
    _: &Latest,
) -> Result<Action<Sample>, SendError> {
    if let Message::Custom(sample) = message {
        connection.send_binary(sample.encode()).await?;
    }
    Ok(continue_connection())
}

async fn on_close((): (), _: &Latest) {}

#[cfg(test)]
mod tests {
    use dreamsocket::testing::{self, Received};

    use super::*;

    fn sample(number: u32) -> Sample {
        Sample {
            number,
            ..Sample::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_page_skips_to_the_latest() {
        let latest = watch::Sender::new(sample(0));
        let mut page = testing::Builder::new()
            .with_config(config())
            .with_buffer(64)
            .connect(latest.subscribe(), on_init, on_message, on_close);
        page.expect_binary(sample(0).encode()).await;
        latest.send_replace(sample(1));
        page.expect_binary(sample(1).encode()).await;

        page.stall();
        for number in 2..=1_000 {
            latest.send_replace(sample(number));
            testing::settle().await;
        }
        page.unstall().await;
        let mut came = 0;
        loop {
            let Received::Binary(bytes) = page.receive().await else {
                unreachable!("the server says nothing else");
            };
            came += 1;
            if bytes[..] == sample(1_000).encode()[..] {
                break;
            }
        }
        // What was on its way, one that waited for room, the latest; and not the 999.
        assert!(came <= 5, "{came}");
        page.expect_nothing().await;
    }
}
