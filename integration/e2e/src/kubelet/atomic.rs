//! Volumes that change in one step, in the layout that the kubelet gives them.
//!
//! Files are links through `..data`, itself a link to a folder with a time stamp: renaming a new `..data` over the
//! old one changes all files at once, and a reader that follows one link sees one generation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context, Result};

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// The files of a volume, by their paths relative to it.
pub type Payload = BTreeMap<String, File>;

/// The link that is renamed.
const DATA: &str = "..data";

/// Writes a generation of a volume. The folder must exist; `generation` must differ from the last one's; `group`
/// is the Pod's fsGroup, which gets what the owner has, but writing.
///
/// # Errors
/// When the files cannot be written; readers then see the generation before.
pub fn write(folder: &Path, generation: &str, payload: &Payload, group: Option<u32>) -> Result<()> {
    let data = folder.join(format!("..{generation}"));
    fs::create_dir(&data).with_context(|| format!("cannot make {}", data.display()))?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        write_file(&data.join(path), file, group)?;
    }
    let before = fs::read_link(folder.join(DATA)).ok();
    let staged = folder.join("..data_tmp");
    let _absent = fs::remove_file(&staged);
    symlink(format!("..{generation}"), &staged)?;
    fs::rename(&staged, folder.join(DATA)).with_context(|| format!("cannot change {}", folder.display()))?;
    link_names(folder, payload)?;
    if let Some(before) = before {
        let _gone = fs::remove_dir_all(folder.join(before));
    }
    Ok(())
}

fn write_file(path: &Path, file: &File, group: Option<u32>) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let mode = match group {
        Some(group) => {
            std::os::unix::fs::chown(path, None, Some(group))?;
            file.mode | 0o440
        }
        None => file.mode,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("cannot set a mode")
}

/// The first parts of the paths become links through `..data`; those that no file needs any more go.
fn link_names(folder: &Path, payload: &Payload) -> Result<()> {
    let names: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(name.as_ref()) {
            fs::remove_file(folder.join(name.as_ref()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o644 };
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    #[test]
    fn a_new_generation_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one", &payload(&[("tls.crt", "old"), ("deep/er", "x")]), None).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("deep/er")).unwrap(), "x");
        write(folder.path(), "two", &payload(&[("tls.crt", "new"), ("ca.crt", "y")]), None).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("tls.crt")).unwrap(), "new");
        assert_eq!(fs::read_to_string(folder.path().join("ca.crt")).unwrap(), "y");
        assert!(!folder.path().join("deep").exists());
        assert!(!folder.path().join("..one").exists());
        assert_eq!(fs::read_link(folder.path().join("tls.crt")).unwrap(), Path::new("..data/tls.crt"));
    }

    #[test]
    fn modes_are_the_volumes() {
        let folder = tempfile::tempdir().unwrap();
        let secret = File { bytes: b"key".to_vec(), mode: 0o400 };
        write(folder.path(), "one", &Payload::from([("tls.key".to_owned(), secret)]), None).unwrap();
        let mode = fs::metadata(folder.path().join("tls.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }
}
