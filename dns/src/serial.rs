//! The SOA's serial: moves forward with every change of what is in force, and with nothing else (RFC 1982).
//!
//! It is the time of the change in seconds since 1970, or one more than the last serial where that is not ahead of the
//! clock. So it never goes back, not after a restart either unless a process made more than one change each second of
//! its life or the clock was set back. Two replicas have serials of their own; nobody transfers zones from either.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::zone::Zones;

/// Serial of a table that never was in force.
pub(crate) const UNPUBLISHED: u32 = 1;

/// The zones with the serial that they have after these ones.
pub(crate) fn put_in_force(zones: Zones, before: Option<&Zones>, clock: u32) -> Zones {
    let serial = match before {
        None => clock,
        Some(before) if before.content_hash() == zones.content_hash() => before.serial(),
        Some(before) => successor(before.serial(), clock),
    };
    zones.with_serial(serial)
}

/// Seconds since 1970, whose lower 32 bits go on counting in 2106 as serials do.
pub(crate) fn clock() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32
}

fn successor(serial: u32, clock: u32) -> u32 {
    let next = serial.wrapping_add(1);
    // RFC 1982, section 3.2: what is less than half the circle ahead is greater.
    if clock.wrapping_sub(next).cast_signed() > 0 { clock } else { next }
}

#[cfg(test)]
mod tests {
    use xcc_model::{Hostname, ZoneName};

    use super::*;
    use crate::apex::ZoneConfig;
    use crate::responder::Responder;

    fn zones() -> Zones {
        let apexes = vec![ZoneName::parse("xcc.test").unwrap()];
        let config = ZoneConfig { apexes, ttl_seconds: 30, name_server_addresses: vec![] };
        Zones::new(&config).with_addresses(&["10.0.0.1".parse().unwrap()])
    }

    fn nginx() -> [Hostname; 1] {
        [Hostname::parse("nginx.xcc.test").unwrap()]
    }

    #[test]
    fn rfc1982_3_2_serials_follow_the_clock_and_never_go_back() {
        for (serial, clock, want) in [
            (10, 20, 20),
            (10, 11, 11),
            (10, 10, 11),
            (10, 5, 11),
            (0, 0x8000_0000, 0x8000_0000),
            (u32::MAX, 5, 5),
            (u32::MAX, u32::MAX, 0),
            (5, u32::MAX - 10, 6),
        ] {
            assert_eq!(successor(serial, clock), want, "{serial} at {clock}");
        }
    }

    /// Names, addresses and what TXT says of a name; a change that is taken back is a change, too.
    #[test]
    fn rfc1982_every_change_that_comes_into_force_has_a_higher_serial() {
        let responder = Responder::new();
        let start = clock();
        let publish = |zones: &Zones| {
            responder.publish(zones.clone());
            responder.load().unwrap().serial()
        };
        let (bare, named) = (zones(), zones().with_changes(&nginx(), []));
        let texts = |texts: &[&str]| named.with_origins([(&nginx()[0], texts)]);
        let changes = [
            bare.clone(),
            named.clone(),
            texts(&["remote=east"]),
            texts(&["remote=west"]),
            texts(&["remote=east", "remote=west"]),
            named.clone(),
            named.with_addresses(&["10.0.0.2".parse().unwrap()]),
            named.with_reverse(Some(&nginx()[0])),
            bare,
        ];
        let serials: Vec<u32> = changes.iter().map(publish).collect();
        assert!(serials[0] >= start);
        assert!(serials.is_sorted_by(|before, after| before < after), "{serials:?}");
        let last = serials[serials.len() - 1];
        assert_eq!(publish(&zones()), last, "the same content, made anew");
    }

    #[test]
    fn rfc1982_a_process_that_starts_again_goes_on_from_the_clock() {
        let first = put_in_force(zones(), None, 1_000);
        let changed = put_in_force(zones().with_changes(&nginx(), []), Some(&first), 1_000);
        assert_eq!((first.serial(), changed.serial()), (1_000, 1_001));
        assert_eq!(put_in_force(zones(), None, 1_002).serial(), 1_002);
    }
}
