//! Five hundred schedules, and that a seed is one story.

use simulation::run;

/// How many schedules a run of the tests tries.
const SCHEDULES: u64 = 500;

fn check(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = run(seed, false);
        let violation = outcome.summary.violation.map(|it| it.to_string());
        let transcript = outcome.transcript;
        assert!(
            violation.is_none(),
            "seed {seed}: {}\nreplay: cargo run -p simulation -- --seed {seed} --verbose\n{transcript}",
            violation.unwrap_or_default()
        );
    }
}

#[test]
fn no_promise_is_broken_on_the_first_half() {
    check(0..SCHEDULES / 2);
}

#[test]
fn no_promise_is_broken_on_the_second_half() {
    check(SCHEDULES / 2..SCHEDULES);
}

#[test]
fn a_seed_is_the_same_story_whatever_ran_before() {
    let first: Vec<u64> = (0..20).map(|seed| run(seed, false).summary.hash).collect();
    let again: Vec<u64> = (0..20)
        .rev()
        .map(|seed| run(seed, false).summary.hash)
        .collect();
    assert!(first.iter().eq(again.iter().rev()));
    assert_ne!(first[0], first[1]);
}

#[test]
fn half_of_the_schedules_take_the_fast_path_at_least() {
    let fast = (0..60).filter(|seed| run(*seed, false).is_fast).count();
    assert!(fast >= 30, "{fast} of 60");
}
