//! The certificates of a development directory: one authority, one server, eight identities.
//!
//! Refuses to be anything more: the authority's name carries the mark that `privet serve` refuses. Keys are ECDSA P-256,
//! which every gRPC client accepts.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, string::Ia5String,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use crate::identity::dev::COMMON_NAME_PREFIX;

/// How long an authority lasts.
const AUTHORITY_LIFE: Duration = Duration::days(365);
/// How long a certificate lasts.
pub(super) const LEAF_LIFE: Duration = Duration::days(90);
/// A certificate that ends sooner is replaced.
pub(super) const RENEWED_BEFORE: Duration = Duration::days(7);

/// A certificate and its private key, in PEM.
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Pair {
    /// Whether certificate and key can be read, belong together, and last until then.
    pub(super) fn lasts(&self, until: OffsetDateTime) -> bool {
        let Ok((_, pem)) = parse_x509_pem(self.cert.as_bytes()) else { return false };
        let Ok((_, certificate)) = parse_x509_certificate(&pem.contents) else { return false };
        let Ok(key) = KeyPair::from_pem(&self.key) else { return false };
        certificate.public_key().raw == key.subject_public_key_info()
            && certificate.validity().not_after.timestamp() > until.unix_timestamp()
    }
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
        let mut params = named(&format!("{COMMON_NAME_PREFIX} CA"), now, AUTHORITY_LIFE);
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
        let mut params = named(&format!("{COMMON_NAME_PREFIX} server"), self.now, LEAF_LIFE);
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
        let mut params = named(&format!("{COMMON_NAME_PREFIX} {name}"), self.now, LEAF_LIFE);
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

/// Starts a day early, for clocks that differ.
fn named(common_name: &str, now: OffsetDateTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - Duration::days(1);
    params.not_after = now + life;
    params
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
        server::WebPkiClientVerifier,
    };

    use super::*;
    use crate::identity::{dev::refuse_dev_certificates, spiffe_id};

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    /// An authority, and a store that trusts it.
    fn authority() -> (Authority, Pair, Arc<RootCertStore>) {
        let pair = Authority::make(now()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der(&pair.cert)).unwrap();
        (Authority::load(&pair, now()).unwrap(), pair, Arc::new(roots))
    }

    fn at(moment: OffsetDateTime) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(moment.unix_timestamp().unsigned_abs()))
    }

    #[test]
    fn the_server_is_trusted_on_this_machine_only_and_for_its_time_only() {
        let (authority, _, roots) = authority();
        let leaf = der(&authority.server().unwrap().cert);
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
        let verify = |name: &'static str, moment| {
            verifier.verify_server_cert(&leaf, &[], &ServerName::try_from(name).unwrap(), &[], at(moment)).is_ok()
        };
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(verify(name, now()), "{name}");
        }
        assert!(!verify("privet.example", now()) && !verify("192.0.2.1", now()));
        assert!(verify("localhost", now() + LEAF_LIFE - Duration::seconds(1)));
        assert!(!verify("localhost", now() + LEAF_LIFE + Duration::seconds(1)));
    }

    #[test]
    fn a_client_is_trusted_as_a_client_with_its_spiffe_id() {
        let (authority, _, roots) = authority();
        let id = "spiffe://acme.example/auditor";
        let leaf = der(&authority.client("auditor", id).unwrap().cert);
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
        assert!(verifier.verify_client_cert(&leaf, &[], at(now())).is_ok());
        assert_eq!(spiffe_id(&leaf).unwrap().as_str(), id);
        let server = der(&authority.server().unwrap().cert);
        assert!(verifier.verify_client_cert(&server, &[], at(now())).is_err(), "a server is no client");
        let (another, _, _) = self::authority();
        let foreign = der(&another.client("auditor", id).unwrap().cert);
        assert!(verifier.verify_client_cert(&foreign, &[], at(now())).is_err(), "another authority's");
    }

    #[test]
    fn names_differ_and_carry_the_mark_that_serve_refuses() {
        let (authority, ca, _) = authority();
        let leaf = authority.client("auditor", "spiffe://acme.example/auditor").unwrap();
        let pems = [ca.cert, leaf.cert, authority.server().unwrap().cert];
        let [ca, client, server] = pems.each_ref().map(|pem| {
            let der = der(pem);
            parse_x509_certificate(&der).unwrap().1.subject().to_string()
        });
        assert!(ca != client && client != server && server != ca);
        assert!(pems.iter().all(|pem| refuse_dev_certificates(pem.as_bytes()).is_err()));
    }

    #[test]
    fn a_pair_lasts_until_its_end_and_only_if_it_belongs_together() {
        let (authority, ca, _) = authority();
        let leaf = authority.client("auditor", "spiffe://acme.example/auditor").unwrap();
        let end = now() + LEAF_LIFE;
        assert!(leaf.lasts(end - Duration::seconds(1)) && !leaf.lasts(end));
        assert!(ca.lasts(now() + LEAF_LIFE + RENEWED_BEFORE), "a new authority outlives its certificates");
        let other = authority.client("auditor", "spiffe://acme.example/auditor").unwrap();
        let mixed = Pair { cert: leaf.cert.clone(), key: other.key };
        assert!(!mixed.lasts(now()));
        for (cert, key) in [("", leaf.key.as_str()), (leaf.cert.as_str(), ""), ("x", "y")] {
            assert!(!Pair { cert: cert.into(), key: key.into() }.lasts(now()));
        }
    }
}
