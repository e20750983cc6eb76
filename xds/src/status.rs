//! What is known of a client's state, by type: subscribed, sent, ACKed, NACKed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

use crate::version::ResourceVersion;

/// Where one client stands with one type.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TypeStatus {
    /// Subscribed to all resources of the type.
    pub wildcard: bool,
    /// How many names are subscribed to one by one.
    pub subscribed: usize,
    /// The version of the type in the newest snapshot that the client has taken completely: all that it subscribed to
    /// was sent and ACKed, no NACKed resource is still the current one, no removal is held back.
    pub acked: Option<ResourceVersion>,
    /// The version of the type in the last response.
    pub sent: Option<ResourceVersion>,
    /// Since when the client has not answered a response; `None` if it answered all. It is sent newer ones all the same, see
    /// [`ServerConfig::answer_timeout`](crate::ServerConfig::answer_timeout). Seconds since 1970 when serialised.
    #[serde(serialize_with = "maybe_unix_seconds")]
    pub unanswered_since: Option<SystemTime>,
    /// How many responses were ACKed.
    pub acks: u64,
    /// How many responses were NACKed.
    pub nacks: u64,
    /// The last NACK, kept after it has been overcome.
    pub last_nack: Option<Nack>,
    /// The resources that the client refused and that are still current: not sent again until they change. While it is
    /// unknown which resource of a refused response is to blame, none of them is here yet.
    pub parked: BTreeMap<Arc<str>, Parked>,
    /// How many responses were sent.
    pub responses: u64,
    /// How many resources were in them.
    pub resources_sent: u64,
    /// How many names of removed resources were in them.
    pub removals_sent: u64,
}

/// A resource that a client refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parked {
    /// The version that it refused.
    pub version: ResourceVersion,
    /// The client's error text; its middle is cut out beyond [`NACK_MESSAGE_BYTES_MAX`].
    pub message: Arc<str>,
}

/// A response that a client refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nack {
    /// The version of the type in the refused response.
    pub version: ResourceVersion,
    /// The nonce of the refused response.
    pub nonce: String,
    /// The client's error text; its middle is cut out beyond [`NACK_MESSAGE_BYTES_MAX`].
    pub message: String,
    /// When it came; seconds since 1970 when serialised.
    #[serde(serialize_with = "unix_seconds")]
    pub when: SystemTime,
    /// The resources of the response that the text names, or all (the first [`NACK_RESOURCES_MAX`]) if it names none.
    pub resources: Vec<Arc<str>>,
}

/// How much of a client's error text is kept.
pub const NACK_MESSAGE_BYTES_MAX: usize = 4096;
/// How many names a [`Nack`] lists.
pub const NACK_RESOURCES_MAX: usize = 100;

fn maybe_unix_seconds<S: Serializer>(when: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match when {
        Some(when) => unix_seconds(when, serializer),
        None => serializer.serialize_none(),
    }
}

fn unix_seconds<S: Serializer>(when: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(when.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}
