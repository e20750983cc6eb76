//! Real Kubernetes clusters on one machine, without a container runtime.
//!
//! Two clusters with identical pod and service address ranges, each of etcd, kube-apiserver,
//! kube-controller-manager, kube-scheduler and, on every node, kube-proxy; nodes and pods are network namespaces
//! that share one link. The kubelet is [`kubelet`]: it runs the containers of ordinary manifests as processes.
//! Everything is the released program but the kubelet and the images, whose binaries are of this machine.
//!
//! Needs root, and what `parts/build.sh` and `parts/install.sh` provide.
#![deny(missing_docs)]

pub mod addons;
pub mod client;
pub mod cluster;
pub mod container_exec;
pub mod control_plane;
pub mod example;
pub mod forward;
pub mod installation;
pub mod journey;
pub mod kubelet;
pub mod lan;
pub mod latency;
pub mod layout;
pub mod load;
pub mod lock;
pub mod memory;
pub mod netns;
pub mod node;
pub mod parts;
pub mod pki;
pub mod process;
pub mod progress;
pub mod scenario;
pub mod sweep;
pub mod wait;
pub mod world;
