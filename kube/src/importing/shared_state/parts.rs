//! The form of a state in ConfigMaps: compressed, and cut into parts that make a set. Pure.
//!
//! The first part has the header, and is written last. What proves a set is the header's checksum over all of its parts: one
//! that is half written, damaged or mixed of two states is none.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use miniz_oxide::{deflate, inflate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The sets, which take turns: the last good one is not touched while the next is written.
pub(super) const SETS: [&str; 2] = ["a", "b"];
/// ConfigMaps of a set; the manifests have all of them.
pub(super) const PARTS_MAX: usize = 4;
/// Bytes of a part. A ConfigMap has 1 MiB at most (Kubernetes, `MaxSecretSize`), a request to etcd 1.5 MiB. Tests cut small
/// states into as many.
const PART_SIZE_MAX: usize = if cfg!(test) { 64 } else { 900 * 1024 };
/// Largest state after compression, in bytes.
const COMPRESSED_MAX: usize = PARTS_MAX * PART_SIZE_MAX;
/// Largest state before compression, in bytes: what somebody else has put there must not take all memory.
const STATE_SIZE_MAX: usize = 64 * 1024 * 1024;
/// Of zlib's levels the one whose next costs much more time for little less size.
const LEVEL: u8 = 6;
/// The key of the header, in the first part.
const HEADER_KEY: &str = "header";
/// The key of a part's bytes.
const PART_KEY: &str = "state";

/// What the first part says of its set, as JSON, for people too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// That of the contents: who does not know it leaves the set alone.
    pub(super) format: u32,
    /// Counts the states that were written: of two sets the one with the higher is the newer.
    pub(super) generation: u64,
    /// How many ConfigMaps the set has.
    pub(super) parts: usize,
    /// xxh3 of all parts, with the generation as its seed, in hexadecimal.
    pub(super) checksum: String,
    /// When it was written, by the clock of who wrote it.
    pub(super) written: Timestamp,
}

/// More than is kept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooLarge {
    /// Before compression.
    #[error("the state has {0} bytes, and at most {STATE_SIZE_MAX} are kept: import fewer names")]
    State(usize),
    /// After it.
    #[error(
        "the state has {0} bytes after compression, and at most {COMPRESSED_MAX} fit into its ConfigMaps: import fewer names"
    )]
    Compressed(usize),
}

/// A state as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackedState(Vec<u8>);

impl PackedState {
    /// Compresses a state. Takes a second for some ten MiB: not for a thread that others wait for.
    pub(super) fn new(state: &[u8]) -> Result<Self, TooLarge> {
        if state.len() > STATE_SIZE_MAX {
            return Err(TooLarge::State(state.len()));
        }
        let compressed = deflate::compress_to_vec_zlib(state, LEVEL);
        if compressed.len() > COMPRESSED_MAX {
            return Err(TooLarge::Compressed(compressed.len()));
        }
        Ok(Self(compressed))
    }

    /// How much is stored, in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    pub(super) fn parts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.chunks(PART_SIZE_MAX)
    }

    pub(super) fn header(&self, format: u32, generation: u64, written: Timestamp) -> Header {
        Header {
            format,
            generation,
            parts: self.parts().len(),
            checksum: checksum(&self.0, generation),
            written,
        }
    }
}

/// The ConfigMap of a part, both counted from 0.
pub(super) fn name(set: usize, part: usize) -> String {
    format!("xcc-state-{}-{part}", SETS[set])
}

/// The header of a set, if its first part has one.
pub(super) fn header(first: &ConfigMap) -> Option<Header> {
    let header: Header = serde_json::from_str(first.data.as_ref()?.get(HEADER_KEY)?).ok()?;
    (1..=PARTS_MAX).contains(&header.parts).then_some(header)
}

/// The bytes of a part.
pub(super) fn bytes(part: &ConfigMap) -> &[u8] {
    let data = part.binary_data.as_ref().and_then(|data| data.get(PART_KEY));
    data.map_or(&[], |ByteString(bytes)| bytes)
}

/// A JSON merge patch that writes a part over what the ConfigMap has in this version, and leaves all else in it alone.
pub(super) fn patch(version: &Value, part: &[u8], header: Option<&Header>) -> Value {
    let mut patch = json!({
        "metadata": {"resourceVersion": version},
        "binaryData": {PART_KEY: ByteString(part.to_vec())},
    });
    if let Some(header) = header {
        patch["data"] = json!({HEADER_KEY: json!(header).to_string()});
    }
    patch
}

/// The state of a set, if these parts are what its header was written for.
pub(super) fn unpack(header: &Header, parts: &[u8]) -> Option<Vec<u8>> {
    if checksum(parts, header.generation) != header.checksum {
        return None;
    }
    inflate::decompress_to_vec_zlib_with_limit(parts, STATE_SIZE_MAX).ok()
}

/// With the generation in it, so that one that was changed is noticed as well.
fn checksum(parts: &[u8], generation: u64) -> String {
    format!("{:016x}", xxh3_64_with_seed(parts, generation))
}
