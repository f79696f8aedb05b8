//! History over Redis: a stream for each topic, which a script writes to and publishes from, so that the order of the one is
//! that of the other. Redis 6.2 and later.
//!
//! What is published of a kept topic has the entry's id before the frame. Who subscribes asks for the stream behind the
//! subscription: what is published meanwhile waits here, and what of it was in the stream is passed over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redis::Value;

use crate::link::Inbox;
use crate::position::Position;

/// Keys: the stream. Arguments: the frame, the channel, how many entries, how old in milliseconds.
pub(super) const SCRIPT: &str = "\
local id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], '*', 'f', ARGV[1])
local oldest = math.max(tonumber(string.match(id, '^%d+')) - tonumber(ARGV[4]), 0)
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', oldest))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[2], id .. ' ' .. ARGV[1])";

/// Keys: the streams. Arguments: how many bytes, and from where each stream is to be read. Gives of each where to go on, or
/// nothing if that was all, and the entries. Few entries are read at once, since those that find no room are read again.
pub(super) const READ: &str = "\
local left, pages = tonumber(ARGV[1]), {}
for number, key in ipairs(KEYS) do
  local from, page, count, is_over = ARGV[number + 1], {}, 1, false
  while left > 0 and not is_over do
    local entries = redis.call('XRANGE', key, from, '+', 'COUNT', count)
    is_over = #entries < count
    for _, entry in ipairs(entries) do
      if left <= 0 then
        is_over = false
        break
      end
      page[#page + 1] = entry
      from = '(' .. entry[1]
      left = left - #entry[2][2] - 64
    end
    count = math.min(2 * count, 16)
  end
  pages[number] = {not is_over and from, page}
end
return pages";

/// So many bytes are asked for at a time; the last message may go beyond them. What the server has not sent yet to a client
/// that subscribes is bounded (`client-output-buffer-limit pubsub`), answers included, and what is published needs room, too.
pub(super) const PAGE: usize = 1024 * 1024;

/// What may be put aside during a replay, in frames and in bytes. Past it the connection counts as lost, which tells a gap: who
/// is heard for the first time would else begin in the middle.
const MAX_ASIDE: usize = 65_536;
const MAX_ASIDE_BYTES: usize = 64 * 1024 * 1024;

/// So many are handed on before what is published gets its turn to be put aside.
const PIECE: usize = 64;

/// The place of an entry: milliseconds of the server's clock, and a number within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    ms: u64,
    number: u64,
}

pub(super) struct Entry {
    pub(super) id: Id,
    frame: Bytes,
}

/// Some of a stream.
pub(super) struct Page {
    pub(super) entries: VecDeque<Entry>,
    /// From where to go on, if that was not all.
    pub(super) rest: Option<String>,
}

/// The topics of a session that are kept.
pub(super) struct KeptTopics {
    prefix: String,
    topics: HashMap<Arc<str>, State>,
}

enum State {
    /// The stream was asked for; what was published since then, in order.
    Asked(Aside),
    /// The stream has been brought. What is published comes once and in order, whatever its id: the next ones are lower if the
    /// stream was lost and the server's clock set back.
    Live,
    /// What still comes is of no use.
    Left,
}

#[derive(Default)]
struct Aside {
    frames: VecDeque<Put>,
    bytes: usize,
}

enum Put {
    Kept(Entry),
    /// What is not kept: an announcement, say.
    Plain(Bytes),
}

impl Aside {
    /// Gives false if there is no room.
    fn put(&mut self, put: Put) -> bool {
        let bytes = self.bytes.saturating_add(match &put {
            Put::Kept(entry) => entry.frame.len(),
            Put::Plain(frame) => frame.len(),
        });
        if self.frames.len() >= MAX_ASIDE || bytes > MAX_ASIDE_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.frames.push_back(put);
        true
    }

    /// The first of those that are kept.
    fn first(&self) -> Option<Id> {
        self.frames.iter().find_map(|put| match put {
            Put::Kept(entry) => Some(entry.id),
            Put::Plain(_) => None,
        })
    }
}

impl Id {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (ms, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self {
            ms: ms.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    fn position(self, life: u64) -> Position {
        Position::new(life, u128::from(self.ms) << 64 | u128::from(self.number))
    }

    /// By this machine's clock, which need not be the server's.
    fn age(self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        now.saturating_sub(Duration::from_millis(self.ms))
    }
}

pub(super) fn key(prefix: &str, topic: &str) -> String {
    format!("{prefix}history:{topic}")
}

/// Ids are times, which seldom come again when a stream is lost: the life of a history only tells topics apart. FNV-1a.
fn life(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An entry as it is published. Frames that are not kept begin with their version, which is no digit.
pub(super) fn published(payload: &Bytes) -> Option<Entry> {
    if !payload.first()?.is_ascii_digit() {
        return None;
    }
    let end = payload.iter().take(48).position(|byte| *byte == b' ')?;
    Some(Entry {
        id: Id::parse(&payload[..end])?,
        frame: payload.slice(end + 1..),
    })
}

impl Entry {
    pub(super) fn into_frame(self) -> Bytes {
        self.frame
    }

    fn read(entry: Value) -> Option<Self> {
        let Value::Array(entry) = entry else {
            return None;
        };
        let [Value::BulkString(id), Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()?
        else {
            return None;
        };
        let [_, Value::BulkString(frame)] = <[Value; 2]>::try_from(fields).ok()? else {
            return None;
        };
        Some(Self {
            id: Id::parse(&id)?,
            frame: frame.into(),
        })
    }
}

impl Page {
    /// What the script has given of a stream. Entries that are none of ours are left out.
    pub(super) fn read(page: Value) -> Option<Self> {
        let Value::Array(page) = page else {
            return None;
        };
        let [rest, Value::Array(entries)] = <[Value; 2]>::try_from(page).ok()? else {
            return None;
        };
        let rest = match rest {
            Value::BulkString(rest) => Some(String::from_utf8(rest).ok()?),
            _ => None,
        };
        let entries = entries.into_iter().filter_map(Entry::read).collect();
        Some(Self { entries, rest })
    }
}

impl KeptTopics {
    pub(super) fn new(prefix: String) -> Self {
        Self {
            prefix,
            topics: HashMap::new(),
        }
    }

    /// It is about to be subscribed, and its stream to be asked for.
    pub(super) fn ask(&mut self, topic: Arc<str>) {
        self.topics.insert(topic, State::Asked(Aside::default()));
    }

    pub(super) fn leave(&mut self, topic: &str) {
        if let Some(state) = self.topics.get_mut(topic) {
            *state = State::Left;
        }
    }

    /// The server has carried out that it was left.
    pub(super) fn left(&mut self, topic: &str) {
        if let Some(State::Left) = self.topics.get(topic) {
            self.topics.remove(topic);
        }
    }

    /// Takes what was published. Gives false if there is no room for it.
    pub(super) fn receive(&mut self, inbox: &mut Inbox, topic: &str, entry: Entry) -> bool {
        match self.topics.get_mut(topic) {
            Some(State::Asked(aside)) => return aside.put(Put::Kept(entry)),
            Some(State::Live) => self.bring(inbox, topic, entry),
            Some(State::Left) => {}
            // Others keep it, this node does not.
            None => inbox.receive(topic, entry.frame),
        }
        true
    }

    /// Takes what was published and is not kept, likewise.
    pub(super) fn receive_plain(&mut self, inbox: &mut Inbox, topic: &str, frame: Bytes) -> bool {
        match self.topics.get_mut(topic) {
            Some(State::Asked(aside)) => return aside.put(Put::Plain(frame)),
            Some(State::Left) => {}
            Some(State::Live) | None => inbox.receive(topic, frame),
        }
        true
    }

    /// Leaves out what was published since it was subscribed, which comes behind the replay, and tells whether there was any: then
    /// the replay is over.
    pub(super) fn trim(&self, topic: &str, entries: &mut VecDeque<Entry>) -> bool {
        let Some(State::Asked(aside)) = self.topics.get(topic) else {
            return true;
        };
        let Some(first) = aside.first() else {
            return false;
        };
        let count = entries.len();
        entries.retain(|entry| entry.id < first);
        entries.len() < count
    }

    /// Takes up to a piece of what was in the stream, and tells whether there is more of it.
    pub(super) fn replay(
        &mut self,
        inbox: &mut Inbox,
        topic: &str,
        entries: &mut VecDeque<Entry>,
    ) -> bool {
        if !matches!(self.topics.get(topic), Some(State::Asked(_))) {
            return false;
        }
        let piece = entries.len().min(PIECE);
        for entry in entries.drain(..piece) {
            self.bring(inbox, topic, entry);
        }
        !entries.is_empty()
    }

    /// All of the stream has been brought, up to there.
    pub(super) fn replayed(&mut self, inbox: &mut Inbox, topic: &str, last: Option<Id>) {
        let Some(state @ State::Asked(_)) = self.topics.get_mut(topic) else {
            return;
        };
        inbox.replayed(topic);
        if let State::Asked(aside) = std::mem::replace(state, State::Live) {
            for put in aside.frames {
                match put {
                    // It was in the stream.
                    Put::Kept(entry) if last.is_some_and(|last| entry.id <= last) => {}
                    Put::Kept(entry) => self.bring(inbox, topic, entry),
                    Put::Plain(frame) => inbox.receive(topic, frame),
                }
            }
        }
    }

    fn bring(&self, inbox: &mut Inbox, topic: &str, entry: Entry) {
        let Entry { id, frame } = entry;
        let position = id.position(life(&key(&self.prefix, topic)));
        inbox.receive_kept(topic, position, id.age(), frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_what_is_published_with_an_id_is_told_from_what_is_not() {
        let read = |payload: &'static [u8]| {
            let entry = published(&Bytes::from_static(payload))?;
            Some((entry.id.ms, entry.id.number, entry.frame))
        };
        let frame = Bytes::from_static(b"\x01 frame");
        assert_eq!(
            read(b"1700000000000-3 \x01 frame"),
            Some((1_700_000_000_000, 3, frame))
        );
        for other in [
            &b"\x01\x01\x01"[..],
            b"",
            b"17",
            b"17-3",
            b"17-x frame",
            b"17 frame",
            &[b'1'; 100],
        ] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn b5_what_is_put_aside_is_bounded_and_nothing_of_it_is_dropped_in_silence() {
        let kept = |number| {
            let id = Id { ms: 1, number };
            let frame = Bytes::from_static(b"frame");
            Put::Kept(Entry { id, frame })
        };
        let mut aside = Aside::default();
        assert!(aside.put(Put::Plain(Bytes::new())));
        assert_eq!(aside.first(), None);
        assert!((1..MAX_ASIDE as u64).all(|number| aside.put(kept(number))));
        assert_eq!(aside.first(), Some(Id { ms: 1, number: 1 }));
        assert!(!aside.put(kept(u64::MAX)), "the connection counts as lost");
        let mut large = Aside::default();
        let frame = Bytes::from(vec![0; MAX_ASIDE_BYTES]);
        assert!(large.put(Put::Plain(frame)));
        assert!(!large.put(kept(1)));
    }

    #[test]
    fn b5_ids_grow_as_positions_do() {
        let ids = [b"1-0", b"1-1", b"2-0"].map(|id| Id::parse(id).unwrap());
        let numbers = ids.map(|id| id.position(7).number());
        assert!(ids.is_sorted() && numbers.is_sorted());
        assert_ne!(life("a"), life("b"));
    }
}
