//! `dreamsocket connect`: lines in, messages out, until one of both sides has had enough.
//!
//! Reading and writing the standard streams blocks, so a thread does each (`input.rs`, `output.rs`), with a bounded channel
//! to it: who reads our output slowly slows the server down. What is shown, and how, is `view.rs`.

mod input;
mod output;
mod pings;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use dreamsocket::client::{Connect, ConnectError, Ending, Progress, Received, Socket, SocketError};
use dreamsocket::{Cause, Closed};
use tokio::time::{Instant, sleep, sleep_until};

use self::input::{Input, Line, LineKind};
use self::output::Output;
use self::pings::Pings;
use self::view::View;
use crate::args::ConnectArgs;
use crate::failure::Failure;
use crate::interrupt::{INTERRUPTED, Interrupt};

/// How long is waited for answers after the end of an input that is no terminal.
const WAIT: Duration = Duration::from_secs(2);

/// How long the server may take for a message while nothing comes of it, until it is given up.
const STALL: Duration = Duration::from_secs(60);

/// Bytes that wait at most, in and out each, beside the message under way.
const BYTES: u32 = 1024 * 1024;

/// Delays before connecting again: doubled from one to the other.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(30);

pub(crate) fn run(args: ConnectArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Usage(format!("no runtime: {error}")))?;
    let view = View::new(&args);
    let done = runtime.block_on(talk(args, view));
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    done
}

async fn talk(args: ConnectArgs, view: View) -> Result<ExitCode, Failure> {
    let connect = args.target.connect()?;
    let interrupt = Interrupt::listen();
    let mut talk = Talk {
        wait: args.wait.unwrap_or(if input::is_terminal() {
            Duration::ZERO
        } else {
            WAIT
        }),
        ping: args.ping,
        left: args.messages,
        view,
        output: Output::start(),
        interrupt: interrupt.clone(),
        input: None,
        has_sent: false,
        has_lost: false,
    };
    let done = converse(&mut talk, &args, &connect).await;
    match (done, talk.output.finish(interrupt).await) {
        (Ok(_), Err(failure)) => Err(failure),
        (Err(failure), Err(output)) => {
            output.tell();
            Err(failure)
        }
        (done, Ok(())) => done,
    }
}

async fn converse(
    talk: &mut Talk,
    args: &ConnectArgs,
    connect: &Connect,
) -> Result<ExitCode, Failure> {
    let mut interrupt = talk.interrupt.clone();
    let mut socket = tokio::select! {
        opened = talk.open(connect) => opened?,
        () = interrupt.wait() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    talk.input = Some(Input::start(LineKind::of(args), args.target.max_message));
    loop {
        let end = talk.run(&mut socket).await;
        let closed = match end {
            End::Ours(code, reason) => match socket.close(code, reason).await {
                Ok(closed) => closed,
                Err(_) => lost(""),
            },
            End::Theirs(closed) => closed,
            End::BadInput(line) => {
                let _ = socket.close(1000, "").await;
                return Err(Failure::Usage(line));
            }
        };
        talk.tell_end(&socket, &closed).await;
        if !args.reconnect || !Ending::Closed(&closed).is_temporary() {
            return talk.judge(&closed).await;
        }
        match talk.open_again(connect).await {
            Ok(Some(opened)) => socket = opened,
            Ok(None) => return talk.judge(&closed).await,
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
    /// Whether a message was sent on this connection.
    has_sent: bool,
    /// Whether something that was sent may not have arrived.
    has_lost: bool,
}

impl Talk {
    async fn open(&mut self, connect: &Connect) -> Result<Socket, ConnectError> {
        let since = Instant::now();
        let socket = connect.clone().open().await?;
        self.has_sent = false;
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
        let mut written = socket.bytes_written();
        // The same at the last ping: what is still taken is a sign of life.
        let mut pinged = written;
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
                    // A large message on a slow line goes on.
                    if socket.bytes_written() == written {
                        return End::Theirs(lost("the server takes nothing"));
                    }
                    written = socket.bytes_written();
                    active = Instant::now();
                }
                () = pings.due() => {
                    if !is_sent && socket.bytes_written() != pinged {
                        pings.hear(Instant::now());
                    }
                    pinged = socket.bytes_written();
                    if pings.are_unanswered(Instant::now()) {
                        return End::Theirs(lost("no pong"));
                    }
                    pings.send(socket);
                }
                line = next_line(&mut self.input), if reads && is_sent => {
                    active = Instant::now();
                    match line {
                        Ok(Some(line)) => {
                            written = socket.bytes_written();
                            let blocked = self.send(socket, line).await;
                            pings.stand_still(blocked);
                        }
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
                        pings.hear(Instant::now());
                        let blocked = self.show(received, &mut pings).await;
                        pings.stand_still(blocked);
                    }
                    Some(_) => active = Instant::now(),
                    None => {
                        let closed = socket.closed().cloned();
                        return End::Theirs(closed.unwrap_or_else(|| lost("")));
                    }
                },
            }
        }
    }

    /// Tells how long it had to wait for the output.
    async fn send(&mut self, socket: &mut Socket, line: Line) -> Duration {
        self.has_sent = true;
        let chunks = self.view.sent(&line);
        let sent = match line {
            Line::Text(text) => socket.try_send_text(text),
            Line::Binary(bytes) => socket.try_send_binary(bytes),
        };
        match sent {
            Ok(()) => self.output.write(chunks, &mut self.interrupt).await,
            // Nothing waits, or no line would have been taken: the connection has just ended.
            Err(SocketError::Closed | _) => {
                self.has_lost = true;
                Duration::ZERO
            }
        }
    }

    /// Tells how long it had to wait for the output.
    async fn show(&mut self, received: Received, pings: &mut Pings) -> Duration {
        let chunks = match received {
            Received::Pong(payload) => match pings.answered(&payload) {
                Some(round_trip) => self.view.pong(round_trip),
                None => return Duration::ZERO,
            },
            Received::Ping(payload) => self.view.ping(&payload),
            message => {
                if let Some(left) = &mut self.left {
                    *left -= 1;
                }
                self.view.message(&message)
            }
        };
        self.output.write(chunks, &mut self.interrupt).await
    }

    async fn tell_end(&mut self, socket: &Socket, closed: &Closed) {
        let chunks = self.view.closed(closed);
        self.output.write(chunks, &mut self.interrupt).await;
        // Without a close by the other side nobody knows what of it arrived.
        if !socket.is_sent() || (self.has_sent && !closed.clean) {
            self.has_lost = true;
        }
    }

    /// Whether all went well in the end; if not, each reason is a line.
    async fn judge(&mut self, closed: &Closed) -> Result<ExitCode, Failure> {
        let code = u16::from(closed.code);
        let mut reasons = Vec::new();
        if !closed.clean {
            reasons.push(format!("the connection was lost ({code})"));
        } else if !matches!(code, 1000 | 1001 | 1005) {
            reasons.push(format!("the connection was closed with {code}"));
        }
        if self.has_lost {
            reasons.push("something that was sent may not have arrived".to_owned());
        }
        let was_asked = self.interrupt.is_asked() || self.left == Some(0) || self.output.is_gone();
        if !was_asked
            && let Some(input) = &mut self.input
            && input.has_more().await
        {
            reasons.push("lines of the input were not sent".to_owned());
        }
        if reasons.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::Ended(reasons.join("\ndreamsocket: ")))
    }
}

fn lost(reason: &'static str) -> Closed {
    Closed::new(1006, reason, false, Cause::Lost)
}

async fn next_line(input: &mut Option<Input>) -> Result<Option<Line>, String> {
    match input {
        Some(input) => input.next().await,
        None => Ok(None),
    }
}
