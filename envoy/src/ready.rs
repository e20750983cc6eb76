//! The one static listener of a gateway: `/ready` of Envoy's admin interface, and nothing else of it, for probes that
//! cannot reach the admin interface itself.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter,
};

use crate::names;
use crate::wire::build;
use crate::{Cluster, ClusterLoadAssignment};

const READY_PATH: &str = "/ready";

/// The cluster that leads to Envoy's own admin interface.
pub(crate) fn admin_cluster(admin_address: SocketAddr) -> Cluster {
    Cluster {
        name: names::ADMIN_CLUSTER.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: names::ADMIN_CLUSTER.to_owned(),
            endpoints: vec![build::locality(build::socket_address(admin_address.ip(), admin_address.port()))],
            ..ClusterLoadAssignment::default()
        }),
        ..Cluster::default()
    }
}

/// The listener. It counts for no connection limit: a busy gateway is not a broken one.
pub(crate) fn listener(address: SocketAddr) -> Listener {
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(FilterConfig::TypedConfig(build::any(&http_connection_manager()))),
    };
    Listener {
        name: names::READY_LISTENER.to_owned(),
        address: Some(build::socket_address(address.ip(), address.port())),
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        ignore_global_conn_limit: true,
        ..Listener::default()
    }
}

fn http_connection_manager() -> HttpConnectionManager {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Path(READY_PATH.to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(names::ADMIN_CLUSTER.to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let virtual_host = VirtualHost {
        name: names::READY_LISTENER.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(ConfigType::TypedConfig(build::any(&Router::default()))),
        ..HttpFilter::default()
    };
    HttpConnectionManager {
        stat_prefix: names::READY_LISTENER.to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration {
            virtual_hosts: vec![virtual_host],
            ..RouteConfiguration::default()
        })),
        http_filters: vec![router],
        ..HttpConnectionManager::default()
    }
}
