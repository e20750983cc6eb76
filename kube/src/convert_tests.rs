use super::*;
use serde_json::json;

fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

/// Parses one YAML document and converts it.
fn convert(yaml: &str) -> Conversion {
    let manifests = crate::manifests::parse(yaml.as_bytes()).unwrap();
    assert_eq!(manifests.len(), 1);
    http_proxy(&remote(), &manifests[0].object)
}

/// A labelled HTTPProxy with some `spec`, as flow YAML, and more metadata.
fn labelled(metadata: &str, rest: &str) -> Conversion {
    convert(&format!(
        "{{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {{name: nginx, namespace: team, \
         labels: {{{EXPORT_LABEL}: ''}}, {metadata}}}, {rest}}}"
    ))
}

fn exported(conversion: Conversion) -> ServiceExport {
    match conversion {
        Conversion::Export(key, Ok(export)) => {
            assert_eq!(key.to_string(), "team/nginx");
            export
        }
        other => panic!("not exported: {other:?}"),
    }
}

fn refused(conversion: Conversion) -> (Reason, String) {
    match conversion {
        Conversion::Export(key, Err(diagnostic)) => {
            assert_eq!(diagnostic.object, key.object());
            assert_eq!(diagnostic.remote, remote());
            (diagnostic.reason, diagnostic.message)
        }
        other => panic!("not refused: {other:?}"),
    }
}

const SPEC: &str = "spec: {virtualhost: {fqdn: nginx.xcc.test, tls: {secretName: nginx}}}";

#[test]
fn the_ancestors_example_is_exported() {
    let conversion = convert(
        r#"
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata:
  name: nginx
  namespace: team
  creationTimestamp: "2020-10-25T12:00:00Z"
  labels:
    connectivity.tanzu.vmware.com/export: ""
spec:
  virtualhost:
    fqdn: nginx.xcc.test
    tls:
      secretName: nginx
  routes:
  - services:
    - name: nginx
      port: 80
status:
  currentStatus: valid
  loadBalancer: {ingress: [{ip: 10.0.0.1}]}
"#,
    );
    let export = exported(conversion);
    assert_eq!(export.hostname.as_str(), "nginx.xcc.test");
    assert_eq!(export.port.get(), 443);
    assert_eq!(export.created_seconds, Some(1_603_627_200));
}

#[test]
fn a2_the_label_counts_by_presence_whatever_its_value() {
    for value in ["''", "'true'", "'false'", "'anything'", "", "true", "5"] {
        let conversion = convert(&format!(
            "{{metadata: {{name: nginx, namespace: team, labels: {{{EXPORT_LABEL}: {value}}}}}, {SPEC}}}"
        ));
        assert_eq!(exported(conversion).hostname.as_str(), "nginx.xcc.test", "{value}");
    }
    for labels in [
        "",
        "labels: {}",
        "labels:",
        "labels: {export: ''}",
        "annotations: {connectivity.tanzu.vmware.com/export: ''}",
    ] {
        let conversion = convert(&format!("{{metadata: {{name: nginx, {labels}}}, {SPEC}}}"));
        assert_eq!(conversion, Conversion::NotExported, "{labels}");
    }
}

#[test]
fn b14_an_unlabelled_proxy_of_any_shape_is_not_looked_at() {
    for object in [
        json!({"metadata": {"name": "child"}}),
        json!({"metadata": {"name": "child"}, "spec": {"virtualhost": null}}),
        json!({"metadata": {"name": "child", "labels": {"app": "x"}}, "spec": 5, "status": []}),
        json!({"metadata": {"name": 5}}),
        json!({"spec": {"virtualhost": {"fqdn": 5}}}),
        json!({}),
        json!(null),
        json!("text"),
    ] {
        assert_eq!(http_proxy(&remote(), &object), Conversion::NotExported, "{object}");
    }
}

#[test]
fn b14_a_labelled_proxy_without_virtualhost_is_no_root() {
    for spec in ["spec: {routes: []}", "spec: {virtualhost: }", "spec: ", "x: y"] {
        let (reason, message) = refused(labelled("", spec));
        assert_eq!(reason, Reason::NotARootProxy, "{spec}");
        assert!(message.contains("root HTTPProxy"), "{message}");
    }
}

#[test]
fn b16_a_proxy_needs_a_secret_or_passthrough() {
    for (tls, ok) in [
        ("tls: {secretName: nginx}", true),
        ("tls: {secretName: other-namespace/nginx, minimumProtocolVersion: '1.3'}", true),
        ("tls: {passthrough: true}", true),
        ("tls: {passthrough: false}", false),
        ("tls: {secretName: ''}", false),
        ("tls: {secretName: }", false),
        ("tls: {}", false),
        ("tls: ", false),
        ("corsPolicy: {}", false),
    ] {
        let conversion = labelled("", &format!("spec: {{virtualhost: {{fqdn: nginx.xcc.test, {tls}}}}}"));
        if ok {
            exported(conversion);
        } else {
            let (reason, message) = refused(conversion);
            assert_eq!(reason, Reason::NoTls, "{tls}");
            assert!(message.contains("spec.virtualhost.tls.passthrough"), "{message}");
        }
    }
}

#[test]
fn the_name_is_normalised_or_refused() {
    let with = |fqdn: &str| {
        labelled("", &format!("spec: {{virtualhost: {{fqdn: '{fqdn}', tls: {{passthrough: true}}}}}}"))
    };
    for (fqdn, name) in [
        ("NGINX.xcc.Test", "nginx.xcc.test"),
        ("nginx.xcc.test.", "nginx.xcc.test"),
        ("*.team.xcc.test", "*.team.xcc.test"),
    ] {
        assert_eq!(exported(with(fqdn)).hostname.as_str(), name);
    }
    let long = "a".repeat(100_000);
    for fqdn in
        ["", "single", "a_b.xcc.test", "a..b", "*", "x*.xcc.test", "10.0.0.1", "a b.test", "-a.test", &long]
    {
        let (reason, message) = refused(with(fqdn));
        assert_eq!(reason, Reason::InvalidHostname, "{fqdn}");
        assert!(message.starts_with("spec.virtualhost.fqdn") && message.len() < 1_000, "{message}");
    }
}

#[test]
fn b17_what_contour_calls_invalid_or_orphaned_is_refused_with_its_words() {
    for status in ["invalid", "orphaned"] {
        let (reason, message) = refused(labelled(
            "",
            &format!("{SPEC}, status: {{currentStatus: {status}, description: secret not found}}"),
        ));
        assert_eq!(reason, Reason::InvalidProxy);
        assert!(message.contains(status) && message.contains("secret not found"), "{message}");
    }
    for status in [
        "",
        ", status: ",
        ", status: {}",
        ", status: {currentStatus: valid}",
        ", status: {currentStatus: }",
        ", status: {currentStatus: NotReconciled, description: Waiting for controller}",
    ] {
        exported(labelled("", &format!("{SPEC}{status}")));
    }
}

#[test]
fn a6_the_users_service_port_is_honoured() {
    let with = |value: &str| {
        labelled(&format!("annotations: {{{SERVICE_PORT_ANNOTATION}: {value}, other: 5}}"), SPEC)
    };
    for (value, port) in
        [("'443'", 443), ("'8443'", 8443), ("8443", 8443), ("'1'", 1), ("'65535'", 65535), ("", 443)]
    {
        assert_eq!(exported(with(value)).port.get(), port, "{value}");
    }
    assert_eq!(exported(labelled("", SPEC)).port.get(), 443);
}

#[test]
fn d4_a_service_port_that_is_none_refuses_the_export() {
    for value in
        ["https", "''", "'0'", "'65536'", "'-1'", "'+443'", "' 443'", "'443 '", "4.5", "true", "[443]"]
    {
        let conversion = labelled(&format!("annotations: {{{SERVICE_PORT_ANNOTATION}: {value}}}"), SPEC);
        let (reason, message) = refused(conversion);
        assert_eq!(reason, Reason::InvalidServicePort, "{value}");
        assert!(message.contains("1 to 65535"), "{message}");
    }
}

#[test]
fn a_creation_timestamp_that_is_none_counts_as_absent() {
    for (timestamp, seconds) in [
        ("'1970-01-01T00:01:00Z'", Some(60)),
        ("1970-01-01T00:01:00Z", Some(60)),
        ("'1970-01-01T01:01:00+01:00'", Some(60)),
        ("", None),
        ("yesterday", None),
        ("5", None),
        ("'1970-01-01'", None),
    ] {
        let export = exported(labelled(&format!("creationTimestamp: {timestamp}"), SPEC));
        assert_eq!(export.created_seconds, seconds, "{timestamp}");
    }
}

#[test]
fn an_object_that_is_being_deleted_is_exported_until_it_is_gone() {
    exported(labelled("deletionTimestamp: '2020-10-25T12:00:00Z', finalizers: [x]", SPEC));
}

#[test]
fn a_labelled_proxy_of_the_wrong_shape_is_malformed_and_names_the_field() {
    for (metadata, rest, field) in [
        ("", "spec: {virtualhost: {fqdn: 5, tls: {passthrough: true}}}", "spec.virtualhost.fqdn: "),
        (
            "",
            "spec: {virtualhost: {fqdn: a.b, tls: {passthrough: 'yes'}}}",
            "spec.virtualhost.tls.passthrough: ",
        ),
        ("", "spec: 5", "spec: "),
        ("", "status: 5", "status: "),
        ("annotations: 5", SPEC, "metadata.annotations: "),
    ] {
        match labelled(metadata, rest) {
            Conversion::Malformed(diagnostic) => {
                assert_eq!(diagnostic.reason, Reason::Malformed);
                assert_eq!(diagnostic.object.to_string(), "HTTPProxy team/nginx");
                assert!(diagnostic.message.starts_with(field), "{}", diagnostic.message);
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    for object in [
        json!({"metadata": {"name": "nginx", "labels": [EXPORT_LABEL]}}),
        json!({"metadata": {"name": "a/b", "labels": {EXPORT_LABEL: ""}}}),
    ] {
        assert!(matches!(http_proxy(&remote(), &object), Conversion::Malformed(_)), "{object}");
    }
}
