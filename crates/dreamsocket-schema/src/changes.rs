//! What has changed between two documents of a protocol, and what of it breaks clients that know the old one.
//!
//! Which change breaks depends on the direction. What clients send may become less strict, what they are sent more. So the
//! two are compared by one rule, with the sides exchanged: whatever was allowed on the writing side must be allowed on the
//! reading side.

mod shape;

use std::collections::HashSet;
use std::{fmt, mem};

use serde_json::Value;

use self::shape::{Lengths, Shape, is_composed, reference};
use crate::asyncapi::{RECEIVED, SENT, schema_of};

/// A difference between two versions of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Whether a client that was made for the old version may fail with the new one.
    pub is_breaking: bool,
    /// Where and what, in words.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_breaking {
            "breaking"
        } else {
            "compatible"
        };
        write!(f, "{kind}: {}", self.what)
    }
}

/// What has changed from the old AsyncAPI document to the new one.
///
/// Clients break by: a message, or a value of one, that they send and that is not taken any more; a field that they
/// have to send now; a field that they were always sent and are not any more; one of another type; a list of another
/// length, but for a longer one that they are sent. New messages, and
/// other alternatives, that they are sent beside those that there were do not break them: a client has to let pass what it
/// does not know. Where there was one type alone, or that or nothing, it looks for no other.
/// Messages without a tag are known by their fields: one that has lost a field, or has one more, is taken for the one that
/// it has the most in common with.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    for (message, who) in [
        (RECEIVED, "what clients send"),
        (SENT, "what clients are sent"),
    ] {
        let pointer = schema_of(message);
        let (Some(old), Some(new)) = (old.pointer(&pointer), new.pointer(&pointer)) else {
            found.push(Change {
                is_breaking: true,
                what: format!("{who}: one of the documents does not say"),
            });
            continue;
        };
        let mut comparison = Comparison {
            old_root: old,
            new_root: new,
            is_sent: message == SENT,
            seen: HashSet::new(),
            found: &mut found,
        };
        comparison.compare(who, old, new);
    }
    found
}

struct Comparison<'a> {
    old_root: &'a Value,
    new_root: &'a Value,
    /// Whether clients are sent it; else they send it.
    is_sent: bool,
    /// Pairs that were compared and that refer to definitions, alone or beside others: those may refer to themselves.
    seen: HashSet<(String, String)>,
    found: &'a mut Vec<Change>,
}

impl Comparison<'_> {
    fn note(&mut self, is_breaking: bool, what: String) {
        self.found.push(Change { is_breaking, what });
    }

    fn compare(&mut self, place: &str, old: &Value, new: &Value) {
        let is_seen = (is_composed(old) || is_composed(new))
            && !self.seen.insert((old.to_string(), new.to_string()));
        if is_seen && reference(old).is_some() && reference(new).is_some() {
            return;
        }
        let (before, after) = (Shape::of(old, self.old_root), Shape::of(new, self.new_root));
        self.compare_shapes(place, before, after, is_seen);
    }

    /// What has been seen is compared only as far as it does not refer to anything.
    fn compare_shapes(&mut self, place: &str, mut before: Shape, mut after: Shape, is_seen: bool) {
        // Where there were alternatives a client lets pass what it does not know. Elsewhere it looks for none.
        let is_more_missed = self.is_sent && before.choices.is_empty();
        before.stand_among_choices_of(&after);
        after.stand_among_choices_of(&before);
        before.name_places_of(&after);
        after.name_places_of(&before);

        match (before.is_any(), after.is_any()) {
            (false, false) => {}
            (true, true) => return,
            (false, true) => {
                return self.note(self.is_sent, format!("{place}: it may be anything now"));
            }
            (true, false) => {
                return self.note(
                    !self.is_sent,
                    format!("{place}: it may not be anything now"),
                );
            }
        }
        for kind in before.kinds.difference(&after.kinds) {
            self.note(!self.is_sent, format!("{place}: {kind} is gone"));
        }
        for kind in after.kinds.difference(&before.kinds) {
            self.note(self.is_sent, format!("{place}: {kind} is new"));
        }
        if is_seen {
            return;
        }
        let mut gone = mem::take(&mut before.choices);
        let mut added = mem::take(&mut after.choices);
        for (name, other) in shape::pairs(&gone, &added) {
            if let (Some(old), Some(new)) = (gone.remove(&name), added.remove(&other)) {
                self.compare_shapes(&format!("{place}, {name}"), old, new, false);
            }
        }
        for name in gone.keys() {
            self.note(!self.is_sent, format!("{place}: {name} is gone"));
        }
        for name in added.keys() {
            self.note(is_more_missed, format!("{place}: {name} is new"));
        }
        self.compare_lengths(place, &before.lengths, &after.lengths);
        self.compare_properties(place, &before, &after);
        if let (Some(old), Some(new)) = (&before.items, &after.items) {
            if before.keys != after.keys {
                let narrower = if self.is_sent { &before } else { &after };
                self.note(!narrower.keys.is_empty(), format!("{place}: other keys"));
            }
            self.compare(&format!("{place}, each"), old, new);
        }
    }

    fn compare_lengths(&mut self, place: &str, before: &Lengths, after: &Lengths) {
        if before == after || before.is_empty() || after.is_empty() {
            return;
        }
        let breaks = if self.is_sent {
            // What is longer still has what is looked for.
            let longest = before.iter().max();
            let is_short = |length: &Option<u64>| length.is_none() || Some(length) < longest;
            !before.contains(&None) && after.difference(before).any(is_short)
        } else {
            !after.contains(&None) && !before.is_subset(after)
        };
        let words = |lengths: &Lengths| {
            let words = lengths.iter().map(|length| match length {
                Some(length) => length.to_string(),
                None => "any number of".to_owned(),
            });
            words.collect::<Vec<_>>().join(" or ")
        };
        let (before, after) = (words(before), words(after));
        self.note(
            breaks,
            format!("{place}: {before} items before, {after} items now"),
        );
    }

    fn compare_properties(&mut self, place: &str, before: &Shape, after: &Shape) {
        for (name, old) in &before.properties {
            let field = format!("{place}, field `{name}`");
            let was_required = before.required.contains(name);
            let Some(new) = after.properties.get(name) else {
                let is_missed = self.is_sent && was_required;
                let is_refused = !self.is_sent && after.is_closed;
                self.note(is_missed || is_refused, format!("{field} is gone"));
                continue;
            };
            match (was_required, after.required.contains(name)) {
                (true, false) => self.note(self.is_sent, format!("{field} is optional now")),
                (false, true) => self.note(!self.is_sent, format!("{field} is required now")),
                _ => {}
            }
            self.compare(&field, old, new);
        }
        if after.is_closed && !before.is_closed && !self.is_sent {
            self.note(
                true,
                format!("{place}: fields that are not named are refused now"),
            );
        }
        for name in after.properties.keys() {
            if !before.properties.contains_key(name) {
                let breaks = !self.is_sent && after.required.contains(name);
                self.note(breaks, format!("{place}, field `{name}` is new"));
            }
        }
    }
}
