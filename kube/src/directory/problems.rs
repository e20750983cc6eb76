//! What is wrong with a directory itself, by place. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use xcc_model::{Diagnostic, Reason, RemoteName};

use super::contents::file_diagnostic;
use super::follow::SCAN_INTERVAL;
use super::scan::{FILES_MAX, Listing};

/// What a scan could not do, by place.
pub(super) fn scan_problems(
    remote: &RemoteName,
    listing: &Listing,
    watch_problem: Option<&notify::Error>,
) -> BTreeMap<String, Diagnostic> {
    let mut problems = BTreeMap::new();
    for (path, error) in &listing.unreadable {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let message = format!(
            "directory {} cannot be read: {error}; what its files held before stays in force",
            path.display()
        );
        let problem = file_diagnostic(remote, path, Reason::Unreadable, message);
        problems.insert(path.display().to_string(), problem);
    }
    if let Some(path) = listing.left_out.first() {
        let message = format!(
            "{} directories are not read, {} is the first: there are too many of them, too many files, or they are too \
             deep",
            listing.left_out.len(),
            path.display()
        );
        let problem = file_diagnostic(remote, path, Reason::LimitExceeded, message);
        problems.insert("number of directories".to_owned(), problem);
    }
    if let Some(error) = watch_problem {
        let message = format!(
            "the directory cannot be watched: {error}; changes are noticed only every {} s; the host's limits are \
             fs.inotify.max_user_watches and max_user_instances",
            SCAN_INTERVAL.as_secs()
        );
        let problem = file_diagnostic(remote, Path::new("."), Reason::LimitExceeded, message);
        problems.insert("watching".to_owned(), problem);
    }
    problems
}

/// The place and the diagnostic of files over the limit.
pub(super) fn too_many_files(remote: &RemoteName) -> (String, Diagnostic) {
    let message =
        format!("there are more than {FILES_MAX} files: those that came later are not read; join some");
    let problem = file_diagnostic(remote, Path::new("."), Reason::LimitExceeded, message);
    ("number of files".to_owned(), problem)
}
