//! [`Client`]: the peer in a test's hand, and what it does.

mod expecting;

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use bytes::Bytes;
use dreamsocket_protocol::{CloseCode, MessageKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::frame::Frame;
use super::peer::{Peer, SplitFrame};
use super::settling::{counted, settle};
use super::transport::{Counts, Traffic};
use crate::connection::Connection;

/// A WebSocket client in a test, made by [`connect`](super::connect) or by a [`Server`](super::Server).
///
/// It has a task of its own, which answers pings and close frames as a browser does while the test does something else.
/// Sends queue their bytes and let everything run that is ready ([`settle`](super::settle)), so each one is a segment of
/// its own; [`send`](Self::send) puts several frames into one. The session may be slow to read: what it has not taken yet
/// is [`unsent_bytes`](Self::unsent_bytes).
///
/// Dropping the client drops the transport, as [`vanish`](Self::vanish) does.
#[derive(Debug)]
pub struct Client {
    peer: Peer,
    session: Session,
    /// `None` if the other end is no session of this library's.
    connection: Option<Connection>,
    counts: Arc<Counts>,
}

/// How the end of the session is known.
#[derive(Debug)]
pub(super) enum Session {
    /// It is a task of the kit's.
    Task(JoinHandle<()>),
    /// It runs in a server, and drops the other end of this.
    Seen(watch::Receiver<Option<Connection>>),
    /// It is no session of this library's.
    Unseen,
    /// It is over.
    Ended,
}

impl Client {
    pub(super) fn new(
        peer: Peer,
        session: Session,
        connection: Option<Connection>,
        counts: Arc<Counts>,
    ) -> Self {
        tokio::spawn(counted(peer.run()));
        Self {
            peer,
            session,
            connection,
            counts,
        }
    }

    /// The handle that the handlers get, to send or close from outside of them.
    ///
    /// # Panics
    ///
    /// If the WebSocket of a server's is not one of this library's.
    #[must_use]
    #[track_caller]
    pub fn connection(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => panic!("this WebSocket is not one of dreamsocket's, so it has no `Connection`"),
        }
    }

    /// What the session has read and written so far; under a [`Server`](super::Server) the handshake counts, too.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counts.traffic()
    }

    /// How many bytes wait for the session to read: neither it nor the transport has taken them.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.peer.lock().output.len()
    }

    /// All that was sent and received so far, a line each, with the time since the beginning.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.peer.lock().transcript.to_string()
    }

    #[track_caller]
    fn fail(&self, at: &Location<'_>, message: impl Display) -> ! {
        panic!(
            "{message}\n  at {at}\nwhat was sent and received:\n{}",
            self.transcript()
        )
    }
}

/// What the client does: at the call, not only when it is awaited. Awaiting it lets everything run that is ready.
impl Client {
    /// Sends a text message.
    ///
    /// # Panics
    ///
    /// If the client has sent its close frame.
    #[track_caller]
    pub fn send_text(&mut self, text: impl AsRef<str>) -> impl Future<Output = ()> {
        self.send_message(
            Location::caller(),
            MessageKind::Text,
            text.as_ref().as_bytes(),
        );
        settle()
    }

    /// Sends a binary message.
    ///
    /// # Panics
    ///
    /// If the client has sent its close frame.
    #[track_caller]
    pub fn send_binary<B: AsRef<[u8]>>(&mut self, payload: B) -> impl Future<Output = ()> {
        self.send_message(Location::caller(), MessageKind::Binary, payload.as_ref());
        settle()
    }

    /// Sends a value as a text message in JSON.
    ///
    /// # Panics
    ///
    /// If the value cannot be written as JSON, or if the client has sent its close frame.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn send_json<T: serde::Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> impl Future<Output = ()> {
        let at = Location::caller();
        match serde_json::to_string(value) {
            Ok(text) => self.send_message(at, MessageKind::Text, text.as_bytes()),
            Err(error) => self.fail(at, format_args!("this cannot be written as JSON: {error}")),
        }
        settle()
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        self.send([Frame::ping(Bytes::copy_from_slice(payload.as_ref()))])
    }

    /// Sends frames as they are, in one segment.
    pub fn send(&mut self, frames: impl IntoIterator<Item = Frame>) -> impl Future<Output = ()> {
        self.peer.update(|peer| {
            for frame in frames {
                peer.send_frame(&frame);
            }
        });
        settle()
    }

    /// Sends frames cut into segments of so many bytes each, whatever frame they belong to; what is left over is the last
    /// one. After each, everything runs that is ready, so that the session sees the pieces one by one. A size of 0 counts
    /// as 1.
    ///
    /// Pongs and the reply to a close that fall into this follow the frame that has begun, in the same segment as its end.
    /// Dropped before it is done, this leaves its frame unfinished, and the client answers nothing any more.
    ///
    /// ```
    /// use dreamsocket::testing::Frame;
    /// # use dreamsocket::{Action, Connection, Message, Selector, SendError, continue_connection, testing};
    /// # async fn on_init(_: &Connection, _: &()) -> ((), Option<Selector>) { ((), None) }
    /// # async fn on_message(_: &mut (), message: Message, connection: &Connection, _: &()) -> Result<Action, SendError> {
    /// #     if let Message::Text(text) = message { connection.send_text(text).await?; }
    /// #     Ok(continue_connection())
    /// # }
    /// # async fn on_close(_: (), _: &()) {}
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
    /// let mut client = testing::connect((), on_init, on_message, on_close);
    /// // The header's first byte alone, three more, and the rest.
    /// client.send_split([Frame::text("hello")], [1, 3]).await;
    /// client.expect_text("hello").await;
    /// // Byte by byte.
    /// client.send_split([Frame::text("hello")], std::iter::repeat(1)).await;
    /// client.expect_text("hello").await;
    /// # });
    /// ```
    pub async fn send_split(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
        sizes: impl IntoIterator<Item = usize>,
    ) {
        let mut frames: VecDeque<_> = frames.into_iter().map(SplitFrame::new).collect();
        for size in sizes.into_iter().chain([usize::MAX]) {
            if frames.is_empty() {
                break;
            }
            self.peer
                .update(|peer| peer.send_piece(&mut frames, size.max(1)));
            settle().await;
        }
    }

    /// Sends bytes as they are, in one segment: parts of frames ([`Frame::to_bytes`]), or rubbish. What the client answers by
    /// itself may come between two parts: [`send_split`](Self::send_split) keeps it out of frames.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        self.peer.update(|peer| {
            peer.transcript.note_sent("bytes", bytes.as_ref());
            peer.output.extend_from_slice(bytes.as_ref());
        });
        settle()
    }

    /// Sends a close frame. What the session answers is for [`expect_closed`](Self::expect_closed).
    pub fn close(&mut self, code: impl Into<CloseCode>, reason: &str) -> impl Future<Output = ()> {
        self.send([Frame::close(code, reason)])
    }

    /// Drops the transport without a close frame, as a client does that loses its network or is killed.
    pub fn vanish(&mut self) -> impl Future<Output = ()> {
        self.peer.update(super::peer::Inner::vanish);
        settle()
    }

    /// Ends what the client sends without a close frame, and goes on reading.
    pub fn shut_down_writing(&mut self) -> impl Future<Output = ()> {
        self.peer.update(|peer| {
            peer.transcript.note("client ends its writing side");
            peer.is_shutting_down = true;
        });
        settle()
    }

    /// Reads nothing from here on: what the session writes fills the transport, then the outbox. Pings and close frames
    /// stay without an answer, since the client does not see them.
    pub fn stall(&mut self) {
        self.peer.update(|peer| {
            peer.transcript.note("client stops reading");
            peer.allowance = Some(0);
        });
    }

    /// Reads this many bytes more, and then stalls: a client that is slow. What it got of a frame that is not whole is
    /// nothing yet.
    pub fn stall_after(&mut self, bytes: usize) -> impl Future<Output = ()> {
        self.peer.update(|peer| {
            peer.transcript
                .note(format_args!("client reads {bytes} bytes more"));
            peer.allowance = Some(bytes);
        });
        settle()
    }

    /// Reads again.
    pub fn unstall(&mut self) -> impl Future<Output = ()> {
        self.peer.update(|peer| {
            peer.transcript.note("client reads again");
            peer.allowance = None;
        });
        settle()
    }

    /// Answers neither pings nor close frames from here on, though it reads them.
    pub fn mute(&mut self) {
        self.peer.update(|peer| peer.is_mute = true);
    }

    fn send_message(&self, at: &Location<'_>, kind: MessageKind, payload: &[u8]) {
        if !self.peer.update(|peer| peer.send_message(kind, payload)) {
            self.fail(
                at,
                "the client has sent its close frame, and no message can follow it",
            );
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.peer.update(super::peer::Inner::vanish);
    }
}
