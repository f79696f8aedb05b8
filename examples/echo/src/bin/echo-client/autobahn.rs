//! Drives a fuzzing server of the Autobahn suite: asks how many cases there are, echoes in each, asks for the reports.

use dreamsocket::BoxError;
use dreamsocket::client::{Received, Socket};

use crate::args::{Args, Cases};
use crate::echo;

pub(crate) async fn run(
    args: &Args,
    url: &str,
    agent: &str,
    cases: Option<Cases>,
) -> Result<(), BoxError> {
    let count = count_cases(url).await?;
    let Cases { from, to } = cases.unwrap_or(Cases { from: 1, to: count });
    for case in from..=to.min(count) {
        let url = format!("{url}/runCase?case={case}&agent={agent}");
        // How it ended is the suite's to judge.
        echo::until_closed(args.connect(&url)).await?;
    }
    let mut reports = Socket::connect(format!("{url}/updateReports?agent={agent}")).await?;
    while reports.receive().await.is_some() {}
    Ok(())
}

async fn count_cases(url: &str) -> Result<u32, BoxError> {
    let mut socket = Socket::connect(format!("{url}/getCaseCount")).await?;
    let mut count = None;
    while let Some(received) = socket.receive().await {
        if let Received::Text(text) = received {
            count = Some(text.as_str().parse()?);
        }
    }
    count.ok_or_else(|| "the fuzzing server does not tell how many cases it has".into())
}
