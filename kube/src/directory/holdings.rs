//! What the files of a directory hold together, and what changes when some of them change. Pure.
//!
//! An object that several files define is the one of the lexically first path. A change costs what the changed files
//! hold, not what the directory holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use xcc_model::{
    Change, Diagnostic, ExportKey, Node, Reason, RemoteName, RemoteSettings, Service, ServiceExport,
    ServiceName,
};

use super::contents::{Contents, Fact, ObjectId, Refused, Stated, defined_twice, file_diagnostic};
use crate::settings;

/// Most objects of all files together, unlabelled HTTPProxies included.
const OBJECTS_MAX: usize = 200_000;

/// What the files of a directory hold.
pub(super) struct Holdings {
    remote: RemoteName,
    files: BTreeMap<Arc<Path>, File>,
    /// Which files define an object.
    claims: BTreeMap<ObjectId, BTreeSet<Arc<Path>>>,
    /// What is wrong with the directory itself, by place.
    problems: BTreeMap<String, Diagnostic>,
    objects: usize,
}

/// What happened to a file.
#[derive(Debug)]
pub(super) enum FileChange {
    /// It was read.
    Contents(Contents),
    /// It could not be read: what it held stays.
    Refused(Refused),
    /// It is not there, but may come back: what it holds gives way to any other file that has it.
    Leaving,
    /// It is gone.
    Gone,
}

#[derive(Default)]
struct File {
    facts: BTreeMap<ObjectId, Stated>,
    problems: BTreeMap<String, Diagnostic>,
    leaving: bool,
    /// It was read at least once, so what it held before is known.
    read: bool,
    may_have_settings: bool,
}

/// A part of what a source tells: what a [`Change`] is about, in the order in which changes are sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Settings,
    Export(ExportKey),
    Node(String),
    Service(ServiceName),
    Problem(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Settings(Result<RemoteSettings, Diagnostic>),
    Export(Result<ServiceExport, Diagnostic>),
    Node(Node),
    Service(Service),
    Problem(Diagnostic),
}

type View = BTreeMap<Topic, Said>;

impl Holdings {
    /// Holds nothing.
    pub(super) fn new(remote: RemoteName) -> Self {
        Self {
            remote,
            files: BTreeMap::new(),
            claims: BTreeMap::new(),
            problems: BTreeMap::new(),
            objects: 0,
        }
    }

    /// Takes what a directory holds of which nothing is known yet, and returns all that there is to tell.
    pub(super) fn begin(
        &mut self,
        changes: Vec<(Arc<Path>, FileChange)>,
        problems: BTreeMap<String, Diagnostic>,
    ) -> Vec<Change> {
        self.take(changes, problems);
        self.tell_all()
    }

    /// Whether nothing was taken yet, not even a problem.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.problems.is_empty()
    }

    /// All that there is to tell, as the first word of a source: what an earlier process had told is forgotten.
    pub(super) fn tell_all(&self) -> Vec<Change> {
        let ids = self.claims.keys().cloned().chain([ObjectId::Settings]).collect();
        let paths = self.files.keys().cloned().collect();
        let mut changes = vec![Change::Forget];
        changes.extend(difference(View::new(), self.view(&ids, &paths)));
        changes.push(Change::Synced);
        changes
    }

    /// Takes what happened to some files, and what is wrong with the directory now; returns what is different.
    pub(super) fn apply(
        &mut self,
        changes: Vec<(Arc<Path>, FileChange)>,
        problems: BTreeMap<String, Diagnostic>,
    ) -> Vec<Change> {
        let mut ids = BTreeSet::from([ObjectId::Settings]);
        let mut paths = BTreeSet::new();
        for (path, change) in &changes {
            paths.insert(path.clone());
            ids.extend(self.files.get(path).into_iter().flat_map(|file| file.facts.keys().cloned()));
            if let FileChange::Contents(contents) = change {
                ids.extend(contents.facts.keys().cloned());
            }
        }
        let before = self.view(&ids, &paths);
        self.take(changes, problems);
        difference(before, self.view(&ids, &paths))
    }

    fn take(&mut self, changes: Vec<(Arc<Path>, FileChange)>, problems: BTreeMap<String, Diagnostic>) {
        for (path, change) in changes {
            self.change(path, change);
        }
        self.problems = problems;
    }

    /// How many objects all files together hold.
    pub(super) fn objects(&self) -> usize {
        self.objects
    }

    fn change(&mut self, path: Arc<Path>, change: FileChange) {
        let known = self.files.remove(&path);
        if known.is_none() && matches!(change, FileChange::Leaving | FileChange::Gone) {
            return;
        }
        let mut file = known.unwrap_or_default();
        self.disclaim(&path, &file);
        match change {
            FileChange::Contents(contents) => {
                if self.objects + contents.facts.len() > OBJECTS_MAX {
                    let message = format!(
                        "{}: the directory has more than {OBJECTS_MAX} objects: what the file held before stays in \
                         force; remove objects",
                        path.display()
                    );
                    let reason = Reason::LimitExceeded;
                    file.refuse(&self.remote, &path, Refused { reason, message, may_have_settings: false });
                } else {
                    file.take(&path, contents);
                }
            }
            FileChange::Refused(refused) => file.refuse(&self.remote, &path, refused),
            FileChange::Leaving => file.leaving = true,
            FileChange::Gone => return,
        }
        self.claim(&path, &file);
        self.files.insert(path, file);
    }

    fn claim(&mut self, path: &Arc<Path>, file: &File) {
        self.objects += file.facts.len();
        for id in file.facts.keys() {
            self.claims.entry(id.clone()).or_default().insert(path.clone());
        }
    }

    fn disclaim(&mut self, path: &Arc<Path>, file: &File) {
        self.objects -= file.facts.len();
        for id in file.facts.keys() {
            if let Some(claims) = self.claims.get_mut(id) {
                claims.remove(path);
                if claims.is_empty() {
                    self.claims.remove(id);
                }
            }
        }
    }

    /// What is told of these objects and files, and of the directory itself.
    fn view(&self, ids: &BTreeSet<ObjectId>, paths: &BTreeSet<Arc<Path>>) -> View {
        let mut view = View::new();
        for id in ids {
            self.view_object(id, &mut view);
        }
        let of_files = paths.iter().filter_map(|path| self.files.get(path)).flat_map(|file| &file.problems);
        for (place, problem) in of_files.chain(&self.problems) {
            view.insert(Topic::Problem(place.clone()), Said::Problem(problem.clone()));
        }
        view
    }

    fn view_object(&self, id: &ObjectId, view: &mut View) {
        let claims = self.claims.get(id).into_iter().flatten();
        let mut stated: Vec<(bool, &Arc<Path>, &Stated)> = claims
            .filter_map(|path| {
                let file = self.files.get(path)?;
                Some((file.leaving, path, file.facts.get(id)?))
            })
            .collect();
        stated.sort_by_key(|(leaving, path, _)| (*leaving, *path));
        let Some((_, winner_path, winner)) = stated.first() else {
            if *id == ObjectId::Settings {
                view.insert(Topic::Settings, Said::Settings(self.settings_without_object()));
            }
            return;
        };
        match (id, &winner.fact) {
            (_, Fact::Settings(settings)) => {
                view.insert(Topic::Settings, Said::Settings(settings.clone()));
            }
            (ObjectId::Export(key), Fact::Export(export)) => {
                view.insert(Topic::Export(key.clone()), Said::Export(export.clone()));
            }
            (ObjectId::Node(name), Fact::Node(node)) => {
                view.insert(Topic::Node(name.clone()), Said::Node(node.clone()));
            }
            (ObjectId::Service(name), Fact::Service(service)) => {
                view.insert(Topic::Service(name.clone()), Said::Service(service.clone()));
            }
            _ => {}
        }
        for (leaving, path, loser) in &stated[1..] {
            // Copies of what nobody exports are nobody's business.
            let unlabelled = winner.fact == Fact::NotExported && loser.fact == Fact::NotExported;
            if !leaving && !unlabelled {
                let problem = defined_twice(&self.remote, id, (path, loser.line), (winner_path, winner.line));
                let place = format!("{}: {id} is defined in another file too", path.display());
                view.insert(Topic::Problem(place), Said::Problem(problem));
            }
        }
    }

    /// The defaults, unless a file that cannot be understood may say otherwise: they allow more than a RemoteCluster
    /// might.
    fn settings_without_object(&self) -> Result<RemoteSettings, Diagnostic> {
        match self.files.iter().find(|(_, file)| file.may_have_settings) {
            None => Ok(RemoteSettings::default()),
            Some((path, _)) => {
                let what =
                    format!("{} has a RemoteCluster and cannot be read: correct the file", path.display());
                Err(settings::invalid(&self.remote, &what))
            }
        }
    }
}

impl File {
    fn take(&mut self, path: &Path, contents: Contents) {
        let mut before = std::mem::replace(&mut self.facts, contents.facts);
        for id in contents.malformed.keys() {
            if let Some(last_good) = before.remove(id) {
                self.facts.entry(id.clone()).or_insert(last_good);
            }
        }
        if !contents.nameless.is_empty() {
            for (id, last_good) in before {
                self.facts.entry(id).or_insert(last_good);
            }
        }
        let path = path.display();
        let malformed =
            contents.malformed.into_iter().map(|(id, problem)| (format!("{path}: {id}"), problem));
        let nameless = contents
            .nameless
            .into_iter()
            .map(|(index, problem)| (format!("{path}: document {index}"), problem));
        let repeated = contents
            .repeated
            .into_iter()
            .map(|(id, problem)| (format!("{path}: {id} is defined twice"), problem));
        self.problems = malformed.chain(nameless).chain(repeated).collect();
        self.leaving = false;
        self.read = true;
        self.may_have_settings = contents.nameless_settings;
    }

    fn refuse(&mut self, remote: &RemoteName, path: &Path, refused: Refused) {
        let problem = file_diagnostic(remote, path, refused.reason, refused.message);
        self.problems = BTreeMap::from([(path.display().to_string(), problem)]);
        self.leaving = false;
        // A file that was read once keeps what it held, its settings included.
        self.may_have_settings |= refused.may_have_settings && !self.read;
    }
}

fn difference(before: View, after: View) -> Vec<Change> {
    let mut changes: Vec<(Topic, Option<Said>)> =
        before.keys().filter(|topic| !after.contains_key(topic)).map(|topic| (topic.clone(), None)).collect();
    changes.extend(
        after
            .into_iter()
            .filter(|(topic, said)| before.get(topic) != Some(said))
            .map(|(topic, said)| (topic, Some(said))),
    );
    changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    changes.into_iter().filter_map(|(topic, said)| change(topic, said)).collect()
}

/// None where there is nothing to tell, which does not happen: settings are always told.
fn change(topic: Topic, said: Option<Said>) -> Option<Change> {
    match (topic, said) {
        (Topic::Settings, Some(Said::Settings(settings))) => Some(Change::Settings(settings)),
        (Topic::Export(key), Some(Said::Export(export))) => Some(Change::Export(key, Some(export))),
        (Topic::Export(key), None) => Some(Change::Export(key, None)),
        (Topic::Node(name), Some(Said::Node(node))) => Some(Change::Node(name, Some(node))),
        (Topic::Node(name), None) => Some(Change::Node(name, None)),
        (Topic::Service(name), Some(Said::Service(service))) => Some(Change::Service(name, Some(service))),
        (Topic::Service(name), None) => Some(Change::Service(name, None)),
        (Topic::Problem(place), Some(Said::Problem(problem))) => Some(Change::Problem(place, Some(problem))),
        (Topic::Problem(place), None) => Some(Change::Problem(place, None)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "holdings_tests.rs"]
mod tests;
