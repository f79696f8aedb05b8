//! [`Tap`]: a stream of the simulated network as a session sees it. It tells the record what is read and written, and makes
//! of the seed what a real socket makes of luck: short reads and writes, readiness that comes late or for nothing, and a
//! transport that holds what is written until it is flushed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use crate::event::{Event, Role};
use crate::random::Rng;
use crate::record::{EndpointId, Record};

/// How many bytes a transport holds before it has to write.
const HELD: usize = 8 * 1024;

/// The luck of a stream, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shake {
    pub(crate) short_reads: u64,
    /// The stream wakes its task and there is nothing.
    pub(crate) false_wakes: u64,
    /// What has come is there some turns later.
    pub(crate) late_reads: u64,
    pub(crate) short_writes: u64,
    /// A write is refused, and accepted later.
    pub(crate) late_writes: u64,
    /// Bytes of a write at most.
    pub(crate) segment: usize,
    /// Whether what is written stays where it is until it is flushed.
    pub(crate) is_buffering: bool,
}

#[derive(Debug)]
pub(crate) struct Tap {
    io: TcpStream,
    record: Record,
    pub(crate) endpoint: EndpointId,
    role: Role,
    shake: Shake,
    rng: Rng,
    /// What has come and was not handed out.
    input: Vec<u8>,
    /// After how many more looks it is there.
    late: u64,
    is_withheld: bool,
    /// What was taken and not written.
    output: Vec<u8>,
}

impl Tap {
    pub(crate) fn new(
        io: TcpStream,
        record: &Record,
        role: Role,
        client: u32,
        shake: Shake,
        rng: &mut Rng,
    ) -> Self {
        let endpoint = record.open(role, client);
        Self {
            io,
            record: record.clone(),
            endpoint,
            role,
            shake,
            rng: rng.split(u64::from(endpoint)),
            input: Vec::new(),
            late: 0,
            is_withheld: false,
            output: Vec::new(),
        }
    }

    fn note(&self, event: Event) {
        self.record.note(self.endpoint, event);
    }

    /// The task's waker, which tells the record when it is used.
    fn waker(&self, context: &Context<'_>, to_write: bool) -> Waker {
        Waker::from(Arc::new(Notice {
            waker: context.waker().clone(),
            record: self.record.clone(),
            endpoint: self.endpoint,
            to_write,
        }))
    }

    /// Has something to hand out, or the end.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = vec![0; 16 * 1024];
        let mut buffer = ReadBuf::new(&mut chunk);
        let waker = self.waker(context, false);
        let polled =
            Pin::new(&mut self.io).poll_read(&mut Context::from_waker(&waker), &mut buffer);
        match polled {
            Poll::Pending => {
                if self.rng.percent(self.shake.false_wakes) {
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => {
                self.note(Event::ReadEnd(true));
                return Poll::Ready(Err(error));
            }
            Poll::Ready(Ok(())) => {}
        }
        if buffer.filled().is_empty() {
            self.note(Event::ReadEnd(false));
        } else if self.rng.percent(self.shake.late_reads) {
            self.late = self.rng.within(1..=3);
        }
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Takes as much as luck has it.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.rng.percent(self.shake.late_writes) {
            self.note(Event::Blocked);
            self.waker(context, true).wake();
            return Poll::Pending;
        }
        if self.output.len() >= HELD {
            ready!(self.poll_output(context))?;
        }
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut count = whole.min(self.shake.segment);
        if count > 1 && self.rng.percent(self.shake.short_writes) {
            count = 1 + self.rng.below(count);
        }
        let mut chunk = Vec::with_capacity(count);
        for slice in slices {
            let left = count - chunk.len();
            chunk.extend_from_slice(&slice[..slice.len().min(left)]);
            if self.role == Role::Server && is_large_feed(slice) && left >= slice.len() {
                self.record.wrote_shared(self.endpoint, slice);
            }
        }
        if self.shake.is_buffering {
            self.output.extend_from_slice(&chunk);
            self.record.wrote(self.endpoint, &chunk);
            if count > 0 {
                self.note(Event::Held);
            }
            return Poll::Ready(Ok(count));
        }
        let waker = self.waker(context, true);
        let polled = Pin::new(&mut self.io).poll_write(&mut Context::from_waker(&waker), &chunk);
        match &polled {
            Poll::Pending => self.note(Event::Blocked),
            Poll::Ready(Ok(count)) => {
                let written = chunk.get(..*count).unwrap_or_default();
                self.record.wrote(self.endpoint, written);
            }
            Poll::Ready(Err(_)) => self.note(Event::WriteFailed),
        }
        polled
    }

    /// Writes what is held.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let end = self.output.len().min(self.shake.segment);
            let waker = self.waker(context, true);
            let mut context = Context::from_waker(&waker);
            match Pin::new(&mut self.io).poll_write(&mut context, &self.output[..end]) {
                Poll::Pending => {
                    self.note(Event::Blocked);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) => drop(self.output.drain(..count)),
                Poll::Ready(Err(error)) => {
                    self.note(Event::WriteFailed);
                    return Poll::Ready(Err(error));
                }
            }
            if self.output.is_empty() {
                self.note(Event::Flushed);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether something could be read. The last look: the waker is lost by it.
    fn is_unread(&mut self) -> bool {
        if self.is_withheld {
            return false;
        }
        if !self.input.is_empty() {
            return true;
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let peeked = self.io.poll_peek(&mut context, &mut buffer);
        matches!(peeked, Poll::Ready(Ok(1..)))
    }
}

/// Whether these bytes begin with a prepared message that is too large to be copied.
fn is_large_feed(bytes: &[u8]) -> bool {
    bytes.len() > 4_200 && bytes.first() == Some(&0x81) && bytes.get(4..6) == Some(b"f ")
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.record.asked(this.endpoint);
        if this.input.is_empty() {
            ready!(this.poll_input(context))?;
        }
        if this.late > 0 {
            this.late -= 1;
            this.is_withheld = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.is_withheld = false;
        let mut count = this.input.len().min(buffer.remaining());
        if count > 1 && this.rng.percent(this.shake.short_reads) {
            count = 1 + this.rng.below(count);
        }
        let bytes: Vec<u8> = this.input.drain(..count).collect();
        buffer.put_slice(&bytes);
        if count > 0 {
            this.record.read(this.endpoint, &bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_output(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(context))?;
        self.note(Event::Shut);
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let is_unread = self.is_unread();
        self.note(Event::Gone { is_unread });
    }
}

/// A waker that is seen.
struct Notice {
    waker: Waker,
    record: Record,
    endpoint: EndpointId,
    to_write: bool,
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.record.woken(self.endpoint, self.to_write);
        self.waker.wake_by_ref();
    }
}
