//! Reads and writes the Secrets. Owns their form and the requests; what is to be in them is [`super::plan`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::issue::Pair;
use super::plan::{Secrets, Stored, plan};
use super::{CA_SECRET, GATEWAY_SECRET, SERVER_SECRET, XdsCertificates, XdsCertificatesError, pem};
use crate::object_changes::notify_changes;

/// Marks a Secret as ours to change.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
const MANAGED_BY: &str = "xcc";
/// The keys are those of this type, cert-manager's `ca.crt`, and our own for an authority's successor.
const SECRET_TYPE: &str = "kubernetes.io/tls";
const CERT_KEY: &str = "tls.crt";
const KEY_KEY: &str = "tls.key";
const CA_KEY: &str = "ca.crt";
const NEXT_CERT_KEY: &str = "next.crt";
const NEXT_KEY_KEY: &str = "next.key";

/// How often Secrets that another replica writes at the same time are tried. Each loss is another's success: with two
/// replicas and three Secrets, a few suffice.
const ATTEMPTS_MAX: usize = 10;
/// How often it is looked whether something has to be renewed.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);
/// Pauses after failures.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Makes and renews what has to be, and gives what the xDS server needs. Changes nothing if all is right.
pub async fn ensure(
    client: &Client,
    namespace: &str,
    now: Timestamp,
) -> Result<XdsCertificates, XdsCertificatesError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let now = now.as_second();
    for _ in 0..ATTEMPTS_MAX {
        let there = read(&api).await?;
        let wanted = plan(&there.secrets(), namespace, now)?;
        if write(&api, there, &wanted).await? == Written::All {
            return certificates(&wanted, now);
        }
    }
    Err(XdsCertificatesError::Contended(namespace.to_owned()))
}

/// Does what [`ensure`] does whenever something may have to be done, until shutdown. Puts what it gets into
/// `certificates`, which keeps what it had while the API server cannot be reached.
pub async fn keep(
    client: Client,
    namespace: String,
    clock: impl Fn() -> Timestamp + Send,
    certificates: watch::Sender<Option<Arc<XdsCertificates>>>,
    shutdown: CancellationToken,
) {
    let changed = Notify::new();
    let watches =
        future::join_all([CA_SECRET, SERVER_SECRET, GATEWAY_SECRET].map(|name| {
            notify_changes(Api::<Secret>::namespaced(client.clone(), &namespace), name, &changed)
        }));
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = watches => {}
        () = ensure_always(&client, &namespace, clock, &certificates, &changed) => {}
    }
}

async fn ensure_always(
    client: &Client,
    namespace: &str,
    clock: impl Fn() -> Timestamp + Send,
    certificates: &watch::Sender<Option<Arc<XdsCertificates>>>,
    changed: &Notify,
) {
    let mut pause = PAUSE_MIN;
    let mut reported = None;
    loop {
        match ensure(client, namespace, clock()).await {
            Ok(new) => {
                pause = PAUSE_MIN;
                reported = None;
                let new = Some(Arc::new(new));
                if certificates.send_if_modified(|held| std::mem::replace(held, new.clone()) != new) {
                    info!(namespace, "xDS certificates");
                }
                let _ = timeout(LOOK_INTERVAL, changed.notified()).await;
            }
            Err(error) => {
                let text = described(&error);
                if reported.as_ref() != Some(&text) {
                    warn!(namespace, error = text, "no new xDS certificates");
                    reported = Some(text);
                }
                let _ = timeout(pause, changed.notified()).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        // Several Secrets change together.
        sleep(PAUSE_MIN / 4).await;
    }
}

fn described(error: &XdsCertificatesError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn certificates(secrets: &Secrets, now: i64) -> Result<XdsCertificates, XdsCertificatesError> {
    let (Some(server), Some(gateway)) = (&secrets.server, &secrets.gateway) else {
        return Err(XdsCertificatesError::Unusable {
            secret: SERVER_SECRET,
            problem: "it is not there".to_owned(),
        });
    };
    let client_ca = pem::union([server.ca.as_str(), gateway.ca.as_str()], now);
    Ok(XdsCertificates { cert: server.pair.cert.clone(), key: server.pair.key.clone(), client_ca })
}

/// The Secrets as the API server has them.
struct There {
    ca: Option<Secret>,
    server: Option<Secret>,
    gateway: Option<Secret>,
}

impl There {
    fn secrets(&self) -> Secrets {
        let stored = |secret: &Option<Secret>| secret.as_ref().map(stored);
        Secrets { ca: stored(&self.ca), server: stored(&self.server), gateway: stored(&self.gateway) }
    }
}

async fn read(api: &Api<Secret>) -> Result<There, XdsCertificatesError> {
    let read = async |name: &str| api.get_opt(name).await.map_err(|error| api_error("read", name, error));
    Ok(There {
        ca: read(CA_SECRET).await?,
        server: read(SERVER_SECRET).await?,
        gateway: read(GATEWAY_SECRET).await?,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Written {
    All,
    /// Somebody else was faster.
    Lost,
}

/// The authority first: nobody shall see a certificate whose authority is not kept.
async fn write(api: &Api<Secret>, there: There, wanted: &Secrets) -> Result<Written, XdsCertificatesError> {
    let all = [
        (CA_SECRET, there.ca, &wanted.ca),
        (SERVER_SECRET, there.server, &wanted.server),
        (GATEWAY_SECRET, there.gateway, &wanted.gateway),
    ];
    for (name, there, wanted) in all {
        let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.ours) else { continue };
        if there.as_ref().is_some_and(|there| stored(there) == *wanted) {
            continue;
        }
        let result = match there {
            // The object carries its resourceVersion.
            Some(there) => api.replace(name, &PostParams::default(), &filled(there, wanted)).await,
            None => api.create(&PostParams::default(), &filled(new(name), wanted)).await,
        };
        match result {
            Ok(_) => info!(secret = name, "xDS certificate written"),
            Err(kube::Error::Api(status)) if lost(&status) => return Ok(Written::Lost),
            Err(error) => return Err(api_error("write", name, error)),
        }
    }
    Ok(Written::All)
}

fn lost(status: &kube::core::Status) -> bool {
    status.is_conflict() || status.is_already_exists() || status.is_not_found()
}

fn new(name: &str) -> Secret {
    let labels = [
        (MANAGED_BY_LABEL, MANAGED_BY),
        ("app.kubernetes.io/part-of", "cross-cluster-connectivity"),
        ("app.kubernetes.io/name", name),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        type_: Some(SECRET_TYPE.to_owned()),
        ..Secret::default()
    }
}

fn filled(secret: Secret, stored: &Stored) -> Secret {
    let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
    let mut put = |key: &str, text: &str| data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
    put(CERT_KEY, &stored.pair.cert);
    put(KEY_KEY, &stored.pair.key);
    put(CA_KEY, &stored.ca);
    if let Some(next) = &stored.next {
        put(NEXT_CERT_KEY, &next.cert);
        put(NEXT_KEY_KEY, &next.key);
    }
    Secret { data: Some(data), ..secret }
}

fn stored(secret: &Secret) -> Stored {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
    };
    let labels = secret.metadata.labels.as_ref();
    let next = Pair { cert: text(NEXT_CERT_KEY), key: text(NEXT_KEY_KEY) };
    Stored {
        pair: Pair { cert: text(CERT_KEY), key: text(KEY_KEY) },
        ca: text(CA_KEY),
        next: Some(next).filter(|next| !next.cert.is_empty()),
        ours: labels.and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_some_and(|by| by == MANAGED_BY),
    }
}

fn api_error(action: &str, name: &str, error: kube::Error) -> XdsCertificatesError {
    XdsCertificatesError::Api { action: format!("{action} Secret {name}"), source: Box::new(error) }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
