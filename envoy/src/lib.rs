//! A pure translator from the [`ServiceTable`](xcc_model::ServiceTable) to Envoy's configuration.
//!
//! It owns every Envoy message that xcc makes: what a gateway is fed over xDS ([`translate`]) and the bootstrap that a
//! gateway starts from ([`bootstrap`]), and their form as YAML and JSON ([`yaml`]). It must not know who is connected,
//! which versions were sent or where the table comes from: that is the business of the xDS server and of the binary.
//!
//! Translation is a function: the same table gives the same bytes, in every process. Hence no clock, no randomness,
//! and no protobuf map with more than one entry unless it is kept sorted (see [`Listener`]).
//!
//! The shape: all names of a remote share its nodes, so there is one Cluster, one ClusterLoadAssignment and one filter
//! chain for each [`Upstream`] (a set of remotes and a service port), and `Listener.filter_chain_matcher` maps the SNI
//! to the chain. A new name changes one Listener and closes no connection; a change of nodes is one small
//! ClusterLoadAssignment. There is no default filter chain, and nothing takes the name of a cluster from the SNI.
#![deny(missing_docs)]

mod bootstrap;
mod cluster;
mod config;
mod endpoint;
mod listener;
mod matcher;
pub mod names;
mod overload;
mod ready;
mod routing;
mod tcp_proxy;
mod tls;
mod translate;
mod wire;
pub mod yaml;

pub use bootstrap::{
    BootstrapConfig, XdsAddress, XdsAddressError, bootstrap, standalone_bootstrap, static_bootstrap,
};
pub use cluster::{cluster, clusters};
pub use config::{AccessLog, GatewayConfig};
pub use endpoint::{endpoint, endpoints};
pub use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
pub use envoy_types::pb::envoy::config::cluster::v3::Cluster;
pub use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
pub use matcher::{DOMAIN_MATCHER_EXTENSION, MatcherForm};
pub use routing::{Routing, Tally};
pub use tls::{BootstrapTls, SdsFile, sds_files};
pub use translate::{Omitted, OmittedReason, Resources, Upstream, omitted, translate, upstreams};
pub use wire::listener::Listener;
pub use wire::matcher::{
    DomainMatcher, FieldMatcher, MatchMap, Matcher, MatcherList, MatcherTree, MatcherType, OnMatch,
    OnMatchType, Predicate, PredicateType, ServerNameMatcher, SinglePredicate, SinglePredicateMatcher,
    TreeType,
};
