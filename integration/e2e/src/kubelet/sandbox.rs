//! What a Pod's containers share: its network, its `/etc` files, its volumes' folders and its host ports.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};

use super::NodeContext;
use crate::control_plane::DNS_SERVICE;
use crate::lan;
use crate::layout;
use crate::netns::Namespace;
use crate::node::{Addresses, HostPort, PodNetwork};

/// The sandbox of one Pod. It stays until [`Sandbox::remove`].
#[derive(Debug)]
pub struct Sandbox {
    folder: PathBuf,
    namespace: Namespace,
    pod_ips: Vec<IpAddr>,
    /// The Pod's own network and the node's ports that lead to it; none with `hostNetwork`, and once removed.
    network: Mutex<Option<(PodNetwork, Vec<HostPort>)>>,
}

/// The folder of a Pod's files: its name tells the Pod, so that others find it.
pub fn folder(cluster: &str, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    pods_folder(cluster).join(format!("{namespace}_{pod}_{uid}"))
}

/// The folder of all Pods' folders.
pub fn pods_folder(cluster: &str) -> PathBuf {
    layout::run().join(cluster).join("pods")
}

/// The namespace, name and uid of a Pod.
pub fn identity(pod: &Pod) -> (&str, &str, &str) {
    (
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default(),
        pod.metadata.uid.as_deref().unwrap_or_default(),
    )
}

impl Sandbox {
    /// Makes the sandbox of a Pod.
    ///
    /// # Errors
    /// When the network or a folder cannot be made.
    pub async fn create(context: &NodeContext, pod: &Pod) -> Result<Self> {
        let (namespace, name, uid) = identity(pod);
        let spec = pod.spec.as_ref().context("a pod has a spec")?;
        let folder = folder(&context.cluster, namespace, name, uid);
        for part in ["etc", "containers", "volumes"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let node = &context.network;
        let network = if spec.host_network == Some(true) {
            None
        } else {
            Some((node.add_pod(&namespace_name(context, uid)).await?, host_ports(spec)))
        };
        let own = network.as_ref().map(|(network, _ports)| network);
        let pod_ips = own.map_or_else(|| node.addresses(), |own| own.addresses).both().to_vec();
        let namespace = own.map_or_else(|| node.namespace(), |own| &own.namespace).clone();
        let sandbox = Self { folder, namespace, pod_ips, network: Mutex::new(network) };
        let made = sandbox.complete(context, pod, spec).await;
        if made.is_err() {
            sandbox.remove(context).await;
        }
        made.map(|()| sandbox)
    }

    async fn complete(&self, context: &NodeContext, pod: &Pod, spec: &PodSpec) -> Result<()> {
        write_pod_files(&self.folder.join("etc"), pod, spec, &self.pod_ips, &context.node)?;
        if spec.host_network != Some(true) {
            let [v4, v6] = [self.pod_ips.first(), self.pod_ips.get(1)];
            if let (Some(IpAddr::V4(v4)), Some(IpAddr::V6(v6))) = (v4, v6) {
                context.network.open_ports(Addresses { v4: *v4, v6: *v6 }, &host_ports(spec)).await?;
            }
        }
        Ok(())
    }

    /// Removes all of it, and kills what still runs inside. What cannot be removed is swept with the run.
    pub async fn remove(&self, context: &NodeContext) {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((network, ports)) = network {
            if let Err(error) = context.network.close_ports(network.addresses, &ports).await {
                tracing::warn!(error = format!("{error:#}"), "cannot close host ports");
            }
            if let Err(error) = context.network.remove_pod(&network).await {
                tracing::warn!(error = format!("{error:#}"), "cannot remove a pod's network");
            }
        }
        let _absent = fs::remove_dir_all(&self.folder);
    }

    /// The Pod's network namespace; its node's with `hostNetwork`.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The Pod's addresses.
    pub fn pod_ips(&self) -> &[IpAddr] {
        &self.pod_ips
    }

    /// The folder of its `/etc` files.
    pub fn etc(&self) -> PathBuf {
        self.folder.join("etc")
    }

    /// The file that says how to enter a container.
    pub fn record(&self, container: &str) -> PathBuf {
        self.folder.join("containers").join(format!("{container}.json"))
    }

    /// The folder of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.folder.join("volumes").join(name)
    }

    /// Makes the folder of a volume. That of an emptyDir anybody may write to, as the kubelet makes it; fsGroup owns
    /// it and what is made in it.
    ///
    /// # Errors
    /// When it cannot be made, or is of a kind that is not supported.
    pub fn make_volume(&self, context: &NodeContext, volume: &Volume, group: Option<u32>) -> Result<PathBuf> {
        if let Some(host_path) = &volume.host_path {
            // The node's own folder of that name, never the machine's.
            let path = context.folder().join("root").join(host_path.path.trim_start_matches('/'));
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
            return Ok(path);
        }
        let made_here = volume.empty_dir.is_some()
            || volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some();
        if !made_here {
            bail!("volume \"{}\" is of a kind that is not supported here", volume.name);
        }
        let path = self.volume(&volume.name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut mode = if volume.empty_dir.is_some() { 0o777 } else { 0o755 };
        if let Some(group) = group {
            std::os::unix::fs::chown(&path, None, Some(group))?;
            mode |= 0o2000;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path)
    }
}

fn namespace_name(context: &NodeContext, uid: &str) -> String {
    let short: String = uid.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    format!("{}.pod.{short}", context.cluster)
}

/// The host ports of all containers.
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                udp: port.protocol.as_deref() == Some("UDP"),
                host: u16::try_from(port.host_port?).ok()?,
                container: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

/// The users that images have by name: none of this machine's own.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";

fn write_pod_files(folder: &Path, pod: &Pod, spec: &PodSpec, ips: &[IpAddr], node: &str) -> Result<()> {
    let (namespace, name, _uid) = identity(pod);
    let host_name = if spec.host_network == Some(true) { node } else { name };
    let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    ips.iter().for_each(|ip| hosts.push_str(&format!("{ip} {host_name}\n")));
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.as_deref().unwrap_or_default().join(" ");
        hosts.push_str(&format!("{} {names}\n", alias.ip));
    }
    let files = [
        ("hosts", hosts),
        ("hostname", format!("{host_name}\n")),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("passwd", PASSWD.to_owned()),
        ("group", GROUP.to_owned()),
        ("resolv.conf", resolv_conf(spec, namespace)),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// The resolver's configuration by the Pod's `dnsPolicy` and `dnsConfig`.
fn resolv_conf(spec: &PodSpec, namespace: &str) -> String {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let in_cluster = match policy {
        "ClusterFirst" => spec.host_network != Some(true),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if in_cluster {
        servers.push(DNS_SERVICE.to_string());
        searches.extend([
            format!("{namespace}.svc.cluster.local"),
            "svc.cluster.local".to_owned(),
            "cluster.local".to_owned(),
        ]);
        options.push("ndots:5".to_owned());
    } else if policy != "None" {
        servers.push(lan::ROUTER_V4.to_string());
    }
    if let Some(config) = &spec.dns_config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        options.extend(config.options.iter().flatten().filter_map(|option| {
            let name = option.name.clone()?;
            Some(option.value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}")))
        }));
    }
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: serde_json::Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_cluster_resolves_first_unless_told_otherwise() {
        let own = "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
        let upstream = "nameserver 172.30.0.1\n";
        let pinned = "nameserver 1.2.3.4\noptions ndots:1\n";
        for (value, expected) in [
            (json!({"containers": []}), own),
            (json!({"containers": [], "hostNetwork": true}), upstream),
            (json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), own),
            (json!({"containers": [], "dnsPolicy": "Default"}), upstream),
            (
                json!({"containers": [], "dnsPolicy": "None",
                    "dnsConfig": {"nameservers": ["1.2.3.4"], "options": [{"name": "ndots", "value": "1"}]}}),
                pinned,
            ),
        ] {
            assert_eq!(resolv_conf(&spec(value.clone()), "shop"), expected, "{value}");
        }
    }

    #[test]
    fn only_ports_with_a_host_port_are_opened() {
        let spec = spec(json!({"containers": [{"name": "c", "ports": [
            {"containerPort": 8443, "hostPort": 443},
            {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
            {"containerPort": 8002},
        ]}]}));
        let expected = [
            HostPort { udp: false, host: 443, container: 8443 },
            HostPort { udp: true, host: 53, container: 53 },
        ];
        assert_eq!(host_ports(&spec), expected);
    }
}
