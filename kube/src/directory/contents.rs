//! What one file of manifests says. Pure: bytes in, facts and diagnostics out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;
use xcc_model::{
    Diagnostic, ExportKey, Node, ObjectKind, ObjectRef, Reason, RemoteName, RemoteSettings, Service,
    ServiceExport, ServiceName,
};

use crate::api::{self, ObjectName};
use crate::convert::{self, Conversion};
use crate::manifests::{self, Manifest};
use crate::{nodes, services, settings};

/// The identity of an object that a remote's directory may hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObjectId {
    /// The RemoteCluster that is called like the remote, in whatever namespace.
    Settings,
    /// An HTTPProxy, labelled or not.
    Export(ExportKey),
    /// A Node.
    Node(String),
    /// A Service.
    Service(ServiceName),
}

/// What a file says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Settings(Result<RemoteSettings, Diagnostic>),
    Export(Result<ServiceExport, Diagnostic>),
    /// An HTTPProxy without the label: it is defined, so that another file cannot export it.
    NotExported,
    Node(Node),
    Service(Service),
}

/// A fact and the line of its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) line: u64,
    pub(super) fact: Fact,
}

/// What a file that could be parsed says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The well-formed objects.
    pub(super) facts: BTreeMap<ObjectId, Stated>,
    /// Objects that have not the shape of their kind.
    pub(super) malformed: BTreeMap<ObjectId, Diagnostic>,
    /// Documents of which not even the name can be told, by their position in the file: any object that is no longer
    /// found may be one of them.
    pub(super) nameless: BTreeMap<usize, Diagnostic>,
    /// Later definitions of objects that the file defines already.
    pub(super) repeated: BTreeMap<ObjectId, Diagnostic>,
    /// One of the nameless documents is a RemoteCluster.
    pub(super) nameless_settings: bool,
}

/// Why a file says nothing, so that what it said before stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// It may hold the remote's settings, so the defaults must not be taken in their place.
    pub(super) may_have_settings: bool,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("RemoteCluster"),
            Self::Export(key) => write!(f, "HTTPProxy {key}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::Service(name) => write!(f, "Service {name}"),
        }
    }
}

/// Reads the bytes of a file. `path` is what messages call it.
pub(super) fn contents(remote: &RemoteName, path: &Path, bytes: &[u8]) -> Result<Contents, Refused> {
    if bytes.is_empty() {
        let message = "the file is empty, as when a write was cut short: what it held before stays in force; delete \
                       the file to withdraw it";
        return Err(Refused {
            reason: Reason::Unreadable,
            message: format!("{}: {message}", path.display()),
            may_have_settings: false,
        });
    }
    let start = || Reader { remote, path, index: 0, contents: Contents::default() };
    let reader = manifests::fold(bytes, start, |reader, manifest| reader.take(&manifest));
    let reader = reader.map_err(|error| Refused {
        reason: Reason::Unreadable,
        message: format!("{}:{error}; what the file held before stays in force", path.display()),
        may_have_settings: mentions_settings(bytes),
    })?;
    Ok(reader.contents)
}

fn mentions_settings(bytes: &[u8]) -> bool {
    const KIND: &[u8] = b"RemoteCluster";
    bytes.windows(KIND.len()).any(|window| window == KIND)
}

struct Reader<'a> {
    remote: &'a RemoteName,
    path: &'a Path,
    /// The position of the next object in the file.
    index: usize,
    contents: Contents,
}

impl Reader<'_> {
    fn take(&mut self, manifest: &Manifest) {
        self.read(manifest);
        self.index += 1;
    }

    fn read(&mut self, manifest: &Manifest) {
        let object = &manifest.object;
        let kind = match (manifest.api_version.as_str(), manifest.kind.as_str()) {
            ("projectcontour.io/v1", "HTTPProxy") => ObjectKind::HTTPProxy,
            ("v1", "Node") => ObjectKind::Node,
            ("v1", "Service") => ObjectKind::Service,
            ("connectivity.tanzu.vmware.com/v1alpha1", "RemoteCluster") => ObjectKind::RemoteCluster,
            ("", _) | (_, "") => return self.nameless(manifest, "it has no apiVersion and kind"),
            _ => return,
        };
        let name = match api::object_name(object) {
            Ok(name) => name,
            Err(error) => {
                // An HTTPProxy that nobody exported is not looked at, not even for its name.
                let unlabelled = kind == ObjectKind::HTTPProxy
                    && object["metadata"].is_object()
                    && convert::http_proxy(self.remote, object) == Conversion::NotExported;
                if !unlabelled {
                    self.contents.nameless_settings |= kind == ObjectKind::RemoteCluster;
                    self.nameless(manifest, &error.to_string());
                }
                return;
            }
        };
        match kind {
            ObjectKind::HTTPProxy => self.http_proxy(manifest, name),
            ObjectKind::Node => match nodes::node(self.remote, object) {
                Ok((name, node)) => self.state(manifest, ObjectId::Node(name), Fact::Node(node)),
                Err(diagnostic) => self.malformed(manifest, ObjectId::Node(name.name), diagnostic),
            },
            ObjectKind::Service => match services::service(self.remote, object) {
                Ok((name, service)) => self.state(manifest, ObjectId::Service(name), Fact::Service(service)),
                Err(diagnostic) => {
                    let id = ObjectId::Service(ServiceName::new(name.namespace, name.name));
                    self.malformed(manifest, id, diagnostic);
                }
            },
            _ if name.name == self.remote.as_str() => {
                let settings = settings::remote_cluster(self.remote, object);
                self.state(manifest, ObjectId::Settings, Fact::Settings(settings));
            }
            _ => {}
        }
    }

    fn http_proxy(&mut self, manifest: &Manifest, name: ObjectName) {
        let id = ObjectId::Export(ExportKey::new(name.namespace, name.name));
        match convert::http_proxy(self.remote, &manifest.object) {
            Conversion::NotExported => self.state(manifest, id, Fact::NotExported),
            Conversion::Export(_, export) => self.state(manifest, id, Fact::Export(export)),
            Conversion::Malformed(diagnostic) => self.malformed(manifest, id, diagnostic),
        }
    }

    fn state(&mut self, manifest: &Manifest, id: ObjectId, fact: Fact) {
        if let Some(first) = self.contents.facts.get(&id) {
            if first.fact == Fact::NotExported && fact == Fact::NotExported {
                return;
            }
            let line = first.line;
            let diagnostic = defined_twice(self.remote, &id, (self.path, manifest.line), (self.path, line));
            self.contents.repeated.entry(id).or_insert(diagnostic);
            return;
        }
        self.contents.malformed.remove(&id);
        self.contents.facts.insert(id, Stated { line: manifest.line, fact });
    }

    fn malformed(&mut self, manifest: &Manifest, id: ObjectId, mut diagnostic: Diagnostic) {
        diagnostic.message = format!("{}:{}: {}", self.path.display(), manifest.line, diagnostic.message);
        if !self.contents.facts.contains_key(&id) {
            self.contents.malformed.entry(id).or_insert(diagnostic);
        }
    }

    fn nameless(&mut self, manifest: &Manifest, problem: &str) {
        let kind = match (manifest.kind.as_str(), &manifest.object) {
            ("", Value::Object(_)) | (_, Value::Null) => "the document",
            ("", _) => "the document is no Kubernetes object",
            (kind, _) => kind,
        };
        let message = format!(
            "{}:{}: {}: {problem}; objects that the file held before and that are not found in it now stay in force",
            self.path.display(),
            manifest.line,
            api::excerpt(kind)
        );
        let diagnostic = file_diagnostic(self.remote, self.path, Reason::Malformed, message);
        self.contents.nameless.insert(self.index, diagnostic);
    }
}

/// A diagnostic on a file.
pub(super) fn file_diagnostic(
    remote: &RemoteName,
    path: &Path,
    reason: Reason,
    message: String,
) -> Diagnostic {
    let object = ObjectRef::new(ObjectKind::File, "", path.display().to_string());
    Diagnostic { remote: remote.clone(), object, reason, message }
}

/// The diagnostic on the place of a definition that is not in force since another one is.
pub(super) fn defined_twice(
    remote: &RemoteName,
    id: &ObjectId,
    (loser, loser_line): (&Path, u64),
    (winner, winner_line): (&Path, u64),
) -> Diagnostic {
    let message = format!(
        "{}:{loser_line}: {id} is defined in {}:{winner_line} too, which is in force: remove one of them",
        loser.display(),
        winner.display()
    );
    file_diagnostic(remote, loser, Reason::Malformed, message)
}
