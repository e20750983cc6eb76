//! Who writes: one replica, elected by a Lease (Kubernetes, `coordination.k8s.io/v1`).
//!
//! A lease is taken over when it was not renewed for as long as it says, by our own clock from when we saw it: the times
//! in it are other machines'.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ImportingCluster;
use crate::connection::{Failure, request};

/// The Lease's name.
const LEASE: &str = "xcc";
/// For how long a lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// Who could not renew it for this long stops leading: well before anybody else may begin.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the lease is looked at and renewed.
const PERIOD: Duration = Duration::from_secs(2);
/// Longest duration that another holder's lease is respected for, in seconds.
const FOREIGN_DURATION_MAX: u64 = 300;
/// How long giving it back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Takes part in the election until the shutdown, and says whether we lead.
pub(super) async fn run(
    cluster: &ImportingCluster,
    identity: &str,
    leads: &watch::Sender<bool>,
    shutdown: &CancellationToken,
) {
    let mut elector = Elector { cluster, identity, seen: None, renewed: None, failing: false };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = elector.round(leads) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep(PERIOD) => {}
        }
    }
    let led = leads.send_replace(false);
    if led {
        // Others need not wait for it to expire.
        let _ = timeout(RELEASE_TIMEOUT, elector.release()).await;
    }
}

struct Elector<'a> {
    cluster: &'a ImportingCluster,
    identity: &'a str,
    /// The lease as it was last seen to change, and when.
    seen: Option<(String, Instant)>,
    renewed: Option<Instant>,
    failing: bool,
}

impl Elector<'_> {
    async fn round(&mut self, leads: &watch::Sender<bool>) {
        let patience = match self.renewed {
            Some(renewed) => (renewed + DEADLINE).saturating_duration_since(Instant::now()),
            None => DEADLINE,
        };
        // The time of a renewal is that of its beginning: the lease counts from then at the latest.
        let started = Instant::now();
        match timeout(patience, self.attempt()).await.unwrap_or(Err(Failure::TimedOut(patience))) {
            Ok(true) => {
                self.failing = false;
                self.renewed = Some(started);
            }
            Ok(false) => {
                self.failing = false;
                self.renewed = None;
            }
            Err(failure) => {
                if !std::mem::replace(&mut self.failing, true) {
                    warn!("lease {LEASE}: {failure}; {}", failure.advice("Leases"));
                }
                if self.renewed.is_some_and(|renewed| renewed.elapsed() >= DEADLINE) {
                    self.renewed = None;
                }
            }
        }
        leads.send_if_modified(|leads| {
            let now = self.renewed.is_some();
            if *leads != now {
                info!(identity = self.identity, leads = now, "leadership changed");
            }
            std::mem::replace(leads, now) != now
        });
    }

    /// Takes or renews the lease if that is ours to do. Returns whether we hold it.
    async fn attempt(&mut self) -> Result<bool, Failure> {
        let connection = &self.cluster.connection;
        let path = self.path();
        let now = Instant::now();
        let answer = match connection
            .json::<Value>(request(Method::GET, &self.object(), "application/json", None))
            .await
        {
            Err(failure) if failure.code() == Some(404) => None,
            answer => Some(answer?),
        };
        let write = match decide(answer.as_ref(), self.identity, &mut self.seen, now) {
            Decision::Wait => return Ok(false),
            Decision::Create => {
                request(Method::POST, &path, "application/json", Some(&self.lease(None, true)))
            }
            Decision::Take | Decision::Renew => {
                let lease = self.lease(answer.as_ref(), true);
                request(Method::PUT, &self.object(), "application/json", Some(&lease))
            }
        };
        match connection.json::<Value>(write).await {
            Ok(_) => Ok(true),
            // Somebody else was faster.
            Err(failure) if failure.code() == Some(409) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn release(&self) -> Result<(), Failure> {
        let connection = &self.cluster.connection;
        let get = request(Method::GET, &self.object(), "application/json", None);
        let lease = connection.json::<Value>(get).await?;
        if lease["spec"]["holderIdentity"] == self.identity {
            let lease = self.lease(Some(&lease), false);
            connection.bytes(request(Method::PUT, &self.object(), "application/json", Some(&lease))).await?;
        }
        Ok(())
    }

    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.cluster.namespace)
    }

    fn object(&self) -> String {
        format!("{}/{LEASE}", self.path())
    }

    /// The lease as we write it, on top of what it is: held, or given back.
    fn lease(&self, before: Option<&Value>, held: bool) -> Value {
        let now = format!("{:.6}", Timestamp::now());
        let spec = before.map_or(&Value::Null, |lease| &lease["spec"]);
        let ours = spec["holderIdentity"] == self.identity;
        let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0);
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": self.cluster.namespace},
            "spec": {
                "holderIdentity": if held { self.identity } else { "" },
                "leaseDurationSeconds": if held { DURATION.as_secs() } else { 1 },
                "acquireTime": if ours { spec["acquireTime"].clone() } else { json!(now) },
                "renewTime": now,
                "leaseTransitions": if ours || before.is_none() { transitions } else { transitions.saturating_add(1) },
            },
        });
        if let Some(before) = before {
            lease["metadata"] = before["metadata"].clone();
        }
        lease
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Create,
    Take,
    Renew,
    Wait,
}

/// Decides what to do about a lease. Pure but for what was `seen` before.
fn decide(
    lease: Option<&Value>,
    identity: &str,
    seen: &mut Option<(String, Instant)>,
    now: Instant,
) -> Decision {
    let Some(lease) = lease else { return Decision::Create };
    let spec = &lease["spec"];
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    if holder == identity {
        return Decision::Renew;
    }
    if holder.is_empty() {
        return Decision::Take;
    }
    let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if seen.as_ref().is_none_or(|(before, _)| before != version) {
        *seen = Some((version.to_owned(), now));
    }
    let seconds = spec["leaseDurationSeconds"].as_u64().unwrap_or(DURATION.as_secs());
    let expires = Duration::from_secs(seconds.min(FOREIGN_DURATION_MAX));
    match seen {
        Some((_, since)) if now >= *since + expires => Decision::Take,
        _ => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::{FakeApi, Fault};

    const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/xcc/leases/xcc";

    #[tokio::test]
    async fn a_lease_of_another_holds_from_when_it_was_seen_to_change() {
        let lease = |version: &str, holder: &str| {
            json!({
                "metadata": {"resourceVersion": version},
                // A clock of another machine: it does not count.
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "1970-01-01T00:00:00Z"},
            })
        };
        let (mut seen, start) = (None, Instant::now());
        let mut at = |lease: Option<Value>, seconds| {
            decide(lease.as_ref(), "me", &mut seen, start + Duration::from_secs(seconds))
        };
        assert_eq!(at(None, 0), Decision::Create);
        assert_eq!(at(Some(lease("1", "me")), 0), Decision::Renew);
        assert_eq!(at(Some(lease("1", "")), 0), Decision::Take);
        assert_eq!(at(Some(lease("2", "you")), 0), Decision::Wait);
        assert_eq!(at(Some(lease("2", "you")), 14), Decision::Wait);
        assert_eq!(at(Some(lease("3", "you")), 15), Decision::Wait);
        assert_eq!(at(Some(lease("3", "you")), 29), Decision::Wait);
        assert_eq!(at(Some(lease("3", "you")), 30), Decision::Take);
    }

    struct Replica {
        leads: watch::Receiver<bool>,
        shutdown: CancellationToken,
    }

    fn replica(api: &FakeApi, identity: &'static str) -> Replica {
        let cluster = ImportingCluster::with_connection(api.connection(), "xcc");
        let (sender, leads) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        tokio::spawn(async move { run(&cluster, identity, &sender, &token).await });
        Replica { leads, shutdown }
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_leads_and_the_other_follows_at_once_when_it_stops() {
        let api = FakeApi::new();
        let mut first = replica(&api, "first");
        first.leads.wait_for(|leads| *leads).await.unwrap();
        let mut second = replica(&api, "second");
        api.requested(&format!("GET {PATH}"), 20).await;
        assert!(*first.leads.borrow() && !*second.leads.borrow());
        let stopped = Instant::now();
        first.shutdown.cancel();
        second.leads.wait_for(|leads| *leads).await.unwrap();
        assert!(stopped.elapsed() <= Duration::from_secs(3));
        assert_eq!(api.get(PATH).unwrap()["spec"]["leaseTransitions"], 1);
        second.shutdown.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_renew_stops_before_another_may_begin() {
        for fault in [Fault::Status(500), Fault::Hang] {
            let api = FakeApi::new();
            let mut leader = replica(&api, "leader");
            leader.leads.wait_for(|leads| *leads).await.unwrap();
            let since = Instant::now();
            api.outage(&format!("GET {PATH}"), Some(fault));
            leader.leads.wait_for(|leads| !*leads).await.unwrap();
            assert!(since.elapsed() < DURATION, "{:?}", since.elapsed());
            api.outage(&format!("GET {PATH}"), None);
            leader.leads.wait_for(|leads| *leads).await.unwrap();
            leader.shutdown.cancel();
        }
    }
}
