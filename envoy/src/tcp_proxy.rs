//! The one network filter of a filter chain: bytes in, bytes out, to one cluster.

use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLog as EnvoyAccessLog, AccessLogFilter, ResponseFlagFilter, access_log,
};
use envoy_types::pb::envoy::config::core::v3::BackoffStrategy;
use envoy_types::pb::envoy::config::listener::v3::{Filter, filter};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;

use crate::config::{AccessLog, GatewayConfig};
use crate::names;
use crate::wire::access_log::StdoutAccessLog;
use crate::wire::build;

/// A pause before the next attempt to connect, long enough for Envoy's main thread to pass a dead node over meanwhile: the
/// next attempt may then go to a remote of lower priority.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
const RETRY_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// A line of the access log. Only names that are exported reach a filter chain, so strangers cannot fill the log with
/// names of their own, but for what a wildcard covers; Envoy escapes the values.
const ACCESS_LOG_FIELDS: &[(&str, &str)] = &[
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("duration_ms", "%DURATION%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("server_name", "%REQUESTED_SERVER_NAME%"),
    ("start", "%START_TIME%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("upstream_failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// The response flags of a connection that reached no node, or that Envoy ended: no healthy upstream, connection
/// failure, circuit breaker, connect attempts exhausted, no such cluster, time limit, overload manager. That one of the
/// two sides reset a connection is no failure of the gateway.
const FAILURE_FLAGS: [&str; 7] = ["UH", "UF", "UO", "URX", "NC", "DT", "OM"];

/// The filter that connects to a cluster.
pub(crate) fn tcp_proxy(cluster: &str, config: &GatewayConfig) -> Filter {
    let tcp_proxy = TcpProxy {
        stat_prefix: names::stat_name(cluster),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        idle_timeout: Some(build::duration(config.idle_timeout)),
        max_connect_attempts: Some(build::uint32(config.max_connect_attempts.max(1))),
        backoff_options: Some(BackoffStrategy {
            base_interval: Some(build::duration(RETRY_INTERVAL)),
            max_interval: Some(build::duration(RETRY_INTERVAL_MAX)),
        }),
        access_log: access_log(config.access_log).into_iter().collect(),
        ..TcpProxy::default()
    };
    Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(build::any(&tcp_proxy))),
    }
}

fn access_log(which: AccessLog) -> Option<EnvoyAccessLog> {
    let filter = match which {
        AccessLog::Off => return None,
        AccessLog::All => None,
        AccessLog::Failures => {
            let flags = FAILURE_FLAGS.map(str::to_owned).to_vec();
            let filter = FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags });
            Some(AccessLogFilter { filter_specifier: Some(filter) })
        }
    };
    let logger = build::any(&StdoutAccessLog::json(ACCESS_LOG_FIELDS));
    Some(EnvoyAccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        filter,
        config_type: Some(access_log::ConfigType::TypedConfig(logger)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_log_is_off_or_whole_or_of_failures() {
        assert_eq!(access_log(AccessLog::Off), None);
        assert_eq!(access_log(AccessLog::All).unwrap().filter, None);
        let filter = access_log(AccessLog::Failures).unwrap().filter.unwrap();
        let Some(FilterSpecifier::ResponseFlagFilter(flags)) = filter.filter_specifier else { panic!() };
        assert_eq!(flags.flags, FAILURE_FLAGS);
    }
}
