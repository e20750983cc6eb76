//! One ConfigMap of a cluster's DNS, and what is to be written into it. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::ConfigMap;
use xcc_model::ZoneName;

use super::stub_domains::StubDomains;
use super::{DnsConfigError, Edit, Flavour, ObjectName, Outcome, corefile};

const COREFILE_KEY: &str = "Corefile";
const STUB_DOMAINS_KEY: &str = "stubDomains";
/// Which entries of `stubDomains` are ours, separated by commas.
const STUB_DOMAINS_ANNOTATION: &str = "connectivity.tanzu.vmware.com/stub-domains";
/// Whether the key `stubDomains` is ours.
const STUB_DOMAINS_CREATED_ANNOTATION: &str = "connectivity.tanzu.vmware.com/stub-domains-created";

/// What the ConfigMap shall hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'a> {
    /// These zones' queries go to these servers.
    Forward(&'a [ZoneName], &'a [IpAddr]),
    /// Nothing of ours.
    Nothing,
}

/// Whether it has what a DNS of this flavour reads.
pub(super) fn is_configuration(config_map: &ConfigMap, flavour: Flavour) -> bool {
    match flavour {
        Flavour::CoreDns | Flavour::NodeLocalDns => data(config_map, COREFILE_KEY).is_some(),
        // kube-dns reads each key only if it is there.
        Flavour::KubeDns => true,
    }
}

/// Changes the ConfigMap so that it holds what is wished.
pub(super) fn edit(
    config_map: &mut ConfigMap,
    name: &ObjectName,
    flavour: Flavour,
    wish: Wish<'_>,
) -> Result<Outcome, DnsConfigError> {
    match flavour {
        Flavour::CoreDns | Flavour::NodeLocalDns => edit_corefile(config_map, wish)
            .map_err(|source| DnsConfigError::Corefile { config_map: name.clone(), source }),
        Flavour::KubeDns => edit_stub_domains(config_map, wish)
            .map_err(|source| DnsConfigError::StubDomains { config_map: name.clone(), source }),
    }
}

fn edit_corefile(config_map: &mut ConfigMap, wish: Wish<'_>) -> Result<Outcome, corefile::CorefileError> {
    let text = data(config_map, COREFILE_KEY).unwrap_or_default();
    let edit = match wish {
        Wish::Forward(zones, servers) => corefile::apply(text, zones, servers)?,
        Wish::Nothing => corefile::remove(text)?,
    };
    let (outcome, text) = match edit {
        Edit::None => return Ok(Outcome::UpToDate),
        Edit::Added(text) => (Outcome::Added, text),
        Edit::Replaced(text) => (Outcome::Replaced, text),
        Edit::Removed(text) => (Outcome::Removed, text),
    };
    config_map.data.get_or_insert_default().insert(COREFILE_KEY.to_owned(), text);
    Ok(outcome)
}

fn edit_stub_domains(
    config_map: &mut ConfigMap,
    wish: Wish<'_>,
) -> Result<Outcome, super::stub_domains::StubDomainsError> {
    let before = stub_domains(config_map);
    let (after, outcome) = match wish {
        Wish::Forward(zones, servers) if before.ours.is_empty() => {
            (before.apply(zones, servers)?, Outcome::Added)
        }
        Wish::Forward(zones, servers) => (before.apply(zones, servers)?, Outcome::Replaced),
        // Without an annotation there is nothing of ours, and others' mistakes are no concern of a removal.
        Wish::Nothing if before.ours.is_empty() => return Ok(Outcome::UpToDate),
        Wish::Nothing => (before.remove()?, Outcome::Removed),
    };
    if after == before {
        return Ok(Outcome::UpToDate);
    }
    let ours = after.ours.into_iter().collect::<Vec<_>>().join(",");
    set(&mut config_map.data, STUB_DOMAINS_KEY, after.json);
    set(
        &mut config_map.metadata.annotations,
        STUB_DOMAINS_ANNOTATION,
        Some(ours).filter(|ours| !ours.is_empty()),
    );
    let created = after.created.then(|| "true".to_owned());
    set(&mut config_map.metadata.annotations, STUB_DOMAINS_CREATED_ANNOTATION, created);
    Ok(outcome)
}

fn stub_domains(config_map: &ConfigMap) -> StubDomains {
    let annotation =
        |key| config_map.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let ours: BTreeSet<String> = annotation(STUB_DOMAINS_ANNOTATION)
        .map(|zones| zones.split(',').filter(|zone| !zone.is_empty()).map(str::to_owned).collect())
        .unwrap_or_default();
    StubDomains {
        json: data(config_map, STUB_DOMAINS_KEY).map(str::to_owned),
        ours,
        created: annotation(STUB_DOMAINS_CREATED_ANNOTATION).is_some(),
    }
}

fn data<'a>(config_map: &'a ConfigMap, key: &str) -> Option<&'a str> {
    config_map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str)
}

/// Sets or removes an entry; a map that was not there is not left behind empty.
fn set(map: &mut Option<std::collections::BTreeMap<String, String>>, key: &str, value: Option<String>) {
    match value {
        Some(value) => {
            map.get_or_insert_default().insert(key.to_owned(), value);
        }
        None => {
            if let Some(entries) = map {
                entries.remove(key);
            }
            map.take_if(|entries| entries.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Vec<ZoneName> {
        vec![ZoneName::parse("xcc.test").unwrap()]
    }

    fn servers() -> Vec<IpAddr> {
        vec!["10.96.0.7".parse().unwrap()]
    }

    fn config_map(json: serde_json::Value) -> ConfigMap {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn removal_gives_back_the_config_map() {
        let (zones, servers, moved) = (zones(), servers(), ["10.0.0.1".parse().unwrap()]);
        let name = ObjectName::new("kube-system", "x");
        for (flavour, before) in [
            (Flavour::CoreDns, serde_json::json!({"data": {"Corefile": ". {\n}", "other": "x"}})),
            (Flavour::KubeDns, serde_json::json!({"metadata": {"name": "x"}})),
            (
                Flavour::KubeDns,
                serde_json::json!({"metadata": {"annotations": {"a": "b"}}, "data": {"stubDomains": "{ }"}}),
            ),
            (Flavour::KubeDns, serde_json::json!({"data": {"upstreamNameservers": "[\"8.8.8.8\"]"}})),
        ] {
            let before = config_map(before);
            let mut changed = before.clone();
            let mut edit = |wish| edit(&mut changed, &name, flavour, wish).unwrap();
            assert_eq!(edit(Wish::Forward(&zones, &servers)), Outcome::Added);
            assert_eq!(edit(Wish::Forward(&zones, &servers)), Outcome::UpToDate);
            assert_eq!(edit(Wish::Forward(&zones, &moved)), Outcome::Replaced);
            assert_eq!(edit(Wish::Nothing), Outcome::Removed);
            assert_eq!(edit(Wish::Nothing), Outcome::UpToDate);
            assert_eq!(changed, before);
        }
    }

    #[test]
    fn a_config_map_without_a_corefile_is_not_that_of_coredns() {
        let other = config_map(serde_json::json!({"data": {"Caddyfile": ""}}));
        assert!(!is_configuration(&other, Flavour::CoreDns));
    }
}
