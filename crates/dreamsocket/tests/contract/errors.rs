//! What an `Err` from a handler does, and what is logged of it: once, at a level that a peer cannot abuse.

use std::time::Duration;

use dreamsocket::testing::{self, advance};
use dreamsocket::{
    Action, BoxError, Close, Config, Connection, Message, Selector, SendError, continue_connection,
};
use tracing::Level;

use crate::logs;
use crate::stage::{Act, Stage, act};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("wrapped")]
    Wrapped(#[from] Close),
    #[error(transparent)]
    Transparent(Close),
    #[error("sending")]
    Send(#[from] SendError),
}

#[tokio::test(start_paused = true)]
async fn an_error_closes_with_1011_and_is_logged_once() {
    const FAIL: Act = act!(|_, _, _, _| Err("no such room".into()));
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(FAIL).connect();
    client.send_text("go").await;
    assert_eq!(
        client.expect_closed(1011).await,
        "",
        "nothing of it is the peer's business"
    );
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "go", "on_close 1, closed 1011 failed clean"]
    );
    let loud = logs.loud();
    assert_eq!(loud.len(), 1, "{loud:?}");
    assert!(loud[0].starts_with("ERROR"), "{loud:?}");
    assert!(loud[0].contains("no such room"), "{loud:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_on_init_closes_and_runs_nothing_else() {
    async fn on_init(_: &Connection, code: &u16) -> Result<((), Option<Selector>), BoxError> {
        if *code == 1011 {
            return Err("no database".into());
        }
        Err(Close::new(*code, "not you").into())
    }
    async fn on_message((): &mut (), _: Message, _: &Connection, _: &u16) -> Action {
        unreachable!()
    }
    async fn on_close((): (), _: &u16) {
        unreachable!()
    }
    let mut client = crate::builder().connect(1011, on_init, on_message, on_close);
    client.send_text("early").await;
    client.expect_closed(1011).await;
    client.ended().await;
    let mut client = crate::builder().connect(1008, on_init, on_message, on_close);
    assert_eq!(client.expect_closed(1008).await, "not you");
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_with_a_close_code_closes_with_it_however_it_is_wrapped() {
    const FAIL: Act = act!(|_, message, _, _| {
        let Message::Text(text) = message else {
            return Ok(continue_connection());
        };
        let close = || Close::new(4001, "out");
        Err(match &*text {
            "bare" => close().into(),
            "from" => Failure::from(close()).into(),
            "transparent" => Failure::Transparent(close()).into(),
            "anyhow" => anyhow::Error::new(close()).into(),
            "context" => anyhow::Error::new(close()).context("while chatting").into(),
            _ => anyhow::Error::new(Failure::Transparent(close()))
                .context("while chatting")
                .into(),
        })
    });
    for how in ["bare", "from", "transparent", "anyhow", "context", "all"] {
        let logs = logs::capture();
        let (mut client, stage) = Stage::new(FAIL).connect();
        client.send_text(how).await;
        assert_eq!(client.expect_closed(4001).await, "out", "{how}");
        client.ended().await;
        assert_eq!(
            stage.seen()[2],
            "on_close 1, closed 4001 failed clean",
            "{how}"
        );
        assert_eq!(
            logs.loud(),
            Vec::<String>::new(),
            "the application's choice"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_with_a_code_that_must_not_be_sent_closes_with_1011() {
    const FAIL: Act = act!(|_, _, _, _| Err(Close::new(1005, "no status").into()));
    let logs = logs::capture();
    let (mut client, _stage) = Stage::new(FAIL).connect();
    client.send_text("go").await;
    client.expect_closed(1011).await;
    client.ended().await;
    assert_eq!(logs.at(Level::ERROR).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_peer_has_gone_is_no_error() {
    const FAIL: Act = act!(|_, message, connection, _| {
        if let Message::Text(_) = message {
            connection.closed().await;
            connection.send_text("too late").await?;
        }
        Ok(continue_connection())
    });
    let check = async |is_lost: bool, expected: &str| {
        let logs = logs::capture();
        let (mut client, stage) = Stage::new(FAIL).connect();
        client.send_text("go").await;
        if is_lost {
            client.vanish().await;
        } else {
            client.close(1000, "").await;
        }
        client.ended().await;
        assert_eq!(stage.seen(), ["init", "go", expected]);
        assert_eq!(logs.loud(), Vec::<String>::new());
        let quiet = logs.at(Level::DEBUG);
        assert!(
            quiet.iter().any(|line| line.contains("closing or closed")),
            "{quiet:?}"
        );
    };
    check(true, "on_close 1, closed 1006 lost unclean").await;
    check(false, "on_close 1, closed 1000 peer clean").await;
}

#[tokio::test(start_paused = true)]
async fn an_error_behind_a_close_of_the_peer_that_waits_is_no_error() {
    // The close stands behind a message in the read-ahead, so sends still work when the handler fails.
    const FAIL: Act = act!(|_, _, _, stage| {
        stage.hold().await;
        Err("no luck".into())
    });
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(FAIL).connect();
    client.send_text("one").await;
    client.send_text("two").await;
    client.close(4002, "").await;
    stage.release();
    client.expect_closed(4002).await;
    client.ended().await;
    assert_eq!(
        stage.seen(),
        ["init", "one", "on_close 1, closed 4002 peer clean"]
    );
    assert_eq!(logs.loud(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_error_behind_a_close_of_our_own_is_no_error() {
    // The first cause stands, also when the session has not heard of it when the handler returns.
    const CLOSE_AND_FAIL: Act = act!(|_, message, connection, _| {
        if let Message::Text(text) = message {
            connection.close(4000, "enough").await?;
            match &*text {
                "send" => connection.send_text("too late").await?,
                "stop" => return Ok(dreamsocket::stop_connection()),
                "panic" => panic!("on purpose"),
                _ => {}
            }
        }
        Ok(continue_connection())
    });
    for how in ["send", "stop", "panic"] {
        let logs = logs::capture();
        let (mut client, stage) = Stage::new(CLOSE_AND_FAIL).connect();
        client.send_text(how).await;
        assert_eq!(client.expect_closed(4000).await, "enough", "{how}");
        client.ended().await;
        assert_eq!(
            stage.seen(),
            ["init", how, "on_close 1, closed 4000 stopped clean"]
        );
        let is_loud = how == "panic";
        assert_eq!(logs.loud().len(), usize::from(is_loud), "{:?}", logs.loud());
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_on_connection_closed_is_no_error() {
    const FAIL: Act = act!(|_, message, connection, _| {
        if let Message::ConnectionClosed(_) = message {
            connection.send_text("too late").await?;
        }
        Ok(continue_connection())
    });
    let logs = logs::capture();
    let (mut client, stage) = Stage::new(FAIL).connect();
    client.close(1000, "").await;
    client.ended().await;
    assert_eq!(stage.seen().len(), 3);
    assert_eq!(logs.loud(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_send_that_timed_out_closes_with_1013_quietly() {
    const FLOOD: Act = act!(|_, message, connection, _| {
        let Message::Text(how) = message else {
            return Ok(continue_connection());
        };
        let sent: Result<(), SendError> = async {
            loop {
                connection.send_binary(vec![0; 100_000]).await?;
            }
        }
        .await;
        Err(match (&*how, sent.unwrap_err()) {
            ("bare", error) => error.into(),
            ("from", error) => Failure::from(error).into(),
            (_, error) => anyhow::Error::new(error).context("while chatting").into(),
        })
    });
    for how in ["bare", "from", "anyhow"] {
        let logs = logs::capture();
        let config = Config::default().with_send_timeout(Duration::from_secs(3));
        let (mut client, stage) = Stage::new(FLOOD).with_config(config).connect();
        client.stall();
        client.send_text(how).await;
        advance(Duration::from_secs(3)).await;
        client.unstall().await;
        while let testing::Received::Binary(_) = client.receive().await {}
        client.ended().await;
        assert_eq!(
            stage.seen(),
            ["init", how, "on_close 1, closed 1013 lagged clean"]
        );
        assert_eq!(logs.loud(), Vec::<String>::new());
    }
}
