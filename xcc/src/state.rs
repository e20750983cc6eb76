//! The last good state, so that a start with every remote unreachable still serves what was known; and its files on disk. A
//! pod that has none starts from what replicas keep in the importing cluster ([`xcc_kube::importing::SharedState`]).
//!
//! A file holds what the remotes said (no secrets), with a checksum. It is replaced by an atomic rename; the one before
//! is kept, for the case that the newest turns out to be damaged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use xcc_model::{Inventory, Remote, RemoteName, Update};
use xxhash_rust::xxh3::xxh3_64;

const NEWEST: &str = "inventory.json";
const PREVIOUS: &str = "inventory.previous.json";
const UNFINISHED: &str = "inventory.unfinished.json";
/// Changes when older versions cannot read what this one writes, here or in the importing cluster.
pub(crate) const FORMAT: u32 = 1;

/// What was known when a process before this one ended.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    pub(crate) updates: Vec<Update>,
    /// Whether it was this process' own, up to its last second. What others have kept may be older: a minute, or as long as
    /// nobody could write it. It is served in place of a remote's own word only when that does not come in time.
    pub(crate) own: bool,
}

impl Recalled {
    /// Whether anything is known of a remote.
    pub(crate) fn has(&self, remote: &RemoteName) -> bool {
        self.updates.iter().any(|update| update.remote == *remote)
    }
}

/// The directory of `--state-dir`.
#[derive(Debug, Clone)]
pub(crate) struct StateDirectory {
    path: PathBuf,
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// xxh3 of all that follows the line, in hexadecimal.
    checksum: String,
}

impl StateDirectory {
    /// Makes the directory if it is not there.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the directory {} (--state-dir)", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// What was kept last. A damaged file is reported and passed over; the one before it is taken instead, and without
    /// any the start is as if nothing had been kept.
    pub(crate) fn load(&self) -> Vec<Update> {
        for name in [NEWEST, PREVIOUS] {
            let path = self.path.join(name);
            match read(&path) {
                Ok(Some(updates)) => {
                    info!(path = %path.display(), remotes = updates.len(), "the last known state is served until the remotes tell a newer one");
                    return updates;
                }
                Ok(None) => {}
                Err(error) => warn!(path = %path.display(), "a kept state cannot be used: {error:#}"),
            }
        }
        Vec::new()
    }

    /// Keeps this. What was kept before stays until the new file is whole and on disk.
    pub(crate) fn save(&self, updates: &[Update]) -> anyhow::Result<()> {
        let body = serde_json::to_vec(updates)?;
        let header = Header { format: FORMAT, checksum: checksum(&body) };
        let unfinished = self.path.join(UNFINISHED);
        write(&unfinished, &header, &body)
            .with_context(|| format!("cannot write {}", unfinished.display()))?;
        let newest = self.path.join(NEWEST);
        match fs::rename(&newest, self.path.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs::rename(&unfinished, &newest).with_context(|| format!("cannot rename to {}", newest.display()))?;
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

/// What was kept of those remotes that are wanted.
pub(crate) fn remotes(
    updates: &[Update],
    is_wanted: impl Fn(&RemoteName) -> bool,
) -> BTreeMap<RemoteName, Remote> {
    let mut inventory = Inventory::default();
    for update in updates.iter().filter(|update| is_wanted(&update.remote)) {
        inventory.apply(update.clone());
    }
    inventory.remotes().clone()
}

fn write(path: &Path, header: &Header, body: &[u8]) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    serde_json::to_writer(&mut file, header)?;
    file.write_all(b"\n")?;
    file.write_all(body)?;
    Ok(file.sync_all()?)
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<Update>>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { bail!("the file is cut short") };
    let header: Header = serde_json::from_slice(&bytes[..end]).context("the first line is damaged")?;
    ensure!(header.format == FORMAT, "the format is {}, this version reads {FORMAT}", header.format);
    let body = &bytes[end + 1..];
    ensure!(header.checksum == checksum(body), "the checksum does not fit: the file is damaged");
    Ok(Some(serde_json::from_slice(body)?))
}

fn checksum(body: &[u8]) -> String {
    format!("{:016x}", xxh3_64(body))
}

#[cfg(test)]
mod tests {
    use xcc_model::Change;

    use super::*;

    fn updates(remote: &str) -> Vec<Update> {
        vec![Update {
            remote: RemoteName::parse(remote).unwrap(),
            changes: vec![Change::Settings(Ok(Default::default()))],
        }]
    }

    fn directory() -> (tempfile::TempDir, StateDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("state")).unwrap();
        (directory, state)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (_directory, state) = directory();
        assert_eq!(state.load(), []);
        state.save(&updates("east")).unwrap();
        state.save(&updates("west")).unwrap();
        assert_eq!(state.load(), updates("west"));
    }

    #[test]
    fn problems_are_kept_too() {
        use xcc_model::{Diagnostic, ObjectKind, ObjectRef, Reason};
        let remote = RemoteName::parse("east").unwrap();
        let problem = |kind, namespace| Diagnostic {
            remote: remote.clone(),
            object: ObjectRef::new(kind, namespace, "a"),
            reason: Reason::Malformed,
            message: "2:1: nonsense".to_owned(),
        };
        let changes = [problem(ObjectKind::File, ""), problem(ObjectKind::HTTPProxy, "team")]
            .map(|problem| Change::Problem(problem.object.to_string(), Some(problem)))
            .into();
        let updates = vec![Update { remote: remote.clone(), changes }];
        let (_directory, state) = directory();
        state.save(&updates).unwrap();
        assert_eq!(state.load(), updates);
    }

    #[test]
    fn a_damaged_file_is_passed_over_for_the_one_before() {
        let (_directory, state) = directory();
        state.save(&updates("east")).unwrap();
        state.save(&updates("west")).unwrap();
        let newest = state.path.join(NEWEST);
        let whole = fs::read(&newest).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let newer =
            String::from_utf8(whole.clone()).unwrap().replace("\"format\":1", "\"format\":2").into_bytes();
        for damaged in [&flipped, &newer, &whole[..whole.len() / 2].to_vec(), &Vec::new(), &b"\n\n".to_vec()]
        {
            fs::write(&newest, damaged).unwrap();
            assert_eq!(state.load(), updates("east"));
        }
        fs::write(state.path.join(PREVIOUS), b"nonsense").unwrap();
        assert_eq!(state.load(), []);
    }

    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let (_directory, state) = directory();
        state.save(&updates("east")).unwrap();
        assert_eq!(fs::metadata(state.path.join(NEWEST)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
