//! What the table takes, and what its hash and its dump say.

use std::collections::BTreeSet;

use xcc_model::ZoneName;

use super::*;

fn config() -> ZoneConfig {
    let apexes = vec![ZoneName::parse("xcc.test").unwrap(), ZoneName::parse("a.test").unwrap()];
    ZoneConfig { apexes, ttl_seconds: 30, name_server_addresses: vec!["10.9.9.9".parse().unwrap()] }
}

fn hostnames(names: &[&str]) -> Vec<Hostname> {
    names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
}

#[test]
fn names_that_are_nobodys_to_take_are_not_taken() {
    let refused =
        ["xcc.test", "ns.dns.xcc.test", "dns.xcc.test", "*.dns.xcc.test", "a.example.com", "b.test"];
    let zones = Zones::new(&config()).with_changes(&hostnames(&refused), []);
    assert!(zones.is_empty());
    assert_eq!(zones.hash, Zones::new(&config()).hash);
    let names = hostnames(&["b.xcc.test", "*.xcc.test", "a.a.test"]);
    let zones = zones.with_changes(&names, []).with_changes(&names, &names);
    assert_eq!(zones.len(), 3);
    assert!(names.iter().all(|name| zones.contains(name)));
    assert!(!zones.contains(&Hostname::parse("c.xcc.test").unwrap()));
    let order: Vec<Hostname> = zones.names().collect();
    assert_eq!(order, hostnames(&["*.xcc.test", "a.a.test", "b.xcc.test"]));
}

#[test]
fn with_nested_zones_the_closest_takes_a_name_or_refuses_it() {
    let apexes = ["xcc.test", "a.xcc.test", "dns.xcc.test"].map(|apex| ZoneName::parse(apex).unwrap());
    let zones = Zones::new(&ZoneConfig { apexes: apexes.to_vec(), ..config() });
    let refused = ["a.xcc.test", "dns.a.xcc.test", "ns.dns.a.xcc.test", "ns.dns.xcc.test", "dns.xcc.test"];
    assert!(zones.with_changes(&hostnames(&refused), []).is_empty());
    let taken = hostnames(&["*.a.xcc.test", "b.a.xcc.test", "b.dns.xcc.test", "b.xcc.test"]);
    assert_eq!(zones.with_changes(&taken, []).names().collect::<Vec<_>>(), taken);
}

#[test]
fn a_change_leaves_the_table_it_started_from() {
    let before = Zones::new(&config()).with_changes(&hostnames(&["a.xcc.test"]), []);
    let after = before.with_changes(&hostnames(&["b.xcc.test"]), &hostnames(&["a.xcc.test"]));
    assert_eq!(before.names().collect::<Vec<_>>(), hostnames(&["a.xcc.test"]));
    assert_eq!(after.names().collect::<Vec<_>>(), hostnames(&["b.xcc.test"]));
}

#[test]
fn the_hash_moves_with_all_content_and_with_nothing_else() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let (one, two, six) = (address("10.0.0.1"), address("10.0.0.2"), address("2001:db8::1"));
    let names = hostnames(&["a.xcc.test", "b.xcc.test"]);
    let zones = Zones::new(&config()).with_addresses(&[one, two]).with_changes(&names, []);
    let same = Zones::new(&ZoneConfig { apexes: config().apexes.into_iter().rev().collect(), ..config() })
        .with_changes(names.iter().rev(), [])
        .with_addresses(&[two, one, one]);
    assert_eq!(zones.hash, same.hash);
    assert_eq!(zones.dump(), same.dump());
    let others = [
        zones.with_addresses(&[one]),
        zones.with_addresses(&[one, two, six]),
        zones.with_addresses(&[]),
        zones.with_changes([], &names[..1]),
        Zones::new(&ZoneConfig { ttl_seconds: 31, ..config() }),
        Zones::new(&ZoneConfig { name_server_addresses: vec![one], ..config() }),
        Zones::new(&ZoneConfig { apexes: config().apexes[..1].to_vec(), ..config() }),
    ];
    let hashes: BTreeSet<u64> = others.iter().chain([&zones]).map(|zones| zones.hash).collect();
    assert_eq!(hashes.len(), others.len() + 1);
}

#[test]
fn the_name_server_moves_and_everything_else_stays() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let made = |name_server: Vec<IpAddr>| {
        let config = ZoneConfig { name_server_addresses: name_server, ..config() };
        Zones::new(&config).with_addresses(&[address("10.0.0.1")]).with_changes(&hostnames(&["b.a.test"]), [])
    };
    let moved = [vec![], vec![address("10.9.9.8"), address("fd00::8")]];
    for name_server in moved {
        let zones = made(vec![address("10.9.9.9")]).with_name_server(&name_server);
        assert_eq!((zones.dump(), zones.hash), (made(name_server.clone()).dump(), made(name_server).hash));
        assert_ne!(zones.hash, made(vec![address("10.9.9.9")]).hash);
    }
}

#[test]
fn the_dump_is_a_zone_file() {
    let zones = Zones::new(&config()).with_changes(&hostnames(&["b.xcc.test", "*.a.xcc.test"]), []);
    let soa = |zone: &str, serial: u32| {
        format!("{zone}. 30 IN SOA ns.dns.{zone}. hostmaster.{zone}. {serial} 14400 3600 1209600 30")
    };
    let own = |zone: &str, serial: u32| {
        let server = format!("ns.dns.{zone}. 30 IN A 10.9.9.9");
        [soa(zone, serial), format!("{zone}. 30 IN NS ns.dns.{zone}."), server]
    };
    let mut want = [own("a.test", zones.serial()), own("xcc.test", zones.serial())].concat();
    let dumped = zones.dump();
    assert_eq!(dumped[..6], want);
    assert!(dumped[6].starts_with("; *.a.xcc.test. "), "{}", dumped[6]);
    let zones = zones.with_addresses(&["2001:db8::1".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
    want = [own("a.test", zones.serial()), own("xcc.test", zones.serial())].concat();
    for name in ["*.a.xcc.test", "b.xcc.test"] {
        want.extend([format!("{name}. 30 IN A 10.0.0.1"), format!("{name}. 30 IN AAAA 2001:db8::1")]);
    }
    assert_eq!(zones.dump(), want);
}
