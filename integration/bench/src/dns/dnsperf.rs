//! dnsperf, the tool that others measure with: the highest rate that is answered nearly without loss.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cpu;
use crate::peer;

/// Share of the requests that may get lost.
const LOSS_MAX: f64 = 0.001;
/// Requests under way, each tried in turn while too many get lost. The first one twice: a machine that did something else
/// for a while loses requests, too.
const OUTSTANDING: [u32; 5] = [128, 128, 64, 32, 16];

/// What dnsperf saw.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Answers per second.
    pub per_second: f64,
    /// Answers per second of the server's processor time.
    pub per_cpu_second: f64,
}

/// Runs dnsperf on processor 0 for a second, with the requests of the file, in dnsperf's form.
pub fn run(server: SocketAddr, process: u32, requests: &Path, edns: bool) -> Result<Rate> {
    let (dnsperf, taskset) = (peer::find("dnsperf", "dnsperf")?, peer::find("taskset", "util-linux")?);
    let mut text = String::new();
    for outstanding in OUTSTANDING {
        let before = cpu::time_of_tree(process)?;
        let mut command = Command::new(&taskset);
        command.args(["--cpu-list", "0"]).arg(&dnsperf).arg("-d").arg(requests);
        command.args(["-s", &server.ip().to_string(), "-p", &server.port().to_string()]);
        command.args(["-l", "1", "-c", "4", "-T", "1", "-t", "1"]);
        command.args(["-q", &outstanding.to_string()]).args(edns.then_some("-e"));
        let output = command.output().context("cannot start dnsperf")?;
        let spent = cpu::time_of_tree(process)?.saturating_sub(before);
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "dnsperf failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        let completed = number_after(&text, "Queries completed:")?;
        let sent = number_after(&text, "Queries sent:")?;
        ensure!(completed > 0.0, "dnsperf got no answer: {text}");
        if (sent - completed) / sent <= LOSS_MAX {
            let per_second = number_after(&text, "Queries per second:")?;
            return Ok(Rate { per_second, per_cpu_second: completed / spent.as_secs_f64() });
        }
    }
    bail!("the server loses requests at any rate: {text}")
}

fn number_after(text: &str, label: &str) -> Result<f64> {
    let rest = text.lines().find_map(|line| line.trim().strip_prefix(label));
    let number = rest.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.with_context(|| format!("dnsperf does not tell {label:?}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_report() {
        let text = "Statistics:\n\n  Queries sent:         1000\n  Queries completed:    999 (99.90%)\n  Queries per second:   53.25\n";
        assert_eq!(number_after(text, "Queries completed:").unwrap(), 999.0);
        assert_eq!(number_after(text, "Queries per second:").unwrap(), 53.25);
        assert!(number_after(text, "Queries lost:").is_err());
    }
}
