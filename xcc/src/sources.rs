//! Where remotes are read from, by the flags.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use xcc_kube::DirectorySource;
use xcc_kube::session::{HealthBoard, KubeconfigSource};
use xcc_model::{Remote, RemoteName, Update};

use crate::cli::{RemoteArg, RemoteSource};
use crate::vital::Vital;

/// A remote that was named by a flag, checked and not yet followed.
pub(crate) enum Source {
    Directory(Box<DirectorySource>),
    Kubeconfig(Box<KubeconfigSource>),
}

/// Whether what an earlier process knew of a remote is compared with what its API server lists. Directories have none.
pub(crate) fn has_api_server(remote: &RemoteName, flags: &[RemoteArg], kubernetes: bool) -> bool {
    match flags.iter().find(|flag| flag.name == *remote) {
        Some(flag) => matches!(flag.source, RemoteSource::Kubeconfig { .. }),
        None => kubernetes,
    }
}

/// Checks everything that can be wrong with what the flags name. What an earlier process knew of a remote is taken out of
/// `known` by its source; `is_recalled` tells of which remotes there is anything.
pub(crate) fn open(
    remotes: &[RemoteArg],
    health: &HealthBoard,
    known: &mut BTreeMap<RemoteName, Remote>,
    is_recalled: impl Fn(&RemoteName) -> bool,
) -> anyhow::Result<Vec<Source>> {
    let mut names = BTreeSet::new();
    for remote in remotes {
        ensure!(names.insert(&remote.name), "--remote {}: the name is given twice", remote.name);
    }
    let open = |remote: &RemoteArg| {
        let known = known.remove(&remote.name).unwrap_or_default();
        Source::open(remote, health, known, is_recalled(&remote.name))
            .with_context(|| format!("--remote {}", remote.name))
    };
    remotes.iter().map(open).collect()
}

impl Source {
    fn open(
        remote: &RemoteArg,
        health: &HealthBoard,
        known: Remote,
        is_recalled: bool,
    ) -> anyhow::Result<Self> {
        let name = remote.name.clone();
        Ok(match &remote.source {
            RemoteSource::Directory(path) => {
                let source = DirectorySource::open(name, path.clone())?;
                Self::Directory(Box::new(if is_recalled { source.in_background() } else { source }))
            }
            RemoteSource::Kubeconfig { path, context } => {
                let source = KubeconfigSource::open(name, path.clone(), context.clone())?;
                Self::Kubeconfig(Box::new(source.with_health(health.clone()).with_known(known)))
            }
        })
    }

    /// Whose source it is.
    pub(crate) fn remote(&self) -> &RemoteName {
        match self {
            Self::Directory(source) => source.remote(),
            Self::Kubeconfig(source) => source.remote(),
        }
    }

    /// Tells of the remote until shutdown, as one of the vital parts.
    pub(crate) fn spawn(self, updates: mpsc::Sender<Update>, vital: &Vital) {
        vital.spawn(format!("source of {}", self.remote()), self.run(updates, vital.shutdown()));
    }

    async fn run(self, updates: mpsc::Sender<Update>, shutdown: CancellationToken) {
        match self {
            Self::Directory(source) => source.run(updates, shutdown).await,
            Self::Kubeconfig(source) => source.run(updates, shutdown).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_source_that_ends_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let flag = format!("east=dir:{}", directory.path().display()).parse().unwrap();
        let mut sources = open(&[flag], &HealthBoard::default(), &mut BTreeMap::new(), |_| false).unwrap();
        let vital = Vital::new(CancellationToken::new());
        let (updates, mut inbox) = mpsc::channel(1);
        sources.pop().unwrap().spawn(updates, &vital);
        inbox.recv().await.unwrap();
        assert!(!vital.failed().is_cancelled());
        // A source has nothing to do once nobody takes its updates.
        drop(inbox);
        std::fs::write(directory.path().join("node.yaml"), "kind: Node").unwrap();
        tokio::time::timeout(Duration::from_secs(60), vital.failed().cancelled()).await.unwrap();
    }
}
