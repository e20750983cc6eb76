use super::*;
use serde_json::json;

/// "-----BEGIN..." would be as good: only its being base64 is looked at here.
const DATA: &str = "c2VjcmV0";

fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "admin@east",
        "clusters": [
            {"name": "other", "cluster": {"server": "http://other", "proxy-url": "http://x"}},
            {"name": "east", "cluster": {
                "server": "https://10.0.0.1:6443", "certificate-authority-data": DATA, "tls-server-name": "kubernetes",
            }},
        ],
        "users": [
            {"name": "admin", "user": {"client-certificate-data": DATA, "client-key-data": DATA, "token": "t0ken"}},
            {"name": "other", "user": {"exec": {"command": "touch"}}},
        ],
        "contexts": [
            {"name": "admin@east", "context": {"cluster": "east", "user": "admin", "namespace": "team"}},
            {"name": "other", "context": {"cluster": "other", "user": "other"}},
        ],
    })
}

fn parse(config: &Value) -> Result<Credentials, KubeconfigError> {
    Credentials::parse(config.to_string().as_bytes(), None, Trust::Secret)
}

fn with(pointer: &str, field: &str, value: Value) -> Value {
    let mut config = kubeconfig();
    config.pointer_mut(pointer).unwrap()[field] = value;
    config
}

#[test]
fn the_current_context_is_used_and_the_others_do_not_matter() {
    let credentials = parse(&kubeconfig()).unwrap();
    assert_eq!(credentials.server, "https://10.0.0.1:6443");
    assert_eq!(credentials.tls_server_name.as_deref(), Some("kubernetes"));
    assert_eq!(credentials.token.as_deref(), Some("t0ken"));
    assert_eq!(credentials.namespace.as_deref(), Some("team"));
    let other = Credentials::parse(kubeconfig().to_string().as_bytes(), Some("other"), Trust::Secret);
    assert!(matches!(other, Err(KubeconfigError::Refused { .. })));
}

#[test]
fn f27_everything_that_runs_reads_or_skips_something_is_refused_and_named() {
    const CLUSTER: &str = "/clusters/1/cluster";
    const USER: &str = "/users/0/user";
    for (pointer, field, value) in [
        (USER, "exec", json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "touch"})),
        (USER, "exec", json!({})),
        (USER, "auth-provider", json!({"name": "gcp"})),
        (USER, "username", json!("u")),
        (USER, "password", json!("p")),
        (USER, "tokenFile", json!("/var/run/secrets/token")),
        (USER, "client-certificate", json!("/etc/c.pem")),
        (USER, "client-key", json!("file:///etc/k.pem")),
        (USER, "client-key-data", json!("not base64!")),
        (USER, "token", json!("a\r\nX-Evil: b")),
        (USER, "token", json!(5)),
        (USER, "as-groups", json!("system:masters")),
        (CLUSTER, "certificate-authority", json!("/etc/ca.pem")),
        (CLUSTER, "certificate-authority-data", json!("%%%")),
        (CLUSTER, "proxy-url", json!("socks5://10.0.0.9:1080")),
        (CLUSTER, "insecure-skip-tls-verify", json!(true)),
        (CLUSTER, "insecure-skip-tls-verify", json!("true")),
        (CLUSTER, "server", json!("http://10.0.0.1:6443")),
        (CLUSTER, "server", json!("https://u:p@10.0.0.1:6443")),
        (CLUSTER, "server", json!("10.0.0.1:6443")),
        (CLUSTER, "server", json!("")),
        (CLUSTER, "server", json!(null)),
    ] {
        let error = parse(&with(pointer, field, value.clone())).unwrap_err();
        let KubeconfigError::Refused { field: named, .. } = &error else { panic!("{field}: {error}") };
        let place = pointer[1..].replacen('/', "[", 1).replacen('/', "].", 1);
        assert_eq!(*named, format!("{place}.{field}"), "{value}");
        assert_eq!(error.reason(), "KubeconfigRefused");
    }
}

#[test]
fn f27_documents_that_are_no_kubeconfig_say_so_without_quoting() {
    let second = format!("{}\n---\n{}", kubeconfig(), kubeconfig());
    let huge = format!("# {}\n{}", "x".repeat(SIZE_MAX), kubeconfig());
    for text in [
        "",
        "s3cret: [",
        "s3cret",
        "- s3cret",
        "{}",
        "clusters: s3cret",
        second.as_str(),
        &huge,
        &with("", "current-context", json!("nobody")).to_string(),
        &with("", "clusters", json!([])).to_string(),
        &with("/contexts/0/context", "user", json!("s3cret")).to_string(),
    ] {
        let error = Credentials::parse(text.as_bytes(), None, Trust::Secret).unwrap_err();
        assert!(matches!(error, KubeconfigError::Malformed(_)), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn nothing_of_the_credentials_is_in_debug_output() {
    let text = format!("{:?}", parse(&kubeconfig()).unwrap());
    assert!(!text.contains("t0ken") && !text.contains(DATA), "{text}");
}

#[test]
fn the_operators_own_file_may_name_files_beside_it_but_run_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca.pem"), "secret").unwrap();
    let path = directory.path().join("config");
    let mut config = with("/clusters/1/cluster", "certificate-authority-data", json!(null));
    config["clusters"][1]["cluster"]["certificate-authority"] = json!("ca.pem");
    config["users"][0]["user"]["tokenFile"] = json!("token");
    std::fs::write(&path, config.to_string()).unwrap();
    let credentials = Credentials::read(&path, None).unwrap();
    assert_eq!(credentials.authority.as_deref(), Some(DATA));
    assert_eq!(credentials.token_file, Some(directory.path().join("token").to_string_lossy().into_owned()));

    std::fs::write(&path, with("/users/0/user", "exec", json!({"command": "x"})).to_string()).unwrap();
    assert!(matches!(Credentials::read(&path, None), Err(KubeconfigError::Refused { .. })));
    assert!(matches!(Credentials::read(&path.join("none"), None), Err(KubeconfigError::Unreadable { .. })));
}

#[tokio::test]
async fn cluster_apis_kubeconfig_makes_a_connection() {
    let certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";
    let config = format!(
        "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: a@b\nclusters:\n- name: b\n  cluster:\n    \
         server: https://10.0.0.1:6443\n    certificate-authority-data: {certificate}\nusers:\n- name: a\n  user:\n    \
         token: abc\ncontexts:\n- name: a@b\n  context:\n    cluster: b\n    user: a\n"
    );
    let credentials = Credentials::parse(config.as_bytes(), None, Trust::Secret).unwrap();
    let config = credentials.config().await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
    assert!(config.root_cert.is_some() && !config.accept_invalid_certs && config.proxy_url.is_none());
}
