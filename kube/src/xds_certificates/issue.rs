//! Makes keys and certificates. The only place with randomness: keys and serial numbers.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::time::ASN1Time;

use super::XdsCertificatesError;

/// Certificates are valid from this long before they are made: clocks differ.
pub(super) const BACKDATE_SECONDS: i64 = 3600;

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Server,
    Client,
}

/// An authority that signs nothing but certificates.
pub(super) fn authority(now: i64, lifetime_seconds: i64) -> Result<Pair, XdsCertificatesError> {
    let key = KeyPair::generate()?;
    let mut params = params(now, now.saturating_add(lifetime_seconds))?;
    // Authorities that follow each other need different names: verifiers find an issuer by its name.
    params.distinguished_name.push(DnType::CommonName, format!("xcc xDS authority {now}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key)?.pem();
    Ok(Pair { cert, key: key.serialize_pem() })
}

/// A certificate for `names`, signed by `issuer`.
pub(super) fn leaf(
    issuer: &Pair,
    names: &[String],
    purpose: Purpose,
    now: i64,
    not_after: i64,
) -> Result<Pair, XdsCertificatesError> {
    let issuer = Issuer::from_ca_cert_pem(&issuer.cert, KeyPair::from_pem(&issuer.key)?)?;
    let key = KeyPair::generate()?;
    let mut params = params(now, not_after)?;
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    if let Some(name) = names.first() {
        params.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match purpose {
        Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, &issuer)?.pem();
    Ok(Pair { cert, key: key.serialize_pem() })
}

/// The public key that belongs to a private key (SubjectPublicKeyInfo, DER); none if it cannot be read.
pub(super) fn public_key(key: &str) -> Option<Vec<u8>> {
    use rcgen::PublicKeyData;
    KeyPair::from_pem(key).ok().map(|key| key.subject_public_key_info())
}

fn params(now: i64, not_after: i64) -> Result<CertificateParams, XdsCertificatesError> {
    let time = |seconds: i64| {
        let time = ASN1Time::from_timestamp(seconds).map_err(|_| XdsCertificatesError::Time(seconds))?;
        Ok::<_, XdsCertificatesError>(time.to_datetime())
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = time(now.saturating_sub(BACKDATE_SECONDS))?;
    params.not_after = time(not_after)?;
    Ok(params)
}
