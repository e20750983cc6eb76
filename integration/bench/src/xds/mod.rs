//! What the xDS benchmarks share: the resources, servers that change them when told to, and clients in numbers.

pub mod manifests;
pub mod node;
pub mod server;
pub mod swarm;
pub mod tls;
pub mod world;
