//! A remote's nodes: where its ingress can be reached.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One Node of a remote, reduced to what decides whether and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Ready, without intolerable taints, not a control-plane node.
    pub eligible: bool,
    /// `status.addresses` in the order of the object, host names left out.
    pub addresses: Vec<NodeAddress>,
}

/// One entry of a Node's `status.addresses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Which network it belongs to.
    pub kind: AddressType,
    /// The address as the Node gives it; text that is no IP address is kept, to be reported.
    pub address: Result<IpAddr, String>,
}

/// The address types of a Node that name an IP address (Kubernetes API, NodeAddressType).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressType {
    /// Reachable within the cluster's network.
    InternalIP,
    /// Reachable from outside.
    ExternalIP,
}

impl Node {
    /// The addresses of the first of the types that the node has any of: one for each family, since a node that
    /// lists several of a family is still reached by its first.
    pub fn addresses_by(&self, types: &[AddressType]) -> impl Iterator<Item = &Result<IpAddr, String>> {
        let has = |kind: &&AddressType| self.addresses.iter().any(|address| address.kind == **kind);
        let kind = types.iter().find(has).copied();
        let mut seen = [false; 2];
        self.addresses
            .iter()
            .filter(move |address| Some(address.kind) == kind)
            .map(|address| &address.address)
            .filter(move |address| match address {
                Ok(ip) => !std::mem::replace(&mut seen[usize::from(ip.to_canonical().is_ipv6())], true),
                Err(_) => true,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(kind: AddressType, text: &str) -> NodeAddress {
        NodeAddress { kind, address: text.parse().map_err(|_| text.to_owned()) }
    }

    #[test]
    fn the_first_type_that_a_node_has_is_taken_one_address_a_family() {
        use AddressType::{ExternalIP, InternalIP};
        let node = Node {
            eligible: true,
            addresses: vec![
                address(InternalIP, "10.0.0.1"),
                address(InternalIP, "10.0.0.2"),
                address(InternalIP, "fd00::1"),
                address(ExternalIP, "192.0.2.1"),
            ],
        };
        let chosen = |types: &[AddressType]| {
            node.addresses_by(types).map(|ip| ip.as_ref().unwrap().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[InternalIP]), ["10.0.0.1", "fd00::1"]);
        assert_eq!(chosen(&[ExternalIP, InternalIP]), ["192.0.2.1"]);
        let internal_only = Node { eligible: true, addresses: vec![address(InternalIP, "10.0.0.1")] };
        assert_eq!(internal_only.addresses_by(&[ExternalIP, InternalIP]).count(), 1);
        assert_eq!(internal_only.addresses_by(&[ExternalIP]).count(), 0);
    }
}
