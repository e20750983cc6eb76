//! What the importing cluster's objects say, and waiting until they say it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::client::PATIENCE;
use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::wait;

/// A condition of a RemoteCluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Waits until a condition of a RemoteCluster, decided on its newest generation, has this status and reason.
///
/// # Errors
/// When it has not in time: what it is.
pub async fn condition(
    importing: &Cluster,
    remote: &str,
    kind: &str,
    status: &str,
    reason: &str,
) -> Result<Condition> {
    condition_within(importing, remote, kind, (status, reason), PATIENCE).await
}

/// [`condition`] with a limit of its own.
///
/// # Errors
/// When it has not in time: what it is.
pub async fn condition_within(
    importing: &Cluster,
    remote: &str,
    kind: &str,
    (status, reason): (&str, &str),
    limit: Duration,
) -> Result<Condition> {
    wait::until(&format!("RemoteCluster {remote} is {kind}={status}, {reason}"), limit, async || {
        let object = get(importing, "remotecluster", remote).await?;
        let found = read_condition(&object, kind);
        let wanted = found.as_ref().is_some_and(|it| it.status == status && it.reason == reason);
        ensure!(wanted, "it is {found:?}");
        Ok(found)
    })
    .await
}

fn read_condition(object: &Value, kind: &str) -> Option<Condition> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let newest = condition["observedGeneration"] == object["metadata"]["generation"];
    newest.then(|| Condition { status: text("status"), reason: text("reason"), message: text("message") })
}

/// What a ServiceRecord says of where a name comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The remotes.
    pub remotes: BTreeSet<String>,
    /// The endpoints' addresses.
    pub addresses: BTreeSet<String>,
}

/// Reads the ServiceRecord of a name.
///
/// # Errors
/// When there is none.
pub async fn imported(importing: &Cluster, name: &str) -> Result<Imported> {
    let spec = &get(importing, "servicerecord", name).await?["spec"];
    let texts = |values: &Value, field: Option<&str>| {
        let values = values.as_array().into_iter().flatten();
        let values = values.map(|value| field.map_or(value, |field| &value[field]));
        values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    Ok(Imported {
        remotes: texts(&spec["remotes"], None),
        addresses: texts(&spec["endpoints"], Some("address")),
    })
}

/// Waits until the ServiceRecord of a name is as expected.
///
/// # Errors
/// When it is not in time: what it is.
pub async fn imported_when(
    importing: &Cluster,
    name: &str,
    what: &str,
    expected: impl Fn(&Imported) -> bool,
) -> Result<Imported> {
    wait::until(&format!("the ServiceRecord of {name} {what}"), PATIENCE, async || {
        let record = imported(importing, name).await?;
        ensure!(expected(&record), "it is {record:?}");
        Ok(Some(record))
    })
    .await
}

/// Waits until the endpoints (`ADDRESS:PORT`, sorted) in the ServiceRecord of a name are as expected.
///
/// # Errors
/// When they are not in time: what they are.
pub async fn endpoints_when(
    importing: &Cluster,
    name: &str,
    what: &str,
    expected: impl Fn(&[String]) -> bool,
) -> Result<()> {
    wait::until(&format!("the ServiceRecord of {name} {what}"), PATIENCE, async || {
        let spec = &get(importing, "servicerecord", name).await?["spec"];
        let mut endpoints = read_endpoints(spec);
        endpoints.sort();
        ensure!(expected(&endpoints), "they are {endpoints:?}");
        Ok(Some(()))
    })
    .await
}

fn read_endpoints(spec: &Value) -> Vec<String> {
    let endpoint = |endpoint: &Value| {
        let ip: std::net::IpAddr = endpoint["address"].as_str()?.parse().ok()?;
        let port = u16::try_from(endpoint["port"].as_u64()?).ok()?;
        Some(std::net::SocketAddr::new(ip, port).to_string())
    };
    spec["endpoints"].as_array().into_iter().flatten().filter_map(endpoint).collect()
}

/// Changes the `spec` of a RemoteCluster by a JSON merge patch.
///
/// # Errors
/// When it is refused.
pub async fn set_spec(importing: &Cluster, remote: &str, spec: Value) -> Result<()> {
    let patch = serde_json::json!({ "spec": spec }).to_string();
    let patch =
        ["patch", "remotecluster", remote, "--namespace", NAMESPACE, "--type=merge", "--patch", &patch];
    importing.kubectl(&patch).await.map(drop)
}

async fn get(importing: &Cluster, kind: &str, name: &str) -> Result<Value> {
    let got = importing.kubectl(&["get", kind, name, "--namespace", NAMESPACE, "--output=json"]).await?;
    Ok(serde_json::from_str(&got)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        let mut object = serde_json::json!({
            "metadata": {"generation": 2},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "Connected", "observedGeneration": 1},
            ]},
        });
        assert_eq!(read_condition(&object, "Ready"), None);
        object["metadata"]["generation"] = 1.into();
        assert_eq!(read_condition(&object, "Ready").unwrap().reason, "Connected");
    }
}
