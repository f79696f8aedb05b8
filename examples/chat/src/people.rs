//! Who is in which room. A [`Seat`] holds a person's place and frees it when it is dropped, whatever ended the connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Person {
    id: String,
    name: String,
}

#[derive(Clone, Default)]
pub(crate) struct People {
    /// By room, then by connection. A room without people is not kept.
    rooms: Arc<Mutex<HashMap<String, BTreeMap<String, String>>>>,
}

/// A person's place in a room.
pub(crate) struct Seat {
    people: People,
    room: String,
    id: String,
}

impl People {
    pub(crate) fn enter(&self, room: &str, id: &str, name: &str) -> Seat {
        let mut rooms = self.lock();
        rooms
            .entry(room.to_owned())
            .or_default()
            .insert(id.to_owned(), name.to_owned());
        Seat {
            people: self.clone(),
            room: room.to_owned(),
            id: id.to_owned(),
        }
    }

    pub(crate) fn in_room(&self, room: &str) -> Vec<Person> {
        let rooms = self.lock();
        let people = rooms.get(room).into_iter().flatten();
        people
            .map(|(id, name)| Person {
                id: id.clone(),
                name: name.clone(),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, String>>> {
        // Nothing that runs under the lock can panic half way.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.people.lock();
        if let Some(people) = rooms.get_mut(&self.room) {
            people.remove(&self.id);
            if people.is_empty() {
                rooms.remove(&self.room);
            }
        }
    }
}
