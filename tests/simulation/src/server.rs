//! The server's host: the library's `Server` on the simulated network, and an operator, who publishes, sends, closes and
//! drains.

use std::future::Ready;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dreamsocket::simulation::Stream;
use dreamsocket::{Hub, Listener, PeerAddr, Server, Upgrade};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use turmoil::net::TcpListener;

use crate::app::{App, Payload};
use crate::event::{Event, Role};
use crate::handlers::{Dependencies, on_close, on_init, on_message};
use crate::plan::{Deed, Plan};
use crate::random::Rng;
use crate::record::{EndpointId, Record, WORLD};
use crate::tap::Tap;

pub(crate) const HOST: &str = "server";
pub(crate) const PORT: u16 = 80;

/// What the server's host and the world share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) plan: Arc<Plan>,
    pub(crate) record: Record,
    /// Which endpoint the connection from an address is.
    peers: Mutex<Vec<(SocketAddr, EndpointId)>>,
    hub: Mutex<Option<Hub>>,
}

impl Site {
    pub(crate) fn new(plan: &Arc<Plan>, record: &Record) -> Arc<Self> {
        Arc::new(Self {
            plan: Arc::clone(plan),
            record: record.clone(),
            peers: Mutex::default(),
            hub: Mutex::default(),
        })
    }

    /// How many WebSockets the hub says there are.
    pub(crate) fn connections(&self) -> Option<usize> {
        let hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        hub.as_ref().map(Hub::connections)
    }

    /// The host was crashed.
    pub(crate) fn forget_hub(&self) {
        *self.hub.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Which way the session's bytes take.
pub(crate) trait Path: Send + Sync + 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn wrap(tap: Tap) -> Self::Io;
}

/// The session takes the bare stream, as it does a TCP stream of tokio's.
pub(crate) struct Fast;

impl Path for Fast {
    type Io = Stream;

    fn wrap(tap: Tap) -> Stream {
        Stream::new(tap)
    }
}

/// The session goes through hyper, as it does with TLS.
pub(crate) struct Generic;

impl Path for Generic {
    type Io = Tap;

    fn wrap(tap: Tap) -> Tap {
        tap
    }
}

struct Accepting<P> {
    listener: TcpListener,
    site: Arc<Site>,
    rng: Rng,
    path: PhantomData<P>,
}

impl<P: Path> Listener for Accepting<P> {
    type Io = P::Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(P::Io, Option<SocketAddr>)> {
        let (stream, from) = self.listener.accept().await?;
        let site = &self.site;
        let shake = site.plan.shake(&mut self.rng);
        let tap = Tap::new(stream, &site.record, Role::Server, 0, shake, &mut self.rng);
        let mut peers = site.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|(known, _)| *known != from);
        peers.push((from, tap.endpoint));
        Ok((P::wrap(tap), Some(from)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Answers each request with an upgrade.
#[derive(Clone)]
struct Service {
    app: Arc<App>,
    site: Arc<Site>,
}

impl tower_service::Service<Request<Incoming>> for Service {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Response<Full<Bytes>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let from = request.extensions().get().map(|PeerAddr(from)| *from);
        let peers = self
            .site
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = peers.iter().find(|(known, _)| Some(*known) == from);
        let endpoint = known.map_or(WORLD, |(_, endpoint)| *endpoint);
        drop(peers);
        let path = format!("client {}", request.uri().path());
        self.site.record.note(endpoint, Event::Note(path));
        let dependencies = Dependencies {
            app: Arc::clone(&self.app),
            endpoint: Arc::new(AtomicU32::new(endpoint)),
        };
        let response = Upgrade::new(request).run(dependencies, on_init, on_message, on_close);
        std::future::ready(Ok(response))
    }
}

/// One start of the host.
pub(crate) async fn serve<P: Path>(site: Arc<Site>, generation: u32) -> turmoil::Result {
    let plan = &site.plan;
    let hub = Hub::new(plan.config());
    *site.hub.lock().unwrap_or_else(PoisonError::into_inner) = Some(hub.clone());
    let mut rng = Rng::new(plan.seed).split(u64::from(generation));
    let app = App::new(
        site.record.clone(),
        Some(hub.clone()),
        rng.draw(),
        generation,
    );
    let accepting = Accepting::<P> {
        listener: TcpListener::bind(("0.0.0.0", PORT)).await?,
        site: Arc::clone(&site),
        rng: rng.split(1),
        path: PhantomData,
    };
    let service = Service {
        app: Arc::clone(&app),
        site: Arc::clone(&site),
    };
    let bound = Server::new(service).with_hub(hub).listen_on(accepting)?;
    tokio::spawn(operate(app, Arc::clone(plan), rng.split(2)));
    let report = bound.run_until_drained().await?;
    let (clean, cut) = (report.clean, report.cut);
    site.record.note(WORLD, Event::ServerEnded { clean, cut });
    // What is left may end.
    tokio::time::sleep(plan.times.close * 2).await;
    Ok(())
}

/// Does what the plan says, when it says so, and drains at the end.
async fn operate(app: Arc<App>, plan: Arc<Plan>, mut rng: Rng) {
    for (at, deed) in &plan.operator {
        sleep_until(*at).await;
        match deed {
            Deed::Publish(topic) => app.publish(*topic, &mut rng),
            Deed::Feed(topic) => app.publish_prepared(*topic),
            Deed::Send | Deed::Order | Deed::Close | Deed::Ping => {
                let Some((endpoint, connection)) = app.any_connection(&mut rng) else {
                    continue;
                };
                match deed {
                    Deed::Close => app.close(endpoint, &connection, 4_100).await,
                    Deed::Ping => app.ping(endpoint, &connection).await,
                    Deed::Order => {
                        let order = Payload::Text(app.order(&mut rng));
                        let _ = app.try_send(endpoint, &connection, order);
                    }
                    _ => {
                        let size = rng.within(0..=1_000);
                        let payload = Payload::any(app.unique("operator", size), &mut rng);
                        let _ = app.try_send(endpoint, &connection, payload);
                    }
                }
            }
        }
    }
    sleep_until(plan.drain_at).await;
    if let Some(hub) = &app.hub {
        hub.drain();
        app.record.note(WORLD, Event::Drain);
    }
}

/// Until that time of the whole simulation.
pub(crate) async fn sleep_until(at: Duration) {
    let now = turmoil::sim_elapsed().unwrap_or_default();
    tokio::time::sleep(at.saturating_sub(now)).await;
}
