//! One run: a server, the load on it, a line for every ten seconds, and what is to be said at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dreamsocket::BoxError;
use dreamsocket::client::{Connect, Received};
use fault_proxy::{Dice, seed};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::judge::{Verdict, judge_memory, judge_rest, mib};
use crate::load::Load;
use crate::process::Process;
use crate::sample::Sample;

/// How often the server is looked at, and how often a line tells.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS_TO_A_LINE: u32 = 10;

/// Clients that come and go before anything is measured, so that what is made once is there.
const WARM: usize = 200;

/// Longer than the server's heartbeat.
const SETTLING: Duration = Duration::from_secs(7);

/// How long clients and the server have to come to an end when it is over: more than a heartbeat needs to find out.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whether all was as it should be.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "what the program is for")]
pub(crate) async fn run(time: Duration) -> Result<bool, BoxError> {
    // Here, and in the server, which takes it over.
    rlimit::increase_nofile_limit(16 * 1024)?;
    let seed = seed();
    println!("FAULTS_SEED={seed}");
    let mut server = Process::start().await?;
    let before = warm_up(&mut server).await?;
    println!(
        "before: {} files, {} tasks, {} allocated",
        before.files,
        before.tasks,
        mib(before.heap)
    );

    let load = Load::new(server.address);
    let mut clients = load.start(&mut Dice::new(seed));
    let samples = watch(&mut server, &load, &mut clients, time).await?;
    load.end();
    let ended = timeout(PATIENCE, join_all(&mut clients)).await;
    let after = calm_down(&mut server, &before).await?;
    println!("after:  {}", line(time, &after, &load));

    let mut verdicts = vec![judge_messages(&load)];
    verdicts.extend(judge_memory(&samples, time));
    verdicts.extend(judge_rest(&before, &after));
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => verdicts.push(Verdict::new(false, format!("a client: {error}"))),
        Err(_) => verdicts.push(Verdict::new(false, "some clients never ended")),
    }
    let (status, said) = server.terminate().await?;
    verdicts.push(Verdict::new(
        status.success(),
        format!("the server's {status}"),
    ));
    for line in said {
        println!("server: {line}");
    }
    for failure in load.tally.failures() {
        println!("failure: {failure}");
    }
    for verdict in &verdicts {
        println!("{verdict}");
    }
    Ok(verdicts.iter().all(|verdict| verdict.is_right))
}

/// Looks at the server until the time is up. A client that panics ends the run.
#[expect(clippy::print_stdout, reason = "what the program is for")]
async fn watch(
    server: &mut Process,
    load: &Arc<Load>,
    clients: &mut JoinSet<()>,
    time: Duration,
) -> Result<Vec<(Duration, Sample)>, BoxError> {
    println!("  {HEADING}");
    let start = Instant::now();
    let mut samples = Vec::new();
    for look in 1_u32.. {
        let due = LOOK * look;
        if due > time {
            break;
        }
        sleep_until(start + due).await;
        let sample = server.sample().await?;
        samples.push((start.elapsed(), sample));
        if look.is_multiple_of(LOOKS_TO_A_LINE) {
            println!("  {}", line(due, &sample, load));
        }
        while let Some(ended) = clients.try_join_next() {
            ended?;
        }
    }
    Ok(samples)
}

async fn join_all(clients: &mut JoinSet<()>) -> Result<(), BoxError> {
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    Ok(())
}

const HEADING: &str = "   time   resident  allocated  files  tasks  WebSockets   opened    messages   lost  doubled  \
                       reordered  missed and told  failed";

fn line(time: Duration, sample: &Sample, load: &Load) -> String {
    let (minutes, seconds) = (time.as_secs() / 60, time.as_secs() % 60);
    let wrong = load.tally.wrong();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "{minutes:>4}:{seconds:02} {:>10} {:>10} {:>6} {:>6} {:>11} {:>8} {:>11} {:>6} {:>8} {:>10} {:>16} {:>7}",
        mib(sample.resident),
        mib(sample.heap),
        sample.files,
        sample.tasks,
        sample.connections,
        sample.opened,
        count(&load.tally.received),
        wrong.lost,
        wrong.doubled,
        wrong.reordered,
        count(&load.tally.declared),
        load.tally.failed(),
    )
}

fn judge_messages(load: &Load) -> Verdict {
    let (wrong, failed) = (load.tally.wrong(), load.tally.failed());
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let reason = format!(
        "of {} messages {} were lost without a word, {} doubled, {} out of order; {failed} good clients failed beside {} bad \
         ones and {} connections made anew",
        count(&load.tally.received),
        wrong.lost,
        wrong.doubled,
        wrong.reordered,
        count(&load.tally.bad),
        count(&load.tally.reconnected),
    );
    let is_right = wrong.is_nothing() && failed == 0 && count(&load.tally.received) > 0;
    Verdict::new(is_right, reason)
}

/// Some clients come and go; what there is then.
async fn warm_up(server: &mut Process) -> Result<Sample, BoxError> {
    let mut sockets = Vec::new();
    for _ in 0..WARM {
        let mut socket = Connect::new(format!("ws://{}/echo", server.address))
            .open()
            .await?;
        socket.send_text("warm").await?;
        if !matches!(socket.receive().await, Some(Received::Text(_))) {
            return Err("no echo from the first clients".into());
        }
        sockets.push(socket);
    }
    for mut socket in sockets {
        socket.close(1000, "").await?;
    }
    let nothing = Sample {
        files: u64::MAX,
        tasks: u64::MAX,
        ..Sample::default()
    };
    calm_down(server, &nothing).await?;
    // The tasks that wait for deadlines end when the last one is over, which is a heartbeat's.
    sleep(SETTLING).await;
    server.sample().await
}

/// Waits until nothing is left that was not there before; what there is then, or when patience is at an end.
async fn calm_down(server: &mut Process, before: &Sample) -> Result<Sample, BoxError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let sample = server.sample().await?;
        let is_calm =
            sample.connections == 0 && sample.files <= before.files && sample.tasks <= before.tasks;
        if is_calm || Instant::now() >= end {
            return Ok(sample);
        }
        sleep(LOOK).await;
    }
}
