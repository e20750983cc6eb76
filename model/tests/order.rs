//! The table is a function of what the remotes said, not of when they said it; and one remote or object cannot change
//! what others contribute.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use xcc_model::{
    AddressType, Change, Diagnostic, ExportKey, Families, Hostname, ImportPolicy, Ingress, IngressSource,
    Inventory, Merge, Node, NodeAddress, ObjectKind, ObjectRef, PortMapping, Reason, RemoteName,
    RemoteSettings, RemoteView, Service, ServiceExport, ServiceName, ServiceTable, Update, ZoneName, derive,
};

fn remote(name: &str) -> RemoteName {
    RemoteName::parse(name).unwrap()
}

fn policy() -> ImportPolicy {
    ImportPolicy { zones: vec![ZoneName::parse("xcc.test").unwrap()], gateway_addresses: BTreeSet::new() }
}

fn export() -> impl Strategy<Value = Result<ServiceExport, Diagnostic>> {
    let names = select(vec!["a.xcc.test", "b.xcc.test", "*.c.xcc.test", "a.other.test", "ns.dns.xcc.test"]);
    let valid =
        (names, select(vec![443u16, 8443]), option::of(0i64..3)).prop_map(|(name, port, created_seconds)| {
            Ok(ServiceExport {
                hostname: Hostname::parse(name).unwrap(),
                port: port.try_into().unwrap(),
                created_seconds,
            })
        });
    let refused = Just(Err(Diagnostic {
        remote: remote("east"),
        object: ObjectRef::new(ObjectKind::HTTPProxy, "ns", "refused"),
        reason: Reason::NoTls,
        message: "no tls".to_owned(),
    }));
    prop_oneof![9 => valid, 1 => refused]
}

fn node() -> impl Strategy<Value = Node> {
    let address = select(vec!["10.0.0.1", "10.0.0.2", "fd00::1", "127.0.0.1", "not an address"]);
    let address =
        (select(vec![AddressType::InternalIP, AddressType::ExternalIP]), address).prop_map(|(kind, text)| {
            NodeAddress { kind, address: text.parse::<IpAddr>().map_err(|_| text.to_owned()) }
        });
    (any::<bool>(), vec(address, 0..4)).prop_map(|(eligible, addresses)| Node { eligible, addresses })
}

fn service() -> impl Strategy<Value = Service> {
    let address = select(vec!["192.0.2.1", "2001:db8::1", "127.0.0.1", "lb.example"]);
    let address = address.prop_map(|text| text.parse::<IpAddr>().map_err(|_| text.to_owned()));
    let port =
        (select(vec![443u16, 80]), option::of(30000u16..30002)).prop_map(|(port, node_port)| PortMapping {
            port: port.try_into().unwrap(),
            node_port: node_port.map(|port| port.try_into().unwrap()),
        });
    let families = (any::<bool>(), any::<bool>()).prop_map(|(v4, v6)| Families { v4, v6 });
    (vec(address, 0..3), vec(port, 0..3), families).prop_map(|(load_balancer, ports, families)| Service {
        load_balancer,
        ports,
        families,
    })
}

/// North is reached through a Service, the others through their nodes.
fn settings(name: &str) -> RemoteSettings {
    let source = match name {
        "north" => IngressSource::Service(ServiceName::new("ns", "service-0")),
        _ => IngressSource::Nodes,
    };
    RemoteSettings { ingress: Ingress { source, ..Ingress::default() }, ..RemoteSettings::default() }
}

/// Facts with a place of their own each, so that their order cannot matter.
fn facts() -> impl Strategy<Value = Vec<Update>> {
    let place = (select(vec!["east", "west", "north"]), 0u8..6);
    let fact = prop_oneof![
        6 => (place.clone(), export()).prop_map(|((name, key), export)| {
            (name, format!("export {key}"), Change::Export(ExportKey::new("ns", format!("proxy-{key}")), Some(export)))
        }),
        2 => (place.clone(), service()).prop_map(|((name, key), service)| {
            let service_name = ServiceName::new("ns", format!("service-{key}"));
            (name, format!("service {key}"), Change::Service(service_name, Some(service)))
        }),
        3 => (place, node()).prop_map(|((name, key), node)| {
            (name, format!("node {key}"), Change::Node(format!("node-{key}"), Some(node)))
        }),
    ];
    vec(fact, 0..40).prop_map(|facts| {
        let mut places = BTreeSet::new();
        let settings =
            ["east", "west", "north"].map(|name| (name, String::new(), Change::Settings(Ok(settings(name)))));
        settings
            .into_iter()
            .chain(facts)
            .filter(|(name, place, _)| places.insert((*name, place.clone())))
            .map(|(name, _, change)| Update { remote: remote(name), changes: vec![change] })
            .collect()
    })
}

fn derived(updates: impl IntoIterator<Item = Update>) -> (ServiceTable, Vec<Diagnostic>) {
    let mut inventory = Inventory::default();
    for update in updates {
        inventory.apply(update);
    }
    derive(&inventory, &policy())
}

proptest! {
    #[test]
    fn order_and_repetition_of_facts_make_no_difference(
        (facts, shuffled) in facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle()))
    ) {
        let twice = shuffled.iter().chain(&shuffled).cloned();
        prop_assert_eq!(derived(facts), derived(twice));
    }

    #[test]
    fn a_complete_list_equals_its_changes_one_by_one(facts in facts()) {
        let mut inventory = Inventory::default();
        for update in facts.clone() {
            inventory.apply(update);
        }
        let lists = inventory.remotes().iter().map(|(name, state)| Update {
            remote: name.clone(),
            changes: vec![
                Change::Settings(Ok(settings(name.as_str()))),
                Change::Exports(state.exports.clone()),
                Change::Nodes(state.nodes.clone()),
                Change::Services(state.services.clone()),
            ],
        });
        let before = [Update {
            remote: remote("east"),
            changes: vec![Change::Export(ExportKey::new("ns", "stale"), Some(Ok(ServiceExport {
                hostname: Hostname::parse("stale.xcc.test").unwrap(),
                port: Ingress::DEFAULT_PORT,
                created_seconds: None,
            })))],
        }];
        prop_assert_eq!(derived(before.into_iter().chain(lists.collect::<Vec<_>>())), derived(facts));
    }

    #[test]
    fn deriving_only_what_depends_on_nodes_gives_the_same_view(facts in facts()) {
        let mut inventory = Inventory::default();
        let mut views = BTreeMap::<RemoteName, RemoteView>::new();
        for update in facts {
            let name = update.remote.clone();
            let touched = inventory.apply(update);
            let state = &inventory.remotes()[&name];
            let whole = RemoteView::derive(&name, state, &policy());
            match views.get_mut(&name).filter(|_| !touched.names) {
                Some(view) if touched.nodes => view.derive_nodes(&name, state, &policy()),
                Some(_) => {}
                None => drop(views.insert(name.clone(), whole.clone())),
            }
            prop_assert_eq!(&views[&name], &whole);
        }
    }

    #[test]
    fn merging_only_the_changed_names_gives_the_same_table(facts in facts(), again in facts()) {
        let mut inventory = Inventory::default();
        let mut views = BTreeMap::<RemoteName, RemoteView>::new();
        let mut merge = Merge::default();
        for update in facts.into_iter().chain(again) {
            let name = update.remote.clone();
            inventory.apply(update);
            let new = RemoteView::derive(&name, &inventory.remotes()[&name], &policy());
            let old = views.insert(name.clone(), new).unwrap_or_default();
            let changed = views[&name].changed_names(&old);
            merge.refresh(&views, changed);
            let (table, diagnostics) = derive(&inventory, &policy());
            prop_assert_eq!(merge.table(), &table);
            let mut all: Vec<_> = views.values().flat_map(RemoteView::diagnostics).chain(merge.conflicts()).cloned().collect();
            all.sort();
            prop_assert_eq!(all, diagnostics);
        }
    }

    #[test]
    fn what_is_recalled_makes_the_same_inventory(facts in facts()) {
        let mut inventory = Inventory::default();
        for update in facts {
            inventory.apply(update);
        }
        let json = serde_json::to_string(&inventory.recall()).unwrap();
        let mut recalled = Inventory::default();
        for update in serde_json::from_str::<Vec<Update>>(&json).unwrap() {
            recalled.apply(update);
        }
        prop_assert_eq!(recalled, inventory);
    }

    #[test]
    fn one_remote_changes_nothing_of_what_only_others_export(facts in facts()) {
        let (all, _) = derived(facts.clone());
        let (without, _) = derived(facts.into_iter().filter(|update| update.remote != remote("east")));
        for (hostname, import) in &without.imports {
            let touched = all.imports[hostname].origins.iter().any(|origin| origin.remote == remote("east"));
            prop_assert!(touched || all.imports[hostname] == *import, "{}", hostname);
        }
        for (name, backend) in &without.backends {
            prop_assert_eq!(&all.backends[name], backend);
        }
    }

    #[test]
    fn the_table_is_consistent(facts in facts()) {
        let (table, diagnostics) = derived(facts);
        for (hostname, import) in &table.imports {
            prop_assert!(hostname.is_below("xcc.test"));
            prop_assert!(!import.routes.is_empty() && !import.origins.is_empty());
            for route in &import.routes {
                prop_assert!(route.remotes.iter().all(|remote| table.backends.contains_key(remote)));
            }
        }
        prop_assert!(diagnostics.is_sorted());
    }
}
