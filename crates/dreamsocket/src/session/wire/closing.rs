//! Closing: who closes, with what, and when it is over. The first cause stands.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use dreamsocket_protocol::{CloseCode, MAX_CLOSE_REASON, Text};
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::clock::Span;
use super::super::{self as session};
use super::{Closing, Noted, Phase, Wire};
use crate::message::{Cause, Closed};

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// Queues a close of ours behind everything sent so far. What the peer sent and no handler has seen is dropped.
    pub(in crate::session) fn close(&mut self, cause: Cause, code: CloseCode, reason: Text) {
        if let Some(noted) = self.take_noted() {
            // The peer came first.
            return self.carry_out(noted);
        }
        if self.is_closing() {
            return;
        }
        let reason = cut_reason(reason);
        let mut closed = Closed {
            code,
            reason,
            clean: false,
            cause,
        };
        if let Err(error) = self.engine.close(closed.code, &closed.reason) {
            tracing::error!(%error, "the application's close is not valid, closing with 1011");
            closed.code = CloseCode::INTERNAL;
            closed.reason = Text::default();
            // 1011 without a reason is always valid.
            let _ = self.engine.close(closed.code, "");
        }
        self.begin_close(closed);
    }

    pub(super) fn begin_close(&mut self, closed: Closed) {
        let deadline = self
            .clock
            .look()
            .after(Span::from(self.config().close_time));
        self.shared.outbox.begin_close();
        self.ahead = None;
        self.phase = Phase::Closing;
        let ending = self.end_seen();
        ending.postponed = None;
        ending.closing = Some(Closing {
            closed,
            deadline,
            is_shut: false,
        });
        let_go(std::mem::take(&mut self.forwards));
    }

    /// Lets what was noted take effect: nothing waits before it any more.
    pub(super) fn carry_out(&mut self, noted: Noted) {
        if self.is_closing() {
            if let Noted::End(_) = noted {
                self.finish_closing();
            }
            return;
        }
        match noted {
            Noted::Close(frame) => {
                let code = frame.code.unwrap_or(CloseCode::NO_STATUS);
                self.begin_close(Closed {
                    code,
                    reason: frame.reason,
                    clean: false,
                    cause: Cause::Peer,
                });
            }
            Noted::Violation(violation) => {
                let code = violation.close_code();
                let cause = if code == CloseCode::TOO_BIG {
                    Cause::Limit
                } else {
                    Cause::Protocol
                };
                tracing::debug!(%violation, "closing: the peer broke the protocol");
                let reason = cut_reason(Text::from(violation.to_string()));
                self.begin_close(Closed {
                    code,
                    reason,
                    clean: false,
                    cause,
                });
            }
            Noted::End(error) => self.finish(lost(error)),
            Noted::Excess => self.exceed(CloseCode::POLICY, "more than the rate allows"),
        }
    }

    /// Ends the connection now. Bytes not written are lost.
    pub(super) fn finish(&mut self, closed: Closed) {
        let leftovers = self.shared.outbox.end();
        self.io = None;
        self.ahead = None;
        self.freed = 0;
        self.has_noted = false;
        self.phase = Phase::Finished;
        let ending = self.end_seen();
        ending.closing = None;
        ending.noted = None;
        if ending.finished.is_none() {
            ending.finished = Some(closed);
        }
        let mut buffers = self.buffers.take();
        if let Some(mut empty) = buffers.take_if(|buffers| buffers.is_written()) {
            empty.read.clear();
            empty.give_back();
        }
        let_go((leftovers, buffers, std::mem::take(&mut self.forwards)));
    }

    /// Ends a connection whose close is under way.
    pub(super) fn finish_closing(&mut self) {
        if let Some(closing) = self.ending().closing.take() {
            let is_sent = self.engine.is_close_sent() && self.is_written() && !self.is_broken;
            let clean = is_sent && self.engine.is_close_received();
            self.finish(Closed {
                clean,
                ..closing.closed
            });
        }
    }

    /// The peer is too far behind a channel that its subscriber wants to end then (B3).
    pub(in crate::session) fn lag(&mut self) {
        tracing::debug!("closing: the peer is too far behind a channel");
        let reason = Text::from_static("too far behind");
        self.close(Cause::Lagged, CloseCode::TRY_AGAIN_LATER, reason);
    }

    /// RFC 6455 §7.1.1: a client that has written its close frame leaves it to the server to end the TCP connection, so
    /// that the server and not the client is left with a socket in `TIME_WAIT`. The deadline of the close bounds it.
    pub(super) fn awaits_end(&self) -> bool {
        !self.is_server && self.engine.is_close_sent() && self.is_written() && !self.unflushed
    }

    /// The peer, or the connection as a whole, is past a bound that the configuration set.
    pub(super) fn exceed(&mut self, code: CloseCode, reason: &'static str) {
        tracing::debug!(%code, reason, "closing: past a bound");
        self.close(Cause::Limit, code, Text::from_static(reason));
    }

    /// Moves a closing handshake on.
    pub(super) fn poll_closing(&mut self, context: &mut Context<'_>) {
        if !self.engine.is_close_sent() || !self.is_written() || self.unflushed {
            return;
        }
        let is_over = self.engine.is_close_received();
        if is_over && self.awaits_end() {
            return;
        }
        let Some(closing) = self
            .ending
            .as_mut()
            .and_then(|ending| ending.closing.as_mut())
        else {
            return;
        };
        // RFC 6455 §7.1.1: after both close frames the server closes the TCP connection. After a violation the peer is
        // told that nothing more comes, and what it still sends is read, so that no reset overtakes our close frame.
        if (is_over || self.engine.violation().is_some())
            && !closing.is_shut
            && let Some(io) = self.io.as_mut()
        {
            match Pin::new(io).poll_shutdown(context) {
                Poll::Pending => return,
                Poll::Ready(_) => closing.is_shut = true,
            }
        }
        if is_over {
            self.finish_closing();
        }
    }
}

/// Drops payloads and channels, which may be memory of the application's whose release runs its code.
pub(super) fn let_go<R>(what: R) {
    session::let_go("the drop of a payload", what);
}

pub(super) fn lost(error: Option<io::ErrorKind>) -> Closed {
    let reason = error.map_or_else(Text::default, |error| Text::from(error.to_string()));
    Closed {
        code: CloseCode::ABNORMAL,
        reason,
        clean: false,
        cause: Cause::Lost,
    }
}

/// Cuts a reason that is too long for a close frame, at a character.
fn cut_reason(reason: Text) -> Text {
    if reason.len() <= MAX_CLOSE_REASON {
        return reason;
    }
    Text::from(&reason[..reason.floor_char_boundary(MAX_CLOSE_REASON)])
}
