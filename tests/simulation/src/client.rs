//! The library's own client on the simulated network: its sessions are held to the contract as the server's are.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dreamsocket::client::{Connect, Connected, Reconnect};
use dreamsocket::simulation::{Dialable, Network, Stream};
use tokio::time::timeout;
use turmoil::net::TcpStream;

use crate::app::{App, Payload};
use crate::event::{Event, Role};
use crate::handlers::{Dependencies, on_close, on_init, on_message};
use crate::plan::{Client, ClientKind, Plan};
use crate::random::Rng;
use crate::record::{Record, WORLD};
use crate::script::{Part, Step};
use crate::server::{HOST, PORT};
use crate::tap::Tap;

/// Runs the client's script to its end.
pub(crate) async fn run(number: usize, client: Client, plan: Arc<Plan>, record: Record) {
    let ClientKind::Library {
        is_fast,
        reconnects,
    } = client.kind
    else {
        return;
    };
    tokio::time::sleep(client.script.start).await;
    let mut rng = Rng::new(client.seed);
    // Topics of a client's are its own.
    let generation = 1_000 + u32::try_from(number).unwrap_or_default();
    let app = App::new(record.clone(), None, rng.draw(), generation);
    let endpoint = Arc::new(AtomicU32::new(WORLD));
    let network = Dialing {
        record: record.clone(),
        plan: Arc::clone(&plan),
        client: u32::try_from(number).unwrap_or_default(),
        endpoint: Arc::clone(&endpoint),
        is_fast,
        rng: Mutex::new(rng.split(1)),
    };
    let dependencies = Dependencies {
        app: Arc::clone(&app),
        endpoint,
    };
    let mut connect = Connect::new(format!("ws://{HOST}:{PORT}/{number}"))
        .with_config(plan.config())
        .with_connect_timeout(Duration::from_millis(200))
        .with_handshake_timeout(Duration::from_millis(300))
        .with_network(Arc::new(network));
    if reconnects {
        let policy = Reconnect::new()
            .with_first_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_millis(80))
            .with_max_attempts(Some(2));
        connect = connect.with_reconnect(policy);
    }
    let connected = match connect
        .run(dependencies, on_init, on_message, on_close)
        .await
    {
        Ok(connected) => connected,
        Err(error) => {
            let what = format!("client {number} is not let in: {error}");
            return record.note(WORLD, Event::Note(what));
        }
    };
    for step in &client.script.steps {
        // A step may take long when nobody reads.
        let left = plan.drain_at.saturating_sub(now());
        let _ = timeout(left, take(step, &connected, &app, &mut rng)).await;
    }
    // The server's drain ends it, unless the network keeps that from it.
    let left = plan.drain_at.saturating_sub(now()) + Duration::from_millis(400);
    if timeout(left, connected.ended()).await.is_err()
        && let Some(endpoint) = app.endpoint_of(&connected.connection())
    {
        app.close(endpoint, &connected.connection(), 1000).await;
    }
    let left = plan.end.saturating_sub(now());
    let is_ended = timeout(left, connected.ended()).await.is_ok();
    let what = format!("client {number} has ended: {is_ended}");
    record.note(WORLD, Event::Note(what));
}

/// The time of the whole simulation.
fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

async fn take(step: &Step, connected: &Connected, app: &Arc<App>, rng: &mut Rng) {
    let connection = connected.connection();
    let known = app.endpoint_of(&connection);
    match (step, known) {
        (Step::Send { parts, pause, .. }, Some(endpoint)) => {
            for part in parts {
                let payload = match part {
                    Part::Order(order) | Part::Fragments(order, ..) => {
                        Payload::Text(order.text(u64::from(app.record.next_id())))
                    }
                    Part::Binary(length) => {
                        let text = app.unique("binary", *length as u64);
                        Payload::Binary(text.into_bytes().into())
                    }
                    Part::Ping | Part::Pong => {
                        app.ping(endpoint, &connection).await;
                        continue;
                    }
                };
                let sent = app.send(endpoint, &connection, payload).await;
                if sent.is_err_and(|error| error.is_closed()) {
                    return;
                }
            }
            tokio::time::sleep(*pause).await;
        }
        (Step::Wait(time) | Step::Stall(time) | Step::Trickle(_, time), _) => {
            tokio::time::sleep(*time).await;
        }
        (Step::Close(code), Some(endpoint)) if rng.percent(80) => {
            app.close(endpoint, &connection, *code).await;
        }
        _ => tokio::time::sleep(Duration::from_millis(5)).await,
    }
}

/// How the library's client reaches the server.
struct Dialing {
    record: Record,
    plan: Arc<Plan>,
    client: u32,
    endpoint: Arc<AtomicU32>,
    is_fast: bool,
    rng: Mutex<Rng>,
}

impl Network for Dialing {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Dialable>> + Send + 'a>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let shake = self.plan.shake(&mut rng);
            let tap = Tap::new(
                stream,
                &self.record,
                Role::Client,
                self.client,
                shake,
                &mut rng,
            );
            self.endpoint.store(tap.endpoint, Ordering::Relaxed);
            Ok(match self.is_fast {
                true => Dialable::Bare(Stream::new(tap)),
                false => Dialable::Wrapped(Box::new(tap)),
            })
        })
    }
}
