//! Derived state: which names are imported, and from where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use imbl::OrdMap;
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Reason};
use crate::export::{ExportKey, ServicePort};
use crate::hostname::{Homeless, Hostname, ZoneName};
use crate::inventory::Inventory;
use crate::merge::Merge;
use crate::remote::{RemoteName, RemoteSettings};
use crate::view::RemoteView;

/// What the importing side decides for all remotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPolicy {
    /// The zones that xcc answers for; names outside of them are not imported.
    pub zones: Vec<ZoneName>,
    /// The addresses that the gateway is reached by: proxying to them would be a loop.
    pub gateway_addresses: BTreeSet<IpAddr>,
}

impl ImportPolicy {
    /// Whether a remote with these settings may export the name.
    pub fn check(&self, name: &Hostname, settings: &RemoteSettings) -> Result<(), (Reason, String)> {
        ZoneName::home_of(&self.zones, name).map_err(|why| self.homeless(name, why))?;
        if !settings.allowed_domains.allows(name) {
            let allowed = settings.allowed_domains.entries().join(", ");
            return Err((
                Reason::DomainNotAllowed,
                format!("{name} lies in none of the remote's allowedDomains ({allowed})"),
            ));
        }
        Ok(())
    }

    fn homeless(&self, name: &Hostname, why: Homeless<'_>) -> (Reason, String) {
        match why {
            Homeless::Outside => {
                let zones = self.zones.iter().map(ZoneName::as_str).collect::<Vec<_>>().join(", ");
                let message = format!("{name} lies below none of the zones served here ({zones})");
                (Reason::OutsideZones, message)
            }
            Homeless::Apex(zone) => (
                Reason::OutsideZones,
                format!("{name} is the apex of zone {zone}: only names below it can be exported"),
            ),
            Homeless::Reserved(zone) => {
                (Reason::ReservedName, format!("{name} is a name that zone {zone} needs for its name server"))
            }
        }
    }
}

/// Everything that is imported, merged over the remotes: what the gateway carries and DNS answers.
///
/// A copy costs nothing: copies share what is equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceTable {
    /// The imported names.
    pub imports: OrdMap<Hostname, ServiceImport>,
    /// The remotes that at least one name is imported from. All names of a remote share its endpoints.
    pub backends: BTreeMap<RemoteName, Backend>,
}

/// One imported name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceImport {
    /// Where connections go, by the port on which clients reach the name; sorted by port, never empty.
    pub routes: Vec<Route>,
    /// The HTTPProxies that it comes from; sorted.
    pub origins: Vec<Origin>,
}

/// Where connections to one port of a name go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// The port on which clients reach the name.
    pub port: ServicePort,
    /// The remotes that serve it.
    pub remotes: RemoteSet,
}

/// Where an import comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// The exporting remote.
    pub remote: RemoteName,
    /// The HTTPProxy there.
    #[serde(flatten)]
    pub export: ExportKey,
}

/// The remotes that share a name: sorted, never empty, shared by all names with the same set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RemoteSet(Arc<[RemoteName]>);

impl RemoteSet {
    /// The remotes in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &RemoteName> {
        self.0.iter()
    }

    /// Makes a set of at least one remote; none of an empty iterator.
    pub fn new(remotes: impl IntoIterator<Item = RemoteName>) -> Option<Self> {
        let remotes: BTreeSet<_> = remotes.into_iter().collect();
        (!remotes.is_empty()).then(|| Self(remotes.into_iter().collect()))
    }

    /// Whether nobody else holds this copy.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl fmt::Display for RemoteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, remote) in self.0.iter().enumerate() {
            write!(f, "{}{remote}", if position == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

/// Where a remote's ingress is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Lower is preferred where several remotes export a name.
    pub priority: u32,
    /// Its nodes' addresses; empty when none is usable, and then connections are closed.
    pub endpoints: BTreeSet<SocketAddr>,
}

/// Derives the table and the diagnostics. The order in which the inventory learnt its facts makes no difference.
pub fn derive(inventory: &Inventory, policy: &ImportPolicy) -> (ServiceTable, Vec<Diagnostic>) {
    let views = inventory
        .remotes()
        .iter()
        .map(|(name, remote)| (name.clone(), RemoteView::derive(name, remote, policy)))
        .collect::<BTreeMap<_, _>>();
    let merge = Merge::of(&views);
    let diagnostics = views.values().flat_map(RemoteView::diagnostics).chain(merge.conflicts());
    let mut diagnostics: Vec<_> = diagnostics.cloned().collect();
    diagnostics.sort();
    (merge.table().clone(), diagnostics)
}

impl ServiceImport {
    /// What the remotes disagree about, in a sentence; none when they agree.
    pub fn conflict(&self) -> Option<String> {
        let routes = self.routes.iter().map(|route| format!("{} by {}", route.port, route.remotes));
        (self.routes.len() > 1)
            .then(|| format!("remotes differ in the port ({})", routes.collect::<Vec<_>>().join(", ")))
    }
}
