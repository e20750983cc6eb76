//! How the ServiceRecord of a host name is called. Pure; no two names share one.

use xcc_model::Hostname;
use xxhash_rust::xxh3::xxh3_64;

/// Longest name of an object (RFC 1123 subdomain, Kubernetes API "Object Names and IDs").
const NAME_LENGTH_MAX: usize = 253;
/// What stands for `*`. Host names that begin with it get a hash too, so that the others can be taken as they are.
const WILDCARD: &str = "wildcard";
/// `-` and 16 hexadecimal digits.
const SUFFIX_LENGTH: usize = 17;

/// The object's name: the host name itself where that is one.
pub(super) fn record_name(hostname: &Hostname) -> String {
    let name = hostname.as_str();
    let mut readable = match hostname.wildcard_domain() {
        Some(domain) => format!("{WILDCARD}.{domain}"),
        None if name.split('.').next() != Some(WILDCARD) => return name.to_owned(),
        None => name.to_owned(),
    };
    // All ASCII.
    readable.truncate(NAME_LENGTH_MAX - SUFFIX_LENGTH);
    let readable = readable.trim_end_matches(['.', '-']);
    format!("{readable}-{:016x}", xxh3_64(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_host_name_has_a_valid_name_of_its_own() {
        let label = "a".repeat(61);
        let long = format!("{label}.{label}.{label}.{}.xcc.test", "b".repeat(58));
        assert_eq!(long.len(), 253);
        let hosts = [
            "nginx.xcc.test".to_owned(),
            "*.team.xcc.test".to_owned(),
            "wildcard.team.xcc.test".to_owned(),
            "wildcards.team.xcc.test".to_owned(),
            "a.wildcard.xcc.test".to_owned(),
            format!("*.{}", &long[2..]),
            format!("*.{}", &long[4..]),
            format!("wildcard.{}", &long[9..]),
            long,
        ];
        let mut names = BTreeSet::new();
        for host in &hosts {
            let name = record_name(&Hostname::parse(host).unwrap());
            let object = serde_json::json!({"metadata": {"name": name, "namespace": "x"}});
            assert!(crate::api::object_name(&object).is_ok(), "{host} -> {name}");
            assert!(names.insert(name), "{host}");
        }
        assert_eq!(record_name(&Hostname::parse("NGINX.xcc.test.").unwrap()), "nginx.xcc.test");
        // Written by one version and read by the next: it must not change.
        let wildcard = record_name(&Hostname::parse("*.team.xcc.test").unwrap());
        assert!(wildcard.starts_with("wildcard.team.xcc.test-"), "{wildcard}");
        assert_eq!(names.len(), hosts.len());
    }
}
