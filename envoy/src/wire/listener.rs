//! `envoy.config.listener.v3.Listener` with a matcher whose bytes are stable.

use envoy_types::pb::envoy::config::core::v3::Address;
use envoy_types::pb::envoy::config::listener::v3::{FilterChain, ListenerFilter};
use envoy_types::pb::google::protobuf::{Duration, UInt32Value};

use crate::wire::matcher::Matcher;

/// The fields of Envoy's Listener that xcc sets, under Envoy's numbers. Not the type of envoy-types, since that holds
/// the map of names in random order (see the crate's documentation); one can be decoded from the bytes of the other.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Listener {
    /// The resource's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it listens.
    #[prost(message, optional, tag = "2")]
    pub address: Option<Address>,
    /// The chains that `filter_chain_matcher` chooses from, by name.
    #[prost(message, repeated, tag = "3")]
    pub filter_chains: Vec<FilterChain>,
    /// A soft limit of what is buffered for each connection.
    #[prost(message, optional, tag = "5")]
    pub per_connection_buffer_limit_bytes: Option<UInt32Value>,
    /// What looks at a connection before a chain is chosen.
    #[prost(message, repeated, tag = "9")]
    pub listener_filters: Vec<ListenerFilter>,
    /// How long a client may take for its ClientHello.
    #[prost(message, optional, tag = "15")]
    pub listener_filters_timeout: Option<Duration>,
    /// Whether a slow client is served nevertheless; never set.
    #[prost(bool, tag = "17")]
    pub continue_on_listener_filters_timeout: bool,
    /// The name of the listener in statistics.
    #[prost(string, tag = "28")]
    pub stat_prefix: String,
    /// Maps the SNI to the name of a chain.
    #[prost(message, optional, tag = "32")]
    pub filter_chain_matcher: Option<Matcher>,
}

impl prost::Name for Listener {
    const NAME: &'static str = "Listener";
    const PACKAGE: &'static str = "envoy.config.listener.v3";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}
