use proptest::prelude::*;

use super::super::yaml;
use super::*;

const MANIFESTS: &str = r#"# As kubectl prints it.
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata:
  annotations:
    connectivity.tanzu.vmware.com/service-port: "8443"
  creationTimestamp: "2020-10-13T18:00:00Z"
  generation: 1
  labels:
    connectivity.tanzu.vmware.com/export: ""
  name: nginx
  uid: 6a5e2b11-0f3d-4e9a-9b1c-aaaaaaaaaaaa
spec:
  routes:
  - conditions:
    - prefix: /api
    services: [{name: nginx, port: 443}]
  virtualhost: {fqdn: nginx.xcc.test, tls: {passthrough: true}}
status:
---
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec: {podCIDR: 10.244.0.0/24}
status:
  addresses:
  - address: 10.0.0.1
    type: InternalIP
  capacity: {memory: 3882916Ki, cpu: 100m}
  message: |
    kubelet is posting
    ready status
...
"#;

fn read(text: &str) -> Option<Vec<(u64, Value)>> {
    let mut all = Vec::new();
    documents(text, |line, document| {
        all.push((line, document));
        Some(())
    })?;
    Some(all)
}

#[test]
fn ordinary_manifests_are_plain() {
    let documents = read(MANIFESTS).unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents, yaml(MANIFESTS).unwrap());
}

#[test]
fn what_needs_more_rules_is_left_to_the_library() {
    for text in [
        "a: &x 1\nb: *x\n",
        "a: !!str 5\n",
        "a: 1\na: 2\n",
        "x: {<<: {a: 1}}\n",
        "? [a]\n: b\n",
        "? {a: b}\n: c\n",
        "8080: x\n",
        "null: x\n",
        "- a\n",
        "text\n",
        "%YAML 1.1\n---\na: b\n",
        "a: [b\n",
        "a: 010\n",
        "a: 0x1f\n",
        "a: 1_000\n",
        "a: 1e3\n",
        "a: 1.5\n",
        "a: -1\n",
        "a: .inf\n",
        "~: a\n",
        "a: Yes\n",
        "a: NULL\n",
        "a: 1:30\n",
        "a: 123456789012345678901\n",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
    let deep = format!("a: {}{}", "[".repeat(YAML_DEPTH_MAX), "]".repeat(YAML_DEPTH_MAX));
    assert_eq!(read(&deep), None);
}

/// Asserts that what is read here is what the library reads.
fn check(text: &str) -> Result<(), TestCaseError> {
    if let Some(documents) = read(text) {
        prop_assert_eq!(Ok(documents), yaml(text), "{:?}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn signs_are_read_as_the_library_does(text in "[-ab: \\[\\]{},&*!|>'\"#%?~<.\n0]{0,60}") {
        check(&text)?;
    }

    #[test]
    fn scalars_are_read_as_the_library_does(
        text in "[0-9a-zA-Z+._:/-]{1,12}",
        number in "[0-9]{1,3}[0-9._:eExXobK-]{0,6}",
        word in "(?i)(null|true|false|yes|no|on|off|y|n|inf|nan|infinity|[a-z]{1,3})",
    ) {
        for scalar in [&text, &number, &word] {
            check(&format!("a: {scalar}\n"))?;
            check(&format!("{scalar}: b\n"))?;
            check(&format!("[{scalar}]\n---\nlist: [{scalar}, '{scalar}']\n---\n{scalar}\n"))?;
        }
    }

    #[test]
    fn changed_manifests_are_read_as_the_library_does(
        at in 0..MANIFESTS.len(),
        length in 0..12_usize,
        new in "[-a: \\[\\]{},&*!|>'\"#~<.\n0]{0,4}",
    ) {
        let end = (at + length).min(MANIFESTS.len());
        check(&format!("{}{new}{}", &MANIFESTS[..at], &MANIFESTS[end..]))?;
    }
}
