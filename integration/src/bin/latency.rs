//! `make latency`: how long it takes from the change of a manifest to the first TLS request by name that a client
//! gets answered through the gateway, over 50 changes. It measures and judges nothing.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program to be read on a terminal")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;
use xcc_integration::project::ENVOY_NEWEST;
use xcc_integration::resolver::Resolution;
use xcc_integration::world::{Plan, World};

/// How many services are exported one after the other.
const CHANGES: usize = 50;

/// The pause between two questions of the client, which bounds what is added to a figure.
const PAUSE: Duration = Duration::from_micros(200);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<()> {
    let mut world = World::start("latency", &Plan::new(ENVOY_NEWEST)).await?;
    // The first export makes cluster and listener; the figures are of names that join them.
    world.east.export("first", "first.team.xcc.test")?;
    world.wait_resolvable("first.team.xcc.test").await?;

    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let host = format!("n{change}.team.xcc.test");
        let start = Instant::now();
        world.east.export("changing", &host)?;
        while world.resolver.resolve(&host).await? == NXDOMAIN {
            tokio::time::sleep(PAUSE).await;
        }
        // Answered means that the gateway has it: the first request must go through.
        let answer = world.client.get(&host, "/").await?;
        added.push(start.elapsed());
        ensure!(answer.cluster == "east", "{answer:?}");

        let start = Instant::now();
        world.east.delete("changing.yaml")?;
        while world.resolver.resolve(&host).await? != NXDOMAIN {
            tokio::time::sleep(PAUSE).await;
        }
        removed.push(start.elapsed());
    }
    report("label set to first request answered", added);
    report("manifest deleted to name gone from DNS", removed);
    world.stop().await
}

const NXDOMAIN: Resolution = Resolution::Failure(hickory_proto::op::ResponseCode::NXDomain);

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    // The nearest rank: a figure that was measured.
    let rank = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.1} ms, p99 {:.1} ms, of {} changes", rank(50), rank(99), times.len());
}
