//! A container's environment: values, references, and `$(VAR)` in them and in commands. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, Secret,
};

use crate::control_plane::API_SERVICE;

/// Where an environment's references are looked up.
pub trait Lookup {
    /// A ConfigMap of the Pod's namespace.
    fn config_map(&self, name: &str) -> Option<std::sync::Arc<ConfigMap>>;
    /// A Secret of the Pod's namespace.
    fn secret(&self, name: &str) -> Option<std::sync::Arc<Secret>>;
}

/// A Pod and what only its node knows.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// Its addresses.
    pub pod_ips: &'a [IpAddr],
    /// Its node's addresses.
    pub host_ips: &'a [IpAddr],
}

/// The environment of a container: Kubernetes' own variables, `envFrom`, then `env` in order.
///
/// # Errors
/// When a reference that is not optional leads nowhere, or is of a kind that is not supported.
pub fn environment(
    container: &Container,
    facts: Facts<'_>,
    lookup: &impl Lookup,
) -> Result<BTreeMap<String, String>> {
    let mut variables = own(facts.pod);
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match lookup.config_map(&reference.name) {
                Some(map) => variables.extend(
                    map.data.iter().flatten().map(|(key, value)| (format!("{prefix}{key}"), value.clone())),
                ),
                None if reference.optional == Some(true) => {}
                None => bail!("configmap \"{}\" not found", reference.name),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match lookup.secret(&reference.name) {
                Some(secret) => variables.extend(
                    secret
                        .data
                        .iter()
                        .flatten()
                        .map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))),
                ),
                None if reference.optional == Some(true) => {}
                None => bail!("secret \"{}\" not found", reference.name),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, &variables, facts, lookup)? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// What every container has: where the API server is, its host name, and a path to look programs up by.
fn own(pod: &Pod) -> BTreeMap<String, String> {
    let api = API_SERVICE.to_string();
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOSTNAME", pod.metadata.name.as_deref().unwrap_or_default()),
        ("HOME", "/"),
        ("KUBERNETES_SERVICE_HOST", &api),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn value(
    variable: &EnvVar,
    before: &BTreeMap<String, String>,
    facts: Facts<'_>,
    lookup: &impl Lookup,
) -> Result<Option<String>> {
    match &variable.value_from {
        None => Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), before))),
        Some(source) => referred(source, facts, lookup).with_context(|| format!("env {}", variable.name)),
    }
}

fn referred(source: &EnvVarSource, facts: Facts<'_>, lookup: &impl Lookup) -> Result<Option<String>> {
    if let Some(reference) = &source.field_ref {
        return field(reference, facts).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let map = lookup.config_map(&reference.name);
        let found = map.as_ref().and_then(|map| map.data.as_ref()?.get(&reference.key).cloned());
        let missing = format!("couldn't find key {} in ConfigMap {}", reference.key, reference.name);
        return optional(found, reference.optional, missing);
    }
    if let Some(reference) = &source.secret_key_ref {
        let secret = lookup.secret(&reference.name);
        let found =
            secret.as_ref().and_then(|secret| Some(text(&secret.data.as_ref()?.get(&reference.key)?.0)));
        let missing = format!("couldn't find key {} in Secret {}", reference.key, reference.name);
        return optional(found, reference.optional, missing);
    }
    bail!("this valueFrom is not supported here: use fieldRef, configMapKeyRef or secretKeyRef")
}

fn optional(found: Option<String>, optional: Option<bool>, missing: String) -> Result<Option<String>> {
    if found.is_none() && optional != Some(true) {
        bail!(missing);
    }
    Ok(found)
}

/// The value of a field of the Pod, as the downward API gives it.
///
/// # Errors
/// When the path is not one of those that are supported.
pub fn field(reference: &ObjectFieldSelector, facts: Facts<'_>) -> Result<String> {
    let (metadata, spec) = (&facts.pod.metadata, facts.pod.spec.as_ref());
    let owned = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let joined = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
    let first = |ips: &[IpAddr]| ips.first().map(IpAddr::to_string).unwrap_or_default();
    Ok(match reference.field_path.as_str() {
        "metadata.name" => owned(metadata.name.as_deref()),
        "metadata.namespace" => owned(metadata.namespace.as_deref()),
        "metadata.uid" => owned(metadata.uid.as_deref()),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => owned(spec.and_then(|spec| spec.node_name.as_deref())),
        "spec.serviceAccountName" => owned(spec.and_then(|spec| spec.service_account_name.as_deref())),
        "status.podIP" => first(facts.pod_ips),
        "status.podIPs" => joined(facts.pod_ips),
        "status.hostIP" => first(facts.host_ips),
        "status.hostIPs" => joined(facts.host_ips),
        path => {
            if let Some(key) = subscript(path, "metadata.labels") {
                return Ok(metadata
                    .labels
                    .as_ref()
                    .and_then(|map| map.get(key))
                    .cloned()
                    .unwrap_or_default());
            }
            if let Some(key) = subscript(path, "metadata.annotations") {
                return Ok(metadata
                    .annotations
                    .as_ref()
                    .and_then(|map| map.get(key))
                    .cloned()
                    .unwrap_or_default());
            }
            bail!("the field {path} is not supported")
        }
    })
}

fn subscript<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}\n")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Replaces `$(NAME)` by the variable; `$$` is a dollar, and what names no variable stays as it is.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => result.push_str(value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    struct Nothing;

    impl Lookup for Nothing {
        fn config_map(&self, _name: &str) -> Option<Arc<ConfigMap>> {
            None
        }
        fn secret(&self, _name: &str) -> Option<Arc<Secret>> {
            None
        }
    }

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"nodeName": "worker", "containers": []},
        }))
        .unwrap()
    }

    #[test]
    fn expansion_is_as_kubernetes_has_it() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("--x=$(A),$(A)", "--x=1,1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn later_variables_see_earlier_ones() {
        let container: Container = serde_json::from_value(json!({
            "name": "c",
            "env": [
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "ALL", "value": "$(NAME).$(APP).$(LATER)"},
                {"name": "LATER", "value": "x"},
            ],
        }))
        .unwrap();
        let pod = pod();
        let facts = Facts { pod: &pod, pod_ips: &[], host_ips: &[] };
        let variables = environment(&container, facts, &Nothing).unwrap();
        assert_eq!(variables["ALL"], "web-1.web.$(LATER)");
    }

    #[test]
    fn a_missing_reference_is_an_error_unless_optional() {
        let mut container: Container = serde_json::from_value(json!({
            "name": "c",
            "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        }))
        .unwrap();
        let pod = pod();
        let facts = Facts { pod: &pod, pod_ips: &[], host_ips: &[] };
        let error = environment(&container, facts, &Nothing).unwrap_err();
        assert!(format!("{error:#}").contains("couldn't find key k in Secret s"), "{error:#}");
        let source = container.env.as_mut().unwrap()[0].value_from.as_mut().unwrap();
        source.secret_key_ref.as_mut().unwrap().optional = Some(true);
        assert!(!environment(&container, facts, &Nothing).unwrap().contains_key("X"));
    }
}
