//! Which certificates there have to be, from those that there are and the time. Pure but for the keys it has made.
//!
//! An authority is followed by another long before it expires. The new one is trusted first and signs only after
//! [`PROPAGATION_SECONDS`], when everybody trusts it; the old one is trusted until it expires. So at any time both ends
//! trust whatever the other shows, and a stream can be opened again.

use super::issue::{self, BACKDATE_SECONDS, Pair, Purpose};
use super::pem::{self, Facts};
use super::{CA_SECRET, GATEWAY_NAME, GATEWAY_SECRET, SERVER_SECRET, SERVER_SERVICE, XdsCertificatesError};

const DAY: i64 = 24 * 3600;
/// How long an authority is valid.
pub(super) const CA_SECONDS: i64 = 730 * DAY;
/// Its successor is made when it has so much left: more than a certificate that it has signed lives.
pub(super) const CA_RENEW_SECONDS: i64 = 180 * DAY;
/// A kubelet takes a minute or two to show a changed Secret to a pod; a node may be away for longer.
pub(super) const PROPAGATION_SECONDS: i64 = DAY;
/// How long a server's or gateway's certificate is valid.
pub(super) const LEAF_SECONDS: i64 = 90 * DAY;
/// It is renewed when it has so much left, but never later than when a third of its life is left.
pub(super) const LEAF_RENEW_SECONDS: i64 = 30 * DAY;

/// What a Secret holds, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) pair: Pair,
    /// The authorities that whoever mounts it trusts.
    pub(super) ca: String,
    /// The authority's successor.
    pub(super) next: Option<Pair>,
    /// Made by xcc, which may then change it.
    pub(super) ours: bool,
}

/// The three Secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    pub(super) ca: Option<Stored>,
    pub(super) server: Option<Stored>,
    pub(super) gateway: Option<Stored>,
}

/// The Secrets as they have to be at `now` (seconds since 1970): what is right is in them unchanged.
pub(super) fn plan(secrets: &Secrets, namespace: &str, now: i64) -> Result<Secrets, XdsCertificatesError> {
    let theirs = |stored: &Option<Stored>| stored.clone().filter(|stored| !stored.ours);
    let (server, gateway) = (theirs(&secrets.server), theirs(&secrets.gateway));
    for (secret, stored) in [(SERVER_SECRET, &server), (GATEWAY_SECRET, &gateway)] {
        if let Some(stored) = stored {
            check_theirs(secret, stored)?;
        }
    }
    if let (Some(server), Some(gateway)) = (&server, &gateway) {
        let (server, gateway) = (Some(server.clone()), Some(gateway.clone()));
        return Ok(Secrets { ca: secrets.ca.clone(), server, gateway });
    }
    let ca = authority(secrets.ca.as_ref(), now)?;
    // Whoever has a certificate of ours must trust the peer's authority too, if that is another.
    let trusted = |peer: &Option<Stored>| {
        pem::union([ca.ca.as_str()].into_iter().chain(peer.iter().map(|peer| peer.ca.as_str())), now)
    };
    let (server_ca, gateway_ca) = (trusted(&gateway), trusted(&server));
    let server = match server {
        Some(server) => server,
        None => {
            leaf(secrets.server.as_ref(), &ca, server_ca, &server_names(namespace), Purpose::Server, now)?
        }
    };
    let gateway = match gateway {
        Some(gateway) => gateway,
        None => {
            leaf(secrets.gateway.as_ref(), &ca, gateway_ca, &[GATEWAY_NAME.to_owned()], Purpose::Client, now)?
        }
    };
    Ok(Secrets { ca: Some(ca), server: Some(server), gateway: Some(gateway) })
}

/// Under what names a pod may know the Service. The cluster's own domain is not known here; nobody needs to write it.
pub(super) fn server_names(namespace: &str) -> Vec<String> {
    ["", &format!(".{namespace}"), &format!(".{namespace}.svc")]
        .map(|rest| format!("{SERVER_SERVICE}{rest}"))
        .into()
}

/// Others' certificates are others' concern, but without these parts nothing can work.
fn check_theirs(secret: &'static str, stored: &Stored) -> Result<(), XdsCertificatesError> {
    let problem = |problem: &str| Err(XdsCertificatesError::Unusable { secret, problem: problem.to_owned() });
    if pem::facts(&stored.pair.cert).is_none() {
        return problem("tls.crt holds no certificate in PEM");
    }
    if stored.pair.key.is_empty() {
        return problem("tls.key is missing");
    }
    if pem::facts(&stored.ca).is_none() {
        return problem("ca.crt holds no certificate in PEM; it has to name the authority of the other side");
    }
    Ok(())
}

fn authority(there: Option<&Stored>, now: i64) -> Result<Stored, XdsCertificatesError> {
    let new = || issue::authority(now, CA_SECONDS);
    let Some(there) = there else {
        let pair = new()?;
        return Ok(Stored { ca: pair.cert.clone(), pair, next: None, ours: true });
    };
    if !there.ours {
        return their_authority(there, now);
    }
    let usable = |pair: &Pair| sound(pair).is_some_and(|facts| facts.is_ca && facts.not_after > now);
    let mut next = there.next.clone().filter(usable);
    let mut pair = if usable(&there.pair) {
        there.pair.clone()
    } else {
        // Nothing to wait for: what the old one signed is no longer trusted either.
        next.take().map_or_else(new, Ok)?
    };
    if next.is_none() && expiry(&pair) <= now.saturating_add(CA_RENEW_SECONDS) {
        next = Some(new()?);
    }
    if let Some(known) = next.take_if(|next| trusted_by_all(next, now)) {
        pair = known;
    }
    let bundle =
        [there.ca.as_str(), &pair.cert].into_iter().chain(next.iter().map(|next| next.cert.as_str()));
    Ok(Stored { ca: pem::union(bundle, now), pair, next, ours: true })
}

/// Somebody wants their own authority to sign: it is never changed.
fn their_authority(there: &Stored, now: i64) -> Result<Stored, XdsCertificatesError> {
    let problem =
        |problem: &str| XdsCertificatesError::Unusable { secret: CA_SECRET, problem: problem.to_owned() };
    let facts = sound(&there.pair)
        .ok_or_else(|| problem("tls.crt and tls.key are no certificate and its key (PKCS #8) in PEM"))?;
    if !facts.is_ca {
        return Err(problem("tls.crt is not that of an authority"));
    }
    if facts.not_after <= now {
        return Err(problem("tls.crt has expired"));
    }
    // An intermediate is trusted through its root in ca.crt, or by itself.
    let ca = pem::union([there.pair.cert.as_str(), &there.ca], now);
    Ok(Stored { ca, ..there.clone() })
}

fn trusted_by_all(pair: &Pair, now: i64) -> bool {
    let made =
        pem::facts(&pair.cert).map_or(i64::MAX, |facts| facts.not_before.saturating_add(BACKDATE_SECONDS));
    now >= made.saturating_add(PROPAGATION_SECONDS)
}

fn leaf(
    there: Option<&Stored>,
    ca: &Stored,
    trusted: String,
    names: &[String],
    purpose: Purpose,
    now: i64,
) -> Result<Stored, XdsCertificatesError> {
    let mut sorted = names.to_vec();
    sorted.sort();
    let right = |stored: &&Stored| {
        sound(&stored.pair).is_some_and(|facts| {
            let life = facts.not_after - facts.not_before;
            facts.names == sorted
                && facts.not_before <= now
                && facts.not_after > now.saturating_add(LEAF_RENEW_SECONDS.min(life / 3))
                && pem::signed_by_any(&stored.pair.cert, &ca.ca)
        })
    };
    let pair = match there.filter(right) {
        Some(stored) => stored.pair.clone(),
        None => {
            let not_after = now.saturating_add(LEAF_SECONDS).min(expiry(&ca.pair));
            issue::leaf(&ca.pair, names, purpose, now, not_after)?
        }
    };
    Ok(Stored { pair, ca: trusted, next: None, ours: true })
}

/// The certificate's facts, if the key is its own.
fn sound(pair: &Pair) -> Option<Facts> {
    let facts = pem::facts(&pair.cert)?;
    (issue::public_key(&pair.key)? == facts.public_key).then_some(facts)
}

fn expiry(pair: &Pair) -> i64 {
    pem::facts(&pair.cert).map_or(0, |facts| facts.not_after)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
