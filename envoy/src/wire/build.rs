//! Constructors for the messages that occur everywhere.

use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, TcpKeepalive, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::google::protobuf as wkt;
use prost::{Message, Name};

/// How long a peer may be silent before the kernel asks whether it is still there.
const KEEPALIVE_TIME_SECONDS: u32 = 60;
/// The time between two such probes.
const KEEPALIVE_INTERVAL_SECONDS: u32 = 10;
/// After how many unanswered probes the connection is reset.
const KEEPALIVE_PROBES: u32 = 3;

/// Packs a message.
pub(crate) fn any<M: Message + Name>(message: &M) -> wkt::Any {
    wkt::Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Durations are whole nanoseconds in both; Envoy's are signed, which no timeout here comes near.
pub(crate) fn duration(duration: Duration) -> wkt::Duration {
    wkt::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

pub(crate) fn uint32(value: u32) -> wkt::UInt32Value {
    wkt::UInt32Value { value }
}

/// The address of a listener or of an endpoint. `::` as an address to bind accepts IPv4 as well.
pub(crate) fn socket_address(address: IpAddr, port: u16) -> Address {
    let ipv4_compat = address.is_ipv6() && address.is_unspecified();
    named_socket_address(address.to_string(), port, ipv4_compat)
}

/// The address of an endpoint that Envoy resolves by DNS.
pub(crate) fn named_socket_address(address: String, port: u16, ipv4_compat: bool) -> Address {
    let port_specifier = Some(PortSpecifier::PortValue(port.into()));
    let socket_address = SocketAddress { address, ipv4_compat, port_specifier, ..SocketAddress::default() };
    Address { address: Some(address::Address::SocketAddress(socket_address)) }
}

/// A locality with one endpoint.
pub(crate) fn locality(address: Address) -> LocalityLbEndpoints {
    let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
    let endpoint =
        LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() }
}

/// A resource type that comes over the aggregated stream. How long Envoy waits for the first answer is left at its
/// default of 15 s.
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        ..ConfigSource::default()
    }
}

/// Lets the kernel notice peers that vanished without a word: firewalls that forget, nodes that lose power.
pub(crate) fn tcp_keepalive() -> TcpKeepalive {
    TcpKeepalive {
        keepalive_probes: Some(uint32(KEEPALIVE_PROBES)),
        keepalive_time: Some(uint32(KEEPALIVE_TIME_SECONDS)),
        keepalive_interval: Some(uint32(KEEPALIVE_INTERVAL_SECONDS)),
    }
}
