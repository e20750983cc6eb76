//! Processor time of running processes, in nanoseconds, from the scheduler's own accounts.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long the process and all its descendants have run on a processor. Threads that have ended do not count: measure
/// between two moments of which the later has no fewer threads.
pub fn time_of_tree(process: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for process in tree(process)? {
        sum += time_of(process)?;
    }
    Ok(sum)
}

/// Resident memory of the process and all its descendants, in octets.
pub fn memory_of_tree(process: u32) -> Result<u64> {
    let mut sum = 0;
    for process in tree(process)? {
        let status =
            fs::read_to_string(format!("/proc/{process}/status")).context("cannot read a process' memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes =
            line.and_then(|line| line.trim().strip_suffix("kB")).map(|number| number.trim().parse::<u64>());
        sum += kibibytes.transpose()?.unwrap_or(0) * 1024;
    }
    Ok(sum)
}

fn time_of(process: u32) -> Result<Duration> {
    let folder = format!("/proc/{process}/task");
    let mut nanoseconds = 0;
    for thread in fs::read_dir(&folder).with_context(|| format!("cannot list the threads in {folder}"))? {
        // A thread may end between the listing and the reading.
        let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let first =
            line.split_whitespace().next().context("schedstat is empty: the kernel keeps no accounts")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The process and its descendants.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

fn parent(process: u32) -> Option<u32> {
    // The name in parentheses may have any characters.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_computes_takes_time_of_its_parent() {
        let own = std::process::id();
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let child_id = child.id();
        assert!(tree(own).unwrap().contains(&child_id));
        while time_of_tree(child_id).unwrap() < Duration::from_millis(20) {}
        assert!(time_of_tree(own).unwrap() >= time_of_tree(child_id).unwrap());
        assert!(memory_of_tree(child_id).unwrap() > 4096);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(time_of_tree(child_id).is_err());
    }
}
