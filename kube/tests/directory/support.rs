//! A directory that is followed by a real watcher, and what was told of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xcc_kube::{DirectorySource, read_once};
use xcc_model::{Change, Inventory, Remote, RemoteName, Update};

/// How long a test waits for what must come: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Followed {
    /// The parent, so that the directory itself can be moved away.
    pub(crate) parent: TempDir,
    pub(crate) root: PathBuf,
    pub(crate) inventory: Inventory,
    /// The exports after each update, as `exports` has them.
    pub(crate) history: Vec<BTreeMap<String, String>>,
    updates: mpsc::Receiver<Update>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    markers: u32,
}

pub(crate) fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

/// An exported HTTPProxy as a YAML document.
pub(crate) fn proxy(name: &str, fqdn: &str) -> String {
    format!(
        "---\napiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata:\n  name: {name}\n  labels:\n    \
         connectivity.tanzu.vmware.com/export: ''\nspec:\n  virtualhost:\n    fqdn: {fqdn}\n    tls:\n      \
         secretName: {name}\n"
    )
}

pub(crate) fn node(name: &str, ip: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, status: {{conditions: [{{type: Ready, status: \
         'True'}}], addresses: [{{type: InternalIP, address: {ip}}}]}}}}\n"
    )
}

/// What a fresh reading of the directory gives.
pub(crate) fn read(root: &Path) -> Remote {
    let mut inventory = Inventory::default();
    inventory.apply(Update { remote: remote(), changes: read_once(&remote(), &[root]).unwrap() });
    inventory.remotes()[&remote()].clone()
}

/// `namespace/name` to the host name, or to the reason why it is refused.
pub(crate) fn exports(remote: &Remote) -> BTreeMap<String, String> {
    let text =
        |(key, export): (&xcc_model::ExportKey, &Result<xcc_model::ServiceExport, xcc_model::Diagnostic>)| {
            let value =
                export.as_ref().map_or_else(|it| format!("{:?}", it.reason), |it| it.hostname.to_string());
            (key.name.to_string(), value)
        };
    remote.exports.iter().map(text).collect()
}

impl Followed {
    /// Follows a directory that has these files; returns once it told everything.
    pub(crate) async fn new(files: &[(&str, &str)]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("remote");
        fs::create_dir(&root).unwrap();
        for (name, text) in files {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        Self::follow(parent, root).await
    }

    pub(crate) async fn follow(parent: TempDir, root: PathBuf) -> Self {
        let source = DirectorySource::open(remote(), root.clone()).unwrap();
        // One place only: a slow receiver must not lose anything.
        let (sender, updates) = mpsc::channel(1);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(source.run(sender, shutdown.clone()));
        let (inventory, history) = (Inventory::default(), Vec::new());
        let mut followed = Self { parent, root, inventory, history, updates, shutdown, task, markers: 0 };
        let changes = followed.next().await;
        assert!(changes.iter().any(|it| matches!(it, Change::Settings(_))), "{changes:?}");
        assert_eq!(changes.last(), Some(&Change::Synced));
        followed
    }

    /// Waits for the next update.
    pub(crate) async fn next(&mut self) -> Vec<Change> {
        let update =
            tokio::time::timeout(PATIENCE, self.updates.recv()).await.expect("an update").expect("running");
        let changes = update.changes.clone();
        assert!(self.inventory.apply(update).any(), "an update that changes nothing: {changes:?}");
        self.history.push(exports(self.remote()));
        changes
    }

    /// Takes updates until what was told is as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Remote) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wanted(self.remote()) {
            match tokio::time::timeout_at(deadline, self.updates.recv()).await {
                Ok(Some(update)) => {
                    self.inventory.apply(update);
                    self.history.push(exports(self.remote()));
                }
                _ => panic!("{what}: {:#?}", self.remote()),
            }
        }
    }

    pub(crate) async fn until_export(&mut self, name: &str, fqdn: &str) {
        self.until(&format!("{name} is {fqdn}"), |it| exports(it).get(name).is_some_and(|it| it == fqdn))
            .await;
    }

    pub(crate) async fn until_gone(&mut self, name: &str) {
        self.until(&format!("{name} is gone"), |it| !exports(it).contains_key(name)).await;
    }

    pub(crate) async fn until_problem(&mut self, place: &str) -> String {
        self.until(&format!("a problem at {place}"), |it| it.problems.contains_key(place)).await;
        self.remote().problems[place].message.clone()
    }

    pub(crate) async fn until_no_problem(&mut self) {
        self.until("no problem", |it| it.problems.is_empty()).await;
    }

    /// Changes some other file and waits until that is told: everything that happened before has been looked at.
    pub(crate) async fn pass(&mut self) {
        self.markers += 1;
        let fqdn = format!("marker-{}.xcc.test", self.markers);
        let unfinished = self.parent.path().join("marker");
        fs::write(&unfinished, proxy("marker", &fqdn)).unwrap();
        fs::rename(unfinished, self.root.join("marker.yaml")).unwrap();
        self.until_export("marker", &fqdn).await;
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.inventory.remotes()[&remote()]
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.root.join(name), text).unwrap();
    }

    /// Writes a file beside it and moves it into place.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let unfinished = self.root.join(format!("{name}.tmp"));
        fs::write(&unfinished, text).unwrap();
        fs::rename(unfinished, self.root.join(name)).unwrap();
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.root.join(from), self.root.join(to)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.root.join(name)).unwrap();
    }

    /// In every state that was told, the export was there.
    pub(crate) fn assert_never_gone(&self, name: &str) {
        for state in &self.history {
            assert!(state.contains_key(name), "{name} was gone: {:#?}", self.history);
        }
    }

    /// Stops the source and waits for its end.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("an end").unwrap();
    }
}
