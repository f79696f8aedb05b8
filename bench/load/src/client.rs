//! The connections of a load generator: one thread, one `epoll`, and what every kind of work needs from them.

mod opening;
mod socket;
mod stream;

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll, Token};

pub use self::opening::{Opening, Role, Step};
pub use self::stream::Stream;
use self::stream::TlsSettings;
use crate::spec::Spec;

/// One read: more than a socket usually has, and little enough to stay in the cache.
const READ: usize = 256 * 1024;
/// Openings under way at once, well below the backlog of every server.
const OPENING_AT_ONCE: usize = 128;
/// The longest that nothing may happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Where to, and how.
#[derive(Debug)]
pub struct Target {
    pub spec: Spec,
    tls: Option<TlsSettings>,
}

impl Target {
    pub fn new(spec: &Spec) -> Result<Self> {
        let tls = spec.tls.then(TlsSettings::new).transpose()?;
        Ok(Self {
            spec: spec.clone(),
            tls,
        })
    }

    /// Begins an opening; `number` spreads the source addresses; a `stalled` one takes hardly anything.
    pub fn begin(&self, role: Role, number: usize, stalled: bool) -> Result<Opening> {
        let tcp = socket::connect(self.spec.address, number, stalled)?;
        let stream = Stream::new(tcp, self.tls.as_ref())?;
        Ok(Opening::new(stream, role, &self.spec))
    }
}

/// All connections, known by number, and the one that polls them.
#[derive(Debug)]
pub struct Clients {
    poll: Poll,
    events: Events,
    streams: Vec<Option<Stream>>,
    /// Those that may have more to read than was taken: the poll is edge-triggered.
    unread: VecDeque<usize>,
    buffer: Vec<u8>,
}

/// What can be done on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    pub connection: usize,
    pub readable: bool,
    pub writable: bool,
}

/// What a read gave.
#[derive(Debug)]
pub enum Got<'a> {
    Bytes(&'a [u8]),
    Nothing,
    Closed,
}

impl Clients {
    pub fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            streams: Vec::new(),
            unread: VecDeque::new(),
            buffer: vec![0; READ],
        })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Opens that many more connections and returns when the server has answered all.
    pub fn open(
        &mut self,
        target: &Target,
        count: usize,
        role: impl Fn(usize) -> Role,
        stalled: bool,
    ) -> Result<()> {
        let base = self.streams.len();
        self.streams.resize_with(base + count, || None);
        let mut openings: Vec<Option<Opening>> = Vec::new();
        openings.resize_with(count, || None);
        let (mut begun, mut done) = (0, 0);
        let mut last = Instant::now();
        while done < count {
            while begun < count && begun - done < OPENING_AT_ONCE {
                let mut opening = target.begin(role(begun), base + begun, stalled)?;
                opening.register(self.poll.registry(), Token(base + begun))?;
                openings[begun] = Some(opening);
                begun += 1;
            }
            self.poll_once(Some(Duration::from_millis(200)))?;
            for event in &self.events {
                let Some(number) = event.token().0.checked_sub(base) else {
                    continue;
                };
                let Some(opening) = &mut openings[number] else {
                    continue;
                };
                let step = opening.advance(&mut self.buffer);
                let step = step.with_context(|| format!("opening connection {}", base + number))?;
                if step == Step::Open {
                    let opening = openings[number].take();
                    self.streams[base + number] = opening.map(Opening::into_stream);
                    done += 1;
                    last = Instant::now();
                }
            }
            ensure!(
                last.elapsed() < PATIENCE,
                "{done} of {count} connections open, and no more for {PATIENCE:?}"
            );
        }
        Ok(())
    }

    fn poll_once(&mut self, timeout: Option<Duration>) -> Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits until something can be done, and puts it into `ready`.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> Result<()> {
        ready.clear();
        let timeout = if self.unread.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        self.poll_once(Some(timeout))?;
        let unread = self.unread.drain(..).map(|connection| Ready {
            connection,
            readable: true,
            writable: false,
        });
        ready.extend(unread);
        ready.extend(self.events.iter().map(|event| Ready {
            connection: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
        }));
        Ok(())
    }

    /// Reads once. What is left is offered again by the next [`Clients::wait`], after the others' turn.
    pub fn read(&mut self, connection: usize) -> Result<Got<'_>> {
        let Some(stream) = &mut self.streams[connection] else {
            return Ok(Got::Nothing);
        };
        match stream.read(&mut self.buffer) {
            Ok(0) => Ok(Got::Closed),
            Ok(length) => {
                // A short read of plain TCP has emptied the socket (epoll(7)); TLS gives a record at a time.
                if length == READ || stream.is_tls() {
                    self.unread.push_back(connection);
                }
                Ok(Got::Bytes(&self.buffer[..length]))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.unread.push_back(connection);
                Ok(Got::Nothing)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Got::Closed),
            Err(error) => Err(error).with_context(|| format!("reading connection {connection}")),
        }
    }

    /// Writes once; 0 when the socket is full, which [`Ready::writable`] ends.
    pub fn write(&mut self, connection: usize, bytes: &[u8]) -> Result<usize> {
        let Some(stream) = &mut self.streams[connection] else {
            return Ok(0);
        };
        match stream.write(bytes) {
            Ok(length) => Ok(length),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            Err(error) => Err(error).with_context(|| format!("writing connection {connection}")),
        }
    }
}
