//! A connection to the server under test, and one question on it.

use std::sync::Arc;

use bytes::Bytes;
use dreamsocket_protocol::handshake::{InvalidRequest, ResponseError};
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use super::{RequestBuilder, Requests};
use crate::connection::Connection;
use crate::error::BoxError;
use crate::testing::settling::counted;
use crate::testing::transport::{Counts, Transport};

/// A connection to the server.
pub(super) struct Line {
    pub(super) io: DuplexStream,
    pub(super) counts: Arc<Counts>,
    pub(super) sight: watch::Receiver<Option<Connection>>,
}

impl Line {
    pub(super) async fn connect(builder: &RequestBuilder) -> Result<Self, Failed> {
        let (near, far) = tokio::io::duplex(builder.buffer);
        let counts = Arc::<Counts>::default();
        let near = Transport::new(near, Arc::clone(&counts));
        match builder.door.enter(near, builder.peer_ip).await {
            Some(sight) => Ok(Self {
                io: far,
                counts,
                sight,
            }),
            None => Err(Failed::Drained),
        }
    }

    /// The answer, and over HTTP/2 what keeps the connection open.
    pub(super) async fn ask(
        self,
        builder: &RequestBuilder,
        request: Request<Full<Bytes>>,
    ) -> Result<(http::Response<Incoming>, Option<Requests>), Failed> {
        #[cfg(feature = "http2")]
        if builder.is_http2 {
            let (response, requests) = self.ask_http2(request).await?;
            return Ok((response, Some(requests)));
        }
        #[cfg(not(feature = "http2"))]
        let _ = builder;
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.io)).await?;
        tokio::spawn(counted(async {
            // What goes wrong with it, the request is told.
            let _ = connection.with_upgrades().await;
        }));
        Ok((sender.send_request(request).await?, None))
    }
}

/// Why there is no answer, as the beginning of a sentence that ends with what was asked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::testing) enum Failed {
    #[error("the server takes no connections, since it is drained; asked for")]
    Drained,
    #[error("the server ended the connection ({0}) instead of answering a request for")]
    Ended(#[from] hyper::Error),
    #[error("the body broke off ({0}) of the answer to a request for")]
    Body(BoxError),
    #[error("this cannot be asked for ({0}):")]
    Request(#[from] InvalidRequest),
    #[cfg(feature = "http2")]
    #[error("this cannot be asked for over HTTP/2 ({0}):")]
    Http2(#[from] super::http2::Unsayable),
    #[error("the answer is not in order ({0}) to a request for")]
    Response(#[from] ResponseError),
    #[error("hyper has lost the transport of")]
    Transport,
}
