use serde_json::{Value, json};

use super::*;
use crate::fake_objects::FakeObjects;

const NAMESPACE: &str = "cross-cluster-connectivity";
const SERVER: &str = "secrets/xcc-xds-server";
const DAY: i64 = 24 * 3600;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + day * DAY).unwrap()
}

fn pem_of(secret: &Value, key: &str) -> String {
    let secret: Secret = serde_json::from_value(secret.clone()).unwrap();
    String::from_utf8(secret.data.unwrap()[key].0.clone()).unwrap()
}

#[tokio::test]
async fn certificates_are_made_once_and_renewed_in_time() {
    let (api, client) = FakeObjects::start(&[]).await;
    let first = ensure(&client, NAMESPACE, at(0)).await.unwrap();
    assert_eq!(api.state().writes, 3);
    assert_eq!(api.object(SERVER)["type"], "kubernetes.io/tls");
    assert_eq!(pem_of(&api.object(SERVER), "tls.crt"), first.cert);
    assert_eq!(pem_of(&api.object("secrets/xcc-xds-gateway"), "ca.crt"), first.client_ca);
    assert_eq!(ensure(&client, NAMESPACE, at(1)).await.unwrap(), first);
    assert_eq!(api.state().writes, 3);
    let renewed = ensure(&client, NAMESPACE, at(61)).await.unwrap();
    assert_ne!(renewed.cert, first.cert);
    assert_eq!(renewed.client_ca, first.client_ca);
    assert_eq!(api.state().writes, 5);
}

#[tokio::test]
async fn replicas_that_start_together_agree() {
    let (api, client) = FakeObjects::start(&[]).await;
    let replicas = (0..8).map(|_| ensure(&client, NAMESPACE, at(0)));
    let all = future::try_join_all(replicas).await.unwrap();
    assert!(all.iter().all(|certificates| *certificates == all[0]));
    assert_eq!(api.state().writes, 3);
}

#[tokio::test]
async fn a_write_that_lost_a_race_is_done_again_on_what_is_there() {
    let (api, client) = FakeObjects::start(&[]).await;
    ensure(&client, NAMESPACE, at(0)).await.unwrap();
    api.state().races = 1;
    ensure(&client, NAMESPACE, at(61)).await.unwrap();
    api.state().races = ATTEMPTS_MAX;
    let error = ensure(&client, NAMESPACE, at(130)).await.unwrap_err();
    assert!(matches!(error, XdsCertificatesError::Contended(_)), "{error}");
}

#[tokio::test]
async fn secrets_of_others_are_not_written_and_what_else_is_in_ours_stays() {
    let (api, client) = FakeObjects::start(&[]).await;
    ensure(&client, NAMESPACE, at(0)).await.unwrap();
    let mut theirs = api.object(SERVER);
    theirs["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "cert-manager"});
    api.put(SERVER, theirs);
    let mut ours = api.object("secrets/xcc-xds-gateway");
    ours["metadata"]["annotations"] = json!({"a": "b"});
    api.put("secrets/xcc-xds-gateway", ours);
    let (before, writes) = (api.object(SERVER), api.state().writes);
    let certificates = ensure(&client, NAMESPACE, at(80)).await.unwrap();
    assert_eq!(api.object(SERVER), before);
    assert_eq!(certificates.cert, pem_of(&before, "tls.crt"));
    assert_eq!(api.state().writes, writes + 1);
    assert_eq!(api.object("secrets/xcc-xds-gateway")["metadata"]["annotations"]["a"], "b");
}

#[tokio::test]
async fn keys_are_not_shown() {
    let (_, client) = FakeObjects::start(&[]).await;
    let certificates = ensure(&client, NAMESPACE, at(0)).await.unwrap();
    assert!(certificates.key.contains("PRIVATE KEY"));
    assert!(!format!("{certificates:?}").contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_change_of_a_secret_arrives_and_a_broken_one_changes_nothing() {
    let (api, client) = FakeObjects::start(&[]).await;
    let shutdown = CancellationToken::new();
    let sender = watch::Sender::new(None);
    let mut held = sender.subscribe();
    let task = tokio::spawn(keep(client, NAMESPACE.to_owned(), || at(0), sender, shutdown.clone()));
    let first = held.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    // Deleted by hand: made anew.
    api.state().objects.remove(SERVER);
    let mut gateway = api.object("secrets/xcc-xds-gateway");
    gateway["metadata"]["annotations"] = json!({"touched": "now"});
    api.put("secrets/xcc-xds-gateway", gateway);
    let second = held.wait_for(|held| held.as_ref() != Some(&first)).await.unwrap().clone().unwrap();
    assert_eq!(second.client_ca, first.client_ca);
    // Somebody else's, and unusable: what was there last stays in force.
    let (mut broken, right) = (api.object(SERVER), api.object(SERVER));
    broken["metadata"]["labels"] = json!({});
    broken["data"]["ca.crt"] = json!("");
    api.put(SERVER, broken);
    api.put(SERVER, right);
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(held.borrow().as_ref(), Some(&second));
}
