//! The resources: ten remotes with a cluster and five endpoints each, and one listener with all names.

use data_plane_api::envoy::config::cluster::v3::{
    Cluster,
    cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
};
use data_plane_api::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
    config_source::ConfigSourceSpecifier, socket_address::PortSpecifier,
};
use data_plane_api::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use data_plane_api::envoy::config::listener::v3::{
    Filter, FilterChain, Listener, ListenerFilter, filter, listener_filter,
};
use data_plane_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use data_plane_api::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier,
};
use data_plane_api::envoy::extensions::matching::common_inputs::network::v3::ServerNameInput;
use data_plane_api::google::protobuf::{Any, Duration, StringValue, UInt32Value};
use data_plane_api::xds::core::v3::TypedExtensionConfig;
use data_plane_api::xds::r#type::matcher::v3::{
    Matcher,
    matcher::{MatcherTree, MatcherType, OnMatch, matcher_tree::TreeType, on_match},
};
use prost::Message;

/// Remote clusters.
pub const REMOTES: usize = 10;
/// Nodes of each.
const NODES: usize = 5;
/// The only listener.
pub const LISTENER_NAME: &str = "443";

/// What the resources are made from.
pub struct World {
    services: usize,
    domains: [Vec<String>; REMOTES],
    addresses: [[String; NODES]; REMOTES],
    changes: usize,
}

/// The name of a remote's cluster.
pub fn cluster_name(remote: usize) -> String {
    format!("r{remote}/443")
}

impl World {
    /// So many services, spread over the remotes.
    pub fn new(services: usize) -> Self {
        let address = |remote, node| format!("10.{remote}.0.{}", node + 1);
        let addresses = std::array::from_fn(|remote| std::array::from_fn(|node| address(remote, node)));
        let mut world = Self { services: 0, domains: Default::default(), addresses, changes: 0 };
        (0..services).for_each(|_| world.add());
        world
    }

    /// One service more.
    pub fn add(&mut self) {
        let remote = self.services % REMOTES;
        self.domains[remote].push(format!("service-{:06}.r{remote}.xcc.test", self.services));
        self.services += 1;
    }

    /// One service less.
    pub fn remove(&mut self) {
        self.services = self.services.saturating_sub(1);
        self.domains[self.services % REMOTES].pop();
    }

    /// Gives a node of a remote an address that it has not had.
    pub fn change_node(&mut self, remote: usize) {
        self.changes += 1;
        let (high, low) = (self.changes / 250 % 250, self.changes % 250 + 1);
        self.addresses[remote][0] = format!("10.{}.{high}.{low}", 100 + remote);
    }

    pub fn cluster(&self, remote: usize) -> Cluster {
        let ads = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
        let eds_config = ConfigSource {
            resource_api_version: ApiVersion::V3 as i32,
            config_source_specifier: Some(ads),
            ..Default::default()
        };
        Cluster {
            name: cluster_name(remote),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
            connect_timeout: Some(Duration { seconds: 2, nanos: 0 }),
            per_connection_buffer_limit_bytes: Some(UInt32Value { value: 32768 }),
            eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(eds_config), ..Default::default() }),
            ..Default::default()
        }
    }

    pub fn endpoint(&self, remote: usize) -> ClusterLoadAssignment {
        let endpoint = |address: &String| {
            let endpoint = Endpoint { address: Some(socket_address(address)), ..Default::default() };
            LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
        };
        let lb_endpoints = self.addresses[remote].iter().map(endpoint).collect();
        ClusterLoadAssignment {
            cluster_name: cluster_name(remote),
            endpoints: vec![LocalityLbEndpoints { lb_endpoints, ..Default::default() }],
            ..Default::default()
        }
    }

    /// All names in one matcher, and one chain for each remote.
    pub fn listener(&self) -> Listener {
        let inspector =
            any("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", &TlsInspector::default());
        Listener {
            name: LISTENER_NAME.to_owned(),
            address: Some(socket_address("0.0.0.0")),
            per_connection_buffer_limit_bytes: Some(UInt32Value { value: 32768 }),
            filter_chains: (0..REMOTES).map(chain).collect(),
            listener_filters: vec![ListenerFilter {
                name: "envoy.filters.listener.tls_inspector".to_owned(),
                config_type: Some(listener_filter::ConfigType::TypedConfig(inspector)),
                ..Default::default()
            }],
            filter_chain_matcher: Some(self.matcher()),
            ..Default::default()
        }
    }

    fn matcher(&self) -> Matcher {
        let of_remote = |remote: usize| {
            let chain = any("google.protobuf.StringValue", &StringValue { value: cluster_name(remote) });
            let action = on_match::OnMatch::Action(extension("chain", chain));
            DomainMatcher {
                domains: self.domains[remote].clone(),
                on_match: Some(OnMatch { on_match: Some(action) }),
            }
        };
        let domain_matchers =
            (0..REMOTES).filter(|remote| !self.domains[*remote].is_empty()).map(of_remote).collect();
        let names = any("xds.type.matcher.v3.ServerNameMatcher", &ServerNameMatcher { domain_matchers });
        let input =
            any("envoy.extensions.matching.common_inputs.network.v3.ServerNameInput", &ServerNameInput {});
        let tree = MatcherTree {
            input: Some(extension("sni", input)),
            tree_type: Some(TreeType::CustomMatch(extension("names", names))),
        };
        Matcher { matcher_type: Some(MatcherType::MatcherTree(tree)), ..Default::default() }
    }
}

fn chain(remote: usize) -> FilterChain {
    let proxy = TcpProxy {
        stat_prefix: cluster_name(remote),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster_name(remote))),
        idle_timeout: Some(Duration { seconds: 3600, nanos: 0 }),
        ..Default::default()
    };
    let proxy = any("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", &proxy);
    let filter = Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(proxy)),
    };
    FilterChain { name: cluster_name(remote), filters: vec![filter], ..Default::default() }
}

fn socket_address(address: &str) -> Address {
    let address = SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(443)),
        ..Default::default()
    };
    Address { address: Some(address::Address::SocketAddress(address)) }
}

fn extension(name: &str, config: Any) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// `xds.type.matcher.v3.ServerNameMatcher`, which is younger than the crate's API.
#[derive(Clone, PartialEq, Message)]
struct ServerNameMatcher {
    #[prost(message, repeated, tag = "1")]
    domain_matchers: Vec<DomainMatcher>,
}

/// `xds.type.matcher.v3.ServerNameMatcher.DomainMatcher`.
#[derive(Clone, PartialEq, Message)]
struct DomainMatcher {
    #[prost(string, repeated, tag = "1")]
    domains: Vec<String>,
    #[prost(message, optional, tag = "2")]
    on_match: Option<OnMatch>,
}
