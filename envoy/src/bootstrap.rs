//! The bootstrap: what a gateway's Envoy is started with, and how it finds the control plane.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::{DynamicResources, StaticResources};
use envoy_types::pb::envoy::config::bootstrap::v3::{Admin, Bootstrap};
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, UpstreamConnectionOptions};
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{
    Address, ApiConfigSource, ApiVersion, BackoffStrategy, ConfigSource, GrpcService, Http2ProtocolOptions,
    KeepaliveSettings, Node, RetryPolicy,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use prost::Message;

use crate::names;
use crate::overload;
use crate::ready;
use crate::tls::{self, BootstrapTls};
use crate::translate::Resources;
use crate::wire::build;
use crate::wire::listener::Listener;

/// The key under which Envoy looks for a cluster's HTTP options.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// How long one attempt to reach the control plane may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a silent control plane is asked whether it is there, by an HTTP/2 PING.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A control plane that has not answered by then is left for another.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest pause before the stream is opened again. Envoy's default grows to 30 s: that long a gateway
/// would go on without a control plane that is back.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);
const RECONNECT_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What a bootstrap is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapConfig {
    /// The gateway's own name, its pod's in Kubernetes.
    pub node_id: String,
    /// What kind of gateway it is.
    pub node_cluster: String,
    /// Where the control plane listens, at least one.
    pub xds_addresses: Vec<XdsAddress>,
    /// Where Envoy's admin interface listens. It can change and stop everything and knows no authentication: loopback.
    pub admin_address: Option<SocketAddr>,
    /// Where `/ready` of the admin interface can be asked from other hosts, for probes; it needs the admin interface.
    pub ready_address: Option<SocketAddr>,
    /// Mutual TLS with the control plane; plain text without.
    pub tls: Option<BootstrapTls>,
    /// At 90 % of it Envoy gives memory back, at 95 % it accepts no more connections.
    pub heap_bytes_max: u64,
    /// Client connections at once, over all listeners; further ones are closed.
    pub connections_max: u32,
}

impl BootstrapConfig {
    /// The node cluster of every gateway.
    pub const NODE_CLUSTER: &str = "xcc-gateway";
    /// Envoy takes about 70 MB empty, 90 MB with 10,000 names; the rest is for what connections have in flight.
    pub const HEAP_BYTES_MAX: u64 = 1024 * 1024 * 1024;
    /// Twice as many file descriptors are needed.
    pub const CONNECTIONS_MAX: u32 = 50_000;

    /// A gateway that reaches the control plane without TLS and has no admin interface.
    pub fn new(node_id: impl Into<String>, xds_addresses: Vec<XdsAddress>) -> Self {
        Self {
            node_id: node_id.into(),
            node_cluster: Self::NODE_CLUSTER.to_owned(),
            xds_addresses,
            admin_address: None,
            ready_address: None,
            tls: None,
            heap_bytes_max: Self::HEAP_BYTES_MAX,
            connections_max: Self::CONNECTIONS_MAX,
        }
    }
}

/// `host:port` of a control plane; the host is an IP address (IPv6 in brackets) or a DNS name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XdsAddress {
    host: String,
    port: u16,
}

/// A string that is no [`XdsAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("xDS address {0:?}: write host:port, as in 127.0.0.1:18000, [::1]:18000 or xcc.example:18000")]
pub struct XdsAddressError(String);

impl XdsAddress {
    /// The IP address, without brackets, or DNS name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for XdsAddress {
    type Err = XdsAddressError;

    fn from_str(text: &str) -> Result<Self, XdsAddressError> {
        let error = || XdsAddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(error)?;
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port });
        }
        let name = host.len() <= 253
            && host.split('.').all(|label| !label.is_empty())
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        // All digits and dots, but no address: a typing error rather than a name.
        let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if name && !numeric { Ok(Self { host: host.to_owned(), port }) } else { Err(error()) }
    }
}

impl From<SocketAddr> for XdsAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// The bootstrap of a gateway that gets clusters, endpoints and listeners from the control plane, over one delta stream.
pub fn bootstrap(config: &BootstrapConfig) -> Bootstrap {
    Bootstrap {
        node: Some(Node {
            id: config.node_id.clone(),
            cluster: config.node_cluster.clone(),
            ..Node::default()
        }),
        static_resources: Some(static_resources(config)),
        dynamic_resources: Some(DynamicResources {
            ads_config: Some(ads_config()),
            cds_config: Some(first_configuration()),
            lds_config: Some(first_configuration()),
            ..DynamicResources::default()
        }),
        ..base(config.admin_address, config.heap_bytes_max, config.connections_max)
    }
}

/// The bootstrap of `config` with resources as they are sent over xDS put into it: what `envoy --mode validate` checks.
pub fn static_bootstrap(config: &BootstrapConfig, resources: &Resources) -> Bootstrap {
    let mut bootstrap = bootstrap(config);
    let fixed = bootstrap.static_resources.get_or_insert_default();
    fixed.clusters.extend(resources.clusters.iter().cloned());
    fixed.listeners.extend(listeners(resources));
    bootstrap
}

/// A gateway without a control plane, its endpoints fixed: to try a translation by hand.
pub fn standalone_bootstrap(resources: &Resources, admin_address: Option<SocketAddr>) -> Bootstrap {
    let fixed = |(cluster, endpoints): (&Cluster, &ClusterLoadAssignment)| Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        eds_cluster_config: None,
        load_assignment: Some(endpoints.clone()),
        ..cluster.clone()
    };
    Bootstrap {
        static_resources: Some(StaticResources {
            clusters: resources.clusters.iter().zip(&resources.endpoints).map(fixed).collect(),
            listeners: listeners(resources),
            ..StaticResources::default()
        }),
        ..base(admin_address, BootstrapConfig::HEAP_BYTES_MAX, BootstrapConfig::CONNECTIONS_MAX)
    }
}

/// What a gateway needs before it hears of the control plane.
fn static_resources(config: &BootstrapConfig) -> StaticResources {
    let mut fixed = StaticResources { clusters: vec![xds_cluster(config)], ..StaticResources::default() };
    if let (Some(ready), Some(admin)) = (config.ready_address, config.admin_address) {
        fixed.clusters.push(ready::admin_cluster(admin));
        fixed.listeners.push(ready::listener(ready));
    }
    fixed
}

/// What every gateway has.
fn base(admin_address: Option<SocketAddr>, heap_bytes_max: u64, connections_max: u32) -> Bootstrap {
    let admin = admin_address.map(|address| Admin {
        address: Some(build::socket_address(address.ip(), address.port())),
        ..Admin::default()
    });
    Bootstrap {
        admin,
        overload_manager: Some(overload::overload_manager(heap_bytes_max, connections_max)),
        ..Bootstrap::default()
    }
}

/// Waited for as long as it takes: after Envoy's default of 15 s a gateway that has never reached a control plane would call
/// itself ready with nothing, and take the place of one that works. Every control plane answers, with nothing if it has
/// nothing.
fn first_configuration() -> ConfigSource {
    ConfigSource { initial_fetch_timeout: Some(build::duration(Duration::ZERO)), ..build::ads() }
}

fn ads_config() -> ApiConfigSource {
    let back_off = BackoffStrategy {
        base_interval: Some(build::duration(RECONNECT_INTERVAL)),
        max_interval: Some(build::duration(RECONNECT_INTERVAL_MAX)),
    };
    let grpc = EnvoyGrpc {
        cluster_name: names::XDS_CLUSTER.to_owned(),
        retry_policy: Some(RetryPolicy { retry_back_off: Some(back_off), ..RetryPolicy::default() }),
        ..EnvoyGrpc::default()
    };
    ApiConfigSource {
        api_type: ApiType::DeltaGrpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        // The node message lists every extension of Envoy, 60 KB.
        set_node_on_first_message_only: true,
        grpc_services: vec![GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(grpc)),
            ..GrpcService::default()
        }],
        ..ApiConfigSource::default()
    }
}

fn xds_cluster(config: &BootstrapConfig) -> Cluster {
    let resolved = config.xds_addresses.iter().all(|address| address.host.parse::<IpAddr>().is_ok());
    let discovery = if resolved { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let endpoints = LocalityLbEndpoints {
        lb_endpoints: config.xds_addresses.iter().map(xds_endpoint).collect(),
        ..LocalityLbEndpoints::default()
    };
    let tls = config.tls.as_ref().map(|tls| tls::transport_socket(tls, &config.xds_addresses));
    Cluster {
        name: names::XDS_CLUSTER.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        connect_timeout: Some(build::duration(CONNECT_TIMEOUT)),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: names::XDS_CLUSTER.to_owned(),
            endpoints: vec![endpoints],
            ..ClusterLoadAssignment::default()
        }),
        // The one entry of this map: the bytes of two would differ from process to process.
        typed_extension_protocol_options: [(HTTP_PROTOCOL_OPTIONS.to_owned(), build::any(&http2()))].into(),
        transport_socket: tls,
        upstream_connection_options: Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(build::tcp_keepalive()),
            ..UpstreamConnectionOptions::default()
        }),
        ..Cluster::default()
    }
}

fn xds_endpoint(address: &XdsAddress) -> LbEndpoint {
    let address: Address = build::named_socket_address(address.host.clone(), address.port, false);
    let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() }
}

fn http2() -> HttpProtocolOptions {
    let keepalive = KeepaliveSettings {
        interval: Some(build::duration(KEEPALIVE_INTERVAL)),
        timeout: Some(build::duration(KEEPALIVE_TIMEOUT)),
        ..KeepaliveSettings::default()
    };
    let http2 =
        Http2ProtocolOptions { connection_keepalive: Some(keepalive), ..Http2ProtocolOptions::default() };
    let explicit = ExplicitHttpConfig { protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)) };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..HttpProtocolOptions::default()
    }
}

/// Listeners in the type that a bootstrap holds: the same bytes on the wire.
fn listeners(resources: &Resources) -> Vec<envoy_types::pb::envoy::config::listener::v3::Listener> {
    let decode = |listener: &Listener| Message::decode(listener.encode_to_vec().as_slice());
    let decode = |listener| decode(listener).expect("both types are the same message");
    resources.listeners.iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_an_address_or_a_name_and_a_port() {
        for (given, host, port) in [
            ("127.0.0.1:18000", "127.0.0.1", 18000),
            ("[::1]:18000", "::1", 18000),
            ("xcc:1", "xcc", 1),
            ("xcc-xds.cross-cluster-connectivity.svc:18000", "xcc-xds.cross-cluster-connectivity.svc", 18000),
        ] {
            let address = given.parse::<XdsAddress>().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{given}");
        }
        for given in
            ["", "xcc", "xcc:", ":18000", "xcc:0", "xcc:65536", "::1:18000", "a..b:1", "a b:1", "1.2.3:4"]
        {
            assert_eq!(given.parse::<XdsAddress>(), Err(XdsAddressError(given.to_owned())), "{given}");
        }
    }
}
