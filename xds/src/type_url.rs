//! Type URLs of resources, in the order in which their changes are sent.
//!
//! Owns the order and the references between types that make-before-break needs
//! ([xDS protocol, "Eventual consistency considerations"][1]); knows nothing of what a resource says.
//!
//! [1]: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// The prefix that every type URL of the protocol carries.
const PREFIX: &str = "type.googleapis.com/";

/// The type of a resource, as a `google.protobuf.Any` names it.
// The order of this enum is the order of sending: a resource comes after those that it refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeUrl {
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    Secret,
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    Endpoint,
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.ScopedRouteConfiguration` (SRDS).
    ScopedRouteConfiguration,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    RouteConfiguration,
    /// `envoy.config.route.v3.VirtualHost` (VHDS).
    VirtualHost,
    /// `envoy.config.core.v3.TypedExtensionConfig` (ECDS).
    ExtensionConfig,
    /// `envoy.service.runtime.v3.Runtime` (RTDS).
    Runtime,
    /// Any other type, by its whole URL.
    Other(Arc<str>),
}

impl TypeUrl {
    /// The whole URL, `type.googleapis.com/` and the message's full name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ScopedRouteConfiguration => {
                "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
            }
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
            Self::Other(url) => url,
        }
    }

    /// The type URL of a message, made from its full name.
    pub fn of<M: prost::Name>() -> Self {
        Self::from(format!("{PREFIX}{}", M::full_name()).as_str())
    }

    /// The last part of the name, for logs and metrics: `Cluster`, `ClusterLoadAssignment`.
    ///
    /// Types outside this enum are all `other`, as clients choose them and a metric's labels must not grow without limit.
    pub fn short(&self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Cluster => "Cluster",
            Self::Endpoint => "ClusterLoadAssignment",
            Self::Listener => "Listener",
            Self::ScopedRouteConfiguration => "ScopedRouteConfiguration",
            Self::RouteConfiguration => "RouteConfiguration",
            Self::VirtualHost => "VirtualHost",
            Self::ExtensionConfig => "TypedExtensionConfig",
            Self::Runtime => "Runtime",
            Self::Other(_) => "other",
        }
    }

    /// In SotW, a response of these types is the whole state: what is missing is deleted ("Grouping Resources into
    /// Responses"). All other types may be sent in parts.
    pub(crate) fn is_full_state(&self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// The types whose resources this type's resources refer to: an addition is sent only once the client answered those.
    pub(crate) fn waits_for(&self) -> &'static [Self] {
        match self {
            Self::Listener
            | Self::ScopedRouteConfiguration
            | Self::RouteConfiguration
            | Self::VirtualHost => &[Self::Cluster, Self::Endpoint],
            _ => &[],
        }
    }

    /// The types whose resources may refer to this type's: a removal is sent only once the client has ACKed those.
    ///
    /// A `ClusterLoadAssignment` goes after its `Cluster`; mostly the client then has unsubscribed by itself.
    pub(crate) fn referrers(&self) -> &'static [Self] {
        match self {
            Self::Secret => &[Self::Cluster, Self::Listener],
            Self::Cluster => {
                &[Self::Listener, Self::ScopedRouteConfiguration, Self::RouteConfiguration, Self::VirtualHost]
            }
            Self::Endpoint => &[
                Self::Cluster,
                Self::Listener,
                Self::ScopedRouteConfiguration,
                Self::RouteConfiguration,
                Self::VirtualHost,
            ],
            Self::RouteConfiguration => &[Self::Listener, Self::ScopedRouteConfiguration],
            Self::ScopedRouteConfiguration | Self::ExtensionConfig => &[Self::Listener],
            Self::VirtualHost => &[Self::RouteConfiguration],
            Self::Listener | Self::Runtime | Self::Other(_) => &[],
        }
    }
}

/// Every type that has a variant of its own, in the order of sending.
const KNOWN: [TypeUrl; 9] = [
    TypeUrl::Secret,
    TypeUrl::Cluster,
    TypeUrl::Endpoint,
    TypeUrl::Listener,
    TypeUrl::ScopedRouteConfiguration,
    TypeUrl::RouteConfiguration,
    TypeUrl::VirtualHost,
    TypeUrl::ExtensionConfig,
    TypeUrl::Runtime,
];

impl From<&str> for TypeUrl {
    fn from(url: &str) -> Self {
        KNOWN
            .iter()
            .find(|known| known.as_str() == url)
            .cloned()
            .unwrap_or_else(|| Self::Other(Arc::from(url)))
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TypeUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::{
        cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
        route::v3::RouteConfiguration,
    };

    use super::*;

    #[test]
    fn rule_28_order_is_make_before_break() {
        assert!(KNOWN.is_sorted());
        assert!(TypeUrl::Cluster < TypeUrl::Endpoint);
        assert!(TypeUrl::Endpoint < TypeUrl::Listener);
        assert!(TypeUrl::Listener < TypeUrl::RouteConfiguration);
        assert!(TypeUrl::RouteConfiguration < TypeUrl::VirtualHost);
        assert!(TypeUrl::Runtime < TypeUrl::from("type.googleapis.com/a.B"));
    }

    #[test]
    fn names_are_those_of_the_generated_messages() {
        assert_eq!(TypeUrl::of::<Cluster>(), TypeUrl::Cluster);
        assert_eq!(TypeUrl::of::<ClusterLoadAssignment>(), TypeUrl::Endpoint);
        assert_eq!(TypeUrl::of::<Listener>(), TypeUrl::Listener);
        assert_eq!(TypeUrl::of::<RouteConfiguration>(), TypeUrl::RouteConfiguration);
    }

    #[test]
    fn from_and_as_str_are_inverse() {
        for known in &KNOWN {
            assert_eq!(&TypeUrl::from(known.as_str()), known);
        }
        assert_eq!(TypeUrl::from("x").as_str(), "x");
    }

    #[test]
    fn nothing_waits_for_what_waits_for_it() {
        for one in &KNOWN {
            for other in one.waits_for() {
                assert!(other < one, "{one} waits for {other}, which is sent later");
                assert!(!other.waits_for().contains(one));
            }
        }
    }
}
