use xcc_model::RemoteSet;

use super::*;

const DELAY: Duration = Duration::from_secs(30);

fn name(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

fn table_on(remote: &str, names: &[&str]) -> ServiceTable {
    let remote = RemoteName::parse(remote).unwrap();
    let route = Route { port: 443.try_into().unwrap(), remotes: RemoteSet::new([remote.clone()]).unwrap() };
    let import = ServiceImport { routes: vec![route], origins: vec![] };
    ServiceTable {
        imports: names.iter().map(|text| (name(text), import.clone())).collect(),
        backends: [(remote, Backend::default())].into(),
    }
}

fn table(names: &[&str]) -> ServiceTable {
    table_on("east", names)
}

fn acks(acked: Option<Generation>, now: Instant) -> GatewayAcks {
    let connected = now.checked_sub(2 * LAG_MAX).unwrap_or(now);
    GatewayAcks { acked, refused: BTreeSet::new(), refused_routes: BTreeSet::new(), connected }
}

fn observe(gate: &mut Gate, acked: &[Option<Generation>], now: Instant) -> ZoneChange {
    gate.observe(&acked.iter().map(|acked| acks(*acked, now)).collect::<Vec<_>>(), now)
}

fn is_passed_over(gate: &Gate, acked: Option<Generation>, now: Instant) -> bool {
    gate.is_passed_over(&acks(acked, now), now)
}

/// The names that were there and those that are.
fn set_table(gate: &mut Gate, table: &ServiceTable, now: Instant) -> ZoneChange {
    let names: BTreeSet<_> = gate.names.keys().chain(table.imports.keys()).cloned().collect();
    gate.set_table(table, &names, now)
}

fn publish(gate: &mut Gate, table: &ServiceTable, generation: Generation, now: Instant) -> Vec<Hostname> {
    let removed = set_table(gate, table, now).removed;
    gate.published(generation, now);
    removed
}

#[test]
fn a_name_is_answered_once_every_gateway_has_acked_it() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    assert_eq!(observe(&mut gate, &[], now).added, []);
    assert!(!gate.is_open());
    assert_eq!(observe(&mut gate, &[Some(1), None], now).added, []);
    assert_eq!(observe(&mut gate, &[Some(1), Some(1)], now).added, [name("a.xcc.test")]);
    assert!(gate.is_open());
    assert_eq!(observe(&mut gate, &[Some(1), Some(1)], now).added, []);
}

#[test]
fn an_ack_of_an_older_generation_is_not_enough() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);
    publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, now);
    assert_eq!(observe(&mut gate, &[Some(1)], now).added, []);
    assert_eq!(observe(&mut gate, &[Some(2)], now).added, [name("b.xcc.test")]);
}

#[test]
fn a_name_that_waits_for_the_next_publication_is_not_answered() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&[]), 1, now);
    set_table(&mut gate, &table(&["a.xcc.test"]), now);
    assert_eq!(observe(&mut gate, &[Some(1)], now).added, []);
}

#[test]
fn a_gateway_that_lags_five_seconds_behind_another_is_passed_over() {
    let start = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
    let acked = start + Duration::from_secs(60);
    assert_eq!(observe(&mut gate, &[None, Some(1)], acked).added, []);
    assert_eq!(gate.deadline(acked), Some(acked + LAG_MAX));
    let almost = acked + Duration::from_millis(4_999);
    assert_eq!(observe(&mut gate, &[None, Some(1)], almost).added, []);
    assert!(!is_passed_over(&gate, None, almost));
    assert_eq!(observe(&mut gate, &[None, Some(1)], acked + LAG_MAX).added, [name("a.xcc.test")]);
    assert!(is_passed_over(&gate, None, acked + LAG_MAX));
    assert!(!is_passed_over(&gate, Some(1), acked + LAG_MAX));
    assert_eq!(gate.deadline(acked + LAG_MAX), None);
}

#[test]
fn once_passed_over_a_gateway_holds_up_no_further_name() {
    let start = Instant::now() + Duration::from_secs(60);
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
    observe(&mut gate, &[None, Some(1)], start);
    let later = start + LAG_MAX;
    publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, later);
    let change = observe(&mut gate, &[None, Some(2)], later);
    assert_eq!(change.added, [name("a.xcc.test"), name("b.xcc.test")]);
}

#[test]
fn a_gateway_that_has_just_come_is_waited_for() {
    let start = Instant::now() + Duration::from_secs(60);
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&[]), 1, start);
    observe(&mut gate, &[Some(1)], start);
    let later = start + 10 * LAG_MAX;
    publish(&mut gate, &table(&["a.xcc.test"]), 2, later);
    let newcomer = GatewayAcks { connected: later, ..acks(None, later) };
    let gateways = [acks(Some(2), later), newcomer];
    assert_eq!(gate.observe(&gateways, later).added, []);
    assert_eq!(gate.deadline(later), Some(later + LAG_MAX));
    assert_eq!(gate.observe(&gateways, later + LAG_MAX).added, [name("a.xcc.test")]);
}

#[test]
fn a_gateway_that_lags_is_reported_without_any_name_waiting() {
    let start = Instant::now() + Duration::from_secs(60);
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
    observe(&mut gate, &[Some(1), Some(1)], start);
    assert!(!gate.is_waiting());
    publish(&mut gate, &table(&[]), 2, start);
    assert!(gate.is_waiting());
    observe(&mut gate, &[Some(1), Some(2)], start);
    assert!(gate.is_waiting());
    assert_eq!(gate.deadline(start), Some(start + LAG_MAX), "before the name is forgotten");
    assert!(is_passed_over(&gate, Some(1), start + LAG_MAX));
}

#[test]
fn a_refused_listener_holds_up_the_names_of_its_port_only() {
    let now = Instant::now() + Duration::from_secs(60);
    let mut gate = Gate::new(DELAY);
    let mut both = table(&["a.xcc.test", "b.xcc.test"]);
    let port = 8080.try_into().unwrap();
    both.imports.get_mut(&name("b.xcc.test")).unwrap().routes[0].port = port;
    publish(&mut gate, &both, 1, now);
    let refusing = GatewayAcks { refused: BTreeSet::from([port]), ..acks(Some(1), now) };
    assert_eq!(gate.observe(std::slice::from_ref(&refusing), now).added, [name("a.xcc.test")]);
    assert!(gate.is_open());
    let much_later = now + 10 * LAG_MAX;
    assert_eq!(gate.observe(std::slice::from_ref(&refusing), much_later).added, [], "nobody carries it");
    let gateways = [refusing, acks(Some(1), now)];
    assert_eq!(gate.observe(&gateways, now).added, []);
    assert_eq!(gate.deadline(now), Some(now + LAG_MAX), "time alone passes it over");
    assert_eq!(gate.observe(&gateways, now + LAG_MAX).added, [name("b.xcc.test")], "passed over");
}

#[test]
fn a_refused_cluster_holds_up_the_new_names_that_lead_there_only() {
    let now = Instant::now() + Duration::from_secs(60);
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["old.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);

    let mut both = table(&["old.xcc.test", "new.xcc.test"]);
    let west = table_on("west", &["west.xcc.test"]);
    both.imports.extend(west.imports);
    both.backends.extend(west.backends);
    publish(&mut gate, &both, 2, now);
    let refused_routes = both.imports[&name("old.xcc.test")].routes.iter().cloned().collect();
    let refusing = GatewayAcks { refused_routes, ..acks(Some(2), now) };
    assert_eq!(gate.observe(std::slice::from_ref(&refusing), now).added, [name("west.xcc.test")]);
    let much_later = now + 10 * LAG_MAX;
    assert_eq!(gate.observe(std::slice::from_ref(&refusing), much_later).added, [], "nobody can lead there");
    assert_eq!(gate.state(&name("old.xcc.test")), Some(NameState::Answered), "its last good state serves it");
    assert_eq!(gate.state(&name("new.xcc.test")), Some(NameState::Pending));
    assert_eq!(observe(&mut gate, &[Some(2)], much_later).added, [name("new.xcc.test")]);
}

#[test]
fn a_gateway_that_refuses_in_a_settled_system_has_its_time_too() {
    let now = Instant::now() + Duration::from_secs(60);
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["old.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1), Some(1)], now);

    let later = now + 100 * LAG_MAX;
    let both = table(&["old.xcc.test", "new.xcc.test"]);
    publish(&mut gate, &both, 2, later);
    let refused_routes = both.imports[&name("old.xcc.test")].routes.iter().cloned().collect();
    let gateways = [GatewayAcks { refused_routes, ..acks(Some(2), later) }, acks(Some(2), later)];
    assert_eq!(gate.observe(&gateways, later).added, [], "half of the connections would fail");
    assert_eq!(gate.deadline(later), Some(later + LAG_MAX));
    assert_eq!(gate.observe(&gateways, later + LAG_MAX).added, [name("new.xcc.test")]);
}

#[test]
fn a_withdrawn_name_leads_to_where_its_remote_was_reached_last() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);
    let east = RemoteName::parse("east").unwrap();
    let moved = Backend { endpoints: ["10.0.0.9:443".parse().unwrap()].into(), ..Backend::default() };
    gate.note_backend(&east, &moved);
    let nothing = ServiceTable::default();
    assert_eq!(set_table(&mut gate, &nothing, now).removed, [name("a.xcc.test")]);
    assert_eq!(gate.gateway_table(&nothing).backends[&east], moved);
}

#[test]
fn what_only_a_gone_gateway_had_acked_is_not_answered() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[None, Some(1)], now);
    assert_eq!(observe(&mut gate, &[None], now + LAG_MAX).added, []);
    assert_eq!(observe(&mut gate, &[], now + LAG_MAX).added, []);
}

#[test]
fn a_replica_whose_gateways_are_all_with_others_presumes_their_acks() {
    let start = Instant::now();
    let mut gate = Gate::new(DELAY).replicated();
    publish(&mut gate, &table(&["a.xcc.test"]), 1, start);
    assert_eq!(observe(&mut gate, &[], start).added, []);
    assert_eq!(gate.deadline(start), Some(start + LAG_MAX));
    assert_eq!(observe(&mut gate, &[], start + PRESUMED_ACK).added, [], "one may still come here");
    let opened = start + LAG_MAX;
    assert_eq!(observe(&mut gate, &[], opened).added, [name("a.xcc.test")]);
    assert!(gate.is_open());

    publish(&mut gate, &table(&["a.xcc.test", "b.xcc.test"]), 2, opened);
    assert_eq!(gate.deadline(opened), Some(opened + PRESUMED_ACK));
    assert_eq!(
        observe(&mut gate, &[None], opened + PRESUMED_ACK).added,
        [],
        "a gateway that is here is heard"
    );
    assert_eq!(observe(&mut gate, &[], opened + PRESUMED_ACK).added, [name("b.xcc.test")]);
    assert_eq!(gate.deadline(opened + PRESUMED_ACK), None);
}

#[test]
fn an_answered_name_stays_answered_whatever_happens_to_gateways() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);
    observe(&mut gate, &[], now);
    observe(&mut gate, &[None], now);
    publish(&mut gate, &table_on("west", &["a.xcc.test"]), 2, now);
    assert_eq!(gate.state(&name("a.xcc.test")), Some(NameState::Answered));
}

#[test]
fn on_withdrawal_dns_stops_first_and_gateways_keep_the_name_for_the_delay() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);
    let empty = ServiceTable::default();
    assert_eq!(publish(&mut gate, &empty, 2, now), [name("a.xcc.test")]);
    assert_eq!(gate.gateway_table(&empty), table(&["a.xcc.test"]), "with the remote's last endpoints");
    assert_eq!(gate.deadline(now), Some(now + DELAY));
    assert!(!gate.expire(now));
    assert!(gate.expire(now + DELAY));
    assert_eq!(gate.gateway_table(&empty), empty);
}

#[test]
fn without_a_delay_the_gateways_drop_the_name_at_once() {
    let now = Instant::now();
    let mut gate = Gate::new(Duration::ZERO);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);
    let empty = ServiceTable::default();
    assert_eq!(publish(&mut gate, &empty, 2, now), [name("a.xcc.test")]);
    assert_eq!(gate.gateway_table(&empty), empty);
}

#[test]
fn a_name_that_was_never_answered_goes_at_once() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    assert_eq!(publish(&mut gate, &ServiceTable::default(), 2, now), []);
    assert_eq!(gate.state(&name("a.xcc.test")), None);
}

#[test]
fn a_name_that_returns_within_the_delay_is_answered_at_the_next_look() {
    let now = Instant::now();
    let mut gate = Gate::new(DELAY);
    publish(&mut gate, &table(&["a.xcc.test"]), 1, now);
    observe(&mut gate, &[Some(1)], now);
    publish(&mut gate, &ServiceTable::default(), 2, now);
    set_table(&mut gate, &table(&["a.xcc.test"]), now);
    assert_eq!(
        observe(&mut gate, &[Some(1)], now).added,
        [name("a.xcc.test")],
        "gateways never stopped carrying it"
    );
    publish(&mut gate, &ServiceTable::default(), 3, now);
    publish(&mut gate, &table_on("west", &["a.xcc.test"]), 4, now);
    assert_eq!(observe(&mut gate, &[Some(3)], now).added, [], "it goes elsewhere now");
    assert_eq!(observe(&mut gate, &[Some(4)], now).added, [name("a.xcc.test")]);
}
