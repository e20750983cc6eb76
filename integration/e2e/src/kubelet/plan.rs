//! From a container of a Pod's spec to what its process is made of.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret, Volume};

use super::environment::{Facts, Lookup, environment, expand};
use super::images::Image;
use super::rootfs::{self, Mount};
use super::runtime::Plan;
use super::sandbox::{self, Sandbox};
use super::security::Identity;
use super::{NodeContext, mirror::Mirror};
use crate::layout;

/// The objects of one namespace.
#[derive(Debug, Clone, Copy)]
pub struct Namespaced<'a> {
    /// Everything that is known.
    pub mirror: &'a Mirror,
    /// The namespace.
    pub namespace: &'a str,
}

impl Lookup for Namespaced<'_> {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.mirror.config_map(self.namespace, name)
    }

    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.mirror.secret(self.namespace, name)
    }
}

/// Why a container cannot be started, with the kubelet's word for it.
#[derive(Debug, thiserror::Error)]
#[error("{cause:#}")]
pub struct Refused {
    /// The reason of the container's waiting state.
    pub reason: &'static str,
    /// What is wrong.
    pub cause: anyhow::Error,
}

/// Everything that a container's process is made of.
///
/// # Errors
/// When the image is unknown, or the configuration refers to what is not there or not supported.
pub fn plan(
    context: &NodeContext,
    sandbox: &Sandbox,
    pod: &Pod,
    container: &Container,
) -> Result<Plan, Refused> {
    let reference = container.image.as_deref().unwrap_or_default();
    let image = context.images.find(reference).map_err(|cause| Refused { reason: "ErrImagePull", cause })?;
    configure(context, sandbox, pod, container, &image)
        .map_err(|cause| Refused { reason: "CreateContainerConfigError", cause })
}

fn configure(
    context: &NodeContext,
    sandbox: &Sandbox,
    pod: &Pod,
    container: &Container,
    image: &Image,
) -> Result<Plan> {
    let spec = pod.spec.as_ref().context("a pod has a spec")?;
    let (namespace, name, _uid) = sandbox::identity(pod);
    let host_ips = context.network.addresses().both();
    let facts = Facts { pod, pod_ips: sandbox.pod_ips(), host_ips: &host_ips };
    let environment = environment(container, facts, &Namespaced { mirror: &context.mirror, namespace })?;
    let argv: Vec<String> = argv(container, image).iter().map(|word| expand(word, &environment)).collect();
    ensure!(!argv.is_empty(), "no command specified");
    let identity = Identity::of(spec, container, image.user)?;
    let mounts = mounts(context, sandbox, spec, container)?;
    let host_network = spec.host_network == Some(true);
    Ok(Plan {
        namespace: sandbox.namespace().clone(),
        root: rootfs::arguments(image, &sandbox.etc(), &mounts, identity.read_only_root),
        identity,
        argv,
        environment,
        working_folder: container.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
        host_name: if host_network { context.node.clone() } else { name.chars().take(63).collect() },
        log: log(&context.cluster, namespace, name, &container.name),
        record: sandbox.record(&container.name),
    })
}

/// The file that a container's output goes to.
pub fn log(cluster: &str, namespace: &str, pod: &str, container: &str) -> PathBuf {
    layout::logs().join(cluster).join("pods").join(format!("{namespace}_{pod}_{container}.log"))
}

/// A container's `command` stands for the image's entry point and, without `args`, for its command too.
fn argv(container: &Container, image: &Image) -> Vec<String> {
    let of_image = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let command = container.command.clone().filter(|words| !words.is_empty());
    let arguments = container.args.clone().filter(|words| !words.is_empty());
    match (command, arguments) {
        (Some(command), arguments) => [command, arguments.unwrap_or_default()].concat(),
        (None, Some(arguments)) => [of_image(image.entrypoint), arguments].concat(),
        (None, None) => [of_image(image.entrypoint), of_image(image.command)].concat(),
    }
}

fn mounts(
    context: &NodeContext,
    sandbox: &Sandbox,
    spec: &PodSpec,
    container: &Container,
) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let unsupported = mount.sub_path.is_some() || mount.sub_path_expr.is_some();
        ensure!(
            !unsupported,
            "volumeMount {}: subPath is not supported here: mount the folder",
            mount.mount_path
        );
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let volume =
            volume.with_context(|| format!("volumeMount {}: no volume {}", mount.mount_path, mount.name))?;
        let source = match &volume.host_path {
            Some(path) => context.folder().join("root").join(path.path.trim_start_matches('/')),
            None => sandbox.volume(&volume.name),
        };
        let read_only = mount.read_only == Some(true) || of_objects(volume);
        mounts.push(Mount { source, target: mount.mount_path.clone(), read_only });
    }
    Ok(mounts)
}

/// Volumes that are made of API objects cannot be written to, whatever the mount says.
fn of_objects(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn command_and_args_replace_those_of_the_image() {
        let image =
            Image { files: vec![], entrypoint: &["run"], command: &["default"], user: 0, folders: &[] };
        for (container, expected) in [
            (json!({"name": "c"}), vec!["run", "default"]),
            (json!({"name": "c", "args": ["x"]}), vec!["run", "x"]),
            (json!({"name": "c", "command": ["sh"]}), vec!["sh"]),
            (json!({"name": "c", "command": ["sh"], "args": ["-c"]}), vec!["sh", "-c"]),
        ] {
            let container: Container = serde_json::from_value(container).unwrap();
            assert_eq!(argv(&container, &image), expected);
        }
    }
}
