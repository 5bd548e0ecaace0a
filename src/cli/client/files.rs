//! Reads the files of a client: its certificate, its key, its CA.

use std::{fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use zeroize::Zeroizing;

use super::Failure;

/// TLS as a client: 1.3 only, the CA's certificates only, and the identity's certificate to show.
pub(super) fn tls(ca: &Path, identity: &Path) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|_| unusable(ca, "holds something that is no CA certificate"))?;
    }
    let cert_file = identity.join("cert.pem");
    let chain = certificates(&cert_file)?;
    let key = key(&identity.join("key.pem"))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Failure::usage("this build offers no TLS 1.3"))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|_| unusable(&cert_file, "does not belong to the key beside it"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Reads a small file.
pub(super) fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    bytes(file, File::open(file))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = read(file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable(file, "is no PEM file of certificates"))?;
    if chain.is_empty() { Err(unusable(file, "holds no certificate")) } else { Ok(chain) }
}

/// Reads a private key that nobody but its owner can read.
fn key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let open = File::open(file);
    if let Ok(metadata) = open.as_ref().map_err(|_| ()).and_then(|open| open.metadata().map_err(|_| ()))
        && metadata.permissions().mode() & 0o077 != 0
    {
        let name = file.display();
        return Err(Failure::usage(format!("{name} can be read by others on this machine, so it is not used"))
            .hint(format!("chmod 600 {name}, and consider the key known to whoever could read it")));
    }
    let pem = bytes(file, open)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable(file, "holds no private key in PEM"))
}

fn bytes(file: &Path, open: std::io::Result<File>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = open.and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= FILE_BYTES_MAX => Ok(bytes),
        Ok(_) => Err(unusable(file, "is longer than 1 MiB")),
        Err(error) => Err(Failure::usage(format!("{}: {error}", file.display()))
            .hint("--identity is a directory with cert.pem and key.pem; --ca the file of the server's CA")),
    }
}

fn unusable(file: &Path, why: &str) -> Failure {
    Failure::usage(format!("{} {why}", file.display()))
}

const FILE_BYTES_MAX: u64 = 1 << 20;
