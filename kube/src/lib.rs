//! Kubernetes objects to model values, and the sources that watch them.
//!
//! The conversions ([`convert`], [`nodes`], [`settings`], [`manifests`]) are pure functions; [`directory`] is the one
//! module here that does I/O. Nothing in this crate knows of Envoy or of DNS.
#![deny(missing_docs)]

pub mod api;
mod connection;
pub mod convert;
pub mod crd;
pub mod directory;
pub mod dns_config;
pub mod kubeconfig;
pub mod manifests;
pub mod nodes;
mod object_changes;
pub mod session;
pub mod settings;
mod watch;

pub use convert::Conversion;
pub use directory::{DirectoryError, DirectorySource, read_once};
pub use manifests::{Manifest, ParseError};
