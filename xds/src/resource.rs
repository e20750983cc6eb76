//! A resource: a name, a version and bytes that are encoded once, whatever the number of clients.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::{
    type_url::TypeUrl,
    version::{HASH_DIGITS, ResourceVersion},
    wire::{ClusterEds, DISCOVERY_TYPE_EDS, Named},
};

// Keys of protobuf fields (number and wire type 2, length-delimited), from `google/protobuf/any.proto` and
// `envoy/service/discovery/v3/discovery.proto`.
const ANY_TYPE_URL: u8 = 1 << 3 | 2;
const ANY_VALUE: u8 = 2 << 3 | 2;
const RESOURCE_VERSION: u8 = 1 << 3 | 2;
const RESOURCE_NAME: u8 = 3 << 3 | 2;
/// `Resource.resource`, and also `DiscoveryResponse.resources` and `DeltaDiscoveryResponse.resources`: all are 2.
const FIELD_2: u8 = 2 << 3 | 2;

/// One immutable resource with its wire form.
///
/// The bytes are laid out so that one buffer serves both protocol variants: it holds the whole `resources` field of a
/// `DeltaDiscoveryResponse`, and its tail is the `resources` field of a `DiscoveryResponse`.
#[derive(Clone, Debug)]
pub struct Resource {
    type_url: TypeUrl,
    name: Arc<str>,
    version: ResourceVersion,
    refreshes: Vec<(TypeUrl, Arc<str>)>,
    mismatch: Option<NameMismatch>,
    field: Bytes,
    sotw_at: usize,
    value_at: usize,
}

/// What is wrong with the name inside a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameMismatch {
    Undecodable,
    Differs(String),
}

impl Resource {
    /// A resource from its message; the type URL is that of the message.
    ///
    /// Encode messages with more than one entry in a `map<>` field only if the map is ordered: the bytes make the version.
    pub fn from_message<M: Message + prost::Name>(name: impl Into<Arc<str>>, message: &M) -> Self {
        Self::written(TypeUrl::of::<M>(), name.into(), message.encoded_len(), |field| {
            let written = message.encode(field);
            debug_assert!(written.is_ok(), "the buffer grows as it must");
        })
    }

    /// A resource from an encoded message, that is, from the `value` of its `Any`.
    ///
    /// A `Cluster` of type `EDS` [refreshes](Self::refreshes) its `ClusterLoadAssignment`.
    pub fn from_encoded(type_url: TypeUrl, name: impl Into<Arc<str>>, value: Bytes) -> Self {
        Self::written(type_url, name.into(), value.len(), |field| field.put_slice(&value))
    }

    /// The message is written where it stays: a listener may have megabytes.
    fn written(type_url: TypeUrl, name: Arc<str>, len: usize, write: impl FnOnce(&mut BytesMut)) -> Self {
        // The version is a hash of what stands behind it, so that its place is filled last.
        let (mut field, at) = head(&type_url, &name, &[0; HASH_DIGITS], len);
        write(&mut field);
        let version = ResourceVersion::of(&field[at.value..]);
        field[at.version..at.sotw].copy_from_slice(version.to_string().as_bytes());
        let field = field.freeze();
        let value = &field[at.value..];
        let refreshes = match &type_url {
            TypeUrl::Cluster => eds_name(value).map(|eds| (TypeUrl::Endpoint, eds)).into_iter().collect(),
            _ => Vec::new(),
        };
        let mismatch = name_mismatch(&type_url, &name, value);
        Self { type_url, name, version, refreshes, mismatch, field, sotw_at: at.sotw, value_at: at.value }
    }

    /// The same resource under a version that the caller chose, instead of the hash of its content.
    ///
    /// Clients are sent a resource when its version differs from theirs, so other content needs another label.
    pub fn with_version(mut self, label: &str) -> Self {
        let value = self.value();
        self.version = ResourceVersion::from(label);
        let (mut field, at) = head(&self.type_url, &self.name, label.as_bytes(), value.len());
        field.put_slice(&value);
        self.field = field.freeze();
        self.sotw_at = at.sotw;
        self.value_at = at.value;
        self
    }

    /// Names a resource that is sent again, although unchanged, whenever this one is added or changed.
    ///
    /// Needed where a client that gets this resource waits for the other one anew: a changed `Cluster` warms until its
    /// `ClusterLoadAssignment` comes ([xDS protocol, "Resource warming"][1]). Names that a client has not subscribed to
    /// are not sent.
    ///
    /// [1]: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#resource-warming
    pub fn refreshes(mut self, type_url: TypeUrl, name: impl Into<Arc<str>>) -> Self {
        let reference = (type_url, name.into());
        if !self.refreshes.contains(&reference) {
            self.refreshes.push(reference);
        }
        self
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its type.
    pub fn type_url(&self) -> &TypeUrl {
        &self.type_url
    }

    /// Its version.
    pub fn version(&self) -> &ResourceVersion {
        &self.version
    }

    /// The encoded message, without the `Any` around it.
    pub fn value(&self) -> Bytes {
        self.field.slice(self.value_at..)
    }

    /// The names that [`refreshes`](Self::refreshes) recorded.
    pub(crate) fn refreshed(&self) -> &[(TypeUrl, Arc<str>)] {
        &self.refreshes
    }

    pub(crate) fn mismatch(&self) -> Option<&NameMismatch> {
        self.mismatch.as_ref()
    }

    /// The `resources` field of a `DeltaDiscoveryResponse`, key and length included.
    pub(crate) fn delta_field(&self) -> Bytes {
        self.field.clone()
    }

    /// The `resources` field of a `DiscoveryResponse`, key and length included.
    pub(crate) fn sotw_field(&self) -> Bytes {
        self.field.slice(self.sotw_at..)
    }

    pub(crate) fn delta_len(&self) -> usize {
        self.field.len()
    }

    /// Stands for bytes that a client says it holds from an earlier stream: only the version is known.
    pub(crate) fn claimed(type_url: TypeUrl, name: Arc<str>, version: ResourceVersion) -> Self {
        Self {
            type_url,
            name,
            version,
            refreshes: Vec::new(),
            mismatch: None,
            field: Bytes::new(),
            sotw_at: 0,
            value_at: 0,
        }
    }
}

/// Equality is by version: that is what versions are for.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.name == other.name && self.type_url == other.type_url
    }
}

impl Eq for Resource {}

/// Where the parts of a resource's bytes begin.
struct Places {
    version: usize,
    sotw: usize,
    value: usize,
}

/// What stands before the message, and room for a message of this length.
fn head(type_url: &TypeUrl, name: &str, version: &[u8], value_len: usize) -> (BytesMut, Places) {
    let url = type_url.as_str();
    let any_len = field_len(url.len()) + field_len(value_len);
    let resource_len = field_len(name.len()) + field_len(version.len()) + field_len(any_len);
    let mut field = BytesMut::with_capacity(field_len(resource_len));
    put_key(&mut field, FIELD_2, resource_len);
    put_bytes(&mut field, RESOURCE_NAME, name.as_bytes());
    put_bytes(&mut field, RESOURCE_VERSION, version);
    let sotw = field.len();
    put_key(&mut field, FIELD_2, any_len);
    put_bytes(&mut field, ANY_TYPE_URL, url.as_bytes());
    put_key(&mut field, ANY_VALUE, value_len);
    let places = Places { version: sotw - version.len(), sotw, value: field.len() };
    (field, places)
}

/// The length of a length-delimited field with a one-byte key.
pub(crate) fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

pub(crate) fn put_key(buf: &mut BytesMut, key: u8, len: usize) {
    buf.put_u8(key);
    encode_varint(len as u64, buf);
}

pub(crate) fn put_bytes(buf: &mut BytesMut, key: u8, content: &[u8]) {
    put_key(buf, key, content.len());
    buf.put_slice(content);
}

fn eds_name(value: &[u8]) -> Option<Arc<str>> {
    let cluster = ClusterEds::decode(value).ok()?;
    if cluster.discovery_type != DISCOVERY_TYPE_EDS {
        return None;
    }
    let service_name = cluster.eds_cluster_config.map(|eds| eds.service_name).unwrap_or_default();
    Some(Arc::from(if service_name.is_empty() { cluster.name } else { service_name }))
}

/// A `VirtualHost` is named by its route configuration and domain, types outside the enum by rules of their own.
fn name_mismatch(type_url: &TypeUrl, name: &str, value: &[u8]) -> Option<NameMismatch> {
    if matches!(type_url, TypeUrl::VirtualHost | TypeUrl::Other(_)) {
        return None;
    }
    match Named::decode(value) {
        Err(_) => Some(NameMismatch::Undecodable),
        Ok(inner) if inner.name != name => Some(NameMismatch::Differs(inner.name)),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3::{
        Cluster, cluster::ClusterDiscoveryType, cluster::DiscoveryType, cluster::EdsClusterConfig,
    };
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};

    use super::*;

    fn cluster(name: &str, service_name: Option<&str>) -> Cluster {
        Cluster {
            name: name.to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: service_name
                .map(|s| EdsClusterConfig { service_name: s.to_owned(), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn one_buffer_decodes_as_delta_and_as_sotw() {
        let message = cluster("a", None);
        let resource = Resource::from_message("a", &message);

        let delta = DeltaDiscoveryResponse::decode(resource.delta_field()).unwrap();
        assert_eq!(delta.resources.len(), 1);
        assert_eq!(delta.resources[0].name, "a");
        assert_eq!(delta.resources[0].version, resource.version().to_string());
        let any = delta.resources[0].resource.clone().unwrap();
        assert_eq!(any.type_url, TypeUrl::Cluster.as_str());
        assert_eq!(Cluster::decode(any.value.as_slice()).unwrap(), message);

        let sotw = DiscoveryResponse::decode(resource.sotw_field()).unwrap();
        assert_eq!(sotw.resources, [any]);
        assert_eq!(Cluster::decode(resource.value()).unwrap(), message);
    }

    #[test]
    fn rule_25_version_changes_iff_bytes_change() {
        let one = Resource::from_message("a", &cluster("a", None));
        assert_eq!(one.version(), Resource::from_message("a", &cluster("a", None)).version());
        assert_ne!(one.version(), Resource::from_message("a", &cluster("a", Some("b"))).version());
    }

    #[test]
    fn forced_version_is_on_the_wire() {
        let resource = Resource::from_message("a", &cluster("a", None)).with_version("v7");
        let delta = DeltaDiscoveryResponse::decode(resource.delta_field()).unwrap();
        assert_eq!(delta.resources[0].version, "v7");
        assert_eq!(Cluster::decode(resource.value()).unwrap(), cluster("a", None));
    }

    #[test]
    fn rule_29_eds_cluster_refreshes_its_assignment_by_service_name() {
        let own = Resource::from_message("a", &cluster("a", None));
        assert_eq!(own.refreshed(), [(TypeUrl::Endpoint, Arc::from("a"))]);
        let shared = Resource::from_message("a", &cluster("a", Some("nodes")));
        assert_eq!(shared.refreshed(), [(TypeUrl::Endpoint, Arc::from("nodes"))]);
        let fixed = Resource::from_message("a", &Cluster { name: "a".to_owned(), ..Default::default() });
        assert!(fixed.refreshed().is_empty());
    }

    #[test]
    fn rule_25_name_inside_is_compared() {
        let differs = Resource::from_message("b", &cluster("a", None));
        assert_eq!(differs.mismatch(), Some(&NameMismatch::Differs("a".to_owned())));
        let garbage = Resource::from_encoded(TypeUrl::Listener, "l", Bytes::from_static(&[0xff]));
        assert_eq!(garbage.mismatch(), Some(&NameMismatch::Undecodable));
    }
}
