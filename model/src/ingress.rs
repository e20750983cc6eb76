//! Where a remote's ingress is reached: by its nodes, or by a Service of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use crate::diagnostic::{Diagnostic, ObjectKind, ObjectRef, Reason};
use crate::inventory::Remote;
use crate::remote::{RemoteName, RemoteSettings};
use crate::service::{Families, ServiceName};

/// Collects the addresses, and what is wrong with those that are left out.
pub(crate) struct IngressView<'a> {
    pub(crate) name: &'a RemoteName,
    pub(crate) remote: &'a Remote,
    pub(crate) settings: &'a RemoteSettings,
    /// The gateway's own addresses.
    pub(crate) gateway: &'a BTreeSet<IpAddr>,
    pub(crate) found: BTreeSet<SocketAddr>,
    pub(crate) wrong: Vec<Diagnostic>,
}

impl IngressView<'_> {
    /// This port on every eligible node, on its addresses of these families.
    pub(crate) fn by_nodes(&mut self, port: NonZeroU16, families: Families) {
        for (node_name, node) in self.remote.nodes.iter().filter(|(_, node)| node.eligible) {
            let object = ObjectRef::new(ObjectKind::Node, "", node_name);
            for address in node.addresses_by(&self.settings.ingress.address_types) {
                if address.as_ref().map_or(true, |ip| families.include(*ip)) {
                    self.take(&object, address, port);
                }
            }
        }
    }

    /// The Service's load balancer; without a usable address of that, its NodePort on every eligible node.
    pub(crate) fn by_service(&mut self, service_name: &ServiceName) {
        let object = ObjectRef::new(ObjectKind::Service, &service_name.namespace, &service_name.name);
        let number = self.settings.ingress.port;
        let Some(service) = self.remote.services.get(service_name) else {
            let message = "spec.ingress.service of the RemoteCluster names it, and it is not there: create it in the \
                           remote, or name another";
            return self.report(object, Reason::NoAddresses, message.to_owned());
        };
        let Some(port) = service.port(number) else {
            let ports: Vec<_> = service.ports.iter().map(|port| port.port.to_string()).collect();
            let message = format!(
                "it has no TCP port {number} but [{}]: set spec.ingress.port of the RemoteCluster",
                ports.join(", ")
            );
            return self.report(object, Reason::NoAddresses, message);
        };
        for address in &service.load_balancer {
            self.take(&object, address, number);
        }
        match port.node_port {
            Some(node_port) if self.found.is_empty() => self.by_nodes(node_port, service.families),
            None if service.load_balancer.is_empty() => {
                let message = "it has neither a load balancer's address nor a NodePort: give it the type LoadBalancer \
                               or NodePort";
                self.report(object, Reason::NoAddresses, message.to_owned());
            }
            _ => {}
        }
    }

    fn take(&mut self, object: &ObjectRef, address: &Result<IpAddr, String>, port: NonZeroU16) {
        let checked = match address {
            Ok(ip) => self.settings.endpoint_policy.check(*ip, self.gateway).map_err(|refused| {
                (Reason::AddressNotAllowed, format!("address {ip} {refused}; it is left out"))
            }),
            Err(text) => {
                Err((Reason::InvalidAddress, format!("{text:?} is not an IP address; it is left out")))
            }
        };
        match checked {
            Ok(ip) => {
                self.found.insert(SocketAddr::new(ip, port.get()));
            }
            Err((reason, message)) => self.report(object.clone(), reason, message),
        }
    }

    fn report(&mut self, object: ObjectRef, reason: Reason, message: String) {
        self.wrong.push(Diagnostic { remote: self.name.clone(), object, reason, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{AddressType, Node, NodeAddress};
    use crate::remote::{Ingress, IngressSource};
    use crate::service::{PortMapping, Service};

    fn service_name() -> ServiceName {
        ServiceName::new("projectcontour", "envoy")
    }

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    fn node(addresses: &[&str]) -> Node {
        let address =
            |text: &&str| NodeAddress { kind: AddressType::InternalIP, address: Ok(text.parse().unwrap()) };
        Node { eligible: true, addresses: addresses.iter().map(address).collect() }
    }

    /// The endpoints and the reasons of a remote with one eligible node, 10.0.0.1 and fd00::1.
    fn derived(service: Option<Service>) -> (Vec<String>, Vec<Reason>) {
        let name = RemoteName::parse("east").unwrap();
        let ingress = Ingress { source: IngressSource::Service(service_name()), ..Ingress::default() };
        let settings = RemoteSettings { ingress, ..RemoteSettings::default() };
        let mut remote = Remote::default();
        remote.nodes.insert("n1".to_owned(), node(&["10.0.0.1", "fd00::1"]));
        remote.nodes.insert("n2".to_owned(), Node { eligible: false, ..node(&["10.0.0.2"]) });
        remote.services.extend(service.map(|service| (service_name(), service)));
        let mut view = IngressView {
            name: &name,
            remote: &remote,
            settings: &settings,
            gateway: &BTreeSet::new(),
            found: BTreeSet::new(),
            wrong: Vec::new(),
        };
        view.by_service(&service_name());
        let found = view.found.iter().map(SocketAddr::to_string).collect();
        (found, view.wrong.into_iter().map(|it| it.reason).collect())
    }

    fn service(addresses: &[&str], node_port: Option<u16>) -> Service {
        let load_balancer =
            addresses.iter().map(|text| text.parse().map_err(|_| (*text).to_owned())).collect();
        let ports = vec![PortMapping { port: port(443), node_port: node_port.map(port) }];
        Service { load_balancer, ports, families: Families::default() }
    }

    #[test]
    fn a_load_balancer_comes_before_node_ports() {
        let (found, wrong) = derived(Some(service(&["192.0.2.1", "2001:db8::1"], Some(30443))));
        assert_eq!(found, ["192.0.2.1:443", "[2001:db8::1]:443"]);
        assert_eq!(wrong, []);
    }

    #[test]
    fn without_a_usable_load_balancer_the_node_port_of_eligible_nodes_is_used() {
        let both = ["10.0.0.1:30443", "[fd00::1]:30443"];
        let (found, wrong) = derived(Some(service(&[], Some(30443))));
        assert_eq!((&found[..], &wrong[..]), (&both.map(str::to_owned)[..], &[][..]));
        let v4_only = Service { families: Families { v4: true, v6: false }, ..service(&[], Some(30443)) };
        assert_eq!(derived(Some(v4_only)).0, both[..1]);
        let (found, wrong) = derived(Some(service(&["lb.example", "127.0.0.1"], Some(30443))));
        assert_eq!(found, both);
        assert_eq!(wrong, [Reason::InvalidAddress, Reason::AddressNotAllowed]);
    }

    #[test]
    fn what_cannot_be_reached_is_reported() {
        let nothing = |reasons: &[Reason]| (Vec::<String>::new(), reasons.to_vec());
        assert_eq!(derived(None), nothing(&[Reason::NoAddresses]));
        assert_eq!(derived(Some(service(&[], None))), nothing(&[Reason::NoAddresses]));
        assert_eq!(derived(Some(service(&["lb.example"], None))), nothing(&[Reason::InvalidAddress]));
        let other_port = Service { ports: Vec::new(), ..service(&["192.0.2.1"], None) };
        assert_eq!(derived(Some(other_port)), nothing(&[Reason::NoAddresses]));
    }
}
