use super::*;

const NAMESPACE: &str = "cross-cluster-connectivity";
/// 2026-01-01.
const START: i64 = 1_767_225_600;

fn planned(secrets: &Secrets, now: i64) -> Secrets {
    let next = plan(secrets, NAMESPACE, now).unwrap();
    assert!(plan(&next, NAMESPACE, now).unwrap() == next, "a plan that is carried out leaves nothing to do");
    next
}

fn facts(stored: &Option<Stored>) -> Facts {
    pem::facts(&stored.as_ref().unwrap().pair.cert).unwrap()
}

/// Whether each side verifies the other with what it holds.
fn assert_verify_each_other(a: &Secrets, b: &Secrets, now: i64) {
    for (shows, verifies) in [(&a.server, &b.gateway), (&a.gateway, &b.server)] {
        let (shows, verifies) = (shows.as_ref().unwrap(), verifies.as_ref().unwrap());
        let trusted = pem::union([verifies.ca.as_str()], now);
        assert!(pem::signed_by_any(&shows.pair.cert, &trusted));
        let facts = pem::facts(&shows.pair.cert).unwrap();
        assert!(facts.not_before <= now && now < facts.not_after);
    }
}

fn theirs(now: i64, names: &[&str]) -> (Pair, Stored) {
    let ca = issue::authority(now, CA_SECONDS).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let pair = issue::leaf(&ca, &names, Purpose::Server, now, now + DAY).unwrap();
    let stored = Stored { pair, ca: ca.cert.clone(), next: None, ours: false };
    (ca, stored)
}

#[test]
fn from_nothing_everything_is_made() {
    let secrets = planned(&Secrets::default(), START);
    assert_verify_each_other(&secrets, &secrets, START);
    let server = ["xcc-xds", "xcc-xds.cross-cluster-connectivity", "xcc-xds.cross-cluster-connectivity.svc"];
    assert_eq!(facts(&secrets.server).names, server);
    assert_eq!(facts(&secrets.gateway).names, [GATEWAY_NAME]);
    assert!(facts(&secrets.ca).is_ca && !facts(&secrets.server).is_ca);
    assert_eq!(facts(&secrets.server).not_after, START + LEAF_SECONDS);
}

#[test]
fn a_certificate_is_renewed_before_it_expires_and_not_earlier() {
    let secrets = planned(&Secrets::default(), START);
    let due = START + LEAF_SECONDS - LEAF_RENEW_SECONDS;
    assert!(planned(&secrets, due - 1) == secrets);
    let renewed = planned(&secrets, due);
    assert!(renewed.ca == secrets.ca);
    assert_eq!(facts(&renewed.server).not_after, due + LEAF_SECONDS);
    assert_eq!(facts(&renewed.gateway).not_after, due + LEAF_SECONDS);
    assert_verify_each_other(&secrets, &renewed, due);
}

/// Ten years, a look every week; everybody sees a Secret only at the look after the one that wrote it.
#[test]
fn each_side_always_verifies_what_the_other_shows() {
    let mut seen = planned(&Secrets::default(), START);
    let mut authorities = std::collections::BTreeSet::new();
    for look in 0..(10 * 365 / 7) {
        let now = START + look * 7 * DAY;
        let written = plan(&seen, NAMESPACE, now).unwrap();
        if written != seen {
            assert_verify_each_other(&written, &seen, now);
            assert_verify_each_other(&seen, &written, now);
            assert_verify_each_other(&written, &written, now);
        }
        authorities.insert(written.ca.as_ref().unwrap().pair.cert.clone());
        assert!(facts(&written.server).not_after > now + LEAF_RENEW_SECONDS);
        seen = written;
    }
    // Each signs for 730 - 180 days and until the look after.
    assert_eq!(authorities.len(), 7);
}

#[test]
fn the_successor_is_trusted_before_it_signs() {
    let first = planned(&Secrets::default(), START);
    let due = START + CA_SECONDS - CA_RENEW_SECONDS;
    let announced = planned(&first, due);
    let (ca, first_ca) = (announced.ca.clone().unwrap(), first.ca.clone().unwrap());
    assert!(ca.pair == first_ca.pair);
    let next = ca.next.clone().unwrap();
    assert!(announced.server.as_ref().unwrap().ca.contains(next.cert.trim()));
    let signing = planned(&announced, due + PROPAGATION_SECONDS);
    let ca = signing.ca.unwrap();
    assert!(ca.pair == next && ca.next.is_none());
    assert!(ca.ca.contains(first_ca.pair.cert.trim()), "what the old one has signed is still valid");
}

#[test]
fn what_is_broken_is_made_anew() {
    let right = planned(&Secrets::default(), START);
    let broken = |change: &dyn Fn(&mut Secrets)| {
        let mut secrets = right.clone();
        change(&mut secrets);
        let repaired = planned(&secrets, START + DAY);
        assert!(repaired != secrets);
        assert_verify_each_other(&repaired, &repaired, START + DAY);
        repaired
    };
    let untouched = |repaired: &Secrets| repaired.ca == right.ca && repaired.gateway == right.gateway;
    assert!(untouched(&broken(&|secrets| secrets.server = None)));
    assert!(untouched(&broken(&|secrets| secrets.server.as_mut().unwrap().pair.cert = "x".to_owned())));
    let other_key = right.gateway.clone().unwrap().pair.key;
    assert!(untouched(&broken(&|secrets| secrets.server.as_mut().unwrap().pair.key.clone_from(&other_key))));
    assert!(untouched(&broken(&|secrets| secrets.server.as_mut().unwrap().ca.clear())));
    assert!(untouched(&broken(&|secrets| {
        // Of an authority that nobody knows.
        secrets.server = Some(Stored { ours: true, ..theirs(START, &["xcc-xds"]).1 });
    })));
    // A new authority takes everything with it: who deletes the old one wants it distrusted.
    let rekeyed = broken(&|secrets| secrets.ca = None);
    assert!(!rekeyed.gateway.unwrap().ca.contains(right.ca.as_ref().unwrap().pair.cert.trim()));
    broken(&|secrets| secrets.ca.as_mut().unwrap().pair.key = "x".to_owned());
}

#[test]
fn after_years_of_absence_everything_is_made_anew() {
    let old = planned(&Secrets::default(), START);
    let now = START + 3 * CA_SECONDS;
    let new = planned(&old, now);
    assert_verify_each_other(&new, &new, now);
    assert!(
        !new.ca.unwrap().ca.contains(old.ca.unwrap().pair.cert.trim()),
        "what has expired is not trusted"
    );
}

#[test]
fn others_certificates_are_used_as_they_are_and_trusted_by_ours() {
    let (_, server) = theirs(START, &["xcc-xds"]);
    let secrets = Secrets { server: Some(server.clone()), ..Secrets::default() };
    // It expires long before: that is its owner's concern.
    for now in [START, START + DAY / 2] {
        let planned = planned(&secrets, now);
        assert!(planned.server == secrets.server);
        let gateway = planned.gateway.unwrap();
        assert!(pem::signed_by_any(&server.pair.cert, &gateway.ca));
    }
    let (_, gateway) = theirs(START, &[GATEWAY_NAME]);
    let both = Secrets { server: Some(server), gateway: Some(gateway), ca: None };
    assert!(planned(&both, START) == both, "no authority of ours is needed");
}

#[test]
fn others_secrets_without_the_parts_that_are_needed_are_refused() {
    let (ca, right) = theirs(START, &["xcc-xds"]);
    for change in [
        (|stored: &mut Stored| stored.pair.cert.clear()) as fn(&mut Stored),
        |stored| stored.pair.key.clear(),
        |stored| stored.ca.clear(),
    ] {
        let mut stored = right.clone();
        change(&mut stored);
        let secrets = Secrets { server: Some(stored), ..Secrets::default() };
        let error = plan(&secrets, NAMESPACE, START).err().unwrap();
        assert!(matches!(error, XdsCertificatesError::Unusable { secret: SERVER_SECRET, .. }), "{error}");
    }
    for pair in [right.pair.clone(), Pair { key: right.pair.key, ..ca }] {
        let ca = Stored { pair, ca: String::new(), next: None, ours: false };
        let error = plan(&Secrets { ca: Some(ca), ..Secrets::default() }, NAMESPACE, START).err().unwrap();
        assert!(matches!(error, XdsCertificatesError::Unusable { secret: CA_SECRET, .. }), "{error}");
    }
}

#[test]
fn an_authority_of_somebody_else_signs_and_is_never_changed() {
    let pair = issue::authority(START, 60 * DAY).unwrap();
    let ca = Stored { pair, ca: String::new(), next: None, ours: false };
    let secrets = Secrets { ca: Some(ca.clone()), ..Secrets::default() };
    let first = planned(&secrets, START);
    assert!(first.ca.as_ref().unwrap().pair == ca.pair && first.ca.as_ref().unwrap().next.is_none());
    assert_eq!(facts(&first.server).not_after, START + 60 * DAY, "not longer than its authority");
    assert!(planned(&first, START + 30 * DAY).server == first.server);
    assert!(plan(&secrets, NAMESPACE, START + 60 * DAY).is_err());
}
