//! The root of a container, as arguments of bubblewrap. Pure.
//!
//! The root itself is a small tmpfs: the machine's programs and libraries are below it, read-only, then the image's
//! files, the Pod's `/etc` files and the volumes. Nothing else of the machine is to be seen. With a read-only root
//! the tmpfs is sealed last, so that only volumes can be written to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::images::Image;

/// A volume's place in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it is in the container.
    pub target: String,
    /// It cannot be written to.
    pub read_only: bool,
}

/// What the machine gives to every container, where it has it.
const BASE: [&str; 8] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ssl",
];

/// What container runtimes give to `/dev/shm`.
const SHARED_MEMORY_BYTES: &str = "67108864";

/// What scripts expect in `/bin` when the image has files of its own there.
const BIN: [&str; 4] = ["sh", "cat", "ls", "sleep"];

/// The Pod's own files below `/etc`.
pub const POD_FILES: [&str; 6] = ["group", "hostname", "hosts", "nsswitch.conf", "passwd", "resolv.conf"];

/// The arguments of `bwrap` for a container, up to its command.
pub fn arguments(image: &Image, pod_files: &Path, mounts: &[Mount], read_only: bool) -> Vec<String> {
    let mut arguments = Arguments::default();
    // The process ids, the System V objects and the host name are the container's own; the network is the Pod's.
    arguments.add(&["--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]);
    let image_files = image.files.iter().map(|(_source, target)| *target);
    let targets = BASE.into_iter().chain(image_files).chain(mounts.iter().map(|mount| mount.target.as_str()));
    for folder in parents(targets) {
        arguments.add(&["--dir", &folder]);
    }
    for path in BASE {
        arguments.add(&["--ro-bind-try", path, path]);
    }
    for (link, target) in [("/lib", "usr/lib"), ("/lib64", "usr/lib64"), ("/sbin", "usr/sbin")] {
        arguments.add(&["--symlink", target, link]);
    }
    if image.files.iter().any(|(_source, target)| target.starts_with("/bin/")) {
        BIN.iter().for_each(|name| {
            arguments.add(&["--symlink", &format!("../usr/bin/{name}"), &format!("/bin/{name}")])
        });
    } else {
        arguments.add(&["--symlink", "usr/bin", "/bin"]);
    }
    arguments.add(&["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--dir", "/tmp"]);
    // Writable whatever the root is, as container runtimes have it.
    arguments.add(&["--perms", "1777", "--size", SHARED_MEMORY_BYTES, "--tmpfs", "/dev/shm"]);
    for folder in ["/run", "/var/run", "/var/tmp"].iter().chain(image.folders) {
        arguments.add(&["--dir", folder]);
    }
    for (source, target) in &image.files {
        arguments.add(&["--ro-bind", &source.display().to_string(), target]);
    }
    for name in POD_FILES {
        arguments.add(&["--ro-bind", &pod_files.join(name).display().to_string(), &format!("/etc/{name}")]);
    }
    let mut mounts: Vec<_> = mounts.iter().collect();
    // An outer volume comes before one inside it.
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    for mount in mounts {
        let bind = if mount.read_only { "--ro-bind" } else { "--bind" };
        arguments.add(&[bind, &mount.source.display().to_string(), &mount.target]);
    }
    if read_only {
        arguments.add(&["--remount-ro", "/"]);
    }
    arguments.0
}

/// The folders above all targets, outermost first. Those that bubblewrap would make by itself are for root only.
fn parents<'a>(targets: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let above =
        |target: &'a str| Path::new(target).ancestors().skip(1).map(|path| path.display().to_string());
    targets.flat_map(above).filter(|folder| folder.len() > 1).collect()
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, arguments: &[&str]) {
        self.0.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_from_the_outside_in() {
        let folders: Vec<_> = parents(["/var/run/secrets/x", "/etc/y"].into_iter()).into_iter().collect();
        assert_eq!(folders, ["/etc", "/var", "/var/run", "/var/run/secrets"]);
    }

    #[test]
    fn a_read_only_root_is_sealed_after_all_mounts() {
        let image = Image { files: vec![], entrypoint: &[], command: &[], user: 0, folders: &[] };
        let mount = |target: &str| Mount { source: "v".into(), target: target.to_owned(), read_only: false };
        let arguments = arguments(&image, Path::new("pod"), &[mount("/data/inner"), mount("/data")], true);
        assert_eq!(arguments[arguments.len() - 2..], ["--remount-ro", "/"]);
        let at = |wanted: &str| arguments.iter().position(|argument| argument == wanted).unwrap();
        assert!(at("/data") < at("/data/inner"));
    }
}
