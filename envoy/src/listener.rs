//! Listener: one for each service port, with the map of names.

use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3::{FilterChain, ListenerFilter, listener_filter};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use xcc_model::ServicePort;

use crate::config::GatewayConfig;
use crate::matcher::{MatcherForm, admit, matcher, names_admitted};
use crate::names;
use crate::routing::PortRouting;
use crate::tcp_proxy::tcp_proxy;
use crate::wire::build;
use crate::wire::listener::Listener;

/// A client that has not sent its ClientHello by then is cut off (Envoy's default is 15 s).
const CLIENT_HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The listener of a port, none if the gateway has no port for it.
pub(crate) fn listener(
    port: ServicePort,
    routing: &PortRouting,
    config: &GatewayConfig,
    form: MatcherForm,
) -> Option<Listener> {
    let bound_port = config.listener_port(port)?;
    if routing.count().names > names_admitted(routing.count(), form) {
        let admitted = admit(routing.by_name(), form).names;
        return listener(port, &PortRouting::of(port, &admitted), config, form);
    }
    let chains = routing.chains();
    if chains.is_empty() {
        return None;
    }
    let name = names::listener_name(port);
    Some(Listener {
        stat_prefix: name.clone(),
        name,
        address: Some(build::socket_address(config.bind, bound_port)),
        filter_chains: chains.iter().map(|chain| filter_chain(&chain.name, config)).collect(),
        filter_chain_matcher: Some(matcher(&chains, form)),
        per_connection_buffer_limit_bytes: Some(build::uint32(config.buffer_limit_bytes)),
        listener_filters: vec![tls_inspector()],
        listener_filters_timeout: Some(build::duration(CLIENT_HELLO_TIMEOUT)),
        continue_on_listener_filters_timeout: false,
    })
}

/// A chain holds nothing but where it leads. Names in it would make it another chain with every name that comes or goes,
/// and Envoy closes the connections of a chain that goes.
fn filter_chain(chain: &str, config: &GatewayConfig) -> FilterChain {
    FilterChain { name: chain.to_owned(), filters: vec![tcp_proxy(chain, config)], ..FilterChain::default() }
}

/// Reads the SNI from the ClientHello without ending TLS.
fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(build::any(&TlsInspector::default()))),
        ..ListenerFilter::default()
    }
}
