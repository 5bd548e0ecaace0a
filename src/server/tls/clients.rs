//! Which client certificates are accepted: what a CA issued, for the trust domains that this CA may vouch for.
//!
//! A certificate without a usable SPIFFE id passes here, because there is no domain to hold against its CA; its requests are
//! refused, and recorded, as nobody's.

use std::{collections::BTreeSet, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use crate::identity::{TrustDomain, spiffe_id};

/// A CA and the trust domains it may vouch for.
#[derive(Debug)]
pub(super) struct Ca {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) trust_domains: BTreeSet<TrustDomain>,
}

impl Ca {
    fn vouches_for(&self, leaf: &CertificateDer<'_>) -> bool {
        match spiffe_id(leaf) {
            Ok(principal) => principal.trust_domain().is_some_and(|domain| self.trust_domains.contains(domain)),
            Err(_) => true,
        }
    }
}

/// Accepts what any of its CAs accepts for a trust domain of that CA's own.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    cas: Vec<Ca>,
    hints: Vec<DistinguishedName>,
}

impl ClientVerifier {
    pub(super) fn new(cas: Vec<Ca>) -> Self {
        let hints = cas.iter().flat_map(|ca| ca.verifier.root_hint_subjects()).cloned().collect();
        Self { cas, hints }
    }

    fn first(&self) -> Result<&Arc<dyn ClientCertVerifier>, Error> {
        self.cas.first().map(|ca| &ca.verifier).ok_or_else(|| Error::General("no client CA".into()))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut refusal = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for ca in &self.cas {
            match ca.verifier.verify_client_cert(leaf, intermediates, now) {
                Ok(verified) if ca.vouches_for(leaf) => return Ok(verified),
                Ok(_) => refusal = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure),
                // The CA that issued it says best what is wrong with it.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Independent of the CA: all verifiers are made of the same provider.
        self.first()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first().map(|ca| ca.supported_verify_schemes()).unwrap_or_default()
    }
}
