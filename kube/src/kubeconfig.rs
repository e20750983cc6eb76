//! Kubeconfigs of remotes: what of them is used, and what is refused.
//!
//! A kubeconfig may name programs to run, files to read and proxies to talk through. One that comes out of a Secret is
//! hostile input: it gets a server, certificates and a token, all of them in itself, and nothing else. The operator's
//! own file may name files.

use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use kube::config::{AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig};
use kube::config::{NamedAuthInfo, NamedCluster, NamedContext};
use serde_json::Value;

use crate::manifests;

/// Largest kubeconfig, and largest file that one names, in bytes. Cluster API's have some 6 KiB.
pub const SIZE_MAX: usize = 256 * 1024;
/// The only name in the kubeconfig that is handed on.
const NAME: &str = "remote";

/// Whose kubeconfig it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// It comes out of a Secret: everything has to be in it.
    Secret,
    /// It is a file of the operator, in this directory: it may name others, relative to its own place.
    File(&'a Path),
}

/// Why a kubeconfig cannot be used. No message has a word of what stands in a secret field.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It cannot be read.
    #[error("kubeconfig {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no kubeconfig.
    #[error("the kubeconfig cannot be read: {0}")]
    Malformed(String),
    /// A field that is not accepted.
    #[error("the kubeconfig is refused: {field} {why}")]
    Refused {
        /// The field, as in `users[0].user.exec`.
        field: String,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// Everything is in it, but no connection can be made of it.
    #[error("the kubeconfig cannot be used: {0}; check its certificates and keys")]
    Unusable(String),
}

impl KubeconfigError {
    /// One word, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "KubeconfigUnreadable",
            Self::Malformed(_) => "KubeconfigMalformed",
            Self::Refused { .. } => "KubeconfigRefused",
            Self::Unusable(_) => "KubeconfigUnusable",
        }
    }
}

fn refused(field: impl Into<String>, why: &'static str) -> KubeconfigError {
    KubeconfigError::Refused { field: field.into(), why }
}

/// A kubeconfig reduced to what is used: one server, one user, files read into it. Equal ones give equal connections.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    server: String,
    tls_server_name: Option<String>,
    namespace: Option<String>,
    authority: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    token: Option<String>,
    /// Read again by the client from time to time, since tokens in files are renewed there.
    token_file: Option<String>,
    impersonate: Option<String>,
    impersonate_groups: Option<Vec<String>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a kubeconfig. Only the context that is used is looked at: this one, or the current one.
    pub fn parse(bytes: &[u8], context: Option<&str>, trust: Trust<'_>) -> Result<Self, KubeconfigError> {
        if bytes.len() > SIZE_MAX {
            return Err(KubeconfigError::Malformed(format!("it has more than {SIZE_MAX} bytes")));
        }
        let config = document(bytes)?;
        let reader = Reader { config: &config, trust };
        let context = match context {
            Some(context) => context.to_owned(),
            None => reader.text("current-context", &config["current-context"])?.unwrap_or_default(),
        };
        let (place, context) = reader.named("contexts", "context", &context)?;
        let name = |field: &str| {
            let text = reader.text(&format!("{place}.{field}"), &context[field])?;
            Ok::<_, KubeconfigError>(text.unwrap_or_default())
        };
        let (cluster_place, cluster) = reader.named("clusters", "cluster", &name("cluster")?)?;
        let (user_place, user) = match name("user")? {
            user if user.is_empty() => (String::new(), &Value::Null),
            user => reader.named("users", "user", &user)?,
        };
        let mut credentials = reader.cluster(&cluster_place, cluster)?;
        reader.user(&user_place, user, &mut credentials)?;
        credentials.namespace = Some(name("namespace")?).filter(|namespace| !namespace.is_empty());
        Ok(credentials)
    }

    /// Reads the operator's own kubeconfig file.
    pub fn read(path: &Path, context: Option<&str>) -> Result<Self, KubeconfigError> {
        let bytes = read_file(path)?;
        Self::parse(&bytes, context, Trust::File(path.parent().unwrap_or_else(|| Path::new("."))))
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The client configuration for these credentials.
    pub async fn config(&self) -> Result<kube::Config, KubeconfigError> {
        let options = KubeConfigOptions { context: Some(NAME.to_owned()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(self.kubeconfig(), &options).await;
        config.map_err(|error| KubeconfigError::Unusable(cause(&error)))
    }

    fn kubeconfig(&self) -> Kubeconfig {
        let cluster = Cluster {
            server: Some(self.server.clone()),
            tls_server_name: self.tls_server_name.clone(),
            certificate_authority_data: self.authority.clone(),
            ..Cluster::default()
        };
        let user = AuthInfo {
            token: self.token.clone().map(Into::into),
            token_file: self.token_file.clone(),
            client_certificate_data: self.certificate.clone(),
            client_key_data: self.key.clone().map(Into::into),
            impersonate: self.impersonate.clone(),
            impersonate_groups: self.impersonate_groups.clone(),
            ..AuthInfo::default()
        };
        let context = Context {
            cluster: NAME.to_owned(),
            user: Some(NAME.to_owned()),
            namespace: self.namespace.clone(),
            ..Context::default()
        };
        let name = || NAME.to_owned();
        Kubeconfig {
            clusters: vec![NamedCluster { name: name(), cluster: Some(cluster), ..NamedCluster::default() }],
            auth_infos: vec![NamedAuthInfo {
                name: name(),
                auth_info: Some(user),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext { name: name(), context: Some(context), ..NamedContext::default() }],
            current_context: Some(name()),
            ..Kubeconfig::default()
        }
    }
}

/// What kube says is wrong; it does not quote what it cannot decode, but a cause may.
fn cause(error: &kube::config::KubeconfigError) -> String {
    use kube::config::KubeconfigError as Error;
    match error {
        Error::LoadCertificateAuthority(_) | Error::ParseCertificates(_) => {
            "the certificate authority cannot be read"
        }
        Error::LoadClientCertificate(_) => "the client certificate cannot be read",
        Error::LoadClientKey(_) => "the client key cannot be read",
        Error::ParseClusterUrl(_) => "the server is no URL",
        _ => "it is incomplete",
    }
    .to_owned()
}

fn document(bytes: &[u8]) -> Result<Value, KubeconfigError> {
    let mut documents = manifests::parse(bytes).map_err(|error| {
        // The message may quote the text.
        KubeconfigError::Malformed(format!("no YAML or JSON at line {}, column {}", error.line, error.column))
    })?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) if document.object.is_object() => Ok(document.object),
        (None, _) => Err(KubeconfigError::Malformed("it is empty".to_owned())),
        (_, false) => Err(KubeconfigError::Malformed("it has more than one document".to_owned())),
        _ => Err(KubeconfigError::Malformed("it is no map of clusters, users and contexts".to_owned())),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    let unreadable = |source| KubeconfigError::Unreadable { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > SIZE_MAX as u64 {
        return Err(KubeconfigError::Malformed(format!("{} has more than {SIZE_MAX} bytes", path.display())));
    }
    std::fs::read(path).map_err(unreadable)
}

struct Reader<'a> {
    config: &'a Value,
    trust: Trust<'a>,
}

impl<'a> Reader<'a> {
    /// The entry of a list of named things, and where it stands.
    fn named(&self, list: &str, field: &str, name: &str) -> Result<(String, &'a Value), KubeconfigError> {
        let missing = |what: &str| KubeconfigError::Malformed(format!("{list} {what}"));
        let entries = self.config[list].as_array().ok_or_else(|| missing("is missing"))?;
        let mut found = entries.iter().enumerate().filter(|(_, entry)| entry["name"].as_str() == Some(name));
        match (found.next(), found.next()) {
            (Some((index, entry)), None) => Ok((format!("{list}[{index}].{field}"), &entry[field])),
            (Some(_), Some(_)) => Err(missing("has two entries of the name that is used")),
            (None, _) => Err(missing("lacks the name that is used")),
        }
    }

    fn text(&self, field: &str, value: &Value) -> Result<Option<String>, KubeconfigError> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(refused(field, "is not a string")),
        }
    }

    fn cluster(&self, place: &str, cluster: &Value) -> Result<Credentials, KubeconfigError> {
        if set(&cluster["insecure-skip-tls-verify"]) {
            return Err(refused(
                format!("{place}.insecure-skip-tls-verify"),
                "is not accepted: give certificate-authority-data",
            ));
        }
        if set(&cluster["proxy-url"]) {
            return Err(refused(format!("{place}.proxy-url"), "is not accepted: connect directly"));
        }
        let server = self.text(&format!("{place}.server"), &cluster["server"])?.unwrap_or_default();
        check_server(&server).map_err(|why| refused(format!("{place}.server"), why))?;
        let name = |field: &str| self.text(&format!("{place}.{field}"), &cluster[field]);
        Ok(Credentials {
            tls_server_name: name("tls-server-name")?,
            authority: self.data(place, cluster, "certificate-authority")?,
            server,
            namespace: None,
            certificate: None,
            key: None,
            token: None,
            token_file: None,
            impersonate: None,
            impersonate_groups: None,
        })
    }

    fn user(&self, place: &str, user: &Value, into: &mut Credentials) -> Result<(), KubeconfigError> {
        for (field, why) in [
            ("exec", "is not accepted, since it runs a program: give token or client-certificate-data"),
            (
                "auth-provider",
                "is not accepted, since it runs a plugin: give token or client-certificate-data",
            ),
            ("username", "is not accepted: give token or client-certificate-data"),
            ("password", "is not accepted: give token or client-certificate-data"),
            ("as-uid", "is not accepted: give credentials of the user itself"),
            ("as-user-extra", "is not accepted: give credentials of the user itself"),
        ] {
            if set(&user[field]) {
                return Err(refused(format!("{place}.{field}"), why));
            }
        }
        into.certificate = self.data(place, user, "client-certificate")?;
        into.key = self.data(place, user, "client-key")?;
        into.token = self.text(&format!("{place}.token"), &user["token"])?;
        if let Some(file) = self.text(&format!("{place}.tokenFile"), &user["tokenFile"])? {
            let path = self.file(format!("{place}.tokenFile"), &file, "give token")?;
            into.token_file = Some(path.to_string_lossy().into_owned());
        }
        if into.token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(refused(format!("{place}.token"), "has characters that no token has"));
        }
        into.impersonate = self.text(&format!("{place}.as"), &user["as"])?;
        into.impersonate_groups = match &user["as-groups"] {
            Value::Null => None,
            groups => Some(
                serde_json::from_value(groups.clone())
                    .map_err(|_| refused(format!("{place}.as-groups"), "is no list of strings"))?,
            ),
        };
        Ok(())
    }

    /// `NAME-data`, base64, or what the file NAME says, as base64.
    fn data(&self, place: &str, of: &Value, name: &str) -> Result<Option<String>, KubeconfigError> {
        let data_field = format!("{place}.{name}-data");
        let data = self.text(&data_field, &of[format!("{name}-data")])?;
        let file = self.text(&format!("{place}.{name}"), &of[name])?;
        if let Some(file) = file {
            let path =
                self.file(format!("{place}.{name}"), &file, "give its content in the field ending in -data")?;
            if data.is_none() {
                let encoded = serde_json::to_value(ByteString(read_file(&path)?));
                return Ok(encoded.ok().and_then(|it| it.as_str().map(str::to_owned)));
            }
        }
        if let Some(data) = &data
            && serde_json::from_value::<ByteString>(Value::String(data.clone())).is_err()
        {
            return Err(refused(data_field, "is not base64"));
        }
        Ok(data)
    }

    fn file(&self, field: String, file: &str, why: &'static str) -> Result<PathBuf, KubeconfigError> {
        match self.trust {
            Trust::File(directory) => Ok(directory.join(file)),
            Trust::Secret => Err(KubeconfigError::Refused {
                field,
                why: match why {
                    "give token" => "names a file, which is not accepted: give token",
                    _ => "names a file, which is not accepted: give its content in the field ending in -data",
                },
            }),
        }
    }
}

/// Whether a field says anything.
fn set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn check_server(server: &str) -> Result<(), &'static str> {
    let uri: http::Uri = server.parse().map_err(|_| "is no URL: write https://HOST:PORT")?;
    if uri.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Err("is not https, so its answers and our token could be anybody's");
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@') || uri.host() == Some("")) {
        return Err("is no URL: write https://HOST:PORT");
    }
    Ok(())
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
