//! The overload manager: what bounds the whole gateway, whatever its clients do.

use std::time::Duration;

use envoy_types::pb::envoy::config::overload::v3::resource_monitor::ConfigType;
use envoy_types::pb::envoy::config::overload::v3::trigger::TriggerOneof;
use envoy_types::pb::envoy::config::overload::v3::{
    OverloadAction, OverloadManager, ResourceMonitor, ThresholdTrigger, Trigger,
};
use envoy_types::pb::envoy::extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig;
use envoy_types::pb::envoy::extensions::resource_monitors::fixed_heap::v3::FixedHeapConfig;
use envoy_types::pb::google::protobuf::Any;

use crate::wire::build;

const HEAP_MONITOR: &str = "envoy.resource_monitors.fixed_heap";
const CONNECTIONS_MONITOR: &str = "envoy.resource_monitors.global_downstream_max_connections";
/// How often Envoy looks at its heap.
const REFRESH_INTERVAL: Duration = Duration::from_millis(250);

/// From which share of the heap limit on Envoy acts, and how: first it gives free memory back, then it leaves new
/// connections in the kernel's queue, then it closes them. Open connections live on.
const HEAP_ACTIONS: [(&str, f64); 3] = [
    ("envoy.overload_actions.shrink_heap", 0.90),
    ("envoy.overload_actions.stop_accepting_connections", 0.95),
    ("envoy.overload_actions.reject_incoming_connections", 0.98),
];

/// Bounds the heap and the number of client connections.
pub(crate) fn overload_manager(heap_bytes_max: u64, connections_max: u32) -> OverloadManager {
    let heap = FixedHeapConfig { max_heap_size_bytes: heap_bytes_max, ..FixedHeapConfig::default() };
    let connections =
        DownstreamConnectionsConfig { max_active_downstream_connections: connections_max.into() };
    OverloadManager {
        refresh_interval: Some(build::duration(REFRESH_INTERVAL)),
        resource_monitors: vec![
            monitor(HEAP_MONITOR, build::any(&heap)),
            monitor(CONNECTIONS_MONITOR, build::any(&connections)),
        ],
        actions: HEAP_ACTIONS.map(|(name, share)| heap_action(name, share)).to_vec(),
        ..OverloadManager::default()
    }
}

fn monitor(name: &str, config: Any) -> ResourceMonitor {
    ResourceMonitor { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) }
}

fn heap_action(name: &str, share: f64) -> OverloadAction {
    let trigger = Trigger {
        name: HEAP_MONITOR.to_owned(),
        trigger_oneof: Some(TriggerOneof::Threshold(ThresholdTrigger { value: share })),
    };
    OverloadAction { name: name.to_owned(), triggers: vec![trigger], ..OverloadAction::default() }
}
