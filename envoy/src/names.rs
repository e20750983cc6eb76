//! Every name of an Envoy resource is made here.
//!
//! Names of resources that follow from the table hold a `/`, names that only the bootstrap has hold a letter in upper
//! case. Envoy lower-cases the SNI, so not even a filter that took a cluster's name from it could reach the latter.

use xcc_model::{RemoteSet, ServicePort};
use xxhash_rust::xxh3::xxh3_128;

/// The cluster of the control plane, in the bootstrap.
pub const XDS_CLUSTER: &str = "xDS";
/// The cluster of Envoy's own admin interface, in the bootstrap.
pub const ADMIN_CLUSTER: &str = "Admin";
/// The listener that says whether Envoy is ready, in the bootstrap.
pub const READY_LISTENER: &str = "Ready";
/// The SDS secret with the gateway's own certificate, in the bootstrap.
pub const XDS_CLIENT_CERTIFICATE: &str = "xDS-client-certificate";
/// The SDS secret with what the control plane's certificate is verified by, in the bootstrap.
pub const XDS_SERVER_CA: &str = "xDS-server-CA";

/// The longest form of a set of remotes in a name. Envoy itself has no limit, but names are part of every statistic.
pub const REMOTES_LENGTH_MAX: usize = 128;
/// 128 bits in hexadecimal, and the separator.
const HASH_LENGTH: usize = 33;

/// `<remote>/<port>` or `<remote>+<remote>/<port>`: the name of a Cluster, of its ClusterLoadAssignment and of the
/// filter chain that leads there.
pub fn cluster_name(remotes: &RemoteSet, port: ServicePort) -> String {
    format!("{}/{port}", remotes_label(remotes))
}

/// `tls/<port>`: the name of the Listener for a service port.
pub fn listener_name(port: ServicePort) -> String {
    format!("tls/{port}")
}

/// What statistics call a resource. Envoy takes a dot for the end of the name when it derives Prometheus' labels; an
/// underscore occurs in no name of a remote, so that names stay distinct.
pub fn stat_name(name: &str) -> String {
    name.replace('.', "_")
}

/// The remotes joined by `+`; cut, with a hash of the whole, where that is too long. A cut label differs from every
/// uncut one since no remote's name has a `~`.
fn remotes_label(remotes: &RemoteSet) -> String {
    let label = remotes.to_string();
    if label.len() <= REMOTES_LENGTH_MAX {
        return label;
    }
    let kept = label.chars().take(REMOTES_LENGTH_MAX - HASH_LENGTH).collect::<String>();
    format!("{kept}~{:032x}", xxh3_128(label.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use xcc_model::RemoteName;

    use super::*;

    fn set(remotes: &[&str]) -> RemoteSet {
        RemoteSet::new(remotes.iter().map(|remote| RemoteName::parse(remote).unwrap())).unwrap()
    }

    fn port(number: u16) -> ServicePort {
        ServicePort::new(number).unwrap()
    }

    #[test]
    fn names_are_those_of_the_contract() {
        assert_eq!(cluster_name(&set(&["east"]), port(443)), "east/443");
        assert_eq!(cluster_name(&set(&["west", "east"]), port(8443)), "east+west/8443");
        assert_eq!(listener_name(port(443)), "tls/443");
        assert_eq!(stat_name("eu.west-1/443"), "eu_west-1/443");
    }

    #[test]
    fn long_sets_are_cut_and_stay_distinct() {
        let remotes = (0..12).map(|number| format!("production-cluster-{number:02}")).collect::<Vec<_>>();
        let mut names = BTreeSet::new();
        for count in 1..=remotes.len() {
            let set = set(&remotes[..count].iter().map(String::as_str).collect::<Vec<_>>());
            let name = cluster_name(&set, port(443));
            assert!(name.len() <= REMOTES_LENGTH_MAX + "/65535".len(), "{name}");
            assert_eq!(name, cluster_name(&set, port(443)));
            names.insert(name);
        }
        assert_eq!(names.len(), remotes.len());
    }

    #[test]
    fn a_label_is_cut_only_beyond_the_limit() {
        let fits = "a".repeat(REMOTES_LENGTH_MAX);
        assert_eq!(cluster_name(&set(&[&fits]), port(1)), format!("{fits}/1"));
        let longer = "a".repeat(REMOTES_LENGTH_MAX + 1);
        let name = cluster_name(&set(&[&longer]), port(1));
        assert_eq!(name.len(), REMOTES_LENGTH_MAX + "/1".len());
        assert!(name.contains('~'), "{name}");
    }

    #[test]
    fn names_of_the_bootstrap_hold_upper_case() {
        for name in [XDS_CLUSTER, ADMIN_CLUSTER, READY_LISTENER, XDS_CLIENT_CERTIFICATE, XDS_SERVER_CA] {
            assert!(name.chars().any(char::is_uppercase), "{name}");
        }
    }
}
