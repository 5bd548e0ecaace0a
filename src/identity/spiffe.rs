//! The SPIFFE id of a certificate, read strictly (SPIFFE X509-SVID section 2).
//!
//! INVARIANT: whatever a certificate holds, the result is a `spiffe://` principal or an [`Unidentified`].

use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::Unidentified;
use crate::id::Principal;

/// Reads the single SPIFFE id of a leaf certificate, in DER.
///
/// # Errors
/// [`Unidentified`], by the rule that is broken.
pub fn spiffe_id(leaf: &[u8]) -> Result<Principal, Unidentified> {
    read(leaf).map(|(principal, _)| principal)
}

/// The id, and the last second since 1970 in which the certificate is valid.
pub(super) fn read(leaf: &[u8]) -> Result<(Principal, u64), Unidentified> {
    let (rest, certificate) = X509Certificate::from_der(leaf).map_err(|_| Unidentified::Malformed)?;
    if !rest.is_empty() {
        return Err(Unidentified::Malformed);
    }
    let valid_until =
        u64::try_from(certificate.validity().not_after.timestamp()).map_err(|_| Unidentified::Malformed)?;
    let names = certificate.subject_alternative_name().map_err(|_| Unidentified::Malformed)?;
    let Some(names) = names else { return Err(Unidentified::NoSpiffeId) };
    // A name that can't be read might have been a second id.
    if names.value.general_names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(Unidentified::Malformed);
    }
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    match (uris.next(), uris.next()) {
        (None, _) => Err(Unidentified::NoSpiffeId),
        (Some(_), Some(_)) => Err(Unidentified::SeveralSpiffeIds),
        (Some(uri), None) => Ok((one_id(uri)?, valid_until)),
    }
}

fn one_id(uri: &str) -> Result<Principal, Unidentified> {
    // The prefix is checked first: a URI may not be read as any other form of principal.
    if !uri.starts_with("spiffe://") {
        return Err(Unidentified::NoSpiffeId);
    }
    Principal::parse_external(uri).map_err(|_| Unidentified::Malformed)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};

    use super::*;

    fn leaf(names: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn one_spiffe_id_beside_other_kinds_of_names_is_the_principal() {
        let names =
            [SanType::DnsName("billing.acme.example".try_into().unwrap()), uri("spiffe://acme.example/billing")];
        assert_eq!(spiffe_id(&leaf(&names)).unwrap().as_str(), "spiffe://acme.example/billing");
    }

    #[test]
    fn no_uri_is_nobody() {
        assert_eq!(spiffe_id(&leaf(&[])), Err(Unidentified::NoSpiffeId));
        assert_eq!(
            spiffe_id(&leaf(&[SanType::DnsName("spiffe.example".try_into().unwrap())])),
            Err(Unidentified::NoSpiffeId)
        );
    }

    #[test]
    fn a_second_uri_of_any_kind_is_refused() {
        let id = "spiffe://acme.example/billing";
        for second in [id, "spiffe://acme.example/other", "https://acme.example"] {
            assert_eq!(spiffe_id(&leaf(&[uri(id), uri(second)])), Err(Unidentified::SeveralSpiffeIds), "{second}");
            assert_eq!(spiffe_id(&leaf(&[uri(second), uri(id)])), Err(Unidentified::SeveralSpiffeIds), "{second}");
        }
    }

    #[test]
    fn a_uri_never_becomes_another_form_of_principal() {
        for other in ["user:okta/00u1", "system:purge", "role:admin", "https://acme.example/x", "SPIFFE://a/b"] {
            assert_eq!(spiffe_id(&leaf(&[uri(other)])), Err(Unidentified::NoSpiffeId), "{other}");
        }
    }

    #[test]
    fn loosely_written_ids_are_malformed() {
        for bad in [
            "spiffe://",
            "spiffe://acme.example",
            "spiffe://acme.example/",
            "spiffe://acme.example//billing",
            "spiffe://acme.example/../billing",
            "spiffe://ACME.example/billing",
            "spiffe://acme.example:443/billing",
            "spiffe://u@acme.example/billing",
            "spiffe://acme.example/billing?x=1",
            "spiffe://acme.example/bill%69ng",
            "spiffe://acme.example/a,b",
            "spiffe://acme.example/a\nb",
        ] {
            assert_eq!(spiffe_id(&leaf(&[uri(bad)])), Err(Unidentified::Malformed), "{bad}");
        }
        let long = format!("spiffe://acme.example/{}", "a".repeat(300));
        assert_eq!(spiffe_id(&leaf(&[uri(&long)])), Err(Unidentified::Malformed));
    }

    #[test]
    fn garbage_cut_certificates_and_trailing_bytes_are_malformed() {
        let good = leaf(&[uri("spiffe://acme.example/billing")]);
        assert!(spiffe_id(&good).is_ok());
        assert_eq!(spiffe_id(&[]), Err(Unidentified::Malformed));
        assert_eq!(spiffe_id(&good[..good.len() - 1]), Err(Unidentified::Malformed));
        assert_eq!(spiffe_id(&[good.as_slice(), &[0]].concat()), Err(Unidentified::Malformed));
    }

    #[test]
    fn a_second_names_extension_is_malformed() {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri("spiffe://acme.example/billing")];
        let id = b"spiffe://acme.example/admin";
        let mut names = vec![0x30, id.len() as u8 + 2, 0x86, id.len() as u8];
        names.extend_from_slice(id);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(spiffe_id(&der), Err(Unidentified::Malformed));
    }
}
