//! `RemoteCluster.spec` to [`RemoteSettings`]. Pure; everything that is wrong is reported at once.

use std::num::NonZeroU16;

use ipnet::IpNet;
use serde_json::Value;
use xcc_model::{
    AddressType, AllowedDomains, Diagnostic, EndpointPolicy, Ingress, IngressSource, ObjectKind, ObjectRef,
    Reason, RemoteName, RemoteSettings, ServiceName,
};

use crate::api::{self, IngressSpec, RemoteClusterSpec, excerpt};

/// Most entries of `allowedDomains` and of `allowedEndpointCIDRs`: every export and every address is compared with
/// each.
const ENTRIES_MAX: usize = 256;

/// Converts a RemoteCluster's JSON form. The error is an `InvalidSettings` diagnostic that names every wrong field.
pub fn remote_cluster(remote: &RemoteName, object: &Value) -> Result<RemoteSettings, Diagnostic> {
    let checked = match api::read::<api::RemoteCluster>(object) {
        Ok(cluster) => remote_settings(&cluster.spec),
        Err(error) => Err(vec![error.to_string()]),
    };
    checked.map_err(|errors| invalid(remote, &errors.join("; ")))
}

/// Checks a `spec`. The errors each name their field.
pub fn remote_settings(spec: &RemoteClusterSpec) -> Result<RemoteSettings, Vec<String>> {
    let mut errors = Vec::new();
    let allowed_domains = allowed_domains(&spec.allowed_domains, &mut errors);
    let endpoint_policy = endpoint_policy(&spec.allowed_endpoint_cidrs, &mut errors);
    let ingress = ingress(&spec.ingress, &mut errors);
    let priority = u32::try_from(spec.priority.unwrap_or(0)).unwrap_or_else(|_| {
        errors.push(format!("spec.priority: must be from 0 to {}", u32::MAX));
        0
    });
    if errors.is_empty() {
        Ok(RemoteSettings { allowed_domains, endpoint_policy, ingress, priority })
    } else {
        Err(errors)
    }
}

/// The diagnostic of settings that cannot be taken.
pub(crate) fn invalid(remote: &RemoteName, what: &str) -> Diagnostic {
    Diagnostic {
        remote: remote.clone(),
        object: ObjectRef::new(ObjectKind::RemoteCluster, "", remote.as_str()),
        reason: Reason::InvalidSettings,
        message: format!("{what}; the last valid settings stay in force"),
    }
}

fn allowed_domains(entries: &[String], errors: &mut Vec<String>) -> AllowedDomains {
    if entries.len() > ENTRIES_MAX {
        errors.push(format!("spec.allowedDomains: must have at most {ENTRIES_MAX} entries"));
        return AllowedDomains::default();
    }
    AllowedDomains::parse(entries).unwrap_or_else(|problems| {
        errors.extend(problems.iter().map(|problem| excerpt_error(&problem.to_string())));
        AllowedDomains::default()
    })
}

fn endpoint_policy(entries: &[String], errors: &mut Vec<String>) -> EndpointPolicy {
    const FIELD: &str = "spec.allowedEndpointCIDRs";
    if entries.len() > ENTRIES_MAX {
        errors.push(format!("{FIELD}: must have at most {ENTRIES_MAX} entries"));
        return EndpointPolicy::default();
    }
    let mut networks = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match network(entry) {
            Ok(network) => networks.push(network),
            Err(problem) => errors.push(format!("{FIELD}[{index}]: {:?} {problem}", excerpt(entry))),
        }
    }
    EndpointPolicy::new(networks)
}

fn network(entry: &str) -> Result<IpNet, &'static str> {
    let network: IpNet =
        entry.parse().map_err(|_| "is no network: write an address and a prefix length, as in 10.0.0.0/8")?;
    match network {
        // Addresses are compared in their IPv4 form, so such a network would never match one.
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            Err("is an IPv4 network in IPv6 form: write it as IPv4")
        }
        _ => Ok(network.trunc()),
    }
}

fn ingress(spec: &IngressSpec, errors: &mut Vec<String>) -> Ingress {
    let default = Ingress::default();
    let port = match spec.port.map(|port| u16::try_from(port).ok().and_then(NonZeroU16::new)) {
        None => default.port,
        Some(Some(port)) => port,
        Some(None) => {
            errors.push("spec.ingress.port: must be from 1 to 65535".to_owned());
            default.port
        }
    };
    let source = match spec.source.as_deref() {
        None | Some("Nodes") => IngressSource::Nodes,
        Some("Service") => service_source(spec.service.as_deref(), errors),
        Some(other) => {
            errors
                .push(format!("spec.ingress.source: {:?} is unknown: use Nodes or Service", excerpt(other)));
            IngressSource::Nodes
        }
    };
    let address_types = match &spec.address_types {
        None => default.address_types,
        Some(types) => address_types(types, errors),
    };
    Ingress { port, source, address_types }
}

fn service_source(service: Option<&str>, errors: &mut Vec<String>) -> IngressSource {
    const FIELD: &str = "spec.ingress.service";
    let Some(text) = service else {
        errors.push(format!("{FIELD}: with source Service name the Service, as in projectcontour/envoy"));
        return IngressSource::Nodes;
    };
    let named = text.split_once('/').and_then(|(namespace, name)| {
        let object = serde_json::json!({"metadata": {"namespace": namespace, "name": name}});
        let named = api::object_name(&object).ok()?;
        (!namespace.is_empty()).then(|| ServiceName::new(named.namespace, named.name))
    });
    named.map_or_else(
        || {
            let text = excerpt(text);
            errors.push(format!("{FIELD}: {text:?}: write NAMESPACE/NAME, as in projectcontour/envoy"));
            IngressSource::Nodes
        },
        IngressSource::Service,
    )
}

fn address_types(types: &[String], errors: &mut Vec<String>) -> Vec<AddressType> {
    const FIELD: &str = "spec.ingress.addressTypes";
    if types.is_empty() || types.len() > ENTRIES_MAX {
        errors.push(format!("{FIELD}: name InternalIP, ExternalIP or both, in the order of preference"));
        return Vec::new();
    }
    let mut known = Vec::new();
    for (index, name) in types.iter().enumerate() {
        match name.as_str() {
            "InternalIP" => known.push(AddressType::InternalIP),
            "ExternalIP" => known.push(AddressType::ExternalIP),
            other => errors.push(format!(
                "{FIELD}[{index}]: {:?} is unknown: use InternalIP or ExternalIP",
                excerpt(other)
            )),
        }
    }
    known
}

/// An error that quotes an entry of any length; the explanation behind it has to survive the cut.
fn excerpt_error(error: &str) -> String {
    const TAIL: usize = 200;
    let length = error.chars().count();
    if length <= 2 * TAIL {
        return error.to_owned();
    }
    let head: String = error.chars().take(TAIL).collect();
    let tail: String = error.chars().skip(length - TAIL).collect();
    format!("{head}...{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn convert(spec: Value) -> Result<RemoteSettings, Diagnostic> {
        remote_cluster(
            &RemoteName::parse("east").unwrap(),
            &json!({"metadata": {"name": "east"}, "spec": spec}),
        )
    }

    #[test]
    fn an_empty_spec_gives_the_defaults() {
        for spec in [json!({}), json!(null), json!({"ingress": {}, "kubeconfigSecretRef": {"name": "x"}})] {
            assert_eq!(convert(spec).unwrap(), RemoteSettings::default());
        }
        let spelled_out = json!({
            "allowedDomains": [], "allowedEndpointCIDRs": [], "priority": 0,
            "ingress": {"port": 443, "source": "Nodes", "addressTypes": ["InternalIP"], "service": "a/b"},
        });
        assert_eq!(convert(spelled_out).unwrap(), RemoteSettings::default());
    }

    #[test]
    fn every_field_is_taken() {
        let settings = convert(json!({
            "allowedDomains": ["xcc.test", "Other.Test."],
            "allowedEndpointCIDRs": ["127.0.0.1/8", "fd00::/8"],
            "priority": 3,
            "ingress": {
                "port": 8443,
                "addressTypes": ["ExternalIP", "InternalIP"],
                "source": "Service",
                "service": "projectcontour/envoy",
            },
        }))
        .unwrap();
        assert_eq!(
            settings.ingress.source,
            IngressSource::Service(ServiceName::new("projectcontour", "envoy"))
        );
        assert_eq!(settings.allowed_domains.entries(), ["xcc.test", "other.test"]);
        assert_eq!(settings.priority, 3);
        assert_eq!(settings.ingress.port.get(), 8443);
        assert_eq!(settings.ingress.address_types, [AddressType::ExternalIP, AddressType::InternalIP]);
        let allowed =
            |ip: &str| settings.endpoint_policy.check(ip.parse().unwrap(), &BTreeSet::new()).is_ok();
        assert!(allowed("127.9.9.9") && allowed("fd12::1") && !allowed("10.0.0.1"));
    }

    #[test]
    fn c10_all_errors_are_in_the_message() {
        let diagnostic = convert(json!({
            "allowedDomains": ["example domain.com", "ok.test", "example.-domain.com"],
            "allowedEndpointCIDRs": ["10.0.0.1", "10.0.0.0/33", "::ffff:10.0.0.0/104"],
            "priority": -1,
            "ingress": {"port": 70000, "source": "Service", "addressTypes": ["Hostname"]},
        }))
        .unwrap_err();
        assert_eq!(diagnostic.reason, Reason::InvalidSettings);
        assert_eq!(diagnostic.object.to_string(), "RemoteCluster east");
        for part in [
            "spec.allowedDomains[0]: Invalid value: \"example domain.com\": Invalid characters.",
            "spec.allowedDomains[2]: Invalid value: \"example.-domain.com\": Invalid use of hyphen",
            "spec.allowedEndpointCIDRs[0]: \"10.0.0.1\" is no network",
            "spec.allowedEndpointCIDRs[1]",
            "spec.allowedEndpointCIDRs[2]: \"::ffff:10.0.0.0/104\" is an IPv4 network in IPv6 form",
            "spec.priority",
            "spec.ingress.port",
            "spec.ingress.service: with source Service name the Service",
            "spec.ingress.addressTypes[0]: \"Hostname\"",
        ] {
            assert!(diagnostic.message.contains(part), "{part}: {}", diagnostic.message);
        }
        assert!(!diagnostic.message.contains("[1]: Invalid"), "{}", diagnostic.message);
    }

    #[test]
    fn wrong_values_are_refused_with_their_field() {
        for (spec, field) in [
            (json!({"allowedDomains": "xcc.test"}), "spec.allowedDomains"),
            (json!({"allowedDomains": [5]}), "spec.allowedDomains[0]"),
            (json!({"allowedDomains": vec!["a.test"; ENTRIES_MAX + 1]}), "spec.allowedDomains"),
            (json!({"allowedEndpointCIDRs": vec!["::/0"; ENTRIES_MAX + 1]}), "spec.allowedEndpointCIDRs"),
            (json!({"ingress": {"port": "https"}}), "spec.ingress.port"),
            (json!({"ingress": {"port": 0}}), "spec.ingress.port"),
            (json!({"ingress": {"source": "Pods"}}), "spec.ingress.source"),
            (json!({"ingress": {"source": "Service", "service": "envoy"}}), "spec.ingress.service"),
            (json!({"ingress": {"source": "Service", "service": "/envoy"}}), "spec.ingress.service"),
            (json!({"ingress": {"source": "Service", "service": "a/b/c"}}), "spec.ingress.service"),
            (json!({"ingress": {"addressTypes": []}}), "spec.ingress.addressTypes"),
            (json!({"priority": 4_294_967_296_u64}), "spec.priority"),
            (json!(5), "spec"),
        ] {
            let diagnostic = convert(spec.clone()).unwrap_err();
            assert!(diagnostic.message.starts_with(field), "{spec}: {}", diagnostic.message);
        }
    }

    #[test]
    fn a_long_entry_does_not_make_a_long_message() {
        let diagnostic =
            convert(json!({"allowedDomains": [format!("{}!", "a".repeat(1_000_000))]})).unwrap_err();
        assert!(diagnostic.message.len() < 1_000 && diagnostic.message.contains("Invalid characters"));
    }
}
