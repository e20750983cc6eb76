//! Both encoders give the same replies, and the table answers as the rules say when read naively.

use std::collections::BTreeSet;

use hickory_proto::op::Message;
use proptest::prelude::*;
use xcc_model::{Hostname, ZoneName};

use crate::answer::Answer;
use crate::apex::ZoneConfig;
use crate::name::Name;
use crate::record_type::RecordType;
use crate::responder::{Outcome, Transport, respond, respond_slowly};
use crate::zone::Zones;

const APEXES: [&str; 3] = ["xcc.test", "b.a.xcc.test", "other.test"];
const GATEWAY: [&str; 3] = ["10.0.0.1", "10.0.0.2", "2001:db8::1"];

fn origin() -> Zones {
    let apexes = APEXES.map(|apex| ZoneName::parse(apex).unwrap()).to_vec();
    let name_server_addresses = vec!["10.9.9.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
    Zones::new(&ZoneConfig { apexes, ttl_seconds: 20, name_server_addresses })
        .with_addresses(&GATEWAY.map(|address| address.parse().unwrap()))
}

fn zones(names: &BTreeSet<Hostname>) -> Zones {
    origin().with_changes(names, [])
}

/// With everything that can be switched on.
fn zones_with_all(names: &BTreeSet<Hostname>) -> Zones {
    let texts = ["remote=east object=web/a", "remote=west object=web/b"];
    let alpn = ["h2".to_owned(), "http/1.1".to_owned()];
    let target = Hostname::parse("a.xcc.test").unwrap();
    zones(names)
        .with_origins(names.iter().map(|name| (name, &texts[..])))
        .with_https(&alpn)
        .with_ports(names.iter().map(|name| (name, 8443)))
        .with_reverse(Some(&target))
}

/// Few labels, so that names meet each other, the wildcards and the empty non-terminals between them.
fn hostname() -> impl Strategy<Value = Hostname> {
    let labels = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..4);
    (any::<bool>(), labels, prop::sample::select(APEXES.to_vec())).prop_filter_map(
        "a name",
        |(wild, labels, apex)| {
            let labels = labels.into_iter().chain([apex]).collect::<Vec<_>>().join(".");
            Hostname::parse(&if wild { format!("*.{labels}") } else { labels }).ok()
        },
    )
}

fn hostnames() -> impl Strategy<Value = BTreeSet<Hostname>> {
    prop::collection::btree_set(hostname(), 0..12)
}

fn asked_name() -> impl Strategy<Value = String> {
    let labels =
        prop::collection::vec(prop::sample::select(vec!["a", "B", "c", "*", "d", "ns", "dns", "_xcc"]), 0..5);
    let domain = prop::sample::select(vec![
        "xcc.test",
        "XCC.test",
        "other.test",
        "b.A.xcc.test",
        "example.com",
        "test",
        "2.0.0.10.In-Addr.arpa",
    ]);
    (labels, domain).prop_map(|(labels, domain)| {
        labels.into_iter().map(str::to_owned).chain([domain.to_owned()]).collect::<Vec<_>>().join(".")
    })
}

fn record_type() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => prop::sample::select(vec![1, 28]),
        4 => prop::sample::select(vec![2, 6, 12, 16, 43, 65, 255, 252, 41, 0]),
        1 => any::<u16>(),
    ]
}

prop_compose! {
    /// A request that mostly makes sense.
    fn request()(
        id in any::<u16>(),
        flags in prop_oneof![8 => Just(0u16), 2 => any::<u16>().prop_map(|flags| flags & 0x7fff)],
        name in asked_name(),
        record_type in record_type(),
        class in prop_oneof![9 => Just(1u16), 1 => any::<u16>()],
        opt in prop::option::of((any::<u16>(), prop_oneof![4 => Just(0u8), 1 => any::<u8>()], any::<u16>(),
            prop::collection::vec(any::<u8>(), 0..12))),
    ) -> Vec<u8> {
        let counts = [1, 0, 0, u16::from(opt.is_some())];
        let mut octets: Vec<u8> = [id, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect();
        for label in name.split('.') {
            octets.push(label.len() as u8);
            octets.extend(label.as_bytes());
        }
        octets.push(0);
        octets.extend([record_type, class].into_iter().flat_map(u16::to_be_bytes));
        if let Some((payload, version, flags, options)) = opt {
            octets.extend([0, 0, 41]);
            octets.extend(payload.to_be_bytes());
            octets.extend([0, version]);
            octets.extend(flags.to_be_bytes());
            octets.extend((options.len() as u16).to_be_bytes());
            octets.extend(options);
        }
        octets
    }
}

/// The name's existence and its wildcard, by RFC 4592 read word for word over the whole list of names.
fn naive(names: &BTreeSet<Hostname>, asked: &str) -> &'static str {
    let asked = asked.to_lowercase();
    let within = |name: &str, domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    let closest = |name: &str| APEXES.iter().filter(|apex| within(name, apex)).max_by_key(|apex| apex.len());
    let Some(apex) = closest(&asked) else { return "REFUSED" };
    let server = format!("ns.dns.{apex}");
    let reserved = |name: &Hostname| {
        let bare = name.wildcard_domain().unwrap_or(name.as_str());
        bare == server || bare == format!("dns.{apex}")
    };
    let mut owners: BTreeSet<&str> = names
        .iter()
        .filter(|name| closest(name.as_str()) == Some(apex) && name.as_str() != *apex && !reserved(name))
        .map(Hostname::as_str)
        .collect();
    owners.insert(&server);
    // Names of the zones below make their ancestors here exist.
    let cuts = APEXES.iter().filter(|cut| *cut != apex && within(cut, apex));
    let exists =
        |name: &str| name == *apex || owners.iter().chain(cuts.clone()).any(|owner| within(owner, name));
    if owners.contains(&*asked) {
        return "ADDRESS";
    }
    if exists(&asked) {
        return "NODATA";
    }
    let mut encloser = &*asked;
    while !exists(encloser) {
        encloser = encloser.split_once('.').unwrap().1;
    }
    if owners.contains(&*format!("*.{encloser}")) { "ADDRESS" } else { "NXDOMAIN" }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn rfc4592_answers_equal_the_rules_read_naively(names in hostnames(), asked in asked_name()) {
        let zones = zones(&names);
        let got = match zones.answer(&Name::parse(&asked).unwrap(), RecordType::A) {
            Answer::Records { .. } => "ADDRESS",
            Answer::NoData(_) => "NODATA",
            Answer::NxDomain(_) => "NXDOMAIN",
            Answer::Refused => "REFUSED",
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(got, naive(&names, &asked));
    }

    #[test]
    fn changes_in_any_order_end_in_the_same_zones(
        before in hostnames(), after in hostnames(), asked in prop::collection::vec(asked_name(), 8),
    ) {
        let direct = zones(&after);
        let changed = zones(&before).with_changes(after.difference(&before), before.difference(&after));
        let repeated = zones(&before).with_changes(&after, &before).with_changes(&after, before.difference(&after));
        for other in [&changed, &repeated] {
            prop_assert_eq!(other.dump(), direct.dump());
            prop_assert_eq!(other.content_hash(), direct.content_hash());
            prop_assert_eq!(other.len(), direct.names().count());
            prop_assert_eq!(other.nodes.len(), direct.nodes.len());
            for name in &asked {
                let name = Name::parse(name).unwrap();
                prop_assert_eq!(other.answer(&name, RecordType::A), direct.answer(&name, RecordType::A));
            }
        }
        if zones(&before).dump()[1..] != direct.dump()[1..] {
            prop_assert_ne!(zones(&before).content_hash(), direct.content_hash());
        }
    }

    #[test]
    fn both_encoders_give_the_same_replies(names in hostnames(), request in request(), tcp in any::<bool>()) {
        let zones = zones_with_all(&names);
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        let outcome = respond(Some(&zones), transport, &request, &mut fast);
        prop_assert_eq!(outcome, respond_slowly(Some(&zones), transport, &request, &mut slow));
        let replied = matches!(outcome, Outcome::Replied { .. });
        prop_assert_eq!(replied, !fast.is_empty());
        if replied {
            let read = |octets: &[u8]| Message::from_vec(octets).unwrap();
            prop_assert_eq!(read(&fast), read(&slow));
            prop_assert_eq!(fast[..12].to_vec(), slow[..12].to_vec());
        }
    }
}
