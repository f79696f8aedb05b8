//! One connection under hyper, from its accept to its end or its upgrade.

use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::{HttpService, SocketPermit};
use crate::config::Config;
use crate::hub::Hub;
use crate::origin::PeerAddr;

/// The smallest buffer that hyper takes, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// hyper adds this to the present time, which has an end.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60 * 24 * 365);

pub(super) struct Connection {
    pub(super) hub: Hub,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) permit: SocketPermit,
    /// Fails when the server is dropped.
    pub(super) lifeline: watch::Receiver<()>,
}

impl Connection {
    /// Serves requests until the connection ends or is upgraded. After a drain has started no new request is taken, and
    /// the present one has until the end of the drain time.
    pub(super) async fn serve<S: HttpService>(
        self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        service: S,
    ) {
        let Self {
            hub,
            peer_addr,
            permit,
            mut lifeline,
        } = self;
        let requests_hub = hub.clone();
        let respond = service_fn(move |mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(requests_hub.clone());
            // An upgrade takes it along, so that the socket counts until its session ends.
            extensions.insert(permit.clone());
            if let Some(peer_addr) = peer_addr {
                extensions.insert(PeerAddr(peer_addr));
            }
            respond(service.clone(), request)
        });
        // Not hyper-util's `auto`: it waits without any timeout for the bytes that tell the version.
        let connection = builder(hub.config())
            .serve_connection(TokioIo::new(io), respond)
            .with_upgrades();
        let mut connection = pin!(connection);
        let since = tokio::select! {
            result = connection.as_mut() => return log_end(result),
            _ = lifeline.changed() => return,
            since = hub.draining() => since,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            result = connection => log_end(result),
            _ = lifeline.changed() => {}
            () = tokio::time::sleep_until(hub.cut_at(since)) => {
                tracing::debug!("an HTTP connection was cut: the drain time is up");
            }
        }
    }
}

fn builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // It runs between requests, too: a connection that is kept alive is idle at most that long.
        .header_read_timeout(config.head_timeout.min(LONGEST_TIMEOUT))
        .max_header_size(config.max_head)
        // A head that never ends is given up when the buffer is full.
        .max_buf_size(config.max_head.max(SMALLEST_BUFFER));
    builder
}

/// What the service answers. An error of the service, which hyper would answer with the end of the connection, is a 500.
async fn respond<S: HttpService>(
    service: S,
    request: Request<Incoming>,
) -> Result<Response<Either<S::Body, Empty<<S::Body as Body>::Data>>>, std::convert::Infallible> {
    Ok(match service.answer(request).await {
        Ok(response) => response.map(Either::Left),
        Err(error) => {
            tracing::error!(
                error = &*error as &dyn std::error::Error,
                "the service failed"
            );
            let mut response = Response::new(Either::Right(Empty::new()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    })
}

/// How a connection ends is mostly the peer's doing, so it is nothing to warn of.
fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, source = error.source(), "an HTTP connection failed");
    }
}
