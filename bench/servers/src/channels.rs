//! Where messages go from connection to connection: tokio's broadcast channels, which is what most people use for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

/// How many messages a subscriber of `/sub` may fall behind.
const BEHIND: usize = 4096;

/// How many messages somebody in a room may fall behind. A channel has its slots from the start, and there are many rooms.
const BEHIND_IN_ROOM: usize = 1024;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    Echo,
    Sub,
    Pub,
    Chat(String),
}

impl Path {
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "/echo" => Some(Self::Echo),
            "/sub" => Some(Self::Sub),
            "/pub" => Some(Self::Pub),
            _ => Some(Self::Chat(path.strip_prefix("/chat/")?.to_owned())),
        }
    }
}

/// The channel from `/pub` to `/sub`, and one for each room.
pub struct Channels<M> {
    pub published: broadcast::Sender<M>,
    rooms: Arc<Mutex<HashMap<String, broadcast::Sender<M>>>>,
}

impl<M: Clone> Channels<M> {
    /// The room of that name, which is there as long as the server is.
    pub fn room(&self, name: String) -> broadcast::Sender<M> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms
            .entry(name)
            .or_insert_with(|| broadcast::Sender::new(BEHIND_IN_ROOM));
        room.clone()
    }
}

impl<M: Clone> Default for Channels<M> {
    fn default() -> Self {
        Self {
            published: broadcast::Sender::new(BEHIND),
            rooms: Arc::default(),
        }
    }
}

impl<M> Clone for Channels<M> {
    fn clone(&self) -> Self {
        Self {
            published: self.published.clone(),
            rooms: Arc::clone(&self.rooms),
        }
    }
}
