use std::sync::{Arc, Mutex};

use serde_json::json;
use xcc_model::Change;

use super::*;
use crate::fake_api::{FakeApi, Fault};
use crate::importing::kinds::own_path;
use crate::importing::shared_state::tests::{COLLECTION, FORMAT, api, shared};

fn remote(name: &str) -> RemoteName {
    RemoteName::parse(name).unwrap()
}

/// What is known of remotes of these names.
fn state(names: &[&str]) -> Vec<Update> {
    let update = |name: &&str| Update {
        remote: remote(name),
        changes: vec![Change::Settings(Ok(Default::default())), Change::Nodes(Default::default())],
    };
    names.iter().map(update).collect()
}

/// More than fits into a set of the tests' size.
fn large() -> Vec<Update> {
    let names: Vec<String> = (0_u64..60).map(|n| format!("r{:x}", xxh3_64(&n.to_le_bytes()))).collect();
    state(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A replica that keeps the state.
struct Replica {
    known: Arc<Mutex<Vec<Update>>>,
    changes: watch::Sender<u64>,
    leads: watch::Sender<bool>,
    keeping: watch::Receiver<Keeping>,
    shutdown: CancellationToken,
}

impl Replica {
    fn start(api: &FakeApi, leads: bool) -> Self {
        let (changes, changes_receiver) = watch::channel(0);
        let (leads, leads_receiver) = watch::channel(leads);
        let (keeping_sender, keeping) = watch::channel(Keeping::default());
        let (known, shutdown) = (Arc::<Mutex<Vec<Update>>>::default(), CancellationToken::new());
        let source = known.clone();
        let answer = move || std::future::ready(Some(source.lock().unwrap().clone()));
        let flags = BTreeSet::from([remote("flag")]);
        let keep = shared(api, FORMAT).keep(
            answer,
            changes_receiver,
            flags,
            leads_receiver,
            keeping_sender,
            shutdown.clone(),
        );
        tokio::spawn(keep);
        Self { known, changes, leads, keeping, shutdown }
    }

    fn knows(&self, state: Vec<Update>) {
        *self.known.lock().unwrap() = state;
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// How many states were written: each ends with a first part.
fn written(api: &FakeApi) -> usize {
    let is_first = |write: &&String| write.starts_with("PATCH") && write.ends_with("-0");
    api.writes().iter().filter(is_first).count()
}

async fn until_written(api: &FakeApi, times: usize) {
    api.settled(|api| written(api) >= times).await;
}

async fn kept(api: &FakeApi) -> Vec<Update> {
    shared(api, FORMAT).recall(Duration::from_secs(5)).await.unwrap_or_default()
}

/// Longer than anything that is still to come.
async fn quiet() {
    tokio::time::sleep(10 * RETRY_MAX).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_written_when_it_is_another_and_once_in_a_period() {
    let api = api();
    let replica = Replica::start(&api, true);
    quiet().await;
    assert_eq!(written(&api), 0, "nothing is known yet");
    let start = Instant::now();
    replica.knows(state(&["east"]));
    until_written(&api, 1).await;
    assert!(start.elapsed() < GATHER, "the first is not waited for");
    for names in [&["east", "west"][..], &["west"], &["north", "west"]] {
        replica.knows(state(names));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    until_written(&api, 2).await;
    assert!(start.elapsed() >= PERIOD && start.elapsed() < PERIOD + GATHER, "{:?}", start.elapsed());
    assert_eq!(kept(&api).await, state(&["north", "west"]));
    replica.knows(state(&["north", "west"]));
    quiet().await;
    assert_eq!(written(&api), 2, "it is the same");
    let start = Instant::now();
    replica.knows(state(&["west"]));
    until_written(&api, 3).await;
    assert!(start.elapsed() <= 2 * GATHER, "after a pause it is written soon");
}

#[tokio::test(start_paused = true)]
async fn only_who_leads_writes_and_not_what_is_there() {
    let api = api();
    let (first, second) = (Replica::start(&api, true), Replica::start(&api, false));
    for replica in [&first, &second] {
        replica.knows(state(&["east"]));
    }
    quiet().await;
    assert_eq!(written(&api), 1);
    first.leads.send_replace(false);
    second.leads.send_replace(true);
    quiet().await;
    assert_eq!(written(&api), 1, "the second knows the same");
    first.knows(state(&["west"]));
    quiet().await;
    assert_eq!(kept(&api).await, state(&["east"]));
    second.knows(state(&["west"]));
    quiet().await;
    first.leads.send_replace(true);
    second.leads.send_replace(false);
    first.knows(state(&["north"]));
    quiet().await;
    assert_eq!(kept(&api).await, state(&["north"]), "what others wrote in between does not count");
    assert_eq!(written(&api), 3);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_and_what_was_kept_stays() {
    let api = api();
    let mut replica = Replica::start(&api, true);
    replica.knows(state(&["east"]));
    until_written(&api, 1).await;
    for fault in [Fault::Status(500), Fault::Status(409), Fault::Hang] {
        let before = kept(&api).await;
        api.outage("PATCH", Some(fault));
        let failures = replica.keeping.borrow().failures;
        let name = format!("r{failures}");
        replica.knows(state(&[&name]));
        let failed = replica.keeping.wait_for(|keeping| keeping.failures >= failures + 3);
        failed.await.unwrap();
        assert_eq!(kept(&api).await, before);
        let writes = written(&api);
        api.outage("PATCH", None);
        until_written(&api, writes + 1).await;
        assert_eq!(kept(&api).await, state(&[&name]));
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_remote_that_is_not_known_what_was_kept_stays_until_it_is_gone() {
    let api = api();
    let clusters = own_path("xcc", "remoteclusters");
    for name in ["east", "west"] {
        api.put(&clusters, json!({"metadata": {"name": name}, "spec": {}}));
    }
    let before = Replica::start(&api, true);
    before.knows(state(&["east", "flag", "gone", "west"]));
    until_written(&api, 1).await;
    drop(before);
    // A new one that could not read it, and has heard of one remote only.
    let replica = Replica::start(&api, true);
    replica.knows(state(&["north"]));
    until_written(&api, 2).await;
    assert_eq!(kept(&api).await, state(&["east", "flag", "north", "west"]));
    api.delete(&clusters, "west");
    api.outage(&format!("GET {clusters}"), Some(Fault::Status(500)));
    replica.knows(state(&["east", "north"]));
    quiet().await;
    assert_eq!(written(&api), 2, "it is not known whether west is gone");
    api.outage(&format!("GET {clusters}"), None);
    quiet().await;
    assert_eq!(kept(&api).await, state(&["east", "flag", "north"]));
}

#[tokio::test(start_paused = true)]
async fn of_one_that_is_too_large_the_last_is_kept() {
    let api = api();
    let mut replica = Replica::start(&api, true);
    replica.knows(state(&["east"]));
    until_written(&api, 1).await;
    replica.knows(large());
    replica.keeping.wait_for(|keeping| keeping.too_large).await.unwrap();
    quiet().await;
    assert_eq!(kept(&api).await, state(&["east"]));
    assert_eq!(replica.keeping.borrow().failures, 0);
    replica.knows(state(&["east"]));
    replica.keeping.wait_for(|keeping| !keeping.too_large).await.unwrap();
    assert_eq!(written(&api), 1, "that is what is kept");
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_the_api_server_but_not_for_long() {
    let api = api();
    let shared = shared(&api, FORMAT);
    let limit = Duration::from_secs(5);
    assert_eq!(shared.recall(limit).await, None, "there is none yet");
    let replica = Replica::start(&api, true);
    replica.knows(state(&["east"]));
    until_written(&api, 1).await;
    for (fault, tries, waits) in
        [(Fault::Status(500), 10, true), (Fault::Hang, 1, true), (Fault::Status(403), 1, false)]
    {
        let (start, requests) = (Instant::now(), api.requests("GET"));
        api.outage(&format!("GET {COLLECTION}"), Some(fault));
        assert_eq!(shared.recall(limit).await, None);
        assert_eq!(start.elapsed() >= limit, waits);
        assert!(start.elapsed() <= limit && api.requests("GET") - requests >= tries);
        api.outage(&format!("GET {COLLECTION}"), None);
    }
    api.fail("GET", [Fault::Status(500), Fault::Cut]);
    assert_eq!(shared.recall(limit).await.unwrap(), state(&["east"]));
    api.put(COLLECTION, json!({"metadata": {"name": "xcc-state-a-0"}}));
    assert_eq!(shared.recall(limit).await, None, "somebody has emptied it");
}
