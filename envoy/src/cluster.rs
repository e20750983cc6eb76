//! Cluster: how the gateway connects to the nodes of a set of remotes. Where they are is in [`crate::endpoint`].

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use xcc_model::ServiceTable;

use crate::config::GatewayConfig;
use crate::names;
use crate::translate::{Upstream, upstreams};
use crate::wire::build;

/// Connections that one cluster may have, open or being opened. Envoy's default of 1,024 would close the clients of a
/// busy remote; the whole gateway is bounded by the overload manager of its bootstrap.
const CONNECTIONS_MAX: u32 = 100_000;
/// After so many failures to connect in a row a node is passed over.
const CONNECT_FAILURES_MAX: u32 = 2;
/// How long a node is passed over for the first time; each further time takes that much longer.
const EJECTION_TIME: Duration = Duration::from_secs(10);
/// A node that was away for long is tried again after this time at most.
const EJECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// How often Envoy looks whether a node's time is over.
const EJECTION_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Every node of a remote that is gone may be passed over, so that remotes of lower priority take over.
const EJECTION_PERCENT_MAX: u32 = 100;
/// With fewer nodes left than this share, that is with none, all are tried again: never is everything passed over.
const PANIC_THRESHOLD_PERCENT: f64 = 1.0;

/// The clusters of a table, in the order of their names.
pub fn clusters(table: &ServiceTable, config: &GatewayConfig) -> Vec<Cluster> {
    let mut clusters = upstreams(table).iter().map(|upstream| cluster(upstream, config)).collect::<Vec<_>>();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    clusters
}

/// The cluster of one upstream. Its endpoints come over ADS, under the same name.
///
/// What is left at Envoy's defaults on purpose: a node that is removed or passed over keeps its open connections
/// (`close_connections_on_host_health_failure` is off), since they may well be alive.
pub fn cluster(upstream: &Upstream, config: &GatewayConfig) -> Cluster {
    let name = upstream.name();
    let stat_name = names::stat_name(&name);
    Cluster {
        alt_stat_name: if stat_name == name { String::new() } else { stat_name },
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(build::ads()),
            service_name: name.clone(),
        }),
        connect_timeout: Some(build::duration(config.connect_timeout)),
        // In turn rather than by load: the attempts after a failed one go to other nodes for certain.
        lb_policy: LbPolicy::RoundRobin.into(),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: PANIC_THRESHOLD_PERCENT }),
            // By default Envoy gathers changes of health for a second. A node that was tried again in vain would be
            // chosen for so long, and every connection to it fail.
            update_merge_window: Some(build::duration(Duration::ZERO)),
            ..CommonLbConfig::default()
        }),
        circuit_breakers: Some(circuit_breakers()),
        outlier_detection: Some(outlier_detection()),
        per_connection_buffer_limit_bytes: Some(build::uint32(config.buffer_limit_bytes)),
        upstream_connection_options: Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(build::tcp_keepalive()),
            ..UpstreamConnectionOptions::default()
        }),
        name,
        ..Cluster::default()
    }
}

fn circuit_breakers() -> CircuitBreakers {
    let thresholds = Thresholds {
        max_connections: Some(build::uint32(CONNECTIONS_MAX)),
        max_pending_requests: Some(build::uint32(CONNECTIONS_MAX)),
        ..Thresholds::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() }
}

/// Failures to connect only: what happens inside of a connection is between the client and the service, and the
/// statistical detectors would blame a node for it.
fn outlier_detection() -> OutlierDetection {
    OutlierDetection {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: Some(build::uint32(CONNECT_FAILURES_MAX)),
        enforcing_consecutive_local_origin_failure: Some(build::uint32(100)),
        enforcing_consecutive_5xx: Some(build::uint32(0)),
        enforcing_success_rate: Some(build::uint32(0)),
        enforcing_local_origin_success_rate: Some(build::uint32(0)),
        interval: Some(build::duration(EJECTION_CHECK_INTERVAL)),
        base_ejection_time: Some(build::duration(EJECTION_TIME)),
        max_ejection_time: Some(build::duration(EJECTION_TIME_MAX)),
        max_ejection_percent: Some(build::uint32(EJECTION_PERCENT_MAX)),
        ..OutlierDetection::default()
    }
}
