//! The importing cluster's own DNS: who sends queries for our zones to xcc.
//!
//! Two kinds of cluster DNS are known, CoreDNS ([`corefile`]) and kube-dns ([`stub_domains`]), and CoreDNS' node-local
//! cache, which has a Corefile of its own. What is to be written there is decided by pure functions; [`apply`], [`remove`],
//! [`check`] and [`keep`] do it on a cluster. Whether names are really answered then is for the caller to look up: this
//! crate knows no DNS messages.

pub mod corefile;
pub mod stub_domains;

mod cluster;
mod keep;
mod target;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use xcc_model::ZoneName;

pub use cluster::{apply, check, remove};
pub use corefile::CorefileError;
pub use keep::keep;
pub use stub_domains::StubDomainsError;

/// What has to be done to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Nothing: it is as it should be.
    None,
    /// Ours was not there; this is the text with it.
    Added(String),
    /// Ours was there, but different; this is the text with it put right.
    Replaced(String),
    /// Ours was there; this is the text without it.
    Removed(String),
}

/// A namespaced object, written `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A string that is no [`ObjectName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no object: write namespace/name")]
pub struct ObjectNameError(String);

impl ObjectName {
    /// Puts the two together.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(ObjectNameError(text.to_owned())),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the cluster's DNS shall send where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfigOptions {
    /// The domains that xcc answers for.
    pub zones: Vec<ZoneName>,
    /// The Service whose ClusterIP takes queries on port 53, over UDP and TCP.
    pub dns_service: ObjectName,
    /// CoreDNS' ConfigMap, with the key `Corefile`.
    pub corefile: ObjectName,
    /// The ConfigMap of CoreDNS' node-local cache, which sends what is not the cluster's past CoreDNS. Most clusters have
    /// none.
    pub node_local_corefile: ObjectName,
    /// kube-dns' ConfigMap, for clusters without CoreDNS.
    pub kube_dns: ObjectName,
    /// How long to wait for the Service to have a ClusterIP.
    pub service_wait: Duration,
}

impl DnsConfigOptions {
    /// The Service that the manifests make.
    pub const DNS_SERVICE: &str = "cross-cluster-connectivity/xcc-dns";
    /// Where kubeadm, EKS, AKS and most others have it.
    pub const COREFILE: &str = "kube-system/coredns";
    /// Where Kubernetes' own manifests have it.
    pub const NODE_LOCAL_COREFILE: &str = "kube-system/node-local-dns";
    /// Where Kubernetes' own manifests and GKE have it.
    pub const KUBE_DNS: &str = "kube-system/kube-dns";
    /// As long as the ancestor waited.
    pub const SERVICE_WAIT: Duration = Duration::from_secs(5);

    /// The usual places.
    pub fn new(zones: Vec<ZoneName>) -> Self {
        let name = |text: &str| {
            let (namespace, name) = text.split_once('/').unwrap_or_default();
            ObjectName::new(namespace, name)
        };
        Self {
            zones,
            dns_service: name(Self::DNS_SERVICE),
            corefile: name(Self::COREFILE),
            node_local_corefile: name(Self::NODE_LOCAL_COREFILE),
            kube_dns: name(Self::KUBE_DNS),
            service_wait: Self::SERVICE_WAIT,
        }
    }
}

/// A kind of cluster DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// CoreDNS with a Corefile.
    CoreDns,
    /// CoreDNS as a cache on each node.
    NodeLocalDns,
    /// kube-dns with `stubDomains`.
    KubeDns,
}

/// What was done to a ConfigMap, or what [`check`] found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    UpToDate,
    /// Ours was put in.
    Added,
    /// Ours was put right.
    Replaced,
    /// Ours was taken out.
    Removed,
}

/// What was done to the cluster's DNS, or what [`check`] found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfigReport {
    /// Where queries go: the Service's ClusterIP; none after [`remove`].
    pub servers: Vec<IpAddr>,
    /// Each ConfigMap that was found.
    pub config_maps: Vec<ConfigMapReport>,
}

/// What was done to one ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapReport {
    /// Which.
    pub config_map: ObjectName,
    /// What it is.
    pub flavour: Flavour,
    /// What was done.
    pub outcome: Outcome,
}

impl DnsConfigReport {
    /// Whether nothing was, or has to be, done.
    pub fn is_up_to_date(&self) -> bool {
        self.config_maps.iter().all(|done| done.outcome == Outcome::UpToDate)
    }
}

impl fmt::Display for ConfigMapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flavour = match self.flavour {
            Flavour::CoreDns => "CoreDNS",
            Flavour::NodeLocalDns => "node-local DNS cache",
            Flavour::KubeDns => "kube-dns",
        };
        let outcome = match self.outcome {
            Outcome::UpToDate => "up to date",
            Outcome::Added => "added",
            Outcome::Replaced => "replaced",
            Outcome::Removed => "removed",
        };
        write!(f, "{} ({flavour}): {outcome}", self.config_map)
    }
}

/// Why the cluster's DNS is not, or not known to be, as wished.
#[derive(Debug, thiserror::Error)]
pub enum DnsConfigError {
    /// The API server did not do what it was asked.
    #[error("cannot {action}")]
    Api {
        /// As in "read ConfigMap kube-system/coredns".
        action: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is nowhere to send queries to.
    #[error("service {service} got no ClusterIP within {} s; is xcc installed there?", waited.as_secs())]
    NoClusterIp {
        /// The Service.
        service: ObjectName,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No ConfigMap of a DNS that is known.
    #[error("{0}")]
    UnknownDns(String),
    /// The Corefile cannot be edited.
    #[error("ConfigMap {config_map} is left as it is")]
    Corefile {
        /// Whose.
        config_map: ObjectName,
        /// Why.
        #[source]
        source: CorefileError,
    },
    /// `stubDomains` cannot be edited.
    #[error("ConfigMap {config_map} is left as it is")]
    StubDomains {
        /// Whose.
        config_map: ObjectName,
        /// Why.
        #[source]
        source: StubDomainsError,
    },
    /// Others kept writing.
    #[error("ConfigMap {0} changed each time it was about to be written; try again")]
    Conflict(ObjectName),
}
