//! Load: the client pod asks for a name again and again, every time anew: a process, a look-up, a connection.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::container_exec::{self, Place};

/// Loops that ask at the same time: together they make some 20 requests a second on an idle machine.
const LANES: usize = 3;

/// How long requests may take to come when a scenario waits for more of them.
const MORE_LIMIT: Duration = Duration::from_secs(60);

/// Failures that an error tells.
const FAILURES_TOLD: usize = 5;

/// Asks until its input ends, and prints a line for each answer: status, seconds, who answered, what went wrong.
const LOOP: &str = "\
exec 3<&0
(cat <&3 >/dev/null; kill $$) &
while :; do
  curl -sk -o /dev/null --max-time 10 -w '%{http_code} %{time_total} %header{x-cluster} %{errormsg}\\n' \"$0\" </dev/null
  sleep 0.1
done";

/// What the answers were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many requests ended.
    pub requests: usize,
    /// How many were answered with 200, by the cluster that says it answered.
    pub answered: BTreeMap<String, usize>,
    /// When what went wrong, from the start of the load.
    pub failures: Vec<(Duration, String)>,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// How long the load was on.
    pub lasted: Duration,
}

impl Report {
    /// Takes one line of the loop.
    fn take(&mut self, line: &str, since_start: Duration) {
        self.requests += 1;
        let mut fields = line.splitn(4, ' ');
        let (status, seconds, cluster) = (fields.next(), fields.next(), fields.next());
        let seconds = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
        self.slowest = self.slowest.max(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        match (status, cluster) {
            (Some("200"), Some(cluster)) => *self.answered.entry(cluster.to_owned()).or_default() += 1,
            _ => self.failures.push((since_start, line.to_owned())),
        }
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        // Counts of requests are far below what a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let requests = self.requests as f64;
        requests / self.lasted.as_secs_f64().max(f64::EPSILON)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        format!(
            "{} requests by name, {:.0}/s, none failed, slowest {} ms",
            self.requests,
            self.rate(),
            self.slowest.as_millis()
        )
    }
}

/// Load that is on.
pub struct Load {
    name: String,
    start: Instant,
    report: Arc<watch::Sender<Report>>,
    lanes: Vec<(Child, JoinHandle<Result<()>>)>,
}

impl Load {
    /// Starts asking for `https://NAME/` in the client pod.
    ///
    /// # Errors
    /// When the client pod does not run.
    pub async fn start(from: &Cluster, name: &str) -> Result<Self> {
        let pods = from.pods("client", "app=client").await?;
        let pod = pods.first().context("the client pod does not run")?;
        let place = Place { cluster: from.name(), namespace: "client", pod, container: None };
        let command =
            container_exec::record(place)?.command(&["sh", "-c", LOOP, &format!("https://{name}/")]);
        let (program, arguments) = command.split_first().context("a command has a name")?;
        let start = Instant::now();
        let report = Arc::new(watch::channel(Report::default()).0);
        let mut lanes = Vec::new();
        for _lane in 0..LANES {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("cannot start the load")?;
            let output = child.stdout.take().context("the load's output is piped")?;
            let report = report.clone();
            let reader = tokio::spawn(async move {
                let mut lines = BufReader::new(output).lines();
                while let Some(line) = lines.next_line().await? {
                    report.send_modify(|report| report.take(&line, start.elapsed()));
                }
                Ok(())
            });
            lanes.push((child, reader));
        }
        Ok(Self { name: name.to_owned(), start, report, lanes })
    }

    /// How long it is on.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What the answers were so far.
    pub fn so_far(&self) -> Report {
        self.report.borrow().clone()
    }

    /// Waits until this many more requests have ended.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn more(&self, requests: usize) -> Result<()> {
        let mut report = self.report.subscribe();
        let wanted = report.borrow().requests + requests;
        let come = report.wait_for(|report| report.requests >= wanted);
        tokio::time::timeout(MORE_LIMIT, come).await.context("the load stands still")??;
        Ok(())
    }

    /// Waits until it has been on for this long, and fails as soon as a request has failed.
    ///
    /// # Errors
    /// When a request has failed.
    pub async fn lasts(&self, duration: Duration) -> Result<()> {
        let mut report = self.report.subscribe();
        let failed = report.wait_for(|report| !report.failures.is_empty());
        let _ends_in_time = tokio::time::timeout(duration.saturating_sub(self.elapsed()), failed).await;
        self.check()
    }

    /// Fails when a request has failed.
    ///
    /// # Errors
    /// The first of those that failed.
    pub fn check(&self) -> Result<()> {
        let report = self.report.borrow();
        let failures = report.failures.iter().take(FAILURES_TOLD);
        let told: Vec<String> =
            failures.map(|(when, what)| format!("after {:.2} s: {what}", when.as_secs_f64())).collect();
        ensure!(
            report.failures.is_empty(),
            "{} of {} requests for {} failed: {}",
            report.failures.len(),
            report.requests,
            self.name,
            told.join("; ")
        );
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a request has failed, or none was made.
    pub async fn finish(mut self) -> Result<Report> {
        let lasted = self.elapsed();
        for (mut child, reader) in std::mem::take(&mut self.lanes) {
            // The end of its input ends the loop.
            drop(child.stdin.take());
            reader.await.context("the load's reader panicked")??;
            child.wait().await?;
        }
        self.check()?;
        let report = Report { lasted, ..self.so_far() };
        ensure!(report.requests > 0, "no request for {} was made", self.name);
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_from_a_cluster_is_an_answer() {
        let mut report = Report::default();
        let second = Duration::from_secs(1);
        report.take("200 0.031 workloads ", second);
        report.take("200 0.020 shared-services ", second);
        report.take("000 10.001  Resolving timed out after 10000 milliseconds", second);
        report.take("503 0.015  ", second);
        assert_eq!((report.requests, report.answered.len(), report.failures.len()), (4, 2, 2));
        assert_eq!(report.slowest, Duration::from_millis(10_001));
        assert!(report.failures[0].1.contains("Resolving timed out"));
    }
}
