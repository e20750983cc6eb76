//! What is written back to the importing cluster: ServiceRecords, the status of RemoteClusters, Events.
//!
//! What should be there is derived by pure functions ([`records`], [`remote`], [`events`]) and compared with what is
//! there; only differences are written, by the elected replica ([`writer`]).

mod conditions;
mod events;
mod names;
mod records;
mod remote;
mod writer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use xcc_model::{Diagnostic, Hostname, Origin, RemoteName, Route};

pub use writer::StatusWriter;

/// What is imported and how far it got, as the pipeline knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportStatus {
    /// Whether the pipeline has derived this from what the sources told. Before, it does not say that nothing is
    /// imported, and nothing is written or deleted.
    pub derived: bool,
    /// The imported names.
    pub records: BTreeMap<Hostname, ImportRecord>,
    /// How many names come from each remote. A remote that is not in it has told nothing yet.
    pub remotes: BTreeMap<RemoteName, usize>,
    /// What is refused or degraded.
    pub diagnostics: Vec<Diagnostic>,
}

/// One imported name.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRecord {
    /// By the port on which clients reach it: which remotes serve it. Sorted, not empty.
    pub routes: Vec<Route>,
    /// Where the gateway connects to. Shared, since all names of a remote have the same.
    pub endpoints: Arc<[SocketAddr]>,
    /// The HTTPProxies that it comes from.
    pub origins: Vec<Origin>,
    /// Whether every connected gateway has acknowledged it.
    pub programmed: bool,
    /// That the remotes disagree about it, in a sentence.
    pub conflict: Option<String>,
}
