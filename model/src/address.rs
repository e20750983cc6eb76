//! Which addresses a gateway may be told to connect to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `RemoteCluster.spec.allowedEndpointCIDRs`. A remote names the addresses of its nodes itself, so without a bound
/// it could make the gateway connect to the importing cluster's own metadata service or back to the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointPolicy {
    allowed: Vec<IpNet>,
}

/// Why an address is not proxied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Unspecified, multicast, broadcast or reserved: nothing can be there.
    #[error("is not a unicast address")]
    NotUnicast,
    /// 127.0.0.0/8 or ::1.
    #[error("is a loopback address; list it in allowedEndpointCIDRs if it is meant")]
    Loopback,
    /// 169.254.0.0/16 or fe80::/10.
    #[error("is a link-local address; list it in allowedEndpointCIDRs if it is meant")]
    LinkLocal,
    /// The metadata service of a cloud provider outside the link-local ranges.
    #[error("is a cloud metadata service; list it in allowedEndpointCIDRs if it is meant")]
    Metadata,
    /// The gateway would connect to itself.
    #[error("is the gateway's own address; list it in allowedEndpointCIDRs if it is meant")]
    Gateway,
    /// The list does not have it.
    #[error("is in none of allowedEndpointCIDRs")]
    NotAllowed,
}

/// Metadata services that are not link-local: AWS over IPv6, Alibaba Cloud, Azure's wire server.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

impl EndpointPolicy {
    /// Allows only these networks; none of them means every unicast address but those that are dangerous.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Decides on one address. `gateway` are the addresses that the gateway itself is reached by.
    /// Returns the address with an IPv4-mapped form (`::ffff:10.0.0.1`) written as IPv4.
    pub fn check(&self, address: IpAddr, gateway: &BTreeSet<IpAddr>) -> Result<IpAddr, AddressRefused> {
        let address = address.to_canonical();
        if !is_unicast(address) {
            return Err(AddressRefused::NotUnicast);
        }
        if !self.allowed.is_empty() {
            let allowed = self.allowed.iter().any(|network| network.contains(&address));
            return if allowed { Ok(address) } else { Err(AddressRefused::NotAllowed) };
        }
        if address.is_loopback() {
            Err(AddressRefused::Loopback)
        } else if is_link_local(address) {
            Err(AddressRefused::LinkLocal)
        } else if METADATA.contains(&address) {
            Err(AddressRefused::Metadata)
        } else if gateway.contains(&address) {
            Err(AddressRefused::Gateway)
        } else {
            Ok(address)
        }
    }
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        // 0.0.0.0/8 "this network" and 240.0.0.0/4 reserved (RFC 6890), the latter with the broadcast address.
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4.octets()[0] < 240 && !v4.is_multicast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_addresses_are_refused_by_default() {
        let gateway = BTreeSet::from(["10.96.0.10".parse().unwrap()]);
        let policy = EndpointPolicy::default();
        for (address, want) in [
            ("10.0.0.1", Ok("10.0.0.1")),
            ("192.168.1.1", Ok("192.168.1.1")),
            ("fd00::1", Ok("fd00::1")),
            ("::ffff:10.0.0.1", Ok("10.0.0.1")),
            ("127.0.0.1", Err(AddressRefused::Loopback)),
            ("::1", Err(AddressRefused::Loopback)),
            ("::ffff:127.0.0.1", Err(AddressRefused::Loopback)),
            ("169.254.169.254", Err(AddressRefused::LinkLocal)),
            ("fe80::1", Err(AddressRefused::LinkLocal)),
            ("fd00:ec2::254", Err(AddressRefused::Metadata)),
            ("100.100.100.200", Err(AddressRefused::Metadata)),
            ("10.96.0.10", Err(AddressRefused::Gateway)),
            ("0.0.0.0", Err(AddressRefused::NotUnicast)),
            ("224.0.0.1", Err(AddressRefused::NotUnicast)),
            ("255.255.255.255", Err(AddressRefused::NotUnicast)),
            ("::", Err(AddressRefused::NotUnicast)),
            ("ff02::1", Err(AddressRefused::NotUnicast)),
        ] {
            let want = want.map(|text: &str| text.parse().unwrap());
            assert_eq!(policy.check(address.parse().unwrap(), &gateway), want, "{address}");
        }
    }

    #[test]
    fn a_list_allows_what_it_has_and_nothing_else() {
        let policy = EndpointPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let none = BTreeSet::new();
        assert!(policy.check("127.0.0.2".parse().unwrap(), &none).is_ok());
        assert_eq!(policy.check("10.0.0.1".parse().unwrap(), &none), Err(AddressRefused::NotAllowed));
    }
}
