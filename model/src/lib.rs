//! The words of the domain, and nothing else: what remotes said ([`Inventory`]) and what follows from it
//! ([`ServiceTable`], [`Diagnostic`]).
//!
//! Ground state is what sources put into the [`Inventory`] by [`Update`]s. Everything right of it is derived by pure
//! functions: no clock, no I/O, no Kubernetes and no Envoy types. The model never fails: one refused export is a
//! [`Diagnostic`] and touches its own name only.
#![deny(missing_docs)]

mod address;
mod diagnostic;
mod domains;
mod export;
mod hostname;
mod ingress;
mod inventory;
mod merge;
mod node;
mod remote;
mod service;
mod table;
mod view;

pub use address::{AddressRefused, EndpointPolicy};
pub use diagnostic::{Diagnostic, ObjectKind, ObjectRef, Reason};
pub use domains::{AllowedDomains, DomainError, DomainProblem};
pub use export::{ExportKey, ServiceExport, ServicePort};
pub use hostname::{Homeless, Hostname, HostnameError, ZoneName, ZoneNameError};
pub use inventory::{Change, Inventory, Remote, Touched, Update};
pub use merge::Merge;
pub use node::{AddressType, Node, NodeAddress};
pub use remote::{Ingress, IngressSource, RemoteName, RemoteNameError, RemoteSettings};
pub use service::{Families, PortMapping, Service, ServiceName};
pub use table::{Backend, ImportPolicy, Origin, RemoteSet, Route, ServiceImport, ServiceTable, derive};
pub use view::RemoteView;
