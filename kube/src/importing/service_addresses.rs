//! The addresses of a Service of xcc's own: the gateway's, or the one of DNS.

use std::net::IpAddr;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::ImportingError;
use crate::connection::Connection;
use crate::watch::{Event, Mask, Target, follow};

/// Most addresses of a Service that are used.
const ADDRESSES_MAX: usize = 16;
const EVENTS_MAX: usize = 16;

const SERVICE: Mask = Mask::Fields(&[
    ("metadata", Mask::Fields(&[("name", Mask::Whole), ("resourceVersion", Mask::Whole)])),
    ("spec", Mask::Fields(&[("type", Mask::Whole), ("clusterIP", Mask::Whole), ("clusterIPs", Mask::Whole)])),
    (
        "status",
        Mask::Fields(&[("loadBalancer", Mask::Fields(&[("ingress", Mask::Fields(&[("ip", Mask::Whole)]))]))]),
    ),
]);

/// The addresses of a Service; none while they are not known.
pub type ServiceAddresses = watch::Receiver<Option<Vec<IpAddr>>>;

/// The addresses of a Service, and what keeps them up to date while it runs.
pub(super) fn follow_service(
    connection: Connection,
    namespace_and_name: &str,
) -> Result<(ServiceAddresses, impl Future<Output = ()> + Send + use<>), ImportingError> {
    let target = target(namespace_and_name)
        .ok_or_else(|| ImportingError::ServiceName(namespace_and_name.to_owned()))?;
    let (sender, receiver) = watch::channel(None);
    let service = namespace_and_name.to_owned();
    let following = async move {
        let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
        let read = async {
            let mut listed = None;
            let mut failing = false;
            while let Some(((), event)) = inbox.recv().await {
                if let Event::Failed(failure, _) = &event
                    && !std::mem::replace(&mut failing, true)
                {
                    let advice = failure.advice("Services");
                    warn!(service, "its addresses stay what they were: {failure}; {advice}");
                }
                failing &= matches!(event, Event::Failed(..) | Event::Init);
                take(event, &mut listed, &sender, &service);
            }
        };
        tokio::select! {
            () = follow(connection, target, (), events) => {}
            () = read => {}
            () = sender.closed() => {}
        }
    };
    Ok((receiver, following))
}

fn target(namespace_and_name: &str) -> Option<Target> {
    let (namespace, name) = namespace_and_name.split_once('/')?;
    let object = serde_json::json!({"metadata": {"namespace": namespace, "name": name}});
    if namespace.is_empty() || crate::api::object_name(&object).is_err() {
        return None;
    }
    Some(Target {
        path: format!("/api/v1/namespaces/{namespace}/services"),
        label_selector: None,
        field_selector: Some(format!("metadata.name={name}")),
        mask: &SERVICE,
        what: "Services",
    })
}

fn take(
    event: Event,
    listed: &mut Option<Value>,
    sender: &watch::Sender<Option<Vec<IpAddr>>>,
    service: &str,
) {
    let object = match event {
        Event::Init => {
            *listed = None;
            return;
        }
        Event::InitApply(object) => {
            *listed = Some(object);
            return;
        }
        Event::InitDone => listed.take(),
        Event::Apply(object) => Some(object),
        Event::Delete(_) => None,
        Event::Alive | Event::Skipped(_) | Event::Failed(..) => return,
    };
    let known = object.as_ref().map(addresses).filter(|addresses| !addresses.is_empty());
    sender.send_if_modified(|current| {
        let modified = *current != known;
        if modified {
            match &known {
                Some(addresses) => info!(service, ?addresses, "the Service's addresses"),
                None => warn!(service, "the Service is not there or has no address: create it"),
            }
            *current = known;
        }
        modified
    });
}

/// The load balancer's addresses if there are any, else the ClusterIPs: pods reach both. Sorted, since the order means
/// nothing.
fn addresses(service: &Value) -> Vec<IpAddr> {
    let text = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    let mut addresses: Vec<IpAddr> = ingress.filter_map(|ingress| text(&ingress["ip"])).collect();
    if addresses.is_empty() {
        let all = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        addresses = all.chain([&service["spec"]["clusterIP"]]).filter_map(text).collect();
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::{FakeApi, Fault};
    use serde_json::json;

    #[test]
    fn f26_load_balancer_or_cluster_ips_of_both_families() {
        for (service, want) in [
            (
                json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}}),
                vec!["10.0.0.1", "fd00::1"],
            ),
            (json!({"spec": {"clusterIP": "fd00::1"}}), vec!["fd00::1"]),
            (json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}), vec![]),
            (json!({"spec": {"clusterIPs": "10.0.0.1"}}), vec![]),
            (
                json!({
                    "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"},
                    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"ip": "192.0.2.1"}, {"ip": "x"}]}},
                }),
                vec!["192.0.2.1", "192.0.2.9"],
            ),
            (
                json!({
                    "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"},
                    "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}},
                }),
                vec!["10.0.0.1"],
            ),
        ] {
            let want: Vec<IpAddr> = want.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(addresses(&service), want, "{service}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f26_addresses_are_followed_and_stay_while_the_api_is_away() {
        const SERVICES: &str = "/api/v1/namespaces/xcc/services";
        let api = FakeApi::new();
        let service = |ip: &str| json!({"metadata": {"name": "gateway"}, "spec": {"clusterIP": ip}});
        let (mut addresses, follow) = follow_service(api.connection(), "xcc/gateway").unwrap();
        let following = tokio::spawn(follow);
        let wait = async |addresses: &mut ServiceAddresses, want: Option<&str>| {
            let want = want.map(|ip| vec![ip.parse().unwrap()]);
            addresses.wait_for(|known| *known == want).await.unwrap();
        };
        api.requested("WATCH", 1).await;
        assert_eq!(*addresses.borrow(), None);
        api.put(SERVICES, service("10.0.0.1"));
        wait(&mut addresses, Some("10.0.0.1")).await;
        api.outage("WATCH", Some(Fault::Status(403)));
        api.requested("WATCH", 4).await;
        assert!(addresses.borrow().is_some());
        api.put(SERVICES, service("10.0.0.2"));
        api.outage("WATCH", None);
        wait(&mut addresses, Some("10.0.0.2")).await;
        api.delete(SERVICES, "gateway");
        wait(&mut addresses, None).await;
        for name in ["gateway", "/gateway", "xcc/", "xcc/a/b", "xcc/a?b"] {
            assert!(follow_service(api.connection(), name).is_err(), "{name}");
        }
        assert!(!following.is_finished());
        drop(addresses);
        following.await.unwrap();
    }
}
