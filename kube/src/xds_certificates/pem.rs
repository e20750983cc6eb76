//! Certificates in PEM: what they say, and sets of them. Owns parsing; must not know which certificates there are to be.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;

/// RFC 7468, section 5.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// More in one Secret are taken for a mistake.
const CERTIFICATES_MAX: usize = 64;

/// What is to be known of a certificate. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// DNS names in the subject alternative names, sorted.
    pub(super) names: Vec<String>,
    /// The public key as in the certificate (SubjectPublicKeyInfo, DER).
    pub(super) public_key: Vec<u8>,
    pub(super) is_ca: bool,
}

/// The first certificate of a chain; none if it is no certificate.
pub(super) fn facts(pem: &str) -> Option<Facts> {
    let der = ders(pem).into_iter().next()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    let mut names: Vec<String> = Vec::new();
    if let Some(san) = certificate.subject_alternative_name().ok()? {
        names.extend(san.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    names.sort();
    Some(Facts {
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        names,
        public_key: certificate.public_key().raw.to_vec(),
        is_ca: certificate.is_ca(),
    })
}

/// Whether the first certificate of the chain was signed by one of the authorities.
pub(super) fn signed_by_any(pem: &str, authorities: &str) -> bool {
    let Some(leaf) = ders(pem).into_iter().next() else { return false };
    let Ok((_, leaf)) = parse_x509_certificate(&leaf) else { return false };
    ders(authorities).iter().any(|der| match parse_x509_certificate(der) {
        Ok((_, authority)) => signed_by(&leaf, &authority),
        Err(_) => false,
    })
}

fn signed_by(leaf: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    leaf.issuer() == authority.subject() && leaf.verify_signature(Some(authority.public_key())).is_ok()
}

/// The certificates of all bundles, each once, in order, without those that had expired by `now`.
pub(super) fn union<'a>(bundles: impl IntoIterator<Item = &'a str>, now: i64) -> String {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (text, der) in bundles.into_iter().flat_map(certificates) {
        let valid = parse_x509_certificate(&der)
            .is_ok_and(|(_, certificate)| certificate.validity().not_after.timestamp() > now);
        if valid && all.len() < CERTIFICATES_MAX && !all.iter().any(|(_, other)| *other == der) {
            all.push((text, der));
        }
    }
    all.into_iter().map(|(text, _)| text).collect()
}

fn ders(pem: &str) -> Vec<Vec<u8>> {
    certificates(pem).into_iter().map(|(_, der)| der).collect()
}

/// The certificates of a bundle, as they are written there and as DER; whatever else there is is passed over.
fn certificates(pem: &str) -> Vec<(String, Vec<u8>)> {
    let mut rest = pem;
    let mut all = Vec::new();
    while let Some(start) = rest.find(BEGIN).filter(|_| all.len() < CERTIFICATES_MAX) {
        let Some(end) = rest[start..].find(END) else { break };
        let text = format!("{}\n", &rest[start..start + end + END.len()]);
        if let Some(Ok(block)) = Pem::iter_from_buffer(text.as_bytes()).next() {
            all.push((text, block.contents));
        }
        rest = &rest[start + end + END.len()..];
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(facts(text), None);
            assert!(!signed_by_any(text, text));
            assert_eq!(union([text], 0), "");
        }
    }
}
