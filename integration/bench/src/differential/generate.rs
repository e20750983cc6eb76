//! Zones and questions at random: wildcards, empty non-terminals, deep names, odd octets, all types, EDNS in all forms.

use std::fmt;
use std::net::IpAddr;

use anyhow::Result;
use xcc_dns::{ZoneConfig, Zones};
use xcc_model::{Hostname, ZoneName};

use crate::random::Random;

/// The zones; one lies in another one.
pub const APEXES: [&str; 3] = ["xcc.test", "b.a.xcc.test", "other.test"];
/// Few labels, so that names meet each other, the wildcards and the empty non-terminals between them.
const LABELS: [&str; 6] = ["a", "b", "c", "web", "x-1", "team"];
const NAMES_MAX: usize = 60;
/// What the gateway of some zones has.
const ADDRESSES: [&str; 6] = ["10.0.0.1", "10.0.0.2", "192.0.2.7", "2001:db8::1", "2001:db8::2", "10.0.0.3"];
/// Types that something is known about, asked for more often than the others.
const TYPES: [u16; 40] = [
    1, 1, 1, 1, 1, 28, 28, 28, 65, 65, 16, 16, 2, 6, 12, 5, 15, 33, 35, 39, 43, 46, 47, 48, 50, 52, 59, 60,
    64, 99, 251, 252, 255, 255, 256, 257, 0, 41, 250, 128,
];
/// EDNS options by number: subnet, expire, cookie, keepalive, padding, NSID, key tag, and unknown ones.
const OPTIONS: [u16; 9] = [3, 8, 9, 10, 11, 12, 14, 100, 65001];

/// A question and how it is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Distinguishes it from others.
    pub id: u16,
    /// The header's flags with the opcode.
    pub flags: u16,
    /// The name's labels.
    pub labels: Vec<Vec<u8>>,
    /// The type.
    pub record_type: u16,
    /// The class.
    pub class: u16,
    /// EDNS, if any.
    pub edns: Option<EdnsQuestion>,
}

/// The OPT record of a question.
#[derive(Debug, Clone)]
pub struct EdnsQuestion {
    /// What fits.
    pub payload: u16,
    /// 0 mostly.
    pub version: u8,
    /// DO and the bits that must be zero.
    pub flags: u16,
    /// Numbers and data.
    pub options: Vec<(u16, Vec<u8>)>,
}

/// Zones with everything in them.
pub fn zones(random: &mut Random) -> Result<Zones> {
    let mut addresses: Vec<IpAddr> = vec![];
    for _ in 0..1 + random.below(4) {
        addresses.push(random.pick(&ADDRESSES).parse()?);
    }
    // Of so many some fit into 512 octets and not others, and not into 1232 either.
    if random.one_in(3) {
        let count = 20 + random.below(80);
        addresses.extend((0..count).map(|index| IpAddr::from([10, 1, 0, index as u8])));
        addresses
            .extend((0..count / 2).map(|index| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 1, 0, index as u16])));
    }
    let apexes = APEXES.iter().map(|apex| ZoneName::parse(apex)).collect::<Result<_, _>>()?;
    let ttl_seconds = random.pick(&[5, 30, 300]);
    let name_server_addresses = vec!["10.9.9.9".parse()?, "2001:db8::9".parse()?];
    let mut names = vec![];
    for _ in 0..1 + random.below(NAMES_MAX) {
        names.extend(Hostname::parse(&hostname(random)));
    }
    let zones = Zones::new(&ZoneConfig { apexes, ttl_seconds, name_server_addresses });
    let zones = zones.with_addresses(&addresses).with_changes(&names, []);
    let texts = ["remote=east object=web/nginx", "remote=west object=\"odd\\name\""];
    let told = names.iter().filter(|_| random.one_in(2)).map(|name| (name, &texts[..])).collect::<Vec<_>>();
    let zones = zones.with_origins(told);
    let zones = zones.with_ports(names.iter().map(|name| (name, random.pick(&[443, 8443]))));
    Ok(if random.one_in(2) { zones.with_https(&["h2".to_owned()]) } else { zones })
}

fn hostname(random: &mut Random) -> String {
    let mut labels: Vec<&str> = vec![];
    if random.one_in(5) {
        labels.push("*");
    }
    for _ in 0..1 + random.below(5) {
        labels.push(random.pick(&LABELS));
    }
    labels.push(random.pick(&APEXES));
    labels.join(".")
}

impl Question {
    /// A question about the zones, or about something near them.
    pub fn random(zones: &Zones, names: &[Hostname], random: &mut Random) -> Self {
        let mut labels = name(zones, names, random);
        odd_case(&mut labels, random);
        let record_type = if random.one_in(12) { random.next_number() as u16 } else { random.pick(&TYPES) };
        let class = if random.one_in(60) { random.pick(&[0, 3, 4, 254, 255]) } else { 1 };
        let opcode = if random.one_in(60) { random.below(16) as u16 } else { 0 };
        // RD, CD, AD and the reserved bit.
        let flags = [0x0100, 0x0010, 0x0020, 0x0040].into_iter().filter(|_| random.one_in(4)).sum::<u16>();
        let edns = (!random.one_in(3)).then(|| EdnsQuestion::random(random));
        Self {
            id: random.next_number() as u16,
            flags: flags | opcode << 11,
            labels,
            record_type,
            class,
            edns,
        }
    }

    /// The opcode.
    pub fn opcode(&self) -> u16 {
        self.flags >> 11
    }

    /// The message.
    pub fn octets(&self) -> Vec<u8> {
        let counts = [1, 0, 0, u16::from(self.edns.is_some())];
        let mut octets: Vec<u8> =
            [self.id, self.flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect();
        for label in &self.labels {
            octets.push(label.len() as u8);
            octets.extend(label);
        }
        octets.push(0);
        octets.extend([self.record_type, self.class].into_iter().flat_map(u16::to_be_bytes));
        if let Some(edns) = &self.edns {
            let mut options = vec![];
            for (number, data) in &edns.options {
                options.extend([*number, data.len() as u16].into_iter().flat_map(u16::to_be_bytes));
                options.extend(data);
            }
            octets.push(0);
            octets.extend(
                [41, edns.payload, edns.version.into(), edns.flags, options.len() as u16]
                    .into_iter()
                    .flat_map(u16::to_be_bytes),
            );
            octets.extend(options);
        }
        octets
    }
}

impl EdnsQuestion {
    fn random(random: &mut Random) -> Self {
        let version = if random.one_in(30) { 1 + random.below(3) as u8 } else { 0 };
        let flags = if random.one_in(3) { 0x8000 } else { 0 } | if random.one_in(20) { 0x0040 } else { 0 };
        let payload = random.pick(&[0, 512, 1000, 1232, 1400, 4096, 65535]);
        let count = if random.one_in(4) { 1 + random.below(2) } else { 0 };
        let options = (0..count).map(|_| option(random.pick(&OPTIONS), random)).collect();
        Self { payload, version, flags, options }
    }
}

/// An option whose data is well-formed, where there is a form.
fn option(number: u16, random: &mut Random) -> (u16, Vec<u8>) {
    let data = match number {
        3 | 9 | 11 => vec![],
        8 => vec![0, 1, 24, 0, 192, 0, 2],
        10 => random.next_number().to_be_bytes().to_vec(),
        14 => vec![0x4f, 0x66],
        _ => vec![0; random.below(9)],
    };
    (number, data)
}

/// A name that exists, one beside it, above it or below it, or one somewhere else.
fn name(zones: &Zones, names: &[Hostname], random: &mut Random) -> Vec<Vec<u8>> {
    let split =
        |name: &str| -> Vec<Vec<u8>> { name.split('.').map(|label| label.as_bytes().to_vec()).collect() };
    let label = |random: &mut Random| random.pick(&LABELS).as_bytes().to_vec();
    let mut labels = match names {
        [] => split(random.pick(&APEXES)),
        _ => split(names[random.below(names.len())].as_str()),
    };
    debug_assert_eq!(zones.len(), names.len());
    match random.below(20) {
        0..6 => {}
        6..8 => drop(labels.remove(0)),
        8..10 => labels.insert(0, label(random)),
        10 => labels.insert(0, b"_xcc".to_vec()),
        11 => labels.insert(0, b"*".to_vec()),
        12..14 => labels[0] = label(random),
        14 => labels = split(random.pick(&APEXES)),
        15 => {
            labels = split(&format!(
                "{}.{}",
                random.pick(&["ns.dns", "dns", "hostmaster", "x.ns.dns"]),
                random.pick(&APEXES)
            ))
        }
        16 => labels = split(&hostname(random)),
        17 => {
            labels = split(random.pick(&[
                "example.com",
                "test",
                "xcc.test.example",
                "axcc.test",
                "9.9.9.10.in-addr.arpa",
            ]))
        }
        18 => {
            // Octets that no host name has.
            let octets = (0..1 + random.below(8)).map(|_| random.next_number() as u8).collect();
            labels.insert(0, octets);
        }
        _ => {
            // As many labels as fit.
            while labels.iter().map(|label| label.len() + 1).sum::<usize>() < 240 {
                labels.insert(0, label(random));
            }
        }
    }
    labels
}

fn odd_case(labels: &mut [Vec<u8>], random: &mut Random) {
    for octet in labels.iter_mut().flatten() {
        if octet.is_ascii_lowercase() && random.one_in(4) {
            octet.make_ascii_uppercase();
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in &self.labels {
            write!(f, "{}.", label.escape_ascii())?;
        }
        write!(f, " TYPE{} CLASS{} flags {:#06x}", self.record_type, self.class, self.flags)?;
        match &self.edns {
            None => Ok(()),
            Some(EdnsQuestion { payload, version, flags, options }) => {
                write!(f, " EDNS {version} payload {payload} flags {flags:#06x} options {options:?}")
            }
        }
    }
}
