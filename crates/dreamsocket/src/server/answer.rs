//! The body of what a server answers: the service's, or a line of the server's own where the service was not asked or failed.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::open::OpenAnswer;

pin_project_lite::pin_project! {
    /// A body.
    #[project = Projected]
    ///
    /// `open` tells a connection of HTTP/2, until all pieces of the body are sent or dropped, that something of it is still
    /// open, and whether that waits for the peer.
    pub(super) enum Answer<B> {
        Service { #[pin] body: B, open: Option<Arc<OpenAnswer>> },
        Line { line: Option<Bytes> },
    }
}

impl<B> Answer<B> {
    /// A response that says no more than its status.
    pub(super) fn empty(status: StatusCode) -> Response<Self> {
        let mut response = Response::new(Self::Line { line: None });
        *response.status_mut() = status;
        response
    }

    /// A response of one plain line.
    pub(super) fn line(status: StatusCode, line: impl std::fmt::Display) -> Response<Self> {
        let mut response = Response::new(Self::Line {
            line: Some(format!("{line}\n").into()),
        });
        *response.status_mut() = status;
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        match self.project() {
            Projected::Service { body, open } => {
                let polled = body.poll_frame(context);
                if let Some(open) = open {
                    open.set_blocked(polled.is_ready());
                }
                let piece = |data| Piece::Service(data, open.clone());
                polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(piece))))
            }
            Projected::Line { line } => {
                let frame = line.take().map(|line| Frame::data(Piece::Line(line)));
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service { body, .. } => body.is_end_stream(),
            Self::Line { line } => line.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service { body, .. } => body.size_hint(),
            Self::Line { line } => {
                let length = line.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(length as u64)
            }
        }
    }
}

/// A piece of a body. A connection of HTTP/2 is told of whatever goes out of it.
pub(super) enum Piece<D> {
    Service(D, Option<Arc<OpenAnswer>>),
    Line(Bytes),
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        match self {
            Self::Service(data, _) => data.remaining(),
            Self::Line(line) => line.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Service(data, _) => data.chunk(),
            Self::Line(line) => line.chunk(),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Service(data, _) => data.chunks_vectored(slices),
            Self::Line(line) => line.chunks_vectored(slices),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Service(data, open) => {
                if let Some(open) = open {
                    open.note_step();
                }
                data.advance(count);
            }
            Self::Line(line) => line.advance(count),
        }
    }
}
