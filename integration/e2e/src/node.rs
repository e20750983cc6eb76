//! The network of one node: its namespace, its addresses, its pods' links, and the host ports.
//!
//! Each pod has a link of its own to its node and is routed, never bridged: so every packet between pods passes
//! the node's connection tracking, and a Service answers even when its endpoint is on the client's own node.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::lan::{self, Lan};
use crate::netns::Namespace;

/// The pods of every cluster: the same range in each, which is what the product is about.
pub const POD_CIDR_V4: &str = "10.244.0.0/16";
/// The pods' IPv6 range.
pub const POD_CIDR_V6: &str = "fd00:10:244::/48";

/// The nodes' side of every pod's link has this address, and is the pods' default router.
const POD_ROUTER_V4: &str = "169.254.1.1";
const POD_ROUTER_V6: &str = "fe80::1";

/// The first and last host numbers that a node gives to pods.
const POD_NUMBERS: std::ops::RangeInclusive<u8> = 2..=250;

const NODE_SYSCTLS: [(&str, &str); 8] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // Connections that the node's own processes make to 127.0.0.1:hostPort.
    ("net/ipv4/conf/all/route_localnet", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

/// As container runtimes have it by default since containerd 2.0, ports below 1024 need no capability in a pod.
const POD_SYSCTLS: [(&str, &str); 4] = [
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

/// Host ports are decided before kube-proxy's rules (priority dstnat, -100), as CNI's portmap has it.
const NODE_RULES: &str = "\
table inet e2e {
  map tcp4 { type inet_service : ipv4_addr . inet_service; }
  map tcp6 { type inet_service : ipv6_addr . inet_service; }
  map udp4 { type inet_service : ipv4_addr . inet_service; }
  map udp6 { type inet_service : ipv6_addr . inet_service; }
  chain hostports {
    meta nfproto ipv4 dnat ip to tcp dport map @tcp4
    meta nfproto ipv6 dnat ip6 to tcp dport map @tcp6
    meta nfproto ipv4 dnat ip to udp dport map @udp4
    meta nfproto ipv6 dnat ip6 to udp dport map @udp6
  }
  chain prerouting {
    type nat hook prerouting priority -110;
    fib daddr type local jump hostports
  }
  chain output {
    type nat hook output priority -110;
    fib daddr type local jump hostports
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname eth0 ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade
    oifname eth0 ip6 saddr fd00:10:244::/48 ip6 daddr != fd00:10:244::/48 masquerade
    oifname != eth0 ip saddr 127.0.0.0/8 ip daddr != 127.0.0.0/8 masquerade
  }
}
";

const REFUSE_V4_RULES: &str = "\
table ip refuse {
  chain prerouting {
    type filter hook prerouting priority mangle;
    iifname eth0 tcp dport { 80, 443, 30000-32767 } fib daddr type local ct state new drop
  }
}
";

/// The two addresses of a node or a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// Both, IPv4 first as in Kubernetes' `podIPs` and `addresses` of a dual-stack cluster.
    pub fn both(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// A port of the node that leads to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// UDP rather than TCP.
    pub udp: bool,
    /// The port on the node.
    pub host: u16,
    /// The port in the pod.
    pub container: u16,
}

/// The network side of one node.
#[derive(Debug)]
pub struct NodeNetwork {
    namespace: Namespace,
    addresses: Addresses,
    /// The node's number within its cluster; it decides the pods' addresses.
    index: u8,
    port: String,
    taken: Mutex<BTreeSet<u8>>,
}

/// The network side of one pod.
#[derive(Debug)]
pub struct PodNetwork {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's addresses.
    pub addresses: Addresses,
    number: u8,
}

impl NodeNetwork {
    /// Makes a node's namespace and connects it to the link. `number` is the node's on the link, `index` within its
    /// cluster.
    ///
    /// # Errors
    /// When the kernel lacks something, or the names are taken.
    pub async fn create(lan: &Lan, name: &str, number: u8, index: u8) -> Result<Self> {
        let namespace = Namespace::create(name, &NODE_SYSCTLS).await?;
        let port = format!("node{number}");
        lan.connect(&namespace, &port).await?;
        let (v4, v6) = lan::node_addresses(number);
        namespace
            .ip(&format!(
                "addr add {v4}/{} dev eth0\n\
                 addr add {v6}/{} dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default via {}\n\
                 route add ::/0 via {}",
                lan::V4_LENGTH,
                lan::V6_LENGTH,
                lan::ROUTER_V4,
                lan::ROUTER_V6
            ))
            .await?;
        namespace.nft(NODE_RULES).await?;
        let taken = Mutex::default();
        Ok(Self { namespace, addresses: Addresses { v4, v6 }, index, port, taken })
    }

    /// The node's namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The node's addresses.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The bridge port that connects the node.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// The ranges of the node's pods, for `spec.podCIDRs`.
    pub fn pod_cidrs(&self) -> [String; 2] {
        [format!("10.244.{}.0/24", self.index), format!("fd00:10:244:{:x}::/64", self.index)]
    }

    /// Drops what comes to the node's public ports by IPv4 from the link: to others it is a node of IPv6 only. (It
    /// keeps its IPv4 address, so that its own pods reach the API server.)
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn refuse_v4(&self) -> Result<()> {
        self.namespace.nft(REFUSE_V4_RULES).await
    }

    /// Routes to another node's pods; done in both directions this is the cluster's pod network.
    ///
    /// # Errors
    /// When there is such a route.
    pub async fn route_to(&self, other: &Self) -> Result<()> {
        let [v4, v6] = other.pod_cidrs();
        let Addresses { v4: via_v4, v6: via_v6 } = other.addresses;
        self.namespace.ip(&format!("route replace {v4} via {via_v4}\nroute replace {v6} via {via_v6}")).await
    }

    /// Makes a pod's namespace, with a link to this node, and addresses of this node's ranges.
    ///
    /// # Errors
    /// When the node has no address left, or the kernel refuses.
    pub async fn add_pod(&self, name: &str) -> Result<PodNetwork> {
        let number = self.take_number()?;
        let made = self.make_pod(name, number).await;
        if made.is_err() {
            self.free_number(number);
        }
        made
    }

    async fn make_pod(&self, name: &str, number: u8) -> Result<PodNetwork> {
        let namespace = Namespace::create(name, &POD_SYSCTLS).await?;
        let v4 = Ipv4Addr::new(10, 244, self.index, number);
        let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(self.index), 0, 0, 0, u16::from(number));
        let Addresses { v4: node_v4, v6: node_v6 } = self.addresses;
        self.namespace
            .ip(&format!(
                "link add pod{number} type veth peer name eth0 netns {}\n\
                 addr add {POD_ROUTER_V4}/32 dev pod{number} scope link\n\
                 addr add {POD_ROUTER_V6}/64 dev pod{number} nodad\n\
                 link set pod{number} up\n\
                 route add {v4}/32 dev pod{number} src {node_v4}\n\
                 route add {v6}/128 dev pod{number} src {node_v6}",
                namespace.name()
            ))
            .await?;
        namespace
            .ip(&format!(
                "addr add {v4}/32 dev eth0\n\
                 addr add {v6}/128 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add {POD_ROUTER_V4} dev eth0\n\
                 route add default via {POD_ROUTER_V4} src {v4}\n\
                 route add ::/0 via {POD_ROUTER_V6} dev eth0 src {v6}"
            ))
            .await?;
        Ok(PodNetwork { namespace, addresses: Addresses { v4, v6 }, number })
    }

    /// Removes a pod's namespace with all that runs in it. Its link goes with it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_pod(&self, pod: &PodNetwork) -> Result<()> {
        let deleted = pod.namespace.delete().await;
        // A namespace that was deleted goes away in the background. The link's name is to be free now.
        let _gone_already = self.namespace.ip(&format!("link delete pod{}", pod.number)).await;
        self.free_number(pod.number);
        deleted
    }

    /// Lets ports of the node lead to a pod.
    ///
    /// # Errors
    /// When one of them leads elsewhere.
    pub async fn open_ports(&self, pod: Addresses, ports: &[HostPort]) -> Result<()> {
        self.change_ports("add", pod, ports).await
    }

    /// Takes those ports back.
    ///
    /// # Errors
    /// When they do not lead to this pod.
    pub async fn close_ports(&self, pod: Addresses, ports: &[HostPort]) -> Result<()> {
        self.change_ports("delete", pod, ports).await
    }

    async fn change_ports(&self, verb: &str, pod: Addresses, ports: &[HostPort]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        self.namespace.nft(&port_script(verb, pod, ports)).await.context("host ports")
    }

    fn take_number(&self) -> Result<u8> {
        let mut taken = self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let number = POD_NUMBERS.into_iter().find(|number| !taken.contains(number));
        let number = number.context("the node has no address left for a pod")?;
        taken.insert(number);
        Ok(number)
    }

    fn free_number(&self, number: u8) {
        self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&number);
    }
}

fn port_script(verb: &str, pod: Addresses, ports: &[HostPort]) -> String {
    let mut script = String::new();
    for HostPort { udp, host, container } in ports {
        let protocol = if *udp { "udp" } else { "tcp" };
        for (family, address) in [("4", pod.both()[0]), ("6", pod.both()[1])] {
            // Writing to a String cannot fail.
            let _ = writeln!(
                script,
                "{verb} element inet e2e {protocol}{family} {{ {host} : {address} . {container} }}"
            );
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_port_leads_to_both_addresses() {
        let pod = Addresses { v4: "10.244.1.2".parse().unwrap(), v6: "fd00:10:244:1::2".parse().unwrap() };
        let script = port_script("add", pod, &[HostPort { udp: false, host: 443, container: 8443 }]);
        assert_eq!(
            script,
            "add element inet e2e tcp4 { 443 : 10.244.1.2 . 8443 }\n\
             add element inet e2e tcp6 { 443 : fd00:10:244:1::2 . 8443 }\n"
        );
    }
}
