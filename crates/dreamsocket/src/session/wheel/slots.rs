//! The slots of a wheel and what hangs in them. Plain data: knows no clock and no task.
//!
//! It is a wheel within a wheel: a slot for each tick of the block that is under way, and one for each of the blocks to come,
//! whose entries are spread over the ticks when their block begins. Adding, moving, removing and taking the next are a few
//! instructions each. Entries stand in chunks, the first with room is used, and a chunk without entries is freed: what a burst
//! took goes when the burst has gone.

/// Ticks in a block, and slots for them.
const TICKS: u64 = 1024;

/// Slots for blocks; one bit each in `far`.
const BLOCKS: u64 = u128::BITS as u64;

/// Bits in a word of `near`.
const BITS: u64 = u64::BITS as u64;

/// Entries in a chunk.
const CHUNK: u32 = 64;

/// Bits of a key, in [`Links`].
const KEY_BITS: u32 = 26;

/// No entry.
const NONE: u32 = (1 << KEY_BITS) - 1;

/// In [`Links::previous`]: the entry is the first of the slot in the other bits.
const FIRST: u32 = 1 << KEY_BITS;

#[derive(Debug)]
pub(super) struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    /// No chunk before this one has room.
    roomy: usize,
    /// The first entry of each slot: those of the ticks, then those of the blocks.
    heads: [u32; (TICKS + BLOCKS) as usize],
    /// A bit for each tick of this block that has entries.
    near: [u64; (TICKS / BITS) as usize],
    /// A bit for each block that has entries. This block has some until they are spread.
    far: u128,
    /// No entry is before this tick, whose block is the one under way.
    from: u64,
}

/// Entries side by side; they never move, so that their keys hold.
#[derive(Debug)]
struct Chunk<T> {
    entries: Vec<Entry<T>>,
    /// The first of those that are free, linked by `next`.
    free: u32,
    used: u32,
}

#[derive(Debug)]
struct Entry<T> {
    /// `None` once it was taken; then the entry is in no list.
    item: Option<T>,
    links: Links,
}

/// Where an entry is, packed: the next in its list (26 bits), the one before it or the slot (27), and the tick within its
/// block (10). Apart they would make an entry a third larger.
#[derive(Debug, Clone, Copy)]
struct Links(u64);

impl Links {
    const fn new(previous: u32, next: u32, tick: u64) -> Self {
        Self(next as u64 | (previous as u64) << KEY_BITS | tick << (2 * KEY_BITS + 1))
    }

    const fn next(self) -> u32 {
        self.0 as u32 & NONE
    }

    const fn previous(self) -> u32 {
        (self.0 >> KEY_BITS) as u32 & (FIRST | NONE)
    }

    /// Within its block.
    const fn tick(self) -> u64 {
        self.0 >> (2 * KEY_BITS + 1)
    }

    const fn set_next(&mut self, next: u32) {
        *self = Self::new(self.previous(), next, self.tick());
    }

    const fn set_previous(&mut self, previous: u32) {
        *self = Self::new(previous, self.next(), self.tick());
    }
}

/// Where an entry has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hung {
    /// When it is due: when it is to be, or earlier if the wheel does not reach that far.
    pub(super) at: u64,
    /// The first tick at which there is something to do with it.
    pub(super) look: u64,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            roomy: 0,
            heads: [NONE; (TICKS + BLOCKS) as usize],
            near: [0; (TICKS / BITS) as usize],
            far: 0,
            from: 0,
        }
    }

    /// Whether there are no entries, not even such as were taken.
    pub(super) const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether there are no keys left.
    pub(super) const fn is_full(&self) -> bool {
        self.chunks.len() as u32 >= NONE / CHUNK
    }

    /// The first tick at which there is something to do.
    pub(super) fn next(&self) -> Option<u64> {
        if self.is_to_spread() {
            return Some(self.from);
        }
        if let Some(tick) = self.next_near() {
            return Some(tick);
        }
        let first = self.from / TICKS + 1;
        let ahead = self.far.rotate_right((first % BLOCKS) as u32);
        (ahead != 0).then(|| (first + u64::from(ahead.trailing_zeros())) * TICKS)
    }

    /// Does a part of what there is to do at the [next](Self::next) tick: takes what an entry holds, or brings one nearer.
    pub(super) fn step(&mut self, next: u64) -> Option<T> {
        self.from = next;
        if self.is_to_spread() {
            let block = next / TICKS;
            let key = self.heads[far_slot(block)];
            self.unlink(key);
            let tick = self.entry(key).links.tick();
            self.link(key, block * TICKS + tick);
            return None;
        }
        let key = self.heads[near_slot(self.from)];
        self.unlink(key);
        self.entry(key).item.take()
    }

    /// Adds an entry: its key, and its place.
    pub(super) fn add(&mut self, now: u64, at: u64, item: T) -> (u32, Hung) {
        let key = self.reserve(Entry {
            item: None,
            links: Links::new(FIRST, NONE, 0),
        });
        let (hung, _) = self.set(key, now, at, item);
        (key, hung)
    }

    /// Moves an entry: its place, and what it held.
    pub(super) fn set(&mut self, key: u32, now: u64, at: u64, item: T) -> (Hung, Option<T>) {
        let held = self.take(key);
        let passed = self.next().map_or(now, |next| now.min(next));
        self.from = self.from.max(passed);
        self.entry(key).item = Some(item);
        let last = (self.from / TICKS + BLOCKS) * TICKS - 1;
        // One that is past is next.
        (self.link(key, at.clamp(self.from, last)), held)
    }

    /// Removes an entry, and returns what it still holds.
    pub(super) fn remove(&mut self, key: u32) -> Option<T> {
        let item = self.take(key);
        self.free(key);
        item
    }

    /// Takes what all entries hold.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let keys = 0..self.chunks.len() as u32 * CHUNK;
        let is_there = |slots: &Self, key: u32| {
            (key % CHUNK) < slots.chunks[(key / CHUNK) as usize].entries.len() as u32
        };
        keys.filter_map(|key| is_there(self, key).then(|| self.take(key)).flatten())
            .collect()
    }

    fn take(&mut self, key: u32) -> Option<T> {
        if self.entry(key).item.is_some() {
            self.unlink(key);
        }
        self.entry(key).item.take()
    }

    fn is_to_spread(&self) -> bool {
        self.far & 1 << (self.from / TICKS % BLOCKS) != 0
    }

    fn next_near(&self) -> Option<u64> {
        let index = self.from % TICKS;
        let mut word = index / BITS;
        let mut bits = self.near[word as usize] & u64::MAX << (index % BITS);
        while bits == 0 {
            word += 1;
            bits = *self.near.get(word as usize)?;
        }
        Some(self.from - index + word * BITS + u64::from(bits.trailing_zeros()))
    }

    fn link(&mut self, key: u32, at: u64) -> Hung {
        let block = at / TICKS;
        let (slot, look) = match block == self.from / TICKS {
            true => (near_slot(at), at),
            false => (far_slot(block), block * TICKS),
        };
        let head = self.heads[slot];
        self.entry(key).links = Links::new(FIRST | slot as u32, head, at % TICKS);
        if head != NONE {
            self.entry(head).links.set_previous(key);
        }
        self.heads[slot] = key;
        self.flip_if(head == NONE, slot);
        Hung { at, look }
    }

    fn unlink(&mut self, key: u32) {
        let links = self.entry(key).links;
        let (previous, next) = (links.previous(), links.next());
        if next != NONE {
            self.entry(next).links.set_previous(previous);
        }
        if previous & FIRST == 0 {
            self.entry(previous).links.set_next(next);
        } else {
            let slot = (previous ^ FIRST) as usize;
            self.heads[slot] = next;
            self.flip_if(next == NONE, slot);
        }
    }

    /// A slot has got its first entry or lost its last.
    const fn flip_if(&mut self, is_other: bool, slot: usize) {
        let slot = slot as u64;
        if slot >= TICKS {
            self.far ^= (is_other as u128) << (slot - TICKS);
        } else {
            self.near[(slot / BITS) as usize] ^= (is_other as u64) << (slot % BITS);
        }
    }

    fn entry(&mut self, key: u32) -> &mut Entry<T> {
        &mut self.chunks[(key / CHUNK) as usize].entries[(key % CHUNK) as usize]
    }

    fn reserve(&mut self, entry: Entry<T>) -> u32 {
        let is_full = |chunk: &Chunk<T>| chunk.used == CHUNK;
        while self.chunks.get(self.roomy).is_some_and(is_full) {
            self.roomy += 1;
        }
        if self.roomy == self.chunks.len() {
            self.chunks.push(Chunk::new());
        }
        self.roomy as u32 * CHUNK + self.chunks[self.roomy].reserve(entry)
    }

    fn free(&mut self, key: u32) {
        let index = (key / CHUNK) as usize;
        self.chunks[index].free(key % CHUNK);
        self.roomy = self.roomy.min(index);
        while self.chunks.pop_if(|last| last.used == 0).is_some() {}
        if self.chunks.capacity() > 4 * self.chunks.len() {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }
}

const fn near_slot(tick: u64) -> usize {
    (tick % TICKS) as usize
}

const fn far_slot(block: u64) -> usize {
    (TICKS + block % BLOCKS) as usize
}

impl<T> Chunk<T> {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            used: 0,
        }
    }

    fn reserve(&mut self, entry: Entry<T>) -> u32 {
        self.used += 1;
        if self.free == NONE {
            // At once, or it would be copied while it grows.
            self.entries
                .reserve_exact(CHUNK as usize - self.entries.len());
            self.entries.push(entry);
            return self.entries.len() as u32 - 1;
        }
        let index = self.free;
        let place = &mut self.entries[index as usize];
        self.free = place.links.next();
        *place = entry;
        index
    }

    fn free(&mut self, index: u32) {
        self.used -= 1;
        if self.used == 0 {
            *self = Self::new();
            return;
        }
        self.entries[index as usize].links.set_next(self.free);
        self.free = index;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::task::Waker;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[test]
    fn an_entry_has_24_bytes() {
        assert_eq!(size_of::<Entry<Waker>>(), 24);
    }

    #[test]
    fn what_a_burst_took_is_freed() {
        let mut slots = Slots::new();
        let add = |slots: &mut Slots<u64>, tick| slots.add(0, tick, tick).0;
        let burst: Vec<_> = (0..10_000)
            .map(|of| add(&mut slots, 1 + of * 7_919 % 200_000))
            .collect();
        assert!(slots.chunks.len() >= 10_000 / CHUNK as usize);
        for (index, key) in burst.into_iter().enumerate() {
            if index != 5_000 {
                slots.remove(key);
            }
        }
        let memory = |slots: &Slots<u64>| -> usize {
            slots
                .chunks
                .iter()
                .map(|chunk| chunk.entries.capacity())
                .sum()
        };
        assert_eq!(memory(&slots), CHUNK as usize);
        let key = add(&mut slots, 1);
        assert_eq!(key, 0, "the first chunk with room is used");
        slots.remove(key);
        slots.remove(5_000);
        assert_eq!((memory(&slots), slots.chunks.capacity()), (0, 0));
    }

    #[test]
    fn it_is_full_when_there_are_no_keys_for_another_chunk() {
        let mut slots = Slots::<u64>::new();
        slots.chunks.resize_with((1 << 20) - 2, Chunk::new);
        assert!(!slots.is_full());
        slots.chunks.push(Chunk::new());
        assert!(slots.is_full());
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// After so many ticks, so many ahead.
        Add(u64, u64),
        Set(Index, u64),
        Remove(Index),
        /// Takes all up to so many ticks ahead.
        Turn(u64),
        /// Takes part in between.
        Work(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let ahead = || {
            prop_oneof![
                0..3_u64,
                0..2 * TICKS,
                0..2 * TICKS * BLOCKS,
                0..5 * TICKS * BLOCKS
            ]
        };
        prop_oneof![
            4 => (0..3_u64, ahead()).prop_map(|(after, ahead)| Step::Add(after, ahead)),
            2 => (any::<Index>(), ahead()).prop_map(|(index, ahead)| Step::Set(index, ahead)),
            2 => any::<Index>().prop_map(Step::Remove),
            2 => ahead().prop_map(Step::Turn),
            1 => (0..3_usize).prop_map(Step::Work),
        ]
    }

    /// By key: when it is due, or none if it was taken.
    type Model = BTreeMap<u32, Option<u64>>;

    /// Does so many steps, and all that is due if there are no more. Items are keys.
    fn work(slots: &mut Slots<u32>, model: &mut Model, now: u64, steps: usize) {
        for _ in 0..steps {
            let Some(tick) = slots.next().filter(|tick| *tick <= now) else {
                return assert!(model.values().flatten().all(|at| *at > now), "late");
            };
            if let Some(key) = slots.step(tick) {
                let at = model.get_mut(&key).unwrap().take().unwrap();
                assert!(at <= tick, "early");
                assert!(model.values().flatten().all(|other| at <= *other), "order");
            }
        }
    }

    fn check_place(slots: &Slots<u32>, hung: Hung, at: u64) {
        assert!(hung.look <= hung.at && hung.at <= at);
        assert!(hung.at - hung.look < TICKS, "looked at for nothing");
        assert!(hung.at == at || at - slots.from > TICKS * (BLOCKS - 1));
    }

    fn check(steps: Vec<Step>) {
        let mut slots = Slots::new();
        let mut model = Model::new();
        let mut now = 0;
        for step in steps {
            let pick = |index: Index| {
                (!model.is_empty()).then(|| *model.keys().nth(index.index(model.len())).unwrap())
            };
            match step {
                Step::Add(after, ahead) => {
                    now += after;
                    let (key, hung) = slots.add(now, now + ahead, 0);
                    slots.entry(key).item = Some(key);
                    check_place(&slots, hung, now + ahead);
                    assert!(model.insert(key, Some(hung.at)).is_none());
                }
                Step::Set(index, ahead) => {
                    if let Some(key) = pick(index) {
                        let (hung, held) = slots.set(key, now, now + ahead, key);
                        check_place(&slots, hung, now + ahead);
                        let was = model.insert(key, Some(hung.at)).unwrap();
                        assert_eq!(held, was.map(|_| key));
                    }
                }
                Step::Remove(index) => {
                    if let Some(key) = pick(index) {
                        let was = model.remove(&key).unwrap();
                        assert_eq!(slots.remove(key), was.map(|_| key));
                    }
                }
                Step::Turn(ticks) => {
                    now += ticks;
                    work(&mut slots, &mut model, now, usize::MAX);
                }
                Step::Work(steps) => work(&mut slots, &mut model, now, steps),
            }
            // Whoever sleeps until then sleeps past nobody.
            let first = model.values().flatten().min();
            assert!(slots.next() <= first.copied() || first.is_none());
            assert_eq!(slots.next().is_none(), first.is_none());
        }
        for key in model.into_keys() {
            slots.remove(key);
        }
        assert!(slots.next().is_none() && slots.is_empty());
        assert_eq!(slots.chunks.capacity(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_does_what_a_map_does(steps in prop::collection::vec(step(), 0..400)) {
            check(steps);
        }
    }
}
