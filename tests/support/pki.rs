//! Certificates for tests: CAs, servers and clients as wrong as a test wants them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::TLS13,
};

/// A CA with its key.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Ca {
    /// A CA of this common name.
    pub fn new(common_name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for `localhost`.
    pub fn server(&self) -> Leaf {
        let mut params = named("test server");
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// A client certificate with these URIs.
    pub fn client(&self, uris: &[&str]) -> Leaf {
        self.issue(&client_params(uris))
    }

    /// A client certificate that ended in 2001.
    pub fn expired_client(&self, uri: &str) -> Leaf {
        let mut params = client_params(&[uri]);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.issue(&params)
    }

    /// A client certificate that ends in so many seconds.
    pub fn client_for(&self, uri: &str, secs: i64) -> Leaf {
        let mut params = client_params(&[uri]);
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::seconds(secs);
        self.issue(&params)
    }

    /// A certificate of a server with a client's name.
    pub fn client_without_client_usage(&self, uri: &str) -> Leaf {
        let mut params = client_params(&[uri]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// A client's TLS configuration that trusts this CA's servers.
    pub fn client_config(&self, leaf: Option<&Leaf>) -> ClientConfig {
        self.client_config_of(leaf, &TLS13)
    }

    /// The same, of another TLS version.
    pub fn client_config_of(&self, leaf: Option<&Leaf>, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match leaf {
            Some(leaf) => builder.with_client_auth_cert(vec![leaf.der.clone()], leaf.key_der()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// A certificate with its key.
pub struct Leaf {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Leaf {
    /// Writes `cert.pem` and `key.pem`.
    pub fn write(&self, dir: &Path) {
        fs::write(dir.join("cert.pem"), &self.pem).unwrap();
        let key = dir.join("key.pem");
        fs::write(&key, self.key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Its certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

fn client_params(uris: &[&str]) -> CertificateParams {
    let mut params = named("test client");
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A subject of its own for each certificate: some clients reject a leaf that is named like its CA.
fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
