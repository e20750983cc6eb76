//! Which manifest files a directory has. Reads names and metadata, no contents.
//!
//! Sub-directories are walked in the order of their names, each directory once however many symbolic links lead to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Most directories that are walked and watched; each takes one of the host's inotify watches.
const DIRECTORIES_MAX: usize = 1_000;
/// Most files that are read.
pub(super) const FILES_MAX: usize = 10_000;
/// Most files that are listed; which of them are read is decided elsewhere.
const FILES_LISTED_MAX: usize = 100_000;
/// Deepest sub-directory.
const DEPTH_MAX: usize = 16;
/// File systems keep times in steps of some milliseconds, so a file that is written twice within one looks unchanged.
const TIME_STEP: Duration = Duration::from_millis(50);

/// What identifies a directory: device and inode.
pub(super) type DirectoryId = (u64, u64);

/// The state of a file as far as metadata tell it: when this is equal, so are the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// The path is a symbolic link; the rest is about what it leads to.
    pub(super) is_link: bool,
    /// Hard links to the file.
    pub(super) links: u64,
}

/// What a directory has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Manifest files by their path below the root.
    pub(super) files: BTreeMap<PathBuf, Fingerprint>,
    /// The directories that were walked, by absolute path.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Directories that could not be read, by their path below the root: what is in them is not known.
    pub(super) unreadable: BTreeMap<PathBuf, io::Error>,
    /// Directories that were left out since there are too many, or too many files, or they are too deep.
    pub(super) left_out: BTreeSet<PathBuf>,
}

impl Listing {
    /// Whether a file that is not listed is there nowhere, rather than in a directory that was not listed completely.
    pub(super) fn lacks(&self, path: &Path) -> bool {
        let unknown = |directory: &PathBuf| path.starts_with(directory);
        !self.files.contains_key(path)
            && !self.unreadable.keys().any(unknown)
            && !self.left_out.iter().any(unknown)
    }
}

impl Fingerprint {
    /// Of what is at the path now: of the file that a symbolic link leads to, or of the link when it leads nowhere.
    /// An error other than `NotFound` is one of the directory.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let link = fs::symlink_metadata(path)?;
        let is_link = link.is_symlink();
        let target = if is_link { fs::metadata(path).unwrap_or(link) } else { link };
        Ok(Self::new(&target, is_link))
    }

    fn new(metadata: &Metadata, is_link: bool) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            is_link,
            links: metadata.nlink(),
        }
    }

    /// Whether both are the same file, whatever it holds.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether contents and attributes have been as they are for so long, by the system's clock.
    pub(super) fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
            return true;
        };
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        now.duration_since(time).is_ok_and(|since| since >= age)
    }

    /// Whether a later write may leave an equal fingerprint.
    pub(super) fn is_ambiguous(&self, now: SystemTime) -> bool {
        !self.is_older_than(TIME_STEP, now)
    }
}

/// Whether a file of that name is taken: `.yaml`, `.yml` and `.json`, but nothing hidden. What editors leave beside a
/// file while they save it (`4913`, `.a.yaml.swp`, `a.yaml~`, `#a.yaml#`, `a.yaml.tmp`) ends differently or is hidden.
pub(super) fn is_manifest(path: &Path) -> bool {
    let has_extension = path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
    has_extension && !is_hidden(path)
}

/// Whether the last component of the path starts with a dot.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Lists a directory. `enter` is called for each directory before it is read, so that a watch that it sets sees
/// everything that the listing does not. A root that cannot be read is in `unreadable` as the empty path.
pub(super) fn scan(root: &Path, enter: &mut dyn FnMut(&Path, DirectoryId)) -> Listing {
    let mut listing = Listing::default();
    let mut seen = BTreeSet::new();
    let mut ahead = vec![(PathBuf::new(), 0)];
    while let Some((directory, depth)) = ahead.pop() {
        let full = listing.directories.len() >= DIRECTORIES_MAX || listing.files.len() >= FILES_LISTED_MAX;
        if depth > DEPTH_MAX || full {
            listing.left_out.insert(directory);
            continue;
        }
        let path = if depth == 0 { root.to_owned() } else { root.join(&directory) };
        let listed = fs::metadata(&path).and_then(|metadata| {
            let id = (metadata.dev(), metadata.ino());
            if !seen.insert(id) {
                return Ok(Vec::new());
            }
            enter(&path, id);
            listing.directories.insert(path.clone());
            list(&path, &directory, &mut listing.files)
        });
        if listing.files.len() >= FILES_LISTED_MAX {
            listing.left_out.insert(directory.clone());
        }
        match listed {
            // The stack gives the last one first.
            Ok(below) => ahead.extend(below.into_iter().rev().map(|below| (below, depth + 1))),
            // A sub-directory that is gone by now is no error; without the root nothing is known.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => {}
            Err(error) => {
                listing.unreadable.insert(directory, error);
            }
        }
    }
    listing
}

/// Lists one directory: files into `files`, sub-directories, sorted, as the result.
fn list(
    path: &Path,
    directory: &Path,
    files: &mut BTreeMap<PathBuf, Fingerprint>,
) -> io::Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = directory.join(entry.file_name());
        if is_hidden(&name) || files.len() >= FILES_LISTED_MAX {
            continue;
        }
        // What vanishes meanwhile is not there. A link that leads nowhere is, and is reported when it is read.
        let Ok(link) = entry.metadata() else { continue };
        let is_link = link.is_symlink();
        let target = if is_link { fs::metadata(entry.path()).unwrap_or(link) } else { link };
        if target.is_dir() {
            below.push(name);
        } else if (target.is_file() || target.is_symlink()) && is_manifest(&name) {
            files.insert(name, Fingerprint::new(&target, is_link));
        }
    }
    below.sort();
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(root: &Path) -> Vec<String> {
        let listing = scan(root, &mut |_, _| {});
        assert!(listing.unreadable.is_empty(), "{:?}", listing.unreadable);
        listing.files.keys().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn manifests_are_taken_and_what_editors_leave_is_not() {
        for name in ["a.yaml", "a.yml", "a.json", "a.b.yaml", "sub/a.yaml", "#a.yaml"] {
            assert!(is_manifest(Path::new(name)), "{name}");
        }
        for name in [
            ".a.yaml",
            "sub/.a.yaml",
            "a.yaml~",
            "#a.yaml#",
            ".#a.yaml",
            ".a.yaml.swp",
            "a.yaml.swp",
            "a.yaml.tmp",
            "4913",
            "yaml",
            ".yaml",
            "a.YAML.bak",
            "sedAbCdE",
            "a.yaml.AbCdEf",
            "a.txt",
        ] {
            assert!(!is_manifest(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn sub_directories_are_walked_but_not_hidden_ones() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["b/c", ".git", "a", "x.yaml"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for file in ["z.yaml", "b/c/1.json", "b/2.yml", "a/3.yaml", ".git/4.yaml", "x.yaml/5.yaml", "6.txt"] {
            fs::write(root.path().join(file), "x").unwrap();
        }
        assert_eq!(names(root.path()), ["a/3.yaml", "b/2.yml", "b/c/1.json", "x.yaml/5.yaml", "z.yaml"]);
    }

    #[test]
    fn symlink_loops_end_and_a_directory_is_walked_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("real")).unwrap();
        fs::write(root.path().join("real/a.yaml"), "x").unwrap();
        symlink("..", root.path().join("real/up")).unwrap();
        symlink("real", root.path().join("zlink")).unwrap();
        symlink("self.yaml", root.path().join("self.yaml")).unwrap();
        assert_eq!(names(root.path()), ["real/a.yaml", "self.yaml"]);
    }

    #[test]
    fn the_walk_is_bounded_in_depth_and_in_directories() {
        let root = tempfile::tempdir().unwrap();
        let deep: PathBuf = (0..DEPTH_MAX + 3).map(|_| "d").collect();
        fs::create_dir_all(root.path().join(deep)).unwrap();
        let listing = scan(root.path(), &mut |_, _| {});
        assert_eq!((listing.directories.len(), listing.left_out.len()), (DEPTH_MAX + 1, 1));

        let root = tempfile::tempdir().unwrap();
        for index in 0..DIRECTORIES_MAX {
            fs::create_dir(root.path().join(index.to_string())).unwrap();
        }
        let listing = scan(root.path(), &mut |_, _| {});
        assert_eq!((listing.directories.len(), listing.left_out.len()), (DIRECTORIES_MAX, 1));
    }

    #[test]
    fn a_missing_root_is_unreadable_and_not_empty() {
        let root = tempfile::tempdir().unwrap();
        let listing = scan(&root.path().join("missing"), &mut |_, _| {});
        assert_eq!(listing.unreadable.keys().collect::<Vec<_>>(), [Path::new("")]);
    }

    #[test]
    fn a_fingerprint_follows_links_and_tells_ages() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("a.yaml"), root.path().join("b.yaml"));
        fs::write(&file, "x").unwrap();
        symlink("a.yaml", &link).unwrap();
        let (of_file, of_link) = (Fingerprint::of(&file).unwrap(), Fingerprint::of(&link).unwrap());
        assert!(of_link.is_link && Fingerprint { is_link: false, ..of_link } == of_file);
        let later = SystemTime::now() + Duration::from_secs(10);
        assert!(of_file.is_older_than(Duration::from_secs(1), later) && !of_file.is_ambiguous(later));
        assert!(!of_file.is_older_than(Duration::from_secs(20), later));
        assert_eq!(Fingerprint::of(&root.path().join("c")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
