//! What goes one way through a connection: reads, waits as the [`Shaper`] says, writes.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::plan::End;
use crate::shaper::Shaper;

pub(crate) struct Pump<'a> {
    pub(crate) from: ReadHalf<'a>,
    pub(crate) to: WriteHalf<'a>,
    pub(crate) shaper: Shaper,
    /// While this is true, nothing goes on.
    pub(crate) held: watch::Receiver<bool>,
    /// Counts what goes through.
    pub(crate) passed: &'a AtomicU64,
    /// After how many bytes which end comes.
    pub(crate) end: Option<(u64, End)>,
}

impl Pump<'_> {
    /// Passes on what comes, up to its end, which is passed on, too. An error is the end that the whole connection is to have.
    pub(crate) async fn run(mut self) -> Result<(), End> {
        let mut buffer = vec![0; 16 * 1024];
        let mut is_open = true;
        loop {
            self.check_end()?;
            let due = self.shaper.due();
            if !is_open && due.is_none() {
                break;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.write().await?;
                }
                read = self.from.read(&mut buffer), if is_open && self.shaper.has_room() => match read {
                    Ok(0) => is_open = false,
                    Ok(length) => self.shaper.put(Instant::now(), &buffer[..length]),
                    Err(_) => {
                        self.until_released().await;
                        return Err(End::Reset);
                    }
                },
            }
        }
        self.until_released().await;
        self.to.shutdown().await.map_err(|_| End::Reset)
    }

    fn check_end(&self) -> Result<(), End> {
        match self.end {
            Some((0, end)) => Err(end),
            _ => Ok(()),
        }
    }

    /// Writes the piece that is due, up to the end that was planned.
    async fn write(&mut self) -> Result<(), End> {
        self.until_released().await;
        let Some(mut piece) = self.shaper.take(Instant::now()) else {
            return Ok(());
        };
        if let Some((left, _)) = &mut self.end {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= count(&piece);
        }
        // Whoever does not take it is gone, and the other side is to know it.
        self.to.write_all(&piece).await.map_err(|_| End::Reset)?;
        self.passed.fetch_add(count(&piece), Ordering::Relaxed);
        // The receiver may be another task of this thread.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn until_released(&mut self) {
        // An error can't come: the sender is the proxy's, which this belongs to.
        let _ = self.held.wait_for(|is_held| !is_held).await;
    }
}

fn count(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}
