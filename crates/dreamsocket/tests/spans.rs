//! The span of a connection: what it hangs on, what it knows at its end, and how quiet the levels are.

#![expect(clippy::unwrap_used, reason = "a test that fails")]

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use dreamsocket::client::Connect;
use dreamsocket::{
    Action, Connection, Message, Selector, SendError, Server, Upgrade, connect_websocket,
    continue_connection,
};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

type Fields = BTreeMap<&'static str, String>;

/// What the library said on this thread.
#[derive(Clone, Default)]
struct Seen {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    ended: Mutex<Vec<Ended>>,
    lines: Mutex<Vec<Line>>,
    changed: Notify,
    /// Spans that this one does not want.
    refuses: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Ended {
    parent: Option<&'static str>,
    fields: Fields,
}

#[derive(Debug, Clone)]
struct Line {
    level: Level,
    message: String,
    /// The spans that it stands in, the innermost first.
    spans: Vec<&'static str>,
}

fn watch(refuses: Option<&'static str>) -> (Seen, DefaultGuard) {
    let seen = Seen {
        inner: Arc::new(Inner {
            refuses,
            ..Inner::default()
        }),
    };
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    (seen, tracing::subscriber::set_default(subscriber))
}

impl Seen {
    /// The spans of so many connections, as they were when they had ended.
    async fn ended(&self, count: usize) -> Vec<Ended> {
        let waiting = async {
            loop {
                let mut changed = std::pin::pin!(self.inner.changed.notified());
                changed.as_mut().enable();
                let ended = self.inner.ended.lock().unwrap().clone();
                if ended.len() >= count {
                    return ended;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap()
    }

    fn lines(&self) -> Vec<Line> {
        self.inner.lines.lock().unwrap().clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        !metadata.is_span() || Some(metadata.name()) != self.inner.refuses
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, scope: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Values(&mut fields));
        scope.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, scope: Context<'_, S>) {
        let span = scope.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Values(extensions.get_mut().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, scope: Context<'_, S>) {
        if !event.metadata().target().starts_with("dreamsocket") {
            return;
        }
        let mut fields = Fields::new();
        event.record(&mut Values(&mut fields));
        let spans = scope.event_scope(event).into_iter().flatten();
        let line = Line {
            level: *event.metadata().level(),
            message: fields.remove("message").unwrap_or_default(),
            spans: spans.map(|span| span.name()).collect(),
        };
        self.inner.lines.lock().unwrap().push(line);
    }

    fn on_close(&self, id: span::Id, scope: Context<'_, S>) {
        let span = scope.span(&id).unwrap();
        if span.name() == "connection" {
            self.inner.ended.lock().unwrap().push(Ended {
                parent: span.parent().map(|parent| parent.name()),
                fields: span.extensions().get::<Fields>().unwrap().clone(),
            });
            self.inner.changed.notify_waiters();
        }
    }
}

struct Values<'a>(&'a mut Fields);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

async fn talk(request: Request) -> impl IntoResponse {
    tracing::info_span!("request", user = "Ann").in_scope(|| {
        Upgrade::new(request)
            .with_subprotocols(["talk.v1"])
            .run((), on_init, on_message, on_close)
    })
}

async fn on_init(_: &Connection, (): &()) -> ((), Option<Selector>) {
    ((), None)
}

async fn on_message(
    (): &mut (),
    message: Message,
    connection: &Connection,
    (): &(),
) -> Result<Action, SendError> {
    if let Message::Text(text) = message {
        connection.send_text(text.clone()).await?;
        connection.send_text(text).await?;
    }
    Ok(continue_connection())
}

async fn on_close((): (), (): &()) {}

async fn serve() -> SocketAddr {
    let router = Router::new()
        .route("/talk", any(talk))
        .route("/talk/{*rest}", any(talk));
    let server = Server::new(router).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run_until_drained());
    address
}

/// What a span knows, for those fields that are the same in every run.
fn check(fields: &Fields, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(fields.get(name).map(String::as_str), Some(*value), "{name}");
    }
    assert_eq!(fields["id"].len(), 16);
    fields["peer"].parse::<SocketAddr>().unwrap();
    fields["duration_ms"].parse::<u64>().unwrap();
}

#[tokio::test]
async fn u1_a_connection_has_a_span_within_the_requests() {
    let (seen, _guard) = watch(None);
    let address = serve().await;
    let mut socket = Connect::new(format!("ws://{address}/talk?token=secret"))
        .with_subprotocols(["talk.v1"])
        .open()
        .await
        .unwrap();
    socket.send_text("hello").await.unwrap();
    socket.receive().await.unwrap();
    socket.receive().await.unwrap();
    socket.close(4001, "enough").await.unwrap();
    let ended = seen.ended(1).await;
    assert_eq!(ended[0].parent, Some("request"));
    check(
        &ended[0].fields,
        &[
            ("role", "server"),
            ("path", "/talk"),
            ("subprotocol", "talk.v1"),
            ("code", "4001"),
            ("cause", "peer"),
            ("clean", "true"),
            ("messages_in", "1"),
            ("messages_out", "2"),
            ("bytes_in", "5"),
            ("bytes_out", "10"),
        ],
    );
    for message in ["open", "closed"] {
        let lines = seen.lines();
        let line = lines.iter().find(|line| line.message == message).unwrap();
        assert_eq!(line.level, Level::DEBUG);
        assert_eq!(line.spans, ["connection", "request"]);
    }
}

#[tokio::test]
async fn u1_a_span_keeps_so_much_of_a_path_and_no_more() {
    let (seen, _guard) = watch(None);
    let address = serve().await;
    let long = format!("/talk/{}", "a".repeat(4_000));
    let url = format!("ws://{address}{long}");
    let connecting = connect_websocket(url, (), on_init, ignore, on_close);
    let connected = connecting.await.unwrap();
    connected.stop();
    for ended in seen.ended(2).await {
        assert_eq!(
            ended.fields["path"],
            long[..256],
            "{}",
            ended.fields["role"]
        );
    }
}

#[tokio::test]
async fn u1_without_a_span_of_its_own_it_runs_in_the_requests() {
    let (seen, _guard) = watch(Some("connection"));
    let address = serve().await;
    let mut socket = Connect::new(format!("ws://{address}/talk"))
        .open()
        .await
        .unwrap();
    socket.close(1000, "").await.unwrap();
    let closed = async {
        loop {
            let lines = seen.lines();
            if let Some(line) = lines.into_iter().find(|line| line.message == "closed") {
                return line;
            }
            tokio::task::yield_now().await;
        }
    };
    let line = tokio::time::timeout(PATIENCE, closed).await.unwrap();
    assert_eq!(line.spans, ["request"]);
}

#[tokio::test]
async fn c4_a_clients_connection_has_a_span_too() {
    let (seen, _guard) = watch(None);
    let address = serve().await;
    let url = format!("ws://{address}/talk?token=secret");
    let caller = tracing::info_span!("caller");
    let connecting = connect_websocket(url, (), on_init, ignore, on_close);
    let connected = tracing::Instrument::instrument(connecting, caller)
        .await
        .unwrap();
    connected.stop();
    tokio::time::timeout(PATIENCE, connected.ended())
        .await
        .unwrap();
    let ended = seen.ended(2).await;
    let client = ended.iter().find(|ended| ended.fields["role"] == "client");
    let client = client.unwrap();
    assert_eq!(client.parent, Some("caller"));
    let expected = [("path", "/talk"), ("code", "1000"), ("cause", "stopped")];
    check(&client.fields, &expected);
}

async fn ignore((): &mut (), _: Message, _: &Connection, (): &()) -> Action {
    continue_connection()
}

#[tokio::test]
async fn what_peers_do_is_quiet() {
    let (seen, _guard) = watch(None);
    let address = serve().await;
    let url = format!("ws://{address}/talk");
    // Refused: a page of another site.
    let foreign = Connect::new(url.as_str()).with_header("origin", "https://elsewhere.example");
    foreign.open().await.unwrap_err();
    // A close, and a peer that goes away without one.
    let mut socket = Connect::new(url.as_str()).open().await.unwrap();
    socket.close(1000, "").await.unwrap();
    drop(Connect::new(url.as_str()).open().await.unwrap());
    let ended = seen.ended(2).await;
    let causes: Vec<_> = ended.iter().map(|ended| &*ended.fields["cause"]).collect();
    assert!(
        causes.contains(&"peer") && causes.contains(&"lost"),
        "{causes:?}"
    );
    let lines = seen.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.message == "refused an upgrade")
    );
    let loud: Vec<_> = lines
        .iter()
        .filter(|line| line.level <= Level::INFO)
        .collect();
    assert!(loud.is_empty(), "{loud:?}");
}
