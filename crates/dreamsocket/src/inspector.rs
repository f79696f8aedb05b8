//! An inspector: a page, and JSON beneath it, that show what a [`Hub`] and its broadcasters do. Mount it where only those can
//! reach it who may see every connection and close any.
//!
//! [`Inspector`] is a tower service. It serves, relative to where it is mounted:
//!
//! | path | what |
//! |---|---|
//! | `/` | the page: one file, without anything from elsewhere |
//! | `/live` | the page's WebSocket |
//! | `/summary.json` | how many connections, a drain's progress, closes by code, refusals |
//! | `/connections.json` | connections: `?sort=outbox&order=descending&search=…&offset=0&limit=100` |
//! | `/topics.json` | topics of the broadcasters: `?search=…&limit=100` |
//! | `POST /connections/{id}/close` | closes one: `?code=1001&reason=…` |
//!
//! Nothing is exposed by itself. The guide's page `docs/inspector.md` has how to mount it behind authentication.
//!
//! Knows connections as the hub lists them; how they are looked at and shown is in the files below.

mod answer;
mod live;
mod look;
mod summary;
mod topics;
mod view;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dreamsocket_broadcaster::Broadcaster;
use dreamsocket_protocol::CloseCode;
use http::header::ORIGIN;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use tokio::time::Instant;
use tower_service::Service;

use self::answer::{Refused, empty, json, page, parse};
use self::look::{Look, Looks};
use self::summary::Summary;
use self::topics::{Listings, Source, Topics};
use self::view::{TopicsView, View};
use crate::connection::{Connection, ConnectionId};
use crate::hosts::{Hosts, Own};
use crate::hub::Hub;
use crate::origin::OriginPolicy;

/// The header that programs other than browsers send when they close a connection, whatever its value. A page of another
/// origin cannot set it.
const HEADER: &str = "x-dreamsocket-inspector";

/// A tower service that shows what a hub does; a cheap clone. See the [module](self).
///
/// ```
/// use dreamsocket::inspector::Inspector;
/// use dreamsocket::{Broadcaster, Config, Hub, Server};
///
/// let hub = Hub::new(Config::default());
/// let events = Broadcaster::<String>::new();
/// let inspector = Inspector::new(&hub).with_broadcaster("events", &events);
/// let router: axum::Router = axum::Router::new().nest_service("/inspect", inspector);
/// let server = Server::new(router).with_hub(hub);
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct Inspector {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    hub: Hub,
    started: Instant,
    sources: Vec<Source>,
    looks: Arc<Looks>,
    listings: Listings,
    /// Whose page may do things here: the inspector's own.
    origins: OriginPolicy,
    hosts: Hosts,
    /// The hub of the page's own WebSockets, which are none of those that are shown.
    viewers: Hub,
}

/// What a close is asked for with.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Closing {
    code: u16,
    reason: String,
}

impl Default for Closing {
    fn default() -> Self {
        Self {
            code: CloseCode::GOING_AWAY.into(),
            reason: "closed by the operator".to_owned(),
        }
    }
}

impl Inspector {
    /// An inspector of this hub's connections. From here on new ones keep [details](Hub::keep_details), and their closes are
    /// counted by code, so make it before the hub is served.
    ///
    /// The page's own WebSockets are not the hub's: they are not in the lists, not in the metrics, at most 16, and a drain
    /// closes them when it is over, so that it can be watched to its end: [`Hub::drained`] waits for that, a second at most.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        hub.keep_details();
        hub.keep_closes();
        let origins = hub.config().origins.own_only();
        Self {
            inner: Arc::new(Inner {
                hub: hub.clone(),
                started: Instant::now(),
                sources: Vec::new(),
                looks: Arc::default(),
                listings: Listings::default(),
                viewers: Hub::unmeasured(live::config(origins.clone())),
                origins,
                hosts: Hosts::new(Own::Addresses, "the inspector", "Inspector::allowed_hosts"),
            }),
        }
    }

    /// Answers requests for these hosts, given without ports, beside `localhost` and addresses (`10.0.0.5`, `[::1]`); all others
    /// get 403, whatever the server around answers for.
    ///
    /// It keeps pages whose name an attacker points to the inspector's address from reaching it (DNS rebinding): they are of its
    /// own origin. Behind a proxy, name the host that operators type, if the proxy passes it on in `Host` or is
    /// [trusted](OriginPolicy::trust_proxies) and does so in `X-Forwarded-Host`, else the one that it puts into `Host`.
    ///
    /// ```
    /// use dreamsocket::inspector::Inspector;
    /// use dreamsocket::{Config, Hub};
    ///
    /// let hub = Hub::new(Config::default());
    /// let inspector = Inspector::new(&hub).allowed_hosts(["inspect.example.com"]);
    /// # let _ = inspector;
    /// ```
    #[must_use]
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        let hosts = hosts.into_iter().map(Into::into);
        Arc::make_mut(&mut self.inner).hosts.allow(hosts);
        self
    }

    /// Also shows the topics of this broadcaster, and how it is, under a name of your own.
    ///
    /// The inspector keeps a handle of it: channels of an in-process broadcaster do not end while somebody could still publish.
    #[must_use]
    pub fn with_broadcaster<M: Send + Sync + 'static>(
        mut self,
        name: impl Into<String>,
        broadcaster: &Broadcaster<M>,
    ) -> Self {
        let source = Source::new(name.into(), broadcaster.clone());
        Arc::make_mut(&mut self.inner).sources.push(source);
        self
    }

    /// Answers a request, whose path is relative to where the inspector is mounted. The body is not looked at.
    ///
    /// This is all that the tower service does: for servers that know no tower.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn respond<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + 'static + use<B> {
        let inspector = self.clone();
        // Here and not in the future, which has nothing of the request's body then.
        let asked = self.ask(request);
        async move {
            match asked {
                Ok(Asked::Answered(response)) => response,
                Ok(Asked::Connections(view)) => {
                    let look = inspector.look().await;
                    json(&look.window(&view).await)
                }
                Ok(Asked::Topics(view)) => json(&inspector.topics(&view).await),
                Ok(Asked::Close(connection, Closing { code, reason })) => {
                    match connection.close(code, reason).await {
                        Ok(()) => empty(StatusCode::NO_CONTENT),
                        Err(error) => Refused::new(StatusCode::BAD_REQUEST, error).into_response(),
                    }
                }
                Err(refused) => refused.into_response(),
            }
        }
    }

    fn ask<B>(&self, request: Request<B>) -> Result<Asked, Refused> {
        let host = self.inner.origins.host(&request);
        let hosts = self.inner.hosts.check(host.as_deref().map(str::as_bytes));
        hosts.map_err(|error| Refused::new(StatusCode::FORBIDDEN, error))?;
        let path = request.uri().path().trim_end_matches('/');
        // The page is the same for everybody and costs nothing, so that links lead to it; its WebSocket looks at `Origin`.
        if !matches!(path, "" | "/live") && is_of_another_page(&request) {
            let why = "pages of other origins get nothing here";
            return Err(Refused::new(StatusCode::FORBIDDEN, why));
        }
        let closing = path.strip_prefix("/connections/");
        if let Some(id) = closing.and_then(|rest| rest.strip_suffix("/close")) {
            return self.ask_close(id, &request);
        }
        if path == "/live" {
            return Ok(Asked::Answered(live::upgrade(self.clone(), request)));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Refused::not_allowed("GET, HEAD"));
        }
        let query = request.uri().query().unwrap_or_default();
        let answer = match path {
            "" => page(),
            "/summary.json" => json(&self.summary()),
            "/topics.json" => return Ok(Asked::Topics(parse(query)?)),
            "/connections.json" => return Ok(Asked::Connections(parse(query)?)),
            _ => {
                let why = "the inspector has nothing here";
                return Err(Refused::new(StatusCode::NOT_FOUND, why));
            }
        };
        Ok(Asked::Answered(answer))
    }

    fn ask_close<B>(&self, id: &str, request: &Request<B>) -> Result<Asked, Refused> {
        if request.method() != Method::POST {
            return Err(Refused::not_allowed("POST"));
        }
        if !self.may_act(request) {
            let why = "only the inspector's own page may do this, and programs that send the header \
                       `x-dreamsocket-inspector` and no `Origin`";
            return Err(Refused::new(StatusCode::FORBIDDEN, why));
        }
        let closing = parse(request.uri().query().unwrap_or_default())?;
        let id = ConnectionId::from_str(id)
            .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error))?;
        let gone = || {
            Refused::new(
                StatusCode::NOT_FOUND,
                "there is no such connection any more",
            )
        };
        let connection = self.inner.hub.connection(id).ok_or_else(gone)?;
        tracing::info!(%id, "the inspector closes a connection");
        Ok(Asked::Close(connection, closing))
    }

    /// Whether a request to change something is of no foreign page: browsers name the page's origin in every POST, and ask
    /// before they send a header of a page's own to another origin, which is refused.
    fn may_act<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        if headers.contains_key(ORIGIN) {
            self.inner.origins.check(request).is_ok()
        } else {
            headers.contains_key(HEADER)
        }
    }

    async fn look(&self) -> Arc<Look> {
        self.inner.looks.take(&self.inner.hub).await
    }

    fn summary(&self) -> Summary {
        Summary::of(&self.inner.hub, self.inner.started)
    }

    async fn topics(&self, view: &TopicsView) -> Topics {
        self.inner.listings.take(&self.inner.sources, view).await
    }

    /// Whether the hub has come to its end, so that there is nothing more to show.
    fn is_over(&self) -> bool {
        let hub = &self.inner.hub;
        hub.is_draining() && hub.connections() == 0
    }
}

/// Whether a browser says that a page of another origin asks, which cannot read the answer, but could have it made. On plain
/// HTTP browsers say so only to loopback addresses.
fn is_of_another_page<B>(request: &Request<B>) -> bool {
    let site = request.headers().get("sec-fetch-site");
    site.is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// What a request asks for.
enum Asked {
    Answered(Response<Full<Bytes>>),
    Connections(View),
    Topics(TopicsView),
    Close(Connection, Closing),
}

impl<B> Service<Request<B>> for Inspector {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Responding {
        Responding(Box::pin(self.respond(request)))
    }
}

/// The future of the [`Inspector`]'s tower service.
#[must_use = "futures do nothing unless polled"]
pub struct Responding(Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>);

impl Future for Responding {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map(Ok)
    }
}

impl fmt::Debug for Responding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responding").finish_non_exhaustive()
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.inner.sources.iter().map(Source::name);
        f.debug_struct("Inspector")
            .field("hub", &self.inner.hub)
            .field("broadcasters", &sources.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
