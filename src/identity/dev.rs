//! The mark of certificates that `privet dev` makes, so that a real deployment can refuse them.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::X509Name};

/// How the common name of every certificate of `privet dev` begins.
pub const COMMON_NAME_PREFIX: &str = "privet dev";

/// A file of certificates that a real deployment can't use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A certificate, or its issuer, was made by `privet dev`.
    #[error("a certificate was made by `privet dev`, whose keys lie unprotected: use certificates of your own CA")]
    Development,
    /// The file is not PEM, or holds something that is no certificate.
    #[error("a certificate can't be read")]
    Unreadable,
}

/// Checks that no certificate in `pem` was made or issued by `privet dev`.
///
/// # Errors
/// [`Refused`].
pub fn refuse_dev_certificates(pem: &[u8]) -> Result<(), Refused> {
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let der = certificate.map_err(|_| Refused::Unreadable)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| Refused::Unreadable)?;
        if [certificate.subject(), certificate.issuer()].into_iter().any(is_dev) {
            return Err(Refused::Development);
        }
    }
    Ok(())
}

fn is_dev(name: &X509Name<'_>) -> bool {
    name.iter_common_name().any(|common| common.as_str().is_ok_and(|text| text.starts_with(COMMON_NAME_PREFIX)))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn named(common_name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params
    }

    #[test]
    fn a_development_ca_and_what_it_issued_are_refused() {
        let key = KeyPair::generate().unwrap();
        let mut params = named("privet dev CA 3f2a");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let leaf = named("billing").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem();
        let real = named("Acme CA (privet dev team)").self_signed(&KeyPair::generate().unwrap()).unwrap().pem();

        assert_eq!(refuse_dev_certificates(real.as_bytes()), Ok(()));
        assert_eq!(refuse_dev_certificates(ca.as_bytes()), Err(Refused::Development));
        assert_eq!(refuse_dev_certificates(leaf.as_bytes()), Err(Refused::Development));
        assert_eq!(refuse_dev_certificates(format!("{real}{ca}").as_bytes()), Err(Refused::Development));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(refuse_dev_certificates(pem.as_bytes()), Err(Refused::Unreadable));
    }
}
