//! Service objects to [`Service`]: where a remote's ingress is reached. Pure.

use std::num::NonZeroU16;

use serde_json::Value;
use xcc_model::{Diagnostic, Families, ObjectKind, PortMapping, RemoteName, Service, ServiceName};

use crate::api::{self, LoadBalancerIngress, ServicePort, excerpt};
use crate::convert::malformed;

/// Most addresses of a load balancer, and most ports, that are looked at.
const ENTRIES_MAX: usize = 64;

/// Converts a Service's JSON form. The error is a `Malformed` diagnostic: what the Service was before stays in force.
pub fn service(remote: &RemoteName, object: &Value) -> Result<(ServiceName, Service), Diagnostic> {
    let read = || Ok((service_name(object)?, api::read::<api::Service>(object)?));
    match read() {
        Ok((name, service)) => Ok((name, reduce(&service))),
        Err(error) => Err(malformed(remote, ObjectKind::Service, object, &error)),
    }
}

/// Which Service an object is.
pub(crate) fn service_name(object: &Value) -> Result<ServiceName, api::ShapeError> {
    let name = api::object_name(object)?;
    Ok(ServiceName::new(name.namespace, name.name))
}

/// Reduces a Service to what decides where it is reached from outside.
pub fn reduce(service: &api::Service) -> Service {
    Service {
        load_balancer: service
            .status
            .load_balancer
            .ingress
            .iter()
            .take(ENTRIES_MAX)
            .filter_map(load_balancer_address)
            .collect(),
        ports: service.spec.ports.iter().take(ENTRIES_MAX).filter_map(port).collect(),
        families: families(&service.spec.ip_families),
    }
}

/// What says nothing (a manifest that no API server has completed) restricts nothing.
fn families(named: &[String]) -> Families {
    let has = |family: &str| named.is_empty() || named.iter().any(|it| it == family);
    Families { v4: has("IPv4"), v6: has("IPv6") }
}

fn load_balancer_address(ingress: &LoadBalancerIngress) -> Option<Result<std::net::IpAddr, String>> {
    let text = if ingress.ip.is_empty() { &ingress.hostname } else { &ingress.ip };
    (!text.is_empty()).then(|| text.parse().map_err(|_| excerpt(text).into_owned()))
}

fn port(port: &ServicePort) -> Option<PortMapping> {
    let number = |number: Option<i64>| number.and_then(|it| u16::try_from(it).ok()).and_then(NonZeroU16::new);
    let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    tcp.then_some(PortMapping { port: number(port.port)?, node_port: number(port.node_port) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xcc_model::Reason;

    fn remote() -> RemoteName {
        RemoteName::parse("east").unwrap()
    }

    #[test]
    fn addresses_and_tcp_ports_are_taken() {
        let object = json!({
            "metadata": {"name": "envoy", "namespace": "projectcontour"},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv6"], "ports": [
                {"name": "http", "port": 80, "nodePort": 30080},
                {"name": "https", "port": 443, "protocol": "TCP", "targetPort": "https"},
                {"name": "quic", "port": 443, "protocol": "UDP", "nodePort": 30444},
                {"name": "wrong", "port": 70000},
            ]},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "192.0.2.1"}, {"hostname": "lb.example"}, {"ip": "2001:db8::1", "ipMode": "VIP"}, {},
            ]}},
        });
        let (name, service) = service(&remote(), &object).unwrap();
        assert_eq!(name.to_string(), "projectcontour/envoy");
        let addresses: Vec<String> = service
            .load_balancer
            .iter()
            .map(|it| it.as_ref().map_or_else(Clone::clone, ToString::to_string))
            .collect();
        assert_eq!(addresses, ["192.0.2.1", "lb.example", "2001:db8::1"]);
        let ports: Vec<_> =
            service.ports.iter().map(|it| (it.port.get(), it.node_port.map(NonZeroU16::get))).collect();
        assert_eq!(ports, [(80, Some(30080)), (443, None)]);
        assert_eq!(service.families, Families { v4: false, v6: true });
    }

    #[test]
    fn a_service_of_the_wrong_shape_is_malformed_and_names_the_field() {
        for (object, field) in [
            (json!({"metadata": {"name": "a"}, "spec": {"ports": 5}}), "spec.ports"),
            (
                json!({"metadata": {"name": "a"}, "status": {"loadBalancer": {"ingress": [{"ip": 5}]}}}),
                "status.loadBalancer.ingress[0].ip",
            ),
            (json!({"metadata": {}}), "metadata.name"),
        ] {
            let diagnostic = service(&remote(), &object).unwrap_err();
            assert_eq!(diagnostic.reason, Reason::Malformed);
            assert!(diagnostic.message.starts_with(field), "{}", diagnostic.message);
        }
        let empty = service(&remote(), &json!({"metadata": {"name": "a"}, "spec": null, "status": null}));
        assert_eq!(empty.unwrap().1, Service::default());
    }
}
