//! A wheel of milliseconds, on which the deadlines of connections hang: 24 bytes each, where a timer of tokio's takes more than
//! a hundred.
//!
//! There is one for each thread and runtime, and it has a driver, a task that sleeps until something is due, wakes whom it
//! concerns, and ends when nobody has a place. It never wakes early, and as exactly as a timer of tokio's, which it sleeps on.
//!
//! It has a lock, although it is the thread's: a session that has moved to another worker moves its entry from there.
//! Runtimes are kept apart, since a driver ends with its runtime.

mod slots;

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::time::{Instant, Sleep};

use self::slots::Slots;

/// How many tasks a driver wakes before others have their turn.
const BATCH: usize = 64;

/// How many entries it touches.
const STEPS: usize = 256;

thread_local! {
    static WHEEL: RefCell<Option<Arc<Wheel>>> = const { RefCell::new(None) };
}

/// A tick is a millisecond.
struct Wheel {
    runtime: runtime::Id,
    /// When tick 0 is.
    epoch: Instant,
    state: Mutex<State>,
}

struct State {
    slots: Slots<Waker>,
    /// Until when the driver sleeps; 0 while it works or is about to.
    asleep_until: u64,
    driver: Driving,
}

enum Driving {
    /// Nobody has a place.
    No,
    /// It has not slept yet.
    Begun,
    /// How it is woken.
    Yes(Waker),
    /// It was dropped with its runtime. Whoever waits looks for another wheel.
    Abandoned,
}

/// [`State::asleep_until`] when nothing hangs on the wheel.
const FOREVER: u64 = u64::MAX;

/// A place on a wheel, given up when it is dropped.
pub(super) struct Place {
    wheel: Arc<Wheel>,
    key: u32,
}

impl Place {
    /// A place from which the task is woken when the deadline has passed, and when it is: earlier if that is too far away. `None`
    /// if the runtime is being shut down.
    pub(super) fn take(waker: &Waker, now: Instant, deadline: Instant) -> Option<(Self, Instant)> {
        let runtime = Handle::current();
        let wheel = Wheel::of_this_thread(runtime.id(), now);
        let (now, at) = (wheel.tick(now), wheel.tick_from(deadline));
        let mut state = wheel.lock();
        let begins = match state.driver {
            Driving::Abandoned => return None,
            Driving::No => true,
            _ => false,
        };
        let (key, hung) = state.slots.add(now, at, waker.clone());
        let driver = state.rouse(hung.look);
        if begins {
            state.driver = Driving::Begun;
        }
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        let place = Self { wheel, key };
        if begins {
            // Its timer is made here, so that it panics here where the runtime has none.
            let driver = Driver::new(Arc::clone(&place.wheel));
            let sleep = tokio::time::sleep_until(place.wheel.instant(hung.look));
            runtime.spawn(driver.run(sleep));
        }
        let until = place.wheel.instant(hung.at).min(deadline);
        Some((place, until))
    }

    /// The task is woken at this deadline, or earlier if that is too far away, and at no other. `None` if it is not, since the
    /// wheel's runtime is gone.
    pub(super) fn set(&self, waker: &Waker, now: Instant, deadline: Instant) -> Option<Instant> {
        let (now, at) = (self.wheel.tick(now), self.wheel.tick_from(deadline));
        let waker = waker.clone();
        let mut state = self.wheel.lock();
        if matches!(state.driver, Driving::Abandoned) {
            return None;
        }
        let (hung, held) = state.slots.set(self.key, now, at, waker);
        let driver = state.rouse(hung.look);
        drop(state);
        // Without the lock: what a waker does is not ours.
        drop(held);
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(self.wheel.instant(hung.at).min(deadline))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.wheel.lock();
        let held = state.slots.remove(self.key);
        let is_over = state.slots.is_empty() && state.asleep_until == FOREVER;
        let driver = is_over.then(|| state.rouse(0)).flatten();
        drop(state);
        drop(held);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl State {
    fn sleep(&mut self, until: u64, driver: &Waker) {
        self.asleep_until = until;
        if matches!(self.driver, Driving::Begun) {
            self.driver = Driving::Yes(driver.clone());
        }
    }

    /// The driver, if it would sleep past this tick; from now on it does not.
    fn rouse(&mut self, tick: u64) -> Option<Waker> {
        match &self.driver {
            Driving::Yes(driver) if tick < self.asleep_until => {
                self.asleep_until = 0;
                Some(driver.clone())
            }
            _ => None,
        }
    }
}

/// What the driver does next.
enum Turn {
    /// Go on, after others had their turn.
    Continue,
    /// Until then, or until it is woken.
    Sleep(Option<Instant>),
    /// Nobody has a place.
    End,
}

impl Wheel {
    fn of_this_thread(runtime: runtime::Id, now: Instant) -> Arc<Self> {
        WHEEL.with_borrow_mut(|kept| match kept {
            Some(wheel) if wheel.runtime == runtime && wheel.has_room() => Arc::clone(wheel),
            _ => Arc::clone(kept.insert(Arc::new(Self {
                runtime,
                epoch: now,
                state: Mutex::new(State {
                    slots: Slots::new(),
                    asleep_until: 0,
                    driver: Driving::No,
                }),
            }))),
        })
    }

    /// Collects at most [`BATCH`] wakers of what is due.
    fn turn(&self, driver: &Waker, due: &mut Vec<Waker>) -> Turn {
        let now = self.tick(Instant::now());
        let mut state = self.lock();
        state.asleep_until = 0;
        let mut steps = 0;
        while let Some(tick) = state.slots.next() {
            if tick > now {
                state.sleep(tick, driver);
                return Turn::Sleep(Some(self.instant(tick)));
            }
            if due.len() == BATCH || steps == STEPS {
                return Turn::Continue;
            }
            due.extend(state.slots.step(tick));
            steps += 1;
        }
        if state.slots.is_empty() {
            state.driver = Driving::No;
            return Turn::End;
        }
        state.sleep(FOREVER, driver);
        Turn::Sleep(None)
    }

    /// The driver is gone before its end.
    fn abandon(&self) {
        let mut state = self.lock();
        let driver = mem::replace(&mut state.driver, Driving::Abandoned);
        let wakers = state.slots.take_all();
        drop(state);
        drop(driver);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn has_room(&self) -> bool {
        let state = self.lock();
        !matches!(state.driver, Driving::Abandoned) && !state.slots.is_full()
    }

    fn instant(&self, tick: u64) -> Instant {
        self.epoch + Duration::from_millis(tick)
    }

    /// The tick at this time or before it.
    fn tick(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        since
            .as_secs()
            .saturating_mul(1_000)
            .saturating_add(since.subsec_millis().into())
    }

    /// The tick at this time or after it.
    fn tick_from(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        let rest = since.subsec_nanos().div_ceil(1_000_000);
        since
            .as_secs()
            .saturating_mul(1_000)
            .saturating_add(rest.into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs under the lock, so a poisoned one is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that wakes what hangs on a wheel.
struct Driver {
    wheel: Arc<Wheel>,
    has_ended: bool,
}

impl Driver {
    const fn new(wheel: Arc<Wheel>) -> Self {
        Self {
            wheel,
            has_ended: false,
        }
    }

    async fn run(mut self, sleep: Sleep) {
        let mut sleep = pin!(sleep);
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let mut due = Vec::new();
        loop {
            let turn = self.wheel.turn(&waker, &mut due);
            due.drain(..).for_each(Waker::wake);
            match turn {
                Turn::Continue => tokio::task::yield_now().await,
                Turn::Sleep(until) => {
                    if let Some(until) = until {
                        sleep.as_mut().reset(until);
                    }
                    let mut has_slept = false;
                    // Whatever wakes it, it looks what there is to do.
                    poll_fn(|context| match mem::replace(&mut has_slept, true) {
                        true => Poll::Ready(()),
                        false if until.is_some() => sleep.as_mut().poll(context),
                        false => Poll::Pending,
                    })
                    .await;
                }
                Turn::End => {
                    self.has_ended = true;
                    return;
                }
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.has_ended {
            self.wheel.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const REACH: Duration = Duration::from_secs(120);

    fn place(count: &Arc<Count>, seconds: u64) -> Place {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(seconds);
        let (place, at) = Place::take(&Waker::from(Arc::clone(count)), now, deadline).unwrap();
        assert!(at == deadline || at > now + REACH && at < deadline);
        place
    }

    fn set(place: &Place, count: &Arc<Count>, seconds: u64) -> bool {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(seconds);
        let at = place.set(&Waker::from(Arc::clone(count)), now, deadline);
        assert!(at.is_none_or(|at| at == deadline || at > now + REACH && at < deadline));
        at.is_some()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    fn drivers() -> usize {
        Handle::current().metrics().num_alive_tasks()
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_ends_when_nobody_has_a_place_and_another_follows() {
        let count = Arc::default();
        for turn in 1..4 {
            let first = place(&count, 30);
            let second = place(&count, 3);
            assert_eq!(drivers(), 1);
            tokio::time::sleep(Duration::from_secs(30)).await;
            drop(second);
            tokio::time::sleep(Duration::from_secs(1_000)).await;
            assert_eq!((count.get(), drivers()), (2 * turn, 1));
            drop(first);
            tokio::task::yield_now().await;
            assert_eq!(drivers(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_leaves_nothing_behind() {
        let count = Arc::<Count>::default();
        drop((place(&count, 30), place(&count, 20), place(&count, 30)));
        assert_eq!(Arc::strong_count(&count), 1);
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!((count.get(), drivers()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_is_woken_at_the_new_time_only() {
        let (moved, other) = (Arc::<Count>::default(), Arc::default());
        let (place, _other) = (place(&moved, 30), place(&other, 30));
        for (ahead, woken) in [(20, 1), (40, 2), (100, 3), (0, 4)] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(set(&place, &moved, 5_000));
            assert!(set(&place, &moved, ahead));
            // A millisecond before it, and as soon as the driver has had its turn.
            if ahead > 0 {
                let nearly = Duration::from_secs(ahead) - Duration::from_millis(1);
                tokio::time::sleep(nearly).await;
                assert_eq!(moved.get(), woken - 1);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::task::yield_now().await;
            assert_eq!(moved.get(), woken);
        }
        assert_eq!((Arc::strong_count(&moved), other.get()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_with_many_lets_others_have_their_turn() {
        let count = Arc::<Count>::default();
        let places: Vec<_> = (0..10 * BATCH).map(|_| place(&count, 10)).collect();
        let mut woken = 0;
        tokio::time::sleep(Duration::from_secs(10)).await;
        for _ in 0..100 {
            let more = count.get() - woken;
            assert!(more <= BATCH, "{more} were woken in one go");
            woken += more;
            tokio::task::yield_now().await;
        }
        assert_eq!(woken, places.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_with_many_lets_others_have_their_turn() {
        let count = Arc::<Count>::default();
        let places: Vec<_> = (0..10 * STEPS).map(|_| place(&count, 10)).collect();
        let wheel = &places[0].wheel;
        // When the block begins that the tenth second is in, all of them are brought nearer.
        let begins = wheel.lock().slots.next().unwrap();
        assert!(begins < 10_000);
        tokio::time::sleep_until(wheel.instant(begins)).await;
        let mut turns = 0;
        while wheel.lock().slots.next() == Some(begins) {
            tokio::task::yield_now().await;
            turns += 1;
        }
        assert!(turns >= 9, "{turns}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wheel_that_its_driver_has_left_takes_nobody() {
        let count = Arc::<Count>::default();
        let left = place(&count, 30);
        left.wheel.abandon();
        assert!(!left.wheel.has_room());
        let next = place(&count, 30);
        assert!(!Arc::ptr_eq(&left.wheel, &next.wheel));
    }

    #[tokio::test(start_paused = true)]
    async fn after_days_everyone_is_woken_once() {
        let count = Arc::<Count>::default();
        let places: Vec<_> = (0..300).map(|at| place(&count, 3 + at)).collect();
        tokio::time::advance(Duration::from_secs(5 * 24 * 60 * 60)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(count.get(), places.len());
    }

    #[test]
    fn a_driver_that_goes_with_its_runtime_wakes_who_waits_and_another_wheel_follows() {
        let count = Arc::<Count>::default();
        let first = runtime();
        let (left, gone) = first.block_on(async { (place(&count, 30), place(&count, 30)) });
        drop(gone);
        drop(first);
        assert_eq!((count.get(), Arc::strong_count(&count)), (1, 1));
        runtime().block_on(async {
            assert!(!set(&left, &count, 30));
            let place = place(&count, 30);
            assert!(!Arc::ptr_eq(&place.wheel, &left.wheel));
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert_eq!(count.get(), 2);
        });
    }

    #[test]
    fn a_runtime_without_timers_panics_where_a_timer_would() {
        let bare = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let taken = bare
            .block_on(async { std::panic::catch_unwind(|| place(&Arc::default(), 30)).is_ok() });
        assert!(!taken);
    }

    #[test]
    fn threads_have_wheels_of_their_own_and_move_and_leave_each_others() {
        let several = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let count = Arc::<Count>::default();
        several.block_on(async {
            let here = place(&count, 30);
            let moved = Arc::clone(&count);
            let there = tokio::spawn(async move { (place(&moved, 30), place(&moved, 30)) })
                .await
                .unwrap();
            assert!(!Arc::ptr_eq(&here.wheel, &there.0.wheel));
            drop(there.1);
            assert_eq!(Arc::strong_count(&count), 3);
            // Both drivers sleep until long after.
            assert!(set(&there.0, &count, 0) && set(&here, &count, 0));
            while count.get() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop((here, there.0));
            while drivers() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(Arc::strong_count(&count), 1);
        });
    }
}
