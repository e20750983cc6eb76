//! Refused or degraded input, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::remote::RemoteName;

/// One thing that a person has to know about an object: why it is not exported, or what is wrong with it.
///
/// Diagnostics are values, sorted and compared like all derived state: the same input gives the same list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// The remote that the object comes from.
    pub remote: RemoteName,
    /// The object or file that has to change.
    pub object: ObjectRef,
    /// One word for machines.
    pub reason: Reason,
    /// A sentence for people: what is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remote {}: {}: {:?}: {}", self.remote, self.object, self.reason, self.message)
    }
}

/// What a diagnostic is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// What it is.
    pub kind: ObjectKind,
    /// The object's namespace; empty for objects without one and for files.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object's name; a file's path below the remote's directory.
    pub name: String,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: ObjectKind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{:?} {}", self.kind, self.name)
        } else {
            write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The kinds of things that diagnostics are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectKind {
    /// `projectcontour.io/v1` HTTPProxy.
    HTTPProxy,
    /// `v1` Node.
    Node,
    /// `v1` Service.
    Service,
    /// `connectivity.tanzu.vmware.com/v1alpha1` RemoteCluster.
    RemoteCluster,
    /// A file of manifests.
    File,
}

/// Why, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The HTTPProxy has no `spec.virtualhost`: it is included by another one and has no name of its own.
    NotARootProxy,
    /// No `spec.virtualhost.tls`: without TLS there is no SNI to route by.
    NoTls,
    /// `spec.virtualhost.fqdn` is no host name.
    InvalidHostname,
    /// Contour says that the HTTPProxy is invalid or orphaned.
    InvalidProxy,
    /// The `service-port` annotation is no port.
    InvalidServicePort,
    /// The name lies in none of the zones that xcc answers for.
    OutsideZones,
    /// The zone needs the name for itself.
    ReservedName,
    /// The remote's `allowedDomains` do not have the name.
    DomainNotAllowed,
    /// Another HTTPProxy of the same remote owns the name.
    Conflict,
    /// Several remotes export the name on different ports.
    PortMismatch,
    /// The gateway cannot carry the name on this port, has as many names as it can, or refuses what that takes.
    NotCarried,
    /// No address of the remote can be used; the export is kept and closes connections until there is one.
    NoAddresses,
    /// An address that must not be proxied to.
    AddressNotAllowed,
    /// An address that is none.
    InvalidAddress,
    /// The RemoteCluster is invalid; the last valid settings stay in force.
    InvalidSettings,
    /// The remote has more objects than its limit; new ones are not taken.
    LimitExceeded,
    /// The object has not the shape of its kind.
    Malformed,
    /// The file cannot be read or parsed; what it held before stays.
    Unreadable,
}
