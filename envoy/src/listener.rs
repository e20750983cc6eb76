//! Listener: one for each service port, with the map of names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3::{FilterChain, ListenerFilter, listener_filter};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use xcc_model::{ServicePort, ServiceTable};

use crate::config::GatewayConfig;
use crate::matcher::{MatcherForm, admit, matcher};
use crate::names;
use crate::tcp_proxy::tcp_proxy;
use crate::translate::{PortNames, names_by_port};
use crate::wire::build;
use crate::wire::listener::Listener;

/// A client that has not sent its ClientHello by then is cut off (Envoy's default is 15 s).
const CLIENT_HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The listeners of a table, in the order of their names. A port without names has none.
///
/// The dear part of a translation: it costs as much as there are names. It does not depend on the endpoints.
pub fn listeners(table: &ServiceTable, config: &GatewayConfig, form: MatcherForm) -> Vec<Listener> {
    let mut listeners = names_by_port(table)
        .into_iter()
        .filter_map(|(port, names)| listener(port, names, config, form))
        .collect::<Vec<_>>();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    listeners
}

fn listener(
    port: ServicePort,
    names: PortNames<'_>,
    config: &GatewayConfig,
    form: MatcherForm,
) -> Option<Listener> {
    let bound_port = config.listener_port(port)?;
    let names = admit(names, form).names;
    let sets = names.iter().map(|(_, remotes)| *remotes).collect::<BTreeSet<_>>();
    let chains = sets
        .into_iter()
        .map(|remotes| (remotes, names::cluster_name(remotes, port)))
        .collect::<BTreeMap<_, _>>();
    if chains.is_empty() {
        return None;
    }
    let by_name =
        names.into_iter().map(|(name, remotes)| (name, chains[remotes].as_str())).collect::<Vec<_>>();
    let mut filter_chains = chains.values().map(|chain| filter_chain(chain, config)).collect::<Vec<_>>();
    filter_chains.sort_by(|a, b| a.name.cmp(&b.name));
    let name = names::listener_name(port);
    Some(Listener {
        stat_prefix: name.clone(),
        name,
        address: Some(build::socket_address(config.bind, bound_port)),
        filter_chains,
        filter_chain_matcher: Some(matcher(&by_name, form)),
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
