//! Who owns a name, and what is refused: one bad object touches its own name only.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use xcc_model::{
    AddressType, AllowedDomains, Change, Diagnostic, ExportKey, Hostname, ImportPolicy, Inventory, Node,
    NodeAddress, Reason, RemoteName, RemoteSettings, ServiceExport, ServiceTable, Update, ZoneName, derive,
};

#[derive(Default)]
struct World(Inventory);

impl World {
    fn remote(mut self, name: &str, settings: RemoteSettings) -> Self {
        let node = Node {
            eligible: true,
            addresses: vec![NodeAddress {
                kind: AddressType::InternalIP,
                address: Ok("10.0.0.1".parse().unwrap()),
            }],
        };
        self.apply(name, Change::Settings(Ok(settings)));
        self.apply(name, Change::Node("worker".to_owned(), Some(node)));
        self
    }

    fn export(
        mut self,
        remote: &str,
        proxy: &str,
        host: &str,
        port: u16,
        created_seconds: Option<i64>,
    ) -> Self {
        let hostname = Hostname::parse(host).unwrap();
        let export = ServiceExport { hostname, port: port.try_into().unwrap(), created_seconds };
        self.apply(remote, Change::Export(ExportKey::new("team", proxy), Some(Ok(export))));
        self
    }

    fn apply(&mut self, remote: &str, change: Change) {
        self.0.apply(Update { remote: RemoteName::parse(remote).unwrap(), changes: vec![change] });
    }

    fn derive(&self) -> (ServiceTable, Vec<Diagnostic>) {
        self.derive_in(&["xcc.test"])
    }

    fn derive_in(&self, zones: &[&str]) -> (ServiceTable, Vec<Diagnostic>) {
        let zones = zones.iter().map(|zone| ZoneName::parse(zone).unwrap()).collect();
        derive(&self.0, &ImportPolicy { zones, gateway_addresses: BTreeSet::new() })
    }
}

fn east() -> World {
    World::default().remote("east", RemoteSettings::default())
}

fn reasons(diagnostics: &[Diagnostic]) -> Vec<(String, Reason)> {
    diagnostics.iter().map(|diagnostic| (diagnostic.object.name.clone(), diagnostic.reason)).collect()
}

fn routes(table: &ServiceTable, host: &str) -> Vec<String> {
    let import = &table.imports[&Hostname::parse(host).unwrap()];
    import.routes.iter().map(|route| format!("{}/{}", route.remotes, route.port)).collect()
}

#[test]
fn the_oldest_claim_owns_a_name_within_a_remote() {
    let (table, diagnostics) = east()
        .export("east", "young", "a.xcc.test", 443, Some(200))
        .export("east", "old", "a.xcc.test", 8443, Some(100))
        .export("east", "unknown", "a.xcc.test", 443, None)
        .derive();
    assert_eq!(routes(&table, "a.xcc.test"), ["east/8443"]);
    assert_eq!(
        reasons(&diagnostics),
        [("unknown".into(), Reason::Conflict), ("young".into(), Reason::Conflict)]
    );
    assert!(diagnostics[0].message.contains("team/old"), "{}", diagnostics[0].message);
}

#[test]
fn claims_of_equal_age_go_by_namespace_and_name() {
    let (table, diagnostics) = east()
        .export("east", "b", "a.xcc.test", 443, Some(100))
        .export("east", "a", "a.xcc.test", 443, Some(100))
        .derive();
    assert_eq!(reasons(&diagnostics), [("b".into(), Reason::Conflict)]);
    assert_eq!(&*table.imports[&Hostname::parse("a.xcc.test").unwrap()].origins[0].export.name, "a");
}

#[test]
fn the_same_name_from_several_remotes_is_merged() {
    let (table, diagnostics) = east()
        .remote("west", RemoteSettings { priority: 1, ..RemoteSettings::default() })
        .export("west", "w", "a.xcc.test", 443, Some(1))
        .export("east", "e", "a.xcc.test", 443, Some(2))
        .derive();
    assert_eq!(diagnostics, []);
    assert_eq!(routes(&table, "a.xcc.test"), ["east+west/443"]);
    let priorities = table.backends.values().map(|backend| backend.priority);
    assert_eq!(priorities.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn remotes_that_differ_in_the_port_are_each_reached_on_their_own_and_told() {
    let (table, diagnostics) = east()
        .remote("west", RemoteSettings::default())
        .export("west", "w", "a.xcc.test", 8443, None)
        .export("east", "e", "a.xcc.test", 443, None)
        .derive();
    assert_eq!(routes(&table, "a.xcc.test"), ["east/443", "west/8443"]);
    assert_eq!(
        reasons(&diagnostics),
        [("e".into(), Reason::PortMismatch), ("w".into(), Reason::PortMismatch)]
    );
}

#[test]
fn names_outside_zones_and_allowed_domains_and_reserved_names_are_refused() {
    let allowed_domains = AllowedDomains::parse(&["team.xcc.test", "dns.xcc.test"]).unwrap();
    let (table, diagnostics) = World::default()
        .remote("east", RemoteSettings { allowed_domains, ..RemoteSettings::default() })
        .export("east", "a-allowed", "a.team.xcc.test", 443, None)
        .export("east", "b-foreign", "a.example.test", 443, None)
        .export("east", "c-not-allowed", "a.xcc.test", 443, None)
        .export("east", "d-reserved", "ns.dns.xcc.test", 443, None)
        .derive();
    assert_eq!(table.imports.keys().map(Hostname::as_str).collect::<Vec<_>>(), ["a.team.xcc.test"]);
    assert_eq!(
        reasons(&diagnostics),
        [
            ("b-foreign".into(), Reason::OutsideZones),
            ("c-not-allowed".into(), Reason::DomainNotAllowed),
            ("d-reserved".into(), Reason::ReservedName),
        ]
    );
}

#[test]
fn with_nested_zones_the_closest_decides_whatever_their_order() {
    let names = [
        ("a-apex", "a.xcc.test"),
        ("b-reserved", "ns.dns.a.xcc.test"),
        ("c-reserved-by-the-outer", "ns.dns.xcc.test"),
        ("d-inner", "b.a.xcc.test"),
        ("e-outer", "b.xcc.test"),
    ];
    let world =
        names.iter().fold(east(), |world, (proxy, host)| world.export("east", proxy, host, 443, None));
    for zones in [["xcc.test", "a.xcc.test", "dns.xcc.test"], ["dns.xcc.test", "a.xcc.test", "xcc.test"]] {
        let (table, diagnostics) = world.derive_in(&zones);
        let imported: Vec<_> = table.imports.keys().map(Hostname::as_str).collect();
        assert_eq!(imported, ["b.a.xcc.test", "b.xcc.test"], "{zones:?}");
        assert_eq!(
            reasons(&diagnostics),
            [
                ("a-apex".into(), Reason::OutsideZones),
                ("b-reserved".into(), Reason::ReservedName),
                ("c-reserved-by-the-outer".into(), Reason::ReservedName),
            ],
            "{zones:?}"
        );
    }
}

#[test]
fn without_eligible_nodes_the_export_is_kept_with_a_diagnostic() {
    let mut world = east().export("east", "a", "a.xcc.test", 443, None);
    world.apply("east", Change::Node("worker".to_owned(), Some(Node { eligible: false, addresses: vec![] })));
    let (table, diagnostics) = world.derive();
    assert_eq!(routes(&table, "a.xcc.test"), ["east/443"]);
    assert!(table.backends.values().all(|backend| backend.endpoints.is_empty()));
    assert_eq!(reasons(&diagnostics), [("a".into(), Reason::NoAddresses)]);
}

#[test]
fn a_bad_address_is_left_out_and_told() {
    let mut world = east().export("east", "a", "a.xcc.test", 443, None);
    let address = |text: &str| NodeAddress {
        kind: AddressType::InternalIP,
        address: text.parse().map_err(|_| text.to_owned()),
    };
    for (name, text) in [("metadata", "169.254.169.254"), ("nonsense", "node.local")] {
        world.apply(
            "east",
            Change::Node(name.to_owned(), Some(Node { eligible: true, addresses: vec![address(text)] })),
        );
    }
    let (table, diagnostics) = world.derive();
    assert_eq!(table.backends.values().next().unwrap().endpoints.len(), 1);
    assert_eq!(
        reasons(&diagnostics),
        [("metadata".into(), Reason::AddressNotAllowed), ("nonsense".into(), Reason::InvalidAddress)]
    );
}

#[test]
fn a_remote_whose_settings_were_never_valid_contributes_nothing() {
    let mut world = World::default().export("east", "a", "a.xcc.test", 443, None);
    let problem = Diagnostic {
        remote: RemoteName::parse("east").unwrap(),
        object: xcc_model::ObjectRef::new(xcc_model::ObjectKind::RemoteCluster, "", "east"),
        reason: Reason::InvalidSettings,
        message: "bad".to_owned(),
    };
    world.apply("east", Change::Settings(Err(problem)));
    let (table, diagnostics) = world.derive();
    assert!(table.imports.is_empty());
    assert_eq!(reasons(&diagnostics), [("east".into(), Reason::InvalidSettings)]);
}
