//! When the first publication may go out. A table that lacks what gateways have already, since a remote has not told it yet,
//! would take those names away from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;
use xcc_model::RemoteName;

/// How long the first publication waits for remotes that have not told everything yet.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// What the first publication waits for.
#[derive(Debug)]
pub(super) struct FirstSync {
    /// The remotes that are not known yet, of those that there are.
    unsynced: BTreeSet<RemoteName>,
    /// Whether it is known which remotes there are.
    listed: bool,
    /// The remotes that are known from an earlier process, and whether that was this one's own: the others are waited for all the
    /// same.
    recalled: BTreeMap<RemoteName, bool>,
    deadline: Instant,
    over: bool,
}

impl FirstSync {
    /// Waits for these remotes, and if they are not all, for [`FirstSync::list`].
    pub(super) fn new(remotes: BTreeSet<RemoteName>, listed: bool, now: Instant) -> Self {
        Self {
            unsynced: remotes,
            listed,
            recalled: BTreeMap::new(),
            deadline: now + SYNC_TIMEOUT,
            over: false,
        }
    }

    /// Whether what an earlier process knew of the remote counts. While it is not known which remotes there are, it does.
    pub(super) fn recalls(&self, remote: &RemoteName) -> bool {
        !self.listed || self.unsynced.contains(remote)
    }

    /// What an earlier process knew of the remote is served until it tells more itself: at once, or, if that process was not
    /// this one's `own`, when it tells nothing in time. An old state would take the newest names from gateways.
    pub(super) fn recall(&mut self, remote: RemoteName, own: bool) {
        if own {
            self.unsynced.remove(&remote);
        }
        self.recalled.insert(remote, own);
    }

    /// The remote is gone. One that comes with its name is another one.
    pub(super) fn forget(&mut self, remote: &RemoteName) {
        self.unsynced.remove(remote);
        self.recalled.remove(remote);
    }

    /// Whether an earlier process knew the remote.
    pub(super) fn has_recalled(&self, remote: &RemoteName) -> bool {
        self.recalled.contains_key(remote)
    }

    /// These remotes are there besides those that were known from the start.
    pub(super) fn list(&mut self, remotes: &BTreeSet<RemoteName>, now: Instant) {
        if !self.listed {
            self.listed = true;
            let waits = |remote: &&RemoteName| self.recalled.get(*remote) != Some(&true);
            self.unsynced.extend(remotes.iter().filter(waits).cloned());
            self.deadline = now + SYNC_TIMEOUT;
        }
    }

    /// Whether the first publication may go out, and all later ones. `is_synced`: the remote has told everything.
    pub(super) fn is_over(&mut self, is_synced: impl Fn(&RemoteName) -> bool, now: Instant) -> bool {
        if self.over {
            return true;
        }
        self.unsynced.retain(|remote| !is_synced(remote));
        if !self.listed && self.recalled.is_empty() {
            return false;
        }
        if self.listed && self.unsynced.is_empty() {
            self.over = true;
        } else if self.deadline <= now {
            match self.listed {
                true => {
                    warn!(remotes = ?self.unsynced, "remotes have not told everything in time: serving what is known")
                }
                false => warn!("it is not known which remotes there are: serving what was known before"),
            }
            self.over = true;
        }
        self.over
    }

    /// When time alone ends the waiting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = match self.listed {
            true => !self.unsynced.is_empty(),
            false => !self.recalled.is_empty(),
        };
        (waits && !self.over).then_some(self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remotes<const N: usize>(names: [&str; N]) -> BTreeSet<RemoteName> {
        names.map(|name| RemoteName::parse(name).unwrap()).into()
    }

    fn none(_: &RemoteName) -> bool {
        false
    }

    #[test]
    fn remotes_are_waited_for_but_not_for_ever() {
        let now = Instant::now();
        let mut sync = FirstSync::new(remotes(["east", "west"]), true, now);
        assert!(!sync.is_over(|remote| remote.as_str() == "east", now));
        let deadline = sync.deadline().unwrap();
        assert!(sync.is_over(none, deadline));
        assert_eq!(sync.deadline(), None);
        let mut sync = FirstSync::new(remotes(["east"]), true, now);
        assert!(sync.is_over(|_| true, now));
        assert!(FirstSync::new(remotes([]), true, now).is_over(none, now), "there is nothing to wait for");
    }

    #[test]
    fn without_a_list_of_the_remotes_nothing_is_published() {
        let now = Instant::now();
        let mut sync = FirstSync::new(remotes([]), false, now);
        assert!(!sync.is_over(none, now + 100 * SYNC_TIMEOUT), "an empty table would take all names away");
        assert_eq!(sync.deadline(), None, "time changes nothing");
        let later = now + 100 * SYNC_TIMEOUT;
        sync.list(&remotes(["east"]), later);
        assert!(!sync.is_over(none, later));
        assert_eq!(sync.deadline(), Some(later + SYNC_TIMEOUT));
        assert!(sync.is_over(|_| true, later));
        let mut sync = FirstSync::new(remotes([]), false, now);
        sync.list(&remotes([]), now);
        assert!(sync.is_over(none, now), "there are none");
    }

    #[test]
    fn what_was_known_before_is_served_when_the_list_does_not_come() {
        let now = Instant::now();
        let mut sync = FirstSync::new(remotes([]), false, now);
        assert!(sync.recalls(&remotes(["east"]).pop_first().unwrap()));
        sync.recall(remotes(["east"]).pop_first().unwrap(), true);
        assert!(!sync.is_over(none, now), "the list may know more");
        assert!(sync.is_over(none, sync.deadline().unwrap()));
    }

    #[test]
    fn what_was_known_before_need_not_be_waited_for() {
        let now = Instant::now();
        let mut sync = FirstSync::new(remotes([]), false, now);
        sync.recall(remotes(["east"]).pop_first().unwrap(), true);
        sync.list(&remotes(["east", "west"]), now);
        assert!(!sync.is_over(none, now), "west is new");
        assert!(sync.is_over(|remote| remote.as_str() == "west", now));
        let sync = FirstSync::new(remotes(["east"]), true, now);
        assert!(!sync.recalls(&remotes(["gone"]).pop_first().unwrap()), "no such remote any more");
    }

    #[test]
    fn what_others_knew_counts_when_the_remote_does_not_tell_in_time() {
        let (now, east) = (Instant::now(), remotes(["east"]).pop_first().unwrap());
        let mut sync = FirstSync::new(remotes([]), false, now);
        sync.recall(east.clone(), false);
        sync.list(&remotes(["east"]), now);
        assert!(!sync.is_over(none, now), "east may have newer names");
        assert!(sync.is_over(none, sync.deadline().unwrap()));
        let mut sync = FirstSync::new(remotes(["east"]), true, now);
        sync.recall(east.clone(), false);
        assert!(!sync.is_over(none, now));
        assert!(sync.is_over(|_| true, now));
        let mut sync = FirstSync::new(remotes([]), false, now);
        sync.recall(east, false);
        assert!(!sync.is_over(none, now), "the list may come, and east may tell");
        assert!(sync.is_over(none, sync.deadline().unwrap()));
    }
}
