//! One timer for all deadlines of a connection, a place on the thread's [wheel](super::wheel).
//!
//! It is set when a deadline comes that is earlier than what it is set to, and when it has gone off. So traffic, which moves the
//! heartbeat all the time, does not touch it.

use std::task::Waker;

use tokio::time::Instant;

use super::wheel::Place;

/// It is set by one task all its life.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// `None` before the first deadline.
    place: Option<Place>,
}

impl Alarm {
    /// Wakes the task once, when `deadline` has passed, and forgets what was set before. Returns when it does: earlier than that
    /// if it is minutes away.
    pub(super) fn set(&mut self, waker: &Waker, now: Instant, deadline: Instant) -> Instant {
        let place = self.place.as_ref();
        if let Some(at) = place.and_then(|place| place.set(waker, now, deadline)) {
            return at;
        }
        let (place, at) = Place::take(waker, now, deadline).unzip();
        self.place = place;
        at.unwrap_or(deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Poll, Wake};
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::runtime::Handle;
    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn an_alarm_has_16_bytes() {
        assert_eq!(size_of::<Alarm>(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn every_deadline_is_exact() {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..2_000_u64 {
            tasks.spawn(async move {
                // Up to 500 s ahead, at any millisecond; later ones are longer than the wheel.
                let deadline = start + Duration::from_millis(1 + index * 7_919 % 500_000);
                let mut alarm = Alarm::default();
                let mut polls = 0_u64;
                poll_fn(|context| {
                    polls += 1;
                    if Instant::now() >= deadline {
                        return Poll::Ready(());
                    }
                    alarm.set(context.waker(), Instant::now(), deadline);
                    Poll::Pending
                })
                .await;
                assert_eq!(Instant::now(), deadline);
                let rounds = (deadline - start).as_secs() / 120;
                assert!(polls <= 2 + rounds, "{polls} polls");
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    }

    #[tokio::test]
    async fn in_real_time_it_never_goes_off_early() {
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..500_u64 {
            tasks.spawn(async move {
                let deadline = Instant::now() + Duration::from_nanos(1 + index * 123_457);
                let mut alarm = Alarm::default();
                let mut is_set = false;
                poll_fn(|context| {
                    if is_set {
                        assert!(Instant::now() >= deadline);
                        return Poll::Ready(());
                    }
                    is_set = true;
                    alarm.set(context.waker(), Instant::now(), deadline);
                    Poll::Pending
                })
                .await;
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A connection, as far as its alarm sees it.
    #[derive(Default)]
    struct Task {
        alarm: Alarm,
        alarm_at: Option<Instant>,
        deadline: Option<Instant>,
        woken: Arc<Flag>,
        /// Times it was woken.
        wakes: u64,
        /// Times its alarm was set.
        sets: u64,
    }

    impl Task {
        /// False if its deadline has passed and nothing has told it.
        fn run(&mut self, is_new: bool) -> bool {
            let now = Instant::now();
            let was_woken = self.woken.0.swap(false, Ordering::Relaxed);
            if was_woken {
                self.wakes += 1;
                assert!(self.alarm_at.is_some_and(|at| at <= now), "early");
                assert!(self.wakes <= self.sets, "woken twice");
            }
            let deadline = self.deadline.filter(|_| was_woken || is_new);
            if let Some(deadline) = deadline {
                if deadline <= now {
                    self.deadline = None;
                } else if self.alarm_at.is_none_or(|at| at <= now || at > deadline) {
                    let waker = Waker::from(Arc::clone(&self.woken));
                    let at = self.alarm.set(&waker, now, deadline);
                    assert!(
                        at == deadline || at > now + Duration::from_secs(100),
                        "too near"
                    );
                    self.alarm_at = Some(at);
                    self.sets += 1;
                }
            }
            self.deadline.is_none_or(|deadline| deadline > now)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// From now on, in milliseconds.
        Set(usize, u64),
        Clear(usize),
        Drop(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let time = || prop_oneof![0..5_000_u64, 0..40_000_u64, 0..400_000_u64];
        prop_oneof![
            4 => (0..8_usize, time()).prop_map(|(task, ahead)| Step::Set(task, ahead)),
            1 => (0..8_usize).prop_map(Step::Clear),
            1 => (0..8_usize).prop_map(Step::Drop),
            4 => prop_oneof![3 => time(), 1 => 0..500_000_000_u64].prop_map(Step::Advance),
        ]
    }

    async fn check(steps: Vec<Step>) {
        let mut tasks: [Task; 8] = Default::default();
        for step in steps {
            let mut new = None;
            match step {
                Step::Set(task, ahead) => {
                    tasks[task].deadline = Some(Instant::now() + Duration::from_millis(ahead));
                    new = Some(task);
                }
                Step::Clear(task) => {
                    tasks[task].deadline = None;
                    new = Some(task);
                }
                Step::Drop(task) => tasks[task] = Task::default(),
                Step::Advance(by) => tokio::time::advance(Duration::from_millis(by)).await,
            }
            for _ in 0..10 {
                yield_now().await;
                for (index, task) in tasks.iter_mut().enumerate() {
                    task.run(new == Some(index));
                }
                new = None;
            }
            assert!(tasks.iter_mut().all(|task| task.run(false)), "late");
        }
        let flags = tasks.each_ref().map(|task| Arc::clone(&task.woken));
        drop(tasks);
        assert!(flags.iter().all(|flag| Arc::strong_count(flag) == 1));
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn none_is_late_or_early_or_goes_off_twice(steps in prop::collection::vec(step(), 0..100)) {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap()
                .block_on(check(steps));
        }
    }
}
