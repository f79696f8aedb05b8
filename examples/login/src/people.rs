//! Who there is, and what has been handed out to them: sessions and tickets. In memory, so that the example needs nothing;
//! a real one asks a database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a ticket is good for: as long as a page needs to open its WebSocket.
const TICKET_TIME: Duration = Duration::from_secs(30);

/// How many tickets wait at most.
const MAX_TICKETS: usize = 1_000;

/// How long a session is good for: a day's work.
const SESSION_TIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How many sessions there are at most; the oldest goes first.
const MAX_SESSIONS: usize = 1_000;

#[derive(Clone, Default)]
pub(crate) struct People {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    sessions: HashMap<String, (String, Instant)>,
    tickets: HashMap<String, (String, Instant)>,
}

impl People {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for whoever knows the password. (A real one compares hashes, in constant time.)
    pub(crate) fn log_in(&self, name: &str, password: &str) -> Option<String> {
        if !matches!((name, password), ("ada", "lovelace") | ("grace", "hopper")) {
            return None;
        }
        let mut inner = self.lock();
        let sessions = &mut inner.sessions;
        sessions.retain(|_, (_, since)| since.elapsed() < SESSION_TIME);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, (_, since))| *since);
            if let Some(oldest) = oldest.map(|(session, _)| session.clone()) {
                sessions.remove(&oldest);
            }
        }
        let session = secret();
        sessions.insert(session.clone(), (name.to_owned(), Instant::now()));
        Some(session)
    }

    /// Whose session it is.
    pub(crate) fn by_session(&self, session: &str) -> Option<String> {
        let inner = self.lock();
        let (name, since) = inner.sessions.get(session)?;
        (since.elapsed() < SESSION_TIME).then(|| name.clone())
    }

    /// A ticket for this person, good once and not for long: it may stand in a URL, where logs see it.
    pub(crate) fn give_ticket(&self, name: String) -> Option<String> {
        let mut inner = self.lock();
        inner
            .tickets
            .retain(|_, (_, since)| since.elapsed() < TICKET_TIME);
        if inner.tickets.len() >= MAX_TICKETS {
            return None;
        }
        let ticket = secret();
        inner.tickets.insert(ticket.clone(), (name, Instant::now()));
        Some(ticket)
    }

    /// Takes a ticket; whose it was.
    pub(crate) fn take_ticket(&self, ticket: &str) -> Option<String> {
        let (name, since) = self.lock().tickets.remove(ticket)?;
        (since.elapsed() < TICKET_TIME).then_some(name)
    }
}

/// 128 bits that nobody can guess.
fn secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_session_goes_first() {
        let people = People::default();
        let log_in = || people.log_in("ada", "lovelace").unwrap();
        let first = log_in();
        let second = log_in();
        for _ in 2..MAX_SESSIONS {
            log_in();
        }
        assert_eq!(people.by_session(&first).as_deref(), Some("ada"));
        let last = log_in();
        assert_eq!(people.by_session(&first), None);
        for session in [second, last] {
            assert_eq!(people.by_session(&session).as_deref(), Some("ada"));
        }
    }
}
