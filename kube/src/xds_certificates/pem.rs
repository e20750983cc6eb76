//! Certificates in PEM: what they say, and sets of them. Owns parsing; must not know which certificates there are to be.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;

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
    let mut all: Vec<Vec<u8>> = Vec::new();
    for der in bundles.into_iter().flat_map(ders) {
        let valid = parse_x509_certificate(&der)
            .is_ok_and(|(_, certificate)| certificate.validity().not_after.timestamp() > now);
        if valid && !all.contains(&der) && all.len() < CERTIFICATES_MAX {
            all.push(der);
        }
    }
    all.iter().map(|der| encoded(der)).collect()
}

/// Certificates of a bundle; whatever else there is is passed over.
fn ders(pem: &str) -> Vec<Vec<u8>> {
    Pem::iter_from_buffer(pem.as_bytes())
        .take(CERTIFICATES_MAX)
        .map_while(Result::ok)
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.contents)
        .collect()
}

/// RFC 7468.
fn encoded(der: &[u8]) -> String {
    let base64 = base64(der);
    let lines: Vec<&str> = (0..base64.len()).step_by(64).map(|at| &base64[at..(at + 64).min(base64.len())]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let six = (word >> (18 - 6 * index)) & 63;
            text.push(if index <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_test_vectors() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(facts(text), None);
            assert!(!signed_by_any(text, text));
            assert_eq!(union([text], 0), "");
        }
    }
}
