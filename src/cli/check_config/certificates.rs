//! The server's certificate and key, and the CAs of its clients: readable, fitting, in time, and not for development.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt, path::Path};

use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate, pem::Pem, time::ASN1Time,
};

use super::found::Found;
use crate::{
    config::{self, Config},
    server::tls::{DevCertificates, Tls},
};

/// A certificate that ends within this many days is worth a warning.
const DAYS_SOON: i64 = 14;
const DAY_SECS: i64 = 86_400;

/// The server's own certificate and key.
pub(super) fn server(config: &Config, now: u64) -> Found {
    let mut found = Found::default();
    // The client CAs have a check of their own.
    let own = config::Tls { client_ca: Vec::new(), ..config.tls.clone() };
    if let Err(error) = Tls::load(&own, dev(config)) {
        found.problems.push(format!("{:#}", anyhow::Error::from(error)));
    }
    // A group may be how a deployment hands the key to the server.
    let mode = fs::metadata(&config.tls.key).map_or(0, |key| key.permissions().mode());
    let key = config.tls.key.display();
    if mode & 0o007 != 0 {
        found.problems.push(format!("{key} is open to every user of this machine: chmod 600"));
    } else if mode & 0o070 != 0 {
        found.warnings.push(format!("{key} is open to its group"));
    }
    // What can't be read is a problem already.
    let Some(leaf) = ders(&config.tls.cert).into_iter().next() else { return found };
    let Ok((_, leaf)) = parse_x509_certificate(&leaf) else { return found };
    let names = names(&leaf);
    let file = config.tls.cert.display();
    if names.is_empty() {
        found.problems.push(format!("{file} names no host (subject alternative names): clients refuse it"));
    }
    match term(&leaf, now) {
        Term::Ended(at) => found.problems.push(format!("{file} ended at {at}")),
        Term::NotYet(at) => found.problems.push(format!("{file} begins at {at}")),
        Term::Days(days) => {
            found.found = format!("certificate for {}, valid for {days} more days", names.join(", "));
            if days <= DAYS_SOON {
                found.warnings.push(format!("{file} ends in {days} days"));
            }
        }
    }
    found
}

/// The CAs of clients.
pub(super) fn client_cas(config: &Config, now: u64) -> Found {
    let mut found = Found::default();
    let mut domains = Vec::new();
    for ca in &config.tls.client_ca {
        let one = config::Tls { client_ca: vec![ca.clone()], ..config.tls.clone() };
        if let Err(error) = Tls::load(&one, dev(config)) {
            // Not of the server's own files, which come after the CAs when they are loaded.
            let error = format!("{:#}", anyhow::Error::from(error));
            if error.starts_with(&ca.file.display().to_string()) {
                found.problems.push(error);
            }
        }
        for der in ders(&ca.file) {
            let Ok((_, certificate)) = parse_x509_certificate(&der) else { continue };
            check_ca(&ca.file, &certificate, now, &mut found);
        }
        domains.extend(ca.trust_domains.iter().map(|domain| domain.to_string()));
    }
    if found.holds() {
        found.found = format!("{}, for the trust domains {}", files(config.tls.client_ca.len()), domains.join(", "));
    }
    found
}

fn check_ca(file: &Path, certificate: &X509Certificate<'_>, now: u64, found: &mut Found) {
    let file = file.display();
    if !certificate.is_ca() {
        found.problems.push(format!("{file} holds a certificate that is no CA's"));
    }
    // A trust anchor's term is not checked in a handshake, so this is for people to act on.
    match term(certificate, now) {
        Term::Ended(at) => found.warnings.push(format!("{file} ended at {at}")),
        Term::NotYet(at) => found.warnings.push(format!("{file} begins at {at}")),
        Term::Days(days) if days <= DAYS_SOON => found.warnings.push(format!("{file} ends in {days} days")),
        Term::Days(_) => {}
    }
}

fn dev(config: &Config) -> DevCertificates {
    if config.dev { DevCertificates::Accepted } else { DevCertificates::Refused }
}

enum Term {
    NotYet(ASN1Time),
    Days(i64),
    Ended(ASN1Time),
}

fn term(certificate: &X509Certificate<'_>, now: u64) -> Term {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let (from, to) = (certificate.validity().not_before, certificate.validity().not_after);
    if now < from.timestamp() {
        Term::NotYet(from)
    } else if now > to.timestamp() {
        Term::Ended(to)
    } else {
        Term::Days((to.timestamp() - now) / DAY_SECS)
    }
}

/// The hosts that a certificate is for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let host = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some((*name).to_owned());
        }
        let GeneralName::IPAddress(bytes) = name else { return None };
        let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
    };
    names.value.general_names.iter().filter_map(host).collect()
}

/// The certificates of a file that can be read.
fn ders(file: &Path) -> Vec<Vec<u8>> {
    let pem = fs::read(file).unwrap_or_default();
    Pem::iter_from_buffer(&pem).map_while(Result::ok).map(|pem| pem.contents).collect()
}

fn files(n: usize) -> String {
    if n == 1 { "1 file".to_owned() } else { format!("{n} files") }
}
