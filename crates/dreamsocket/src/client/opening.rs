//! The opening handshake on a connected stream, by hyper: our request, the response and what is wrong with it.
//!
//! Works over any transport, so that tests can do without sockets.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dreamsocket_protocol::handshake::{self, DeflateParams, ResponseError, ResponseHandshake};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::error::{ConnectError, Phase, Refusal};
use crate::config::{Config, later};
use crate::random::handshake_key;

/// How much of a refusal's body is kept, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// The smallest buffer that hyper takes, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// What is asked for in each handshake.
pub(super) struct Offer {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) subprotocols: Vec<String>,
    pub(super) config: Arc<Config>,
    pub(super) timeout: Duration,
}

/// A handshake that succeeded.
pub(super) struct Opened {
    pub(super) upgraded: Upgraded,
    pub(super) response: Response<()>,
    pub(super) subprotocol: Option<Box<str>>,
    pub(super) deflate: Option<DeflateParams>,
}

impl Offer {
    /// The request with a fresh key.
    pub(super) fn request(&self, key: [u8; 16]) -> Result<Request<Empty<Bytes>>, ConnectError> {
        let deflate = self.config.compression.wish();
        let request = handshake::client_request(&self.uri, key, &self.names(), deflate)
            .map_err(ConnectError::InvalidRequest)?;
        let mut request = request.map(|()| Empty::new());
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    fn check(
        &self,
        response: &Response<Incoming>,
        key: [u8; 16],
    ) -> Result<ResponseHandshake, ResponseError> {
        let deflate = self.config.compression.wish();
        handshake::check_response(response, key, &self.names(), deflate)
    }

    fn names(&self) -> Vec<&str> {
        self.subprotocols.iter().map(String::as_str).collect()
    }

    /// Asks for a WebSocket on this stream.
    pub(super) async fn open<T>(&self, io: T) -> Result<Opened, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let deadline = later(Instant::now(), self.timeout);
        // Dropped with this future, it ends what hyper does for it.
        let mut driver = JoinSet::new();
        let key = handshake_key();
        let exchange = async {
            let request = self.request(key)?;
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(self.max_head())
                .handshake(TokioIo::new(io))
                .await?;
            driver.spawn(connection.with_upgrades());
            Ok(sender.send_request(request).await?)
        };
        let mut response = match timeout_at(deadline, exchange).await {
            Ok(Ok(response)) => response,
            Ok(Err(failed)) => return Err(self.explain(failed)),
            Err(_) => return Err(self.timed_out()),
        };
        match self.check(&response, key) {
            Ok(checked) => {
                let upgrade = hyper::upgrade::on(&mut response);
                let upgraded = match timeout_at(deadline, upgrade).await {
                    Ok(upgraded) => upgraded.map_err(|error| ConnectError::Http(error.into()))?,
                    Err(_) => return Err(self.timed_out()),
                };
                Ok(Opened {
                    upgraded,
                    response: response.map(drop),
                    subprotocol: checked.subprotocol.map(Into::into),
                    deflate: checked.deflate,
                })
            }
            Err(ResponseError::Status { status }) => Err(ConnectError::Refused(
                refusal(status, response, deadline).await,
            )),
            Err(error) => Err(ConnectError::InvalidResponse(error)),
        }
    }

    fn max_head(&self) -> usize {
        self.config.max_head.max(SMALLEST_BUFFER)
    }

    fn timed_out(&self) -> ConnectError {
        ConnectError::TimedOut {
            phase: Phase::Handshake,
            limit: self.timeout,
        }
    }

    fn explain(&self, failed: Failed) -> ConnectError {
        match failed {
            Failed::Early(error) => error,
            Failed::Hyper(error) if error.is_parse_too_large() => ConnectError::HeadTooLarge {
                limit: self.max_head(),
            },
            Failed::Hyper(error) => ConnectError::Http(error.into()),
        }
    }
}

enum Failed {
    Early(ConnectError),
    Hyper(hyper::Error),
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self::Early(error)
    }
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Self {
        Self::Hyper(error)
    }
}

/// Keeps what comes of the body until it is long enough, breaks off or the time is up.
async fn refusal(
    status: StatusCode,
    response: Response<Incoming>,
    deadline: Instant,
) -> Box<Refusal> {
    let (parts, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    let is_truncated = loop {
        match timeout_at(deadline, incoming.frame()).await {
            Ok(None) => break false,
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                let room = MAX_REFUSAL - body.len();
                body.extend_from_slice(data.get(..room).unwrap_or(&data));
                if data.len() > room {
                    break true;
                }
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, source = error.source(), "the body of a refusal broke off");
                break true;
            }
            Err(_) => break true,
        }
    };
    Box::new(Refusal {
        status,
        headers: parts.headers,
        body: body.freeze(),
        is_truncated,
    })
}
