//! Responses and their wire form: one concatenation of bytes that exist already.

use std::{collections::VecDeque, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    resource::{Resource, field_len, put_bytes},
    type_url::TypeUrl,
    version::ResourceVersion,
};

// Keys of the fields that both responses have at the same number, and of `DeltaDiscoveryResponse.removed_resources`.
const VERSION: u8 = 1 << 3 | 2;
const TYPE_URL: u8 = 4 << 3 | 2;
const NONCE: u8 = 5 << 3 | 2;
const REMOVED_RESOURCES: u8 = 6 << 3 | 2;

/// The prefix of a gRPC message: one byte of flags (0: not compressed) and four of length.
const GRPC_PREFIX_BYTES: usize = 5;
/// Resources from this size on are passed on by reference; smaller ones are copied together, as each chunk costs an
/// HTTP/2 frame.
const SHARED_BYTES_MIN: usize = 4096;

/// Which of the two protocols a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Variant {
    /// Incremental: `DeltaDiscoveryRequest`.
    Delta,
    /// State of the world: `DiscoveryRequest`.
    Sotw,
}

impl Variant {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Sotw => "sotw",
        }
    }
}

/// One response to one client.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) variant: Variant,
    pub(crate) type_url: TypeUrl,
    pub(crate) version: ResourceVersion,
    pub(crate) nonce: String,
    pub(crate) resources: Arc<Vec<Arc<Resource>>>,
    /// What the client must be sent again with these resources, as they are new to it.
    pub(crate) refreshes: Vec<(TypeUrl, Arc<str>)>,
    pub(crate) removed: Vec<Arc<str>>,
}

impl Response {
    /// The gRPC message in chunks. Large resources are shared with all other clients, not copied.
    ///
    /// `None` if the message would not fit into gRPC's 32-bit length.
    pub(crate) fn encode(&self) -> Option<VecDeque<Bytes>> {
        let fields: Vec<Bytes> = self.resources.iter().map(|resource| self.field(resource)).collect();
        let head_len = field_len(self.version.text_len())
            + field_len(self.type_url.as_str().len())
            + field_len(self.nonce.len())
            + self.removed.iter().map(|name| field_len(name.len())).sum::<usize>();
        let message_len = head_len + fields.iter().map(Bytes::len).sum::<usize>();

        let small: usize = fields.iter().map(Bytes::len).filter(|len| *len < SHARED_BYTES_MIN).sum();
        let mut buf = BytesMut::with_capacity(GRPC_PREFIX_BYTES + head_len + small);
        buf.put_u8(0);
        buf.put_u32(u32::try_from(message_len).ok()?);
        put_bytes(&mut buf, VERSION, self.version.to_string().as_bytes());
        put_bytes(&mut buf, TYPE_URL, self.type_url.as_str().as_bytes());
        put_bytes(&mut buf, NONCE, self.nonce.as_bytes());
        for name in &self.removed {
            put_bytes(&mut buf, REMOVED_RESOURCES, name.as_bytes());
        }
        let mut chunks = VecDeque::new();
        for field in fields {
            if field.len() < SHARED_BYTES_MIN {
                buf.put_slice(&field);
            } else {
                if !buf.is_empty() {
                    chunks.push_back(buf.split().freeze());
                }
                chunks.push_back(field);
            }
        }
        if !buf.is_empty() {
            chunks.push_back(buf.freeze());
        }
        Some(chunks)
    }

    fn field(&self, resource: &Resource) -> Bytes {
        match self.variant {
            Variant::Delta => resource.delta_field(),
            Variant::Sotw => resource.sotw_field(),
        }
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
    use prost::Message;

    use super::*;

    fn response(variant: Variant, sizes: &[usize]) -> Response {
        let resources = sizes.iter().enumerate().map(|(index, size)| {
            let value = Bytes::from(vec![0; *size]);
            Arc::new(Resource::from_encoded(TypeUrl::from("type/a.B"), index.to_string(), value))
        });
        Response {
            variant,
            type_url: TypeUrl::from("type/a.B"),
            version: ResourceVersion::from("v"),
            nonce: "1.1".to_owned(),
            resources: Arc::new(resources.collect()),
            refreshes: Vec::new(),
            removed: if variant == Variant::Delta { vec!["x".into(), "y".into()] } else { Vec::new() },
        }
    }

    fn message(response: &Response) -> Bytes {
        let chunks = response.encode().unwrap();
        let mut all: Bytes = chunks.iter().flatten().copied().collect::<Vec<u8>>().into();
        let prefix = all.split_to(GRPC_PREFIX_BYTES);
        assert_eq!(prefix[0], 0);
        assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, all.len());
        all
    }

    #[test]
    fn delta_decodes_with_the_official_message() {
        let sizes = [1, SHARED_BYTES_MIN, 3, 2 * SHARED_BYTES_MIN];
        let decoded = DeltaDiscoveryResponse::decode(message(&response(Variant::Delta, &sizes))).unwrap();
        assert_eq!(decoded.system_version_info, "v");
        assert_eq!(decoded.type_url, "type/a.B");
        assert_eq!(decoded.nonce, "1.1");
        assert_eq!(decoded.removed_resources, ["x", "y"]);
        let lens: Vec<_> =
            decoded.resources.iter().map(|r| r.resource.as_ref().unwrap().value.len()).collect();
        assert_eq!(lens, sizes);
    }

    #[test]
    fn sotw_decodes_with_the_official_message() {
        let sizes = [SHARED_BYTES_MIN, 1, 2];
        let decoded = DiscoveryResponse::decode(message(&response(Variant::Sotw, &sizes))).unwrap();
        assert_eq!(decoded.version_info, "v");
        assert_eq!(decoded.nonce, "1.1");
        let lens: Vec<_> = decoded.resources.iter().map(|any| any.value.len()).collect();
        assert_eq!(lens, sizes);
    }

    #[test]
    fn large_resources_are_shared_and_small_ones_share_a_chunk() {
        let small = response(Variant::Delta, &[10, 20, 30]);
        assert_eq!(small.encode().unwrap().len(), 1);
        let large = response(Variant::Delta, &[10, SHARED_BYTES_MIN, 30]);
        let chunks = large.encode().unwrap();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1].as_ptr(), large.resources[1].delta_field().as_ptr());
    }
}
