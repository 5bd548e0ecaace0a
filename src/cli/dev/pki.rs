//! The certificates of a development directory: one authority, one server, eight identities.
//!
//! Refuses to be anything more: the authority's name carries the mark that `privet serve` refuses. Keys are ECDSA P-256,
//! which every gRPC client accepts.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, string::Ia5String,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use crate::identity::dev::COMMON_NAME_PREFIX;

/// How long an authority lasts.
const AUTHORITY_DAYS: i64 = 3_650;
/// How long a certificate lasts.
const LEAF_DAYS: i64 = 90;
/// A certificate that ends sooner is replaced.
const RENEW_DAYS: i64 = 7;

/// A certificate and its private key, in PEM.
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

/// A development authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    now: OffsetDateTime,
}

impl Authority {
    /// Makes an authority.
    pub(super) fn make(now: OffsetDateTime) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = named(&format!("{COMMON_NAME_PREFIX} CA"), now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Pair { cert: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
    }

    /// Takes an authority up again.
    pub(super) fn load(pair: &Pair, now: OffsetDateTime) -> Result<Self> {
        let key = KeyPair::from_pem(&pair.key).context("the authority's key can't be read")?;
        let issuer = Issuer::from_ca_cert_pem(&pair.cert, key).context("the authority's certificate can't be read")?;
        Ok(Self { issuer, now })
    }

    /// A certificate for a server on this machine.
    pub(super) fn server(&self) -> Result<Pair> {
        let mut params = named(&format!("{COMMON_NAME_PREFIX} server"), self.now, LEAF_DAYS);
        params.subject_alt_names = vec![
            SanType::DnsName(Ia5String::try_from("localhost")?),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for a client with this SPIFFE id.
    pub(super) fn client(&self, name: &str, spiffe_id: &str) -> Result<Pair> {
        let mut params = named(&format!("{COMMON_NAME_PREFIX} {name}"), self.now, LEAF_DAYS);
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(spiffe_id)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Pair { cert: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

/// Whether a certificate can be read and lasts for a while yet.
pub(super) fn is_current(pem: &str, now: OffsetDateTime) -> bool {
    let Ok((_, pem)) = parse_x509_pem(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = parse_x509_certificate(&pem.contents) else { return false };
    let last = now + Duration::days(RENEW_DAYS);
    certificate.validity().not_after.timestamp() > last.unix_timestamp()
}

/// Starts a day early, for clocks that differ.
fn named(common_name: &str, now: OffsetDateTime, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_renewed_in_its_last_week_and_names_differ() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let pair = Authority::make(now).unwrap();
        let authority = Authority::load(&pair, now).unwrap();
        let leaf = authority.client("auditor", "spiffe://acme.example/auditor").unwrap();
        assert!(is_current(&leaf.cert, now + Duration::days(LEAF_DAYS - RENEW_DAYS - 1)));
        assert!(!is_current(&leaf.cert, now + Duration::days(LEAF_DAYS - RENEW_DAYS + 1)));
        assert!(!is_current("no certificate", now));
        let subjects = [&pair.cert, &leaf.cert, &authority.server().unwrap().cert].map(|pem| {
            let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
            parse_x509_certificate(&pem.contents).unwrap().1.subject().to_string()
        });
        assert!(subjects[0] != subjects[1] && subjects[1] != subjects[2] && subjects[0] != subjects[2]);
        assert!(crate::identity::dev::refuse_dev_certificates(pair.cert.as_bytes()).is_err());
    }
}
