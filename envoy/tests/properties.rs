//! What holds for every table.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use common::evaluate::chain;
use common::fixture::table;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use prost::Message;
use xcc_envoy::{
    GatewayConfig, MatcherForm, Resources, Routing, Tally, names, omitted, translate, upstreams, yaml,
};
use xcc_model::{Backend, Hostname, ServicePort, ServiceTable};

const PORTS: [u16; 2] = [443, 8443];

/// Few labels, so that names, wildcards and queries meet often.
fn server_name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..=4)
        .prop_map(|labels| format!("{}.xcc.test", labels.join(".")))
}

fn exported_name() -> impl Strategy<Value = String> {
    (any::<bool>(), server_name())
        .prop_map(|(wildcard, name)| if wildcard { format!("*.{name}") } else { name })
}

fn routes() -> impl Strategy<Value = Vec<(u16, Vec<String>)>> {
    let remotes = prop::collection::btree_set(prop::sample::select(vec!["east", "north.eu", "west"]), 1..=3)
        .prop_map(|remotes| remotes.into_iter().map(str::to_owned).collect::<Vec<_>>());
    prop::collection::btree_map(prop::sample::select(PORTS.to_vec()), remotes, 1..=2)
        .prop_map(|routes| routes.into_iter().collect())
}

fn tables() -> impl Strategy<Value = ServiceTable> {
    let backend = (0..3_u32, prop::collection::btree_set(any::<(u32, u16)>(), 0..4)).prop_map(
        |(priority, endpoints)| {
            let endpoints =
                endpoints.into_iter().map(|(ip, port)| SocketAddr::from((Ipv4Addr::from(ip), port)));
            Backend { priority, endpoints: endpoints.collect() }
        },
    );
    let remotes = prop::sample::select(vec!["east".to_owned(), "north.eu".to_owned(), "west".to_owned()]);
    let backends = prop::collection::btree_map(remotes, backend, 0..=3);
    (prop::collection::btree_map(exported_name(), routes(), 0..12), backends)
        .prop_map(|(names, backends)| table(names, backends))
}

fn config() -> GatewayConfig {
    GatewayConfig::new(Ipv4Addr::UNSPECIFIED.into(), 10_000)
}

/// What the product promises: the exact name, else the longest wildcard above it.
fn expected_chain(table: &ServiceTable, name: &str, port: u16) -> Option<String> {
    let port = ServicePort::new(port).unwrap();
    let remotes = |exported: &Hostname| {
        let routes = &table.imports.get(exported)?.routes;
        routes.iter().find(|route| route.port == port).map(|route| &route.remotes)
    };
    let queried = Hostname::parse(name).ok()?;
    let wildcards = table.imports.keys().filter(|exported| {
        exported.wildcard_domain().is_some_and(|domain| queried.is_below(domain))
            && remotes(exported).is_some()
    });
    let longest = wildcards.max_by_key(|exported| exported.as_str().len());
    let remotes = remotes(&queried).or_else(|| remotes(longest?))?;
    Some(names::cluster_name(remotes, port))
}

fn chosen_chain(resources: &Resources, name: &str, port: u16) -> Option<String> {
    let listener = resources.listeners.iter().find(|listener| listener.name == format!("tls/{port}"))?;
    chain(listener, name)
}

/// Names are unique and sorted, and whatever is referred to is there.
fn assert_consistent(resources: &Resources) {
    fn assert_ordered(names: Vec<&str>) -> BTreeSet<String> {
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        names.into_iter().map(str::to_owned).collect()
    }
    let clusters = assert_ordered(resources.clusters.iter().map(|cluster| cluster.name.as_str()).collect());
    let endpoints =
        assert_ordered(resources.endpoints.iter().map(|each| each.cluster_name.as_str()).collect());
    assert_eq!(clusters, endpoints);
    assert_ordered(resources.listeners.iter().map(|listener| listener.name.as_str()).collect());
    let mut reached = BTreeSet::new();
    for listener in &resources.listeners {
        assert!(!listener.filter_chains.is_empty());
        assert_ordered(listener.filter_chains.iter().map(|chain| chain.name.as_str()).collect());
        for chain in &listener.filter_chains {
            assert_eq!(chain.filter_chain_match, None);
            let [filter] = chain.filters.as_slice() else { panic!("{chain:?}") };
            let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { panic!("{filter:?}") };
            let proxy = TcpProxy::decode(any.value.as_slice()).unwrap();
            let Some(tcp_proxy::ClusterSpecifier::Cluster(cluster)) = proxy.cluster_specifier else {
                panic!()
            };
            assert_eq!(chain.name, cluster);
            reached.insert(cluster);
        }
    }
    assert_eq!(clusters, reached);
}

/// Message -> value -> text -> value -> message. The bytes may differ in the order of a map's entries.
fn assert_text_form_is_whole<M: Message + prost::Name + Default>(message: &M) {
    let value = yaml::to_value(message).unwrap();
    let text = yaml::value_to_yaml(&value).unwrap();
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&text).unwrap(), value);
    let read = yaml::from_value::<M>(&value).unwrap();
    assert_eq!(read.encoded_len(), message.encoded_len());
    assert_eq!(yaml::to_value(&read).unwrap(), value);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_forms_choose_the_promised_chain(
        table in tables(),
        queries in prop::collection::vec(server_name(), 1..24),
    ) {
        let server_names = translate(&table, &config(), MatcherForm::ServerNames);
        let exact_map = translate(&table, &config(), MatcherForm::ExactMap);
        let exported = table.imports.keys().map(|name| name.as_str().trim_start_matches("*.").to_owned());
        let foreign = ["xcc.test", "test", "a.xcc.test.evil.test", "xds", "east/443"].map(str::to_owned);
        for query in queries.into_iter().chain(exported).chain(foreign) {
            for port in PORTS {
                let expected = expected_chain(&table, &query, port);
                prop_assert_eq!(chosen_chain(&server_names, &query, port), expected.clone(), "{}", query);
                prop_assert_eq!(chosen_chain(&exact_map, &query, port), expected, "{}", query);
            }
        }
        for port in PORTS {
            prop_assert_eq!(chosen_chain(&server_names, "", port), None);
            prop_assert_eq!(chosen_chain(&exact_map, "", port), None);
        }
    }

    #[test]
    fn references_lead_somewhere_and_names_are_unique(table in tables()) {
        for form in [MatcherForm::ServerNames, MatcherForm::ExactMap] {
            let resources = translate(&table, &config(), form);
            assert_consistent(&resources);
            prop_assert!(resources.omitted.is_empty());
        }
    }

    #[test]
    fn a_routing_that_followed_changes_is_as_if_made_anew(
        start in tables(),
        changes in prop::collection::vec((exported_name(), prop::option::of(routes())), 1..24),
    ) {
        let mut table = start;
        let (mut routing, mut tally) = (Routing::of(&table), Tally::default());
        for (name, routes) in changes {
            let changed = routes.map(|routes| common::fixture::table([(name.clone(), routes)], []));
            match changed.and_then(|changed| changed.imports.into_iter().next()) {
                Some((name, import)) => table.imports.insert(name, import),
                None => table.imports.remove(&Hostname::parse(&name).unwrap()),
            };
            routing.update(&table);
            tally.update(&table);
            // The second one has no port for 8443.
            let configs = [config(), GatewayConfig::new(Ipv4Addr::UNSPECIFIED.into(), 60_000)];
            for (config, form) in configs.iter().zip([MatcherForm::ServerNames, MatcherForm::ExactMap]) {
                let anew = translate(&table, config, form);
                prop_assert_eq!(routing.listeners(config, form), anew.listeners);
                prop_assert_eq!(routing.omitted(config, form), omitted(&table, config, form));
                prop_assert_eq!(tally.fits(config, form), anew.omitted.is_empty());
            }
            prop_assert_eq!(routing.upstreams(), upstreams(&table));
        }
    }

    #[test]
    fn priorities_are_dense_from_zero_and_keep_their_order(table in tables()) {
        for assignment in translate(&table, &config(), MatcherForm::ServerNames).endpoints {
            let mut levels = BTreeMap::new();
            for locality in &assignment.endpoints {
                let region = locality.locality.as_ref().unwrap().region.as_str();
                let backend = table.backends.iter().find(|(remote, _)| remote.as_str() == region);
                let (priority, count) =
                    backend.map_or((0, 0), |(_, backend)| (backend.priority, backend.endpoints.len()));
                prop_assert_eq!(locality.lb_endpoints.len(), count);
                let level = *levels.entry(priority).or_insert(locality.priority);
                prop_assert_eq!(level, locality.priority);
            }
            prop_assert!(levels.values().copied().eq(0..u32::try_from(levels.len()).unwrap()), "{levels:?}");
        }
    }
}

proptest! {
    // Each of these reads everything through the descriptor set several times.
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_text_form_loses_nothing(table in tables()) {
        for form in [MatcherForm::ServerNames, MatcherForm::ExactMap] {
            let resources = translate(&table, &config(), form);
            for listener in &resources.listeners {
                assert_text_form_is_whole(listener);
            }
            for cluster in &resources.clusters {
                assert_text_form_is_whole(cluster);
            }
            for assignment in &resources.endpoints {
                assert_text_form_is_whole(assignment);
            }
        }
    }
}
