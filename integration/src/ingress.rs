//! What listens on a remote's nodes: an ordinary Envoy, as Contour's DaemonSet has it, that routes by SNI to the
//! services and terminates nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::envoy::Envoy;
use crate::project::ENVOY_NEWEST;

/// A server name (a leading `*.` takes any depth below) and the service that gets its connections.
pub type SniRoute = (String, SocketAddr);

/// Starts an ingress on one port of all the nodes.
///
/// # Errors
/// When Envoy cannot be started.
pub fn start(
    name: &str,
    nodes: &[IpAddr],
    port: u16,
    routes: &[SniRoute],
    admin: SocketAddr,
    folder: &Path,
) -> Result<Envoy> {
    Envoy::spawn(ENVOY_NEWEST, name, &bootstrap(name, nodes, port, routes, admin).to_string(), admin, folder)
}

fn bootstrap(name: &str, nodes: &[IpAddr], port: u16, routes: &[SniRoute], admin: SocketAddr) -> Value {
    let listeners: Vec<Value> = nodes
        .iter()
        .map(|node| {
            json!({
                "name": format!("node/{node}"),
                "address": socket(SocketAddr::new(*node, port)),
                "listener_filters": [{
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {"@type": TLS_INSPECTOR},
                }],
                "filter_chains": routes.iter().map(filter_chain).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "node": {"id": name, "cluster": "ingress"},
        "admin": {"address": socket(admin)},
        "static_resources": {
            "listeners": listeners,
            "clusters": routes.iter().map(cluster).collect::<Vec<_>>(),
        },
    })
}

const TLS_INSPECTOR: &str =
    "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const TCP_PROXY: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

fn filter_chain((server_name, _service): &SniRoute) -> Value {
    json!({
        "filter_chain_match": {"server_names": [server_name]},
        "filters": [{
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {"@type": TCP_PROXY, "stat_prefix": server_name, "cluster": server_name},
        }],
    })
}

fn cluster((server_name, service): &SniRoute) -> Value {
    json!({
        "name": server_name,
        "connect_timeout": "2s",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": server_name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(*service)}}]}],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
