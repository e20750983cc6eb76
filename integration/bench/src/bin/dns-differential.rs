//! Asks xcc, NSD and Knot the same questions about the same zones. Ends with an error when a difference is unexplained.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio_util::sync::CancellationToken;
use xcc_bench::differential::generate::{APEXES, Question, zones};
use xcc_bench::differential::{Asked, Findings, compare};
use xcc_bench::dns::servers::{Kind, Plan, zone_files};
use xcc_bench::random::Random;
use xcc_dns::{DnsConfig, DnsMetrics, DnsServer, Responder, Zones};
use xcc_model::Hostname;

/// One question in so many goes by TCP from the start.
const TCP_SHARE: usize = 50;

#[derive(Parser)]
struct Arguments {
    /// The same seed gives the same zones and questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many zones, one after the other.
    #[arg(long, default_value_t = 10)]
    zones: usize,
    /// How many questions in all.
    #[arg(long, default_value_t = 100_000)]
    questions: usize,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut findings = Findings::default();
    for index in 0..arguments.zones {
        let mut random = Random::new(arguments.seed.wrapping_add(index as u64));
        let zones = zones(&mut random)?;
        round(&zones, arguments.questions.div_ceil(arguments.zones), &mut random, &mut findings).await?;
    }
    report(&arguments, &findings);
    findings.check()?;
    Ok(ExitCode::SUCCESS)
}

async fn round(zones: &Zones, questions: usize, random: &mut Random, findings: &mut Findings) -> Result<()> {
    let responder = Responder::new();
    let server = DnsServer::bind(
        &["127.0.0.1:0".parse()?],
        DnsConfig::default(),
        responder.clone(),
        DnsMetrics::new(),
    )?;
    let address = server.local_addrs()[0];
    responder.publish(zones.clone());
    // With the serial that they are in force with.
    let zones = &*responder.load().context("no zones")?;
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.run(stop.clone()));
    let mut files = zone_files(zones, &APEXES);
    // Others know of a zone below another one only by a delegation.
    let [outer, inner] = [APEXES[0], APEXES[1]];
    files[0].1.push(format!("{inner}. 30 IN NS ns.dns.{inner}."));
    debug_assert_eq!(files[0].0, outer);
    let plan = Plan { names: 0, workers: 1, processor: None, changes_per_second: 0 };
    let others = [Kind::Nsd.start_with(plan, &files)?, Kind::Knot.start_with(plan, &files)?];
    let mut servers = vec![Asked::new("xcc", address)?];
    for other in &others {
        servers.push(Asked::new(other.kind.name(), other.address)?);
    }
    let names: Vec<Hostname> = zones.names().collect();
    tokio::task::block_in_place(|| -> Result<()> {
        for _ in 0..questions {
            let question = Question::random(zones, &names, random);
            compare(&servers, &question, random.one_in(TCP_SHARE), findings)?;
        }
        Ok(())
    })?;
    stop.cancel();
    Ok(served.await??)
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn report(arguments: &Arguments, findings: &Findings) {
    println!(
        "seed {}: {} questions, {} replies equal to ours",
        arguments.seed, findings.asked, findings.equal
    );
    for (reason, count) in &findings.chosen {
        println!("{count} deliberate: {reason}");
    }
    for difference in &findings.told {
        println!("unexplained: {difference}");
    }
}
