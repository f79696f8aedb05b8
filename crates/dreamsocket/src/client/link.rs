//! One end of a connection without the loop: a transport and the engine, driven by whoever calls.
//!
//! All that is under way stands in [`Link`], so that each of its futures may be dropped at any await.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use dreamsocket_protocol::handshake::DeflateParams;
use dreamsocket_protocol::{
    CloseCode, Engine, Event, InvalidClose, MAX_CONTROL_PAYLOAD, MessageKind, PingError, Role, Text,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::socket::{Progress, Received, SocketError};
use crate::config::{Config, READ_AHEAD, later};
use crate::message::{Cause, Closed};
use crate::random::mask_key;

/// Up to how many bytes that wait for the system another pong is encoded. Above, the engine keeps pongs, and few.
const MAX_BEFORE_ANSWERS: usize = 64 * 1024;

/// At how many bytes that wait for the system [`Link::try_send`] takes no more. Those of a message that it took come on top.
const MAX_BEFORE_SENDS: usize = 64 * 1024;

pub(super) struct Link<T> {
    io: T,
    engine: Engine,
    config: Arc<Config>,
    /// Bytes read and not decoded.
    input: BytesMut,
    /// Bytes encoded and not written.
    output: BytesMut,
    /// How many bytes were written.
    written: u64,
    /// Whether the system has not taken everything yet, TLS's records among it.
    is_waiting: bool,
    /// Whether a write has failed.
    is_broken: bool,
    /// Whether nothing more can be read.
    is_at_end: bool,
    /// Whether the writing side is shut down.
    is_shut: bool,
    /// A close under way, and when it is over at the latest.
    closing: Option<(Closed, Instant)>,
    closed: Option<Closed>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Link<T> {
    /// `early` are bytes that came with the handshake.
    pub(super) fn new(
        io: T,
        early: &[u8],
        role: Role,
        deflate: Option<DeflateParams>,
        config: Arc<Config>,
    ) -> Self {
        let mut engine = Engine::new(role, config.limits());
        if let Some(params) = deflate {
            engine = engine.with_deflate(params, config.compression.tuning());
        }
        Self {
            io,
            engine,
            config,
            input: BytesMut::from(early),
            output: BytesMut::new(),
            written: 0,
            is_waiting: false,
            is_broken: false,
            is_at_end: false,
            is_shut: false,
            closing: None,
            closed: None,
        }
    }

    pub(super) const fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    pub(super) async fn send(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
    ) -> Result<(), SocketError> {
        self.flush_earlier().await?;
        self.engine
            .encode_message(kind, payload, mask_key, &mut self.output)
            .map_err(|_| SocketError::Closed)?;
        self.flush().await
    }

    pub(super) async fn ping(&mut self, payload: &[u8]) -> Result<(), SocketError> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SocketError::PingTooLong { got: payload.len() });
        }
        self.flush_earlier().await?;
        // The queue was emptied by then, so the only reason left is that we have closed.
        self.engine.ping(payload).map_err(|_| SocketError::Closed)?;
        self.flush().await
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Takes a message if there is room, and writes what the system takes at once.
    pub(super) fn try_send(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
    ) -> Result<(), SocketError> {
        self.make_room()?;
        self.engine
            .encode_message(kind, payload, mask_key, &mut self.output)
            .map_err(|_| SocketError::Closed)?;
        self.write_some()
    }

    /// As [`try_send`](Self::try_send), for a ping.
    pub(super) fn try_ping(&mut self, payload: &[u8]) -> Result<(), SocketError> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(SocketError::PingTooLong { got: payload.len() });
        }
        self.make_room()?;
        self.engine.ping(payload).map_err(|error| match error {
            PingError::TooMany { .. } => SocketError::EarlierWaits,
            _ => SocketError::Closed,
        })?;
        // At once, so that no later message passes it.
        self.encode_control();
        self.write_some()
    }

    /// What waits in the engine goes first.
    fn make_room(&mut self) -> Result<(), SocketError> {
        if self.closing.is_some() || self.closed.is_some() || self.is_broken {
            return Err(SocketError::Closed);
        }
        self.encode_control();
        if self.output.len() >= MAX_BEFORE_SENDS {
            return Err(SocketError::EarlierWaits);
        }
        Ok(())
    }

    /// Nobody is woken when there is room again: the next call asks.
    fn write_some(&mut self) -> Result<(), SocketError> {
        let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
        if self.is_broken {
            return Err(SocketError::Closed);
        }
        Ok(())
    }

    pub(super) const fn is_sent(&self) -> bool {
        !self.is_waiting
    }

    pub(super) async fn receive(&mut self) -> Option<Received> {
        loop {
            if let Progress::Received(received) = self.advance(false).await? {
                return Some(received);
            }
        }
    }

    pub(super) async fn receive_or_sent(&mut self) -> Option<Progress> {
        let tells_sent = self.is_waiting;
        self.advance(tells_sent).await
    }

    /// Reads and writes until something came or, if that is to be told, all that waits is written.
    async fn advance(&mut self, tells_sent: bool) -> Option<Progress> {
        loop {
            if self.closed.is_some() {
                return None;
            }
            if self.closing.is_some() {
                self.finish().await;
                return None;
            }
            if let Some(event) = self.engine.handle_input(&mut self.input) {
                self.encode_answers();
                match event {
                    Event::Text(text) => return received(Received::Text(text)),
                    Event::Binary(bytes) => return received(Received::Binary(bytes)),
                    Event::Ping(payload) => {
                        self.flush_now().await;
                        return received(Received::Ping(payload));
                    }
                    Event::Pong(payload) => return received(Received::Pong(payload)),
                    Event::Close(frame) => {
                        let code = frame.code.unwrap_or(CloseCode::NO_STATUS);
                        self.begin_close(code, frame.reason, Cause::Peer);
                    }
                    Event::Violation(violation) => {
                        let code = violation.close_code();
                        let cause = if code == CloseCode::TOO_BIG {
                            Cause::Limit
                        } else {
                            Cause::Protocol
                        };
                        self.begin_close(code, violation.to_string().into(), cause);
                    }
                }
                continue;
            }
            let read = poll_fn(|context| {
                // Pongs that the system did not take before; a failure shows in reading, too.
                let is_written = self.poll_flush(context).is_ready();
                if tells_sent && is_written && !self.is_broken {
                    return Poll::Ready(None);
                }
                self.poll_read(context).map(Some)
            })
            .await;
            let Some(read) = read else {
                return Some(Progress::Sent);
            };
            let reason = match read {
                Ok(0) => Text::default(),
                Ok(_) => continue,
                Err(error) => error.kind().to_string().into(),
            };
            self.closed = Some(Closed::new(CloseCode::ABNORMAL, reason, false, Cause::Lost));
        }
    }

    pub(super) async fn close(
        &mut self,
        code: CloseCode,
        reason: Text,
    ) -> Result<Closed, InvalidClose> {
        self.engine.close(code, &reason)?;
        if self.closing.is_none() && self.closed.is_none() {
            self.engine.poll_close(mask_key, &mut self.output);
            self.begin_close(code, reason, Cause::Stopped);
        }
        Ok(self.finish().await)
    }

    /// A close frame is encoded; all that is left is to write it and to wait for the end.
    fn begin_close(&mut self, code: CloseCode, reason: Text, cause: Cause) {
        let deadline = later(Instant::now(), self.config.close_time);
        self.closing = Some((Closed::new(code, reason, false, cause), deadline));
    }

    async fn finish(&mut self) -> Closed {
        if let Some((closed, deadline)) = self.closing.clone() {
            let _ = timeout_at(deadline, poll_fn(|context| self.poll_finish(context))).await;
            let is_sent = self.engine.is_close_sent() && self.output.is_empty() && !self.is_broken;
            self.closing = None;
            self.closed.get_or_insert(Closed {
                clean: is_sent && self.engine.is_close_received(),
                ..closed
            });
        }
        match &self.closed {
            Some(closed) => closed.clone(),
            // There is a close under way whenever this is called on an open connection.
            None => Closed::new(CloseCode::ABNORMAL, "", false, Cause::Lost),
        }
    }

    /// Writes the close frame, and reads and forgets until the end, which is the server's to make (RFC 6455 §7.1.1).
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_written = self.poll_flush(context).is_ready();
        if is_written && self.engine.violation().is_some() && !self.is_shut {
            self.is_shut = Pin::new(&mut self.io).poll_shutdown(context).is_ready();
        }
        while !self.is_at_end {
            while self.engine.handle_input(&mut self.input).is_some() {}
            let count = ready!(self.poll_read(context));
            self.is_at_end = !matches!(count, Ok(1..));
        }
        if is_written || self.is_broken {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn encode_answers(&mut self) {
        self.encode_control();
        self.engine.poll_close(mask_key, &mut self.output);
    }

    /// A peer that pings and does not read must not fill the memory: then pongs wait in the engine, where newer ones
    /// replace them. False if nothing was encoded.
    fn encode_control(&mut self) -> bool {
        self.output.len() < MAX_BEFORE_ANSWERS
            && self.engine.poll_control(mask_key, &mut self.output)
    }

    /// Writes what an earlier call has left, so that not more than one message waits.
    async fn flush_earlier(&mut self) -> Result<(), SocketError> {
        self.flush().await.map_err(|error| match error {
            SocketError::Timeout => SocketError::EarlierWaits,
            other => other,
        })
    }

    /// Writes all that waits, for as long as the peer takes some of it now and then.
    async fn flush(&mut self) -> Result<(), SocketError> {
        if self.closing.is_some() || self.closed.is_some() || self.is_broken {
            return Err(SocketError::Closed);
        }
        let limit = self.config.send_timeout;
        let mut stalled = pin!(sleep_until(later(Instant::now(), limit)));
        let mut written = self.written;
        poll_fn(|context| {
            if let Poll::Ready(flushed) = self.poll_flush(context) {
                return Poll::Ready(flushed.map_err(|_| SocketError::Closed));
            }
            if self.written != written {
                written = self.written;
                stalled.as_mut().reset(later(Instant::now(), limit));
            }
            stalled
                .as_mut()
                .poll(context)
                .map(|()| Err(SocketError::Timeout))
        })
        .await
    }

    /// Writes what the system takes at once.
    async fn flush_now(&mut self) {
        poll_fn(|context| {
            let _ = self.poll_flush(context);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.poll_write_all(context);
        self.is_waiting = written.is_pending();
        let written = ready!(written);
        if written.is_err() {
            self.is_broken = true;
            self.output.clear();
        }
        Poll::Ready(written)
    }

    fn poll_write_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() || self.encode_control() {
            let count = ready!(Pin::new(&mut self.io).poll_write(context, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(count);
            self.written = self.written.saturating_add(count as u64);
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    /// Grown by what has come, never by what a peer declares.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ_AHEAD);
        pin!(self.io.read_buf(&mut self.input)).poll(context)
    }
}

const fn received(received: Received) -> Option<Progress> {
    Some(Progress::Received(received))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    /// A client's end over a transport that holds 1 KiB.
    fn link() -> (Link<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(1024);
        let config = Config::default().with_send_timeout(TIMEOUT);
        let link = Link::new(near, &[], Role::Client, None, config.into());
        (link, far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_says_whether_the_message_was_taken() {
        let (mut link, mut far) = link();
        let binary = MessageKind::Binary;
        let first = link.send(binary, &[1; 2000]).await;
        assert_eq!(first, Err(SocketError::Timeout));
        let second = link.send(binary, &[2; 2000]).await;
        assert_eq!(second, Err(SocketError::EarlierWaits));
        assert_eq!(link.ping(b"").await, Err(SocketError::EarlierWaits));

        // Headers, masks and payloads of those that were taken, and of no other.
        let mut received = [0; 8 + 2000 + 6 + 3];
        let third = link.send(MessageKind::Text, b"333");
        let (third, read) = tokio::join!(third, far.read_exact(&mut received));
        assert_eq!((third, read.unwrap()), (Ok(()), received.len()));
        assert_eq!(received[8 + 2000..][..2], [0x81, 0x83]);
    }

    #[tokio::test(start_paused = true)]
    async fn both_sides_may_be_full_at_once() {
        let (mut link, mut far) = link();
        let binary = MessageKind::Binary;
        // A server that reads nothing until all that it has to say is read.
        let server = async {
            for _ in 0..10 {
                far.write_all(&[0x82, 100]).await.unwrap();
                far.write_all(&[7; 100]).await.unwrap();
            }
            let mut received = vec![0; 8 + 2000 + 14 + MAX_BEFORE_SENDS + 6 + 2];
            far.read_exact(&mut received).await.unwrap();
            (far, received)
        };
        let client = async {
            link.try_send(binary, &[1; 2000]).unwrap();
            assert!(!link.is_sent());
            link.try_send(binary, &[2; MAX_BEFORE_SENDS]).unwrap();
            let full = Err(SocketError::EarlierWaits);
            assert_eq!(
                (link.try_send(binary, b"3"), link.try_ping(b"")),
                (full, full)
            );
            for _ in 0..10 {
                let message = Received::Binary(vec![7; 100].into());
                let progress = link.receive_or_sent().await;
                assert_eq!(progress, Some(Progress::Received(message)));
            }
            assert_eq!(link.receive_or_sent().await, Some(Progress::Sent));
            assert!(link.is_sent());
            link.try_ping(b"33").unwrap();
            link
        };
        let both = async { tokio::join!(client, server) };
        let (mut link, (far, received)) = tokio::time::timeout(TIMEOUT, both).await.unwrap();
        assert_eq!(received[received.len() - 8..][..2], [0x89, 0x82], "a ping");

        drop(far);
        assert_eq!(link.receive_or_sent().await, None);
        assert_eq!(link.try_send(binary, b"4"), Err(SocketError::Closed));
        let long = link.try_ping(&[0; 126]);
        assert_eq!(long, Err(SocketError::PingTooLong { got: 126 }));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_behind_a_message_go_in_order() {
        let (mut link, mut far) = link();
        link.try_send(MessageKind::Binary, &[1; 2000]).unwrap();
        assert!(!link.is_sent(), "the pings find no room in the system");
        for number in 0..200_u8 {
            link.try_ping(&[number]).unwrap();
        }
        link.try_send(MessageKind::Text, b"last").unwrap();

        let mut received = vec![0; 8 + 2000 + 200 * 7 + 10];
        let (progress, read) = tokio::join!(link.receive_or_sent(), far.read_exact(&mut received));
        assert_eq!(
            (progress, read.unwrap()),
            (Some(Progress::Sent), received.len())
        );
        let written = u64::try_from(received.len()).unwrap();
        assert_eq!(link.written(), written);
        for (number, ping) in received[8 + 2000..][..200 * 7].chunks(7).enumerate() {
            assert_eq!(ping[..2], [0x89, 0x81]);
            assert_eq!(usize::from(ping[6] ^ ping[2]), number);
        }
        assert_eq!(received[received.len() - 10..][..2], [0x81, 0x84]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_fails_at_once_is_told_at_once() {
        for is_ping in [false, true] {
            let (mut link, far) = link();
            drop(far);
            let sent = match is_ping {
                true => link.try_ping(b""),
                false => link.try_send(MessageKind::Text, b"lost"),
            };
            assert_eq!(sent, Err(SocketError::Closed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_reads_slowly_is_waited_for() {
        let (mut link, mut far) = link();
        let slow = async {
            let mut received = [0; 1024];
            for _ in 0..10 {
                tokio::time::sleep(TIMEOUT * 9 / 10).await;
                let count = far.read(&mut received).await.unwrap();
                assert!(count > 0);
            }
            far
        };
        let both = async { tokio::join!(link.send(MessageKind::Binary, &[0; 10 * 1024]), slow) };
        let (sent, mut far) = tokio::time::timeout(TIMEOUT * 20, both).await.unwrap();
        assert_eq!(sent, Ok(()));

        // The time begins anew with what was taken last, and only with that.
        let since = Instant::now();
        let read_some = async {
            tokio::time::sleep(TIMEOUT / 2).await;
            far.read_exact(&mut [0; 512]).await.unwrap();
            far
        };
        let stalled = link.send(MessageKind::Binary, &[0; 10 * 1024]);
        let (sent, _far) = tokio::join!(stalled, read_some);
        assert_eq!(sent, Err(SocketError::Timeout));
        assert_eq!(since.elapsed(), TIMEOUT * 3 / 2);
    }
}
