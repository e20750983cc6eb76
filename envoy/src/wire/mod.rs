//! Protobuf plumbing: messages of Envoy's API that are written down here rather than taken from envoy-types, either
//! because those hold a map in random order or because they are missing there, and small constructors.

pub(crate) mod access_log;
pub(crate) mod build;
pub(crate) mod listener;
pub(crate) mod matcher;
