//! TLS as Privet speaks it: version 1.3, a client certificate, HTTP/2, and a full handshake every time.
//!
//! INVARIANT: a handshake that succeeds has shown a certificate that a configured CA issued and that CA may vouch for. There
//! is no resumption, so the check is made anew for each connection, against the files as last read.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use zeroize::Zeroizing;

use crate::{
    config,
    identity::dev::{self, refuse_dev_certificates},
};

mod clients;

use clients::{Ca, ClientVerifier};

/// Whether certificates that `privet dev` made are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevCertificates {
    /// By `privet dev` only.
    Accepted,
    /// By everything else.
    Refused,
}

/// The server's certificate and the CAs that it trusts, replaceable while it runs.
pub struct Tls {
    files: config::Tls,
    dev: DevCertificates,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// [`Error`], naming the file.
    pub fn load(files: &config::Tls, dev: DevCertificates) -> Result<Self, Error> {
        let current = ArcSwap::from_pointee(server_config(files, dev)?);
        Ok(Self { files: files.clone(), dev, current })
    }

    /// Reads the files again, for connections from now on. Blocks.
    ///
    /// # Errors
    /// [`Error`], naming the file; what was read before stays in force.
    pub fn reload(&self) -> Result<(), Error> {
        self.current.store(Arc::new(server_config(&self.files, self.dev)?));
        Ok(())
    }

    /// What is in force.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Certificates or keys that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{} can't be read", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds certificates that can't be used here.
    #[error("{}: {source}", file.display())]
    Refused {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: dev::Refused,
    },
    /// A file does not hold what it should.
    #[error("{} {rule}", file.display())]
    Unusable {
        /// Which file.
        file: PathBuf,
        /// What it should hold.
        rule: &'static str,
    },
}

fn server_config(files: &config::Tls, dev: DevCertificates) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |file: &Path, rule| Error::Unusable { file: file.to_owned(), rule };
    let mut cas = Vec::new();
    for ca in &files.client_ca {
        let roots = roots(&ca.file, dev)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|_| unusable(&ca.file, "must hold a CA certificate"))?;
        cas.push(Ca { verifier, trust_domains: ca.trust_domains.clone() });
    }
    let chain = certificates(&files.cert, dev)?;
    let open = fs::metadata(&files.key).is_ok_and(|found| found.permissions().mode() & 0o007 != 0);
    if open {
        return Err(unusable(&files.key, "must not be open to every user of this machine: chmod 600 it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&Zeroizing::new(read(&files.key)?))
        .map_err(|_| unusable(&files.key, "must hold a private key in PEM"))?;
    configure(provider, ClientVerifier::new(cas), chain, key)
        .map_err(|_| unusable(&files.key, "must hold the private key of the server's certificate"))
}

fn configure(
    provider: Arc<CryptoProvider>,
    clients: ClientVerifier,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut tls = ServerConfig::builder_with_provider(provider)
        // Named, because a dependency might one day enable 1.2.
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    Ok(tls)
}

fn roots(file: &Path, dev: DevCertificates) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, dev)? {
        roots
            .add(certificate)
            .map_err(|_| Error::Unusable { file: file.to_owned(), rule: "must hold CA certificates only" })?;
    }
    Ok(roots)
}

fn certificates(file: &Path, dev: DevCertificates) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(file)?;
    match dev {
        DevCertificates::Accepted => {}
        DevCertificates::Refused => {
            refuse_dev_certificates(&pem).map_err(|source| Error::Refused { file: file.to_owned(), source })?
        }
    }
    let unusable = || Error::Unusable { file: file.to_owned(), rule: "must hold certificates in PEM" };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| unusable())?;
    if certificates.is_empty() { Err(unusable()) } else { Ok(certificates) }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|source| Error::Unreadable { file: file.to_owned(), source })
}

/// HTTP/2, the only protocol spoken.
pub(super) const ALPN: &[u8] = b"h2";
