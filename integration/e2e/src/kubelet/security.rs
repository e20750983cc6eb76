//! Who a container runs as: user, groups and capabilities, from the security contexts and the image. Pure.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, PodSpec};

/// What container runtimes give a container that asks for nothing.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The identity of a container's processes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The supplementary groups; fsGroup among them.
    pub groups: BTreeSet<u32>,
    /// The capabilities that root has in the container, and nobody can have more.
    pub capabilities: BTreeSet<String>,
    /// The root file system cannot be written to.
    pub read_only_root: bool,
}

impl Identity {
    /// Reads the Pod's and the container's security contexts.
    ///
    /// # Errors
    /// When they contradict each other or ask for what is not supported, in the kubelet's words where it has them.
    pub fn of(spec: &PodSpec, container: &Container, image_user: u32) -> Result<Self> {
        let (pod, own) = (spec.security_context.as_ref(), container.security_context.as_ref());
        ensure!(
            own.and_then(|own| own.privileged) != Some(true),
            "privileged containers are not supported here"
        );
        let user = own.and_then(|own| own.run_as_user).or_else(|| pod.and_then(|pod| pod.run_as_user));
        let user = user.map_or(Ok(image_user), number)?;
        let group = own.and_then(|own| own.run_as_group).or_else(|| pod.and_then(|pod| pod.run_as_group));
        // An image with a user has a group of the same number, as those in the table do.
        let group = group.map_or(Ok(if user == image_user { image_user } else { 0 }), number)?;
        let must_not_be_root =
            own.and_then(|own| own.run_as_non_root).or_else(|| pod.and_then(|pod| pod.run_as_non_root))
                == Some(true);
        if must_not_be_root && user == 0 {
            bail!("container has runAsNonRoot and image will run as root");
        }
        let mut groups = BTreeSet::new();
        for id in
            pod.into_iter().flat_map(|pod| pod.supplemental_groups.iter().flatten().chain(&pod.fs_group))
        {
            groups.insert(number(*id)?);
        }
        Ok(Self {
            user,
            group,
            groups,
            capabilities: capabilities(container),
            read_only_root: own.and_then(|own| own.read_only_root_filesystem) == Some(true),
        })
    }

    /// The arguments of `setpriv` that make it so.
    pub fn arguments(&self) -> Vec<String> {
        let groups: Vec<_> = self.groups.iter().map(u32::to_string).collect();
        let bounding: String =
            self.capabilities.iter().map(|name| format!(",+{}", name.to_lowercase())).collect();
        let mut arguments = vec![
            format!("--reuid={}", self.user),
            format!("--regid={}", self.group),
            if groups.is_empty() {
                "--clear-groups".to_owned()
            } else {
                format!("--groups={}", groups.join(","))
            },
            format!("--bounding-set=-all{bounding}"),
            "--inh-caps=-all".to_owned(),
            "--no-new-privs".to_owned(),
        ];
        arguments.push("--".to_owned());
        arguments
    }
}

fn number(id: i64) -> Result<u32> {
    u32::try_from(id).map_err(|_out_of_range| anyhow::anyhow!("{id} is not a user or group"))
}

fn capabilities(container: &Container) -> BTreeSet<String> {
    let asked = container.security_context.as_ref().and_then(|own| own.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| -> BTreeSet<String> {
        list.into_iter().flatten().map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    let dropped = names(asked.and_then(|asked| asked.drop.as_ref()));
    let added = names(asked.and_then(|asked| asked.add.as_ref()));
    let mut set: BTreeSet<String> = DEFAULT_CAPABILITIES.map(str::to_owned).into();
    if dropped.contains("ALL") {
        set.clear();
    }
    set.retain(|name| !dropped.contains(name));
    set.extend(added);
    set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(pod: serde_json::Value, container: serde_json::Value, image_user: u32) -> Result<Identity> {
        let spec: PodSpec =
            serde_json::from_value(json!({"containers": [], "securityContext": pod})).unwrap();
        let container: Container =
            serde_json::from_value(json!({"name": "c", "securityContext": container})).unwrap();
        Identity::of(&spec, &container, image_user)
    }

    #[test]
    fn the_container_wins_over_the_pod_and_the_pod_over_the_image() {
        assert_eq!(identity(json!({}), json!({}), 7).unwrap().user, 7);
        assert_eq!(identity(json!({"runAsUser": 8}), json!({}), 7).unwrap().user, 8);
        assert_eq!(identity(json!({"runAsUser": 8}), json!({"runAsUser": 9}), 7).unwrap().user, 9);
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        assert!(identity(json!({"runAsNonRoot": true}), json!({}), 0).is_err());
        assert!(identity(json!({"runAsNonRoot": true}), json!({}), 65532).is_ok());
    }

    #[test]
    fn drop_all_then_add() {
        let context = json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}});
        let identity = identity(json!({"fsGroup": 5}), context, 1).unwrap();
        assert_eq!(identity.capabilities, BTreeSet::from(["NET_BIND_SERVICE".to_owned()]));
        assert!(identity.arguments().contains(&"--bounding-set=-all,+net_bind_service".to_owned()));
        assert!(identity.arguments().contains(&"--groups=5".to_owned()));
    }
}
