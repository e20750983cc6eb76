//! `allowedDomains` of a RemoteCluster: tightened, loosened, and wrong.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::NAME;
use super::observe::{condition, set_spec};
use crate::client::{PATIENCE, by_name, reaches, unresolved};
use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::progress::Progress;
use crate::wait;
use crate::world::World;

/// The name goes when its domain is not allowed any more, and is told why; it is back when it is; a wrong domain
/// changes nothing.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let (from, to) = (world.shared_services.name(), &world.workloads);
    set_spec(to, from, json!({"allowedDomains": ["other.test"]})).await?;
    unresolved(to, NAME).await?;
    event(to, from, "DomainNotAllowed").await?;
    progress.say(format!("allowedDomains tightened: {NAME} is not resolved, an Event says why"));

    for (spec, told) in [
        (json!({"allowedDomains": ["xcc test"]}), "Invalid characters"),
        (json!({"allowedEndpointCIDRs": ["10.0.0.1"]}), "is no network"),
        (json!({"ingress": {"source": "Service"}}), "name the Service"),
        (json!({"ingress": {"source": "Service", "service": "envoy"}}), "write NAMESPACE/NAME"),
        (json!({"ingress": {"port": 70_000}}), "spec.ingress.port"),
        (json!({"priority": -1}), "spec.priority"),
    ] {
        let refused = set_spec(to, from, spec.clone()).await.err();
        let refused = refused.with_context(|| format!("the API server accepts {spec}"))?;
        ensure!(format!("{refused:#}").contains(told), "{spec} is refused without {told:?}: {refused:#}");
    }
    progress.say("a RemoteCluster that is plainly wrong is refused by the API server, and told why");

    // It passes the API server's own check of characters.
    set_spec(to, from, json!({"allowedDomains": ["xcc.-test"]})).await?;
    let invalid = condition(to, from, "Valid", "False", "InvalidDomain").await?;
    ensure!(invalid.message.contains("hyphen"), "the message does not say what is wrong: {invalid:?}");
    let answer = by_name(to, NAME).await?;
    ensure!(answer.contains("Could not resolve host"), "the last valid domains are not in force: {answer}");

    set_spec(to, from, json!({"allowedDomains": ["xcc.test"]})).await?;
    condition(to, from, "Valid", "True", "Valid").await?;
    reaches(to, NAME, from).await?;
    progress.say(format!("allowedDomains loosened: {NAME} is back"));

    set_spec(to, from, json!({"allowedDomains": ["xcc.test", "12345"]})).await?;
    condition(to, from, "Valid", "False", "InvalidDomain").await?;
    let answer = by_name(to, NAME).await?;
    ensure!(answer.contains("HTTP/2 200"), "the last valid domains are not in force: {answer}");
    set_spec(to, from, json!({"allowedDomains": ["xcc.test"]})).await?;
    condition(to, from, "Valid", "True", "Valid").await?;
    progress.say("allowedDomains invalid: Valid=False, InvalidDomain; the last valid ones stay in force");
    Ok(())
}

/// Waits for an Event on a RemoteCluster that is about the example's HTTPProxy.
async fn event(importing: &Cluster, remote: &str, reason: &str) -> Result<()> {
    let regarding = format!(
        "--field-selector=involvedObject.kind=RemoteCluster,involvedObject.name={remote},reason={reason}"
    );
    let message = "--output=jsonpath={.items[*].message}";
    wait::until(&format!("an Event {reason} on {remote}"), PATIENCE, async || {
        let said =
            importing.kubectl(&["get", "events", "--namespace", NAMESPACE, &regarding, message]).await?;
        Ok(wait::holds(said.contains("nginx-service-ingress")))
    })
    .await
}
