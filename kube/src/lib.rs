//! Kubernetes objects to model values, and the sources that watch them.
//!
//! The conversions ([`convert`], [`nodes`], [`services`], [`settings`], [`manifests`]) are pure functions, the same for
//! every source; the sources do I/O. Nothing in this crate knows of Envoy or of DNS.
#![deny(missing_docs)]

pub mod api;
mod connection;
pub mod convert;
pub mod crd;
pub mod directory;
pub mod dns_config;
#[cfg(test)]
mod fake_api;
#[cfg(test)]
mod fake_objects;
pub mod importing;
pub mod kubeconfig;
pub mod manifests;
pub mod nodes;
mod object_changes;
pub mod services;
pub mod session;
pub mod settings;
mod watch;
pub mod xds_certificates;

pub use convert::Conversion;
pub use directory::{DirectoryError, DirectorySource, read_once};
pub use manifests::{Manifest, ParseError};
