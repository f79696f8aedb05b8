//! `dreamsocket connect`: lines in, messages out, until one of both sides has had enough.
//!
//! Reading and writing the standard streams blocks, so a thread does each (`input.rs`, `output.rs`), with a bounded channel
//! to it: who reads our output slowly slows the server down. What is shown, and how, is `view.rs`.

mod input;
mod output;
mod view;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, Ending, Progress, Received, Socket, SocketError};
use dreamsocket::{Cause, Closed};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use self::input::{Input, Line, LineKind};
use self::output::Output;
use self::view::View;
use crate::args::ConnectArgs;
use crate::failure::{ENDED_BADLY, Failure};
use crate::interrupt::Interrupt;

/// How long is waited for answers after the end of an input that is no terminal.
const WAIT: Duration = Duration::from_secs(2);

/// How long the server may take for a message while nothing comes of it, until it is given up.
const STALL: Duration = Duration::from_secs(60);

/// After how many pings without a pong the server is lost.
const PINGS: usize = 3;

/// Delays before connecting again: doubled from one to the other.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(30);

pub(crate) fn run(args: ConnectArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Usage(format!("no runtime: {error}")))?;
    let view = View::new(&args);
    runtime.block_on(async {
        let (output, written) = Output::start();
        let done = talk(args, view, output).await;
        // For as long as somebody reads slowly; a second Ctrl-C ends that, too.
        let _ = written.await;
        done
    })
}

async fn talk(args: ConnectArgs, view: View, output: Output) -> Result<ExitCode, Failure> {
    let connect = args.target.connect()?;
    let mut interrupt = Interrupt::listen();
    let mut talk = Talk {
        wait: args.wait.unwrap_or(if input::is_terminal() {
            Duration::ZERO
        } else {
            WAIT
        }),
        ping: args.ping,
        left: args.messages,
        view,
        output,
        interrupt: interrupt.clone(),
        input: None,
        has_lost: false,
    };
    let mut socket = tokio::select! {
        opened = talk.open(&connect) => opened?,
        () = interrupt.wait() => return Ok(ExitCode::SUCCESS),
    };
    talk.input = Some(Input::start(LineKind::of(&args), args.target.max_message));
    loop {
        let end = talk.run(&mut socket).await;
        let closed = match end {
            End::Ours(code, reason) => match socket.close(code, reason).await {
                Ok(closed) => closed,
                Err(_) => Closed::new(1006, "", false, Cause::Lost),
            },
            End::Theirs(closed) => closed,
            End::BadInput(line) => {
                let _ = socket.close(1000, "").await;
                return Err(Failure::Usage(line));
            }
        };
        talk.tell_end(&socket, &closed).await;
        if !args.reconnect || !Ending::Closed(&closed).is_temporary() {
            return Ok(talk.code(&closed));
        }
        match talk.open_again(&connect).await {
            Ok(Some(opened)) => socket = opened,
            Ok(None) => return Ok(talk.code(&closed)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Why a connection is to end, or has ended.
enum End {
    /// We close it.
    Ours(u16, &'static str),
    /// It has ended.
    Theirs(Closed),
    /// The input makes no sense.
    BadInput(String),
}

/// What lasts from one connection to the next.
struct Talk {
    wait: Duration,
    ping: Option<Duration>,
    /// How many messages are still to come until we close.
    left: Option<u64>,
    view: View,
    output: Output,
    interrupt: Interrupt,
    /// There once there was a connection; its lines wait while there is none.
    input: Option<Input>,
    /// Whether something that was sent may not have arrived.
    has_lost: bool,
}

impl Talk {
    async fn open(&mut self, connect: &Connect) -> Result<Socket, ConnectError> {
        let since = Instant::now();
        let socket = connect.clone().open().await?;
        let chunks = self.view.opened(&socket, since.elapsed());
        self.output.write(chunks, &mut self.interrupt).await;
        Ok(socket)
    }

    /// Tries until there is a connection. Without one: an end was asked for, or trying again is no use.
    async fn open_again(&mut self, connect: &Connect) -> Result<Option<Socket>, ConnectError> {
        let mut delay = FIRST_DELAY;
        let mut interrupt = self.interrupt.clone();
        loop {
            let chunks = self.view.connects_again(delay);
            self.output.write(chunks, &mut interrupt).await;
            let attempt = async {
                sleep(delay).await;
                self.open(connect).await
            };
            let opened = tokio::select! {
                opened = attempt => opened,
                () = interrupt.wait() => return Ok(None),
            };
            match opened {
                Ok(socket) => return Ok(Some(socket)),
                Err(error) if error.is_temporary() => {
                    let chunks = self.view.failed(&error);
                    self.output.write(chunks, &mut interrupt).await;
                }
                Err(error) => return Err(error),
            }
            delay = (delay * 2).min(LAST_DELAY);
        }
    }

    /// One connection, until it ends or is to end.
    async fn run(&mut self, socket: &mut Socket) -> End {
        let mut pings = Pings::new(self.ping);
        let mut interrupt = self.interrupt.clone();
        // When the last message came, or the last of ours was taken.
        let mut active = Instant::now();
        loop {
            if self.left == Some(0) {
                return End::Ours(1000, "");
            }
            let reads = self.input.as_ref().is_some_and(|input| !input.is_at_end());
            let is_sent = socket.is_sent();
            let until = active + if is_sent { self.wait } else { STALL };
            tokio::select! {
                () = interrupt.wait() => return End::Ours(1000, ""),
                () = self.output.gone() => return End::Ours(1000, ""),
                () = sleep_until(until), if !(reads && is_sent) => {
                    if is_sent {
                        return End::Ours(1000, "");
                    }
                    let chunks = self.view.note("the server takes nothing");
                    self.output.write(chunks, &mut interrupt).await;
                    return End::Ours(1000, "");
                }
                () = pings.due() => {
                    if pings.are_unanswered() {
                        return End::Theirs(Closed::new(1006, "no pong", false, Cause::Lost));
                    }
                    pings.send(socket);
                }
                line = next_line(&mut self.input), if reads && is_sent => {
                    active = Instant::now();
                    match line {
                        Ok(Some(line)) => self.send(socket, line).await,
                        Ok(None) => {}
                        Err(problem) if input::is_terminal() => {
                            let chunks = self.view.note(&problem);
                            self.output.write(chunks, &mut interrupt).await;
                        }
                        Err(problem) => return End::BadInput(problem),
                    }
                }
                progress = socket.receive_or_sent() => match progress {
                    Some(Progress::Received(received)) => {
                        if matches!(received, Received::Text(_) | Received::Binary(_)) {
                            active = Instant::now();
                        }
                        self.show(received, &mut pings).await;
                    }
                    Some(_) => active = Instant::now(),
                    None => {
                        let lost = || Closed::new(1006, "", false, Cause::Lost);
                        return End::Theirs(socket.closed().cloned().unwrap_or_else(lost));
                    }
                },
            }
        }
    }

    async fn send(&mut self, socket: &mut Socket, line: Line) {
        let chunks = self.view.sent(&line);
        let sent = match line {
            Line::Text(text) => socket.try_send_text(text),
            Line::Binary(bytes) => socket.try_send_binary(bytes),
        };
        match sent {
            Ok(()) => self.output.write(chunks, &mut self.interrupt).await,
            // Nothing waits, or no line would have been taken: the connection has just ended.
            Err(SocketError::Closed | _) => self.has_lost = true,
        }
    }

    async fn show(&mut self, received: Received, pings: &mut Pings) {
        let chunks = match received {
            Received::Pong(payload) => match pings.answered(&payload) {
                Some(round_trip) => self.view.pong(round_trip),
                None => return,
            },
            Received::Ping(payload) => self.view.ping(&payload),
            message => {
                if let Some(left) = &mut self.left {
                    *left -= 1;
                }
                self.view.message(&message)
            }
        };
        self.output.write(chunks, &mut self.interrupt).await;
    }

    async fn tell_end(&mut self, socket: &Socket, closed: &Closed) {
        let chunks = self.view.closed(closed);
        self.output.write(chunks, &mut self.interrupt).await;
        if !socket.is_sent() {
            self.has_lost = true;
        }
    }

    fn code(&mut self, closed: &Closed) -> ExitCode {
        let is_well = closed.clean && matches!(u16::from(closed.code), 1000 | 1001 | 1005);
        let has_more = self.input.as_mut().is_some_and(Input::has_more);
        let was_asked = self.interrupt.is_asked() || self.left == Some(0);
        if is_well && !self.has_lost && (was_asked || !has_more) {
            return ExitCode::SUCCESS;
        }
        ExitCode::from(ENDED_BADLY)
    }
}

async fn next_line(input: &mut Option<Input>) -> Result<Option<Line>, String> {
    match input {
        Some(input) => input.next().await,
        None => Ok(None),
    }
}

/// Pings that were sent, with their numbers.
struct Pings {
    timer: Option<tokio::time::Interval>,
    next: u64,
    waiting: VecDeque<(u64, Instant)>,
}

impl Pings {
    fn new(every: Option<Duration>) -> Self {
        let timer = every.map(|every| {
            let mut timer = interval_at(Instant::now() + every, every);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer
        });
        Self {
            timer,
            next: 0,
            waiting: VecDeque::new(),
        }
    }

    async fn due(&mut self) {
        match &mut self.timer {
            Some(timer) => {
                timer.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    fn are_unanswered(&self) -> bool {
        self.waiting.len() >= PINGS
    }

    fn send(&mut self, socket: &mut Socket) {
        // While a message waits for the server, a ping would only tell that, too.
        if socket.try_ping(self.next.to_be_bytes()).is_ok() {
            self.waiting.push_back((self.next, Instant::now()));
            self.next += 1;
        }
    }

    /// A pong also answers the pings before (RFC 6455 §5.5.3).
    fn answered(&mut self, payload: &[u8]) -> Option<Duration> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        while let Some((waiting, since)) = self.waiting.pop_front() {
            if waiting == number {
                return Some(since.elapsed());
            }
            if waiting > number {
                self.waiting.push_front((waiting, since));
                return None;
            }
        }
        None
    }
}
