//! Who is at the other end of a connection.
//!
//! A certificate becomes a [`Caller`] once, when its connection is made; every request on that connection is that caller's.
//! The work here is pure: whether the certificate can be trusted at all is the TLS handshake's matter, which comes first.
//!
//! What this refuses: to guess. A certificate without exactly one well-formed SPIFFE id is nobody's ([`Unidentified`]), and
//! no certificate leads to a `system:` or `user:` principal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;
use ring::digest;

use crate::id::{Invalid, Principal, Tenant};

pub mod dev;
mod spiffe;

pub use spiffe::spiffe_id;

/// What is known of a connection's other end. Put into the extensions of each of its requests, as an `Arc`.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The address it came from.
    pub peer: SocketAddr,
    /// What it showed: `mtls:` and the first 16 hexadecimal digits of the certificate's SHA-256. So is a certificate known
    /// that names nobody.
    pub authentication: String,
    /// Whose it is, or why it is nobody's.
    pub caller: Result<Caller, Unidentified>,
}

impl Connection {
    /// Reads a verified leaf certificate, in DER.
    pub fn new(peer: SocketAddr, leaf: &[u8], bindings: &Bindings) -> Self {
        Self { peer, authentication: authentication(leaf), caller: Caller::from_certificate(leaf, bindings) }
    }
}

/// An authenticated principal, how it was authenticated, and the tenants it may name.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// By what: `mtls:` and the first 16 hexadecimal digits of the certificate's SHA-256.
    pub authentication: String,
    bound: Arc<Bound>,
    /// The last second, since 1970, in which the credential is valid.
    valid_until: u64,
}

impl Caller {
    /// Reads a verified leaf certificate, in DER.
    ///
    /// # Errors
    /// [`Unidentified`] if it does not carry exactly one well-formed SPIFFE id.
    pub fn from_certificate(leaf: &[u8], bindings: &Bindings) -> Result<Self, Unidentified> {
        let (principal, valid_until) = spiffe::read(leaf)?;
        let authentication = authentication(leaf);
        let bound = bindings.of(&principal);
        Ok(Self { principal, authentication, bound, valid_until })
    }

    /// Whether the credential has ended: a connection may outlive the certificate that opened it.
    pub fn has_ended(&self, now_secs: u64) -> bool {
        now_secs > self.valid_until
    }

    /// Whether the caller's trust domain is bound to `tenant`. Naming a tenant is no right yet: the policy decides.
    pub fn may_name(&self, tenant: &Tenant) -> bool {
        self.bound.allows(tenant)
    }
}

fn authentication(leaf: &[u8]) -> String {
    let mut authentication = hex::encode(digest::digest(&digest::SHA256, leaf));
    authentication.truncate(16);
    authentication.insert_str(0, "mtls:");
    authentication
}

/// Why a verified certificate is nobody's. The text names the rule, never what the certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// There is no URI among the subject alternative names, or the only one is no SPIFFE id.
    #[error("the client certificate must carry one spiffe:// URI as subject alternative name, and has none")]
    NoSpiffeId,
    /// There is more than one URI (X509-SVID section 2: such a certificate must be rejected).
    #[error("the client certificate must carry one URI as subject alternative name, and has several")]
    SeveralSpiffeIds,
    /// The certificate or its SPIFFE id can't be read.
    #[error("the client certificate's SPIFFE id must be spiffe://<trust domain>/<path>, strictly written")]
    Malformed,
    /// It was valid when the connection was opened.
    #[error("the client certificate has expired since the connection was opened")]
    Expired,
}

/// A SPIFFE trust domain: 1 to 128 of `[a-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// What is asked of such a name.
    pub const RULE: &str = "a trust domain: [a-z0-9._-]{1,128}";

    /// Checks a name.
    ///
    /// # Errors
    /// [`Invalid`] with [`Self::RULE`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let accepts = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(accepts) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid { rule: Self::RULE })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The tenants that there ever were in this deployment, each with the label of its region: none leaves, so that no name is used
/// twice.
#[derive(Debug, Default)]
pub struct Tenants(ArcSwap<BTreeMap<Tenant, String>>);

impl Tenants {
    /// Takes in tenants that there are, each with its region or an empty label.
    pub fn add(&self, more: impl IntoIterator<Item = (Tenant, String)>) {
        let more: BTreeMap<Tenant, String> = more.into_iter().collect();
        self.0.rcu(|known| {
            let mut all = BTreeMap::clone(known);
            all.extend(more.clone());
            all
        });
    }

    /// All of them, by name.
    pub fn all(&self) -> Arc<BTreeMap<Tenant, String>> {
        self.0.load_full()
    }

    /// Whether a tenant's data belongs to another region.
    pub fn is_elsewhere(&self, tenant: &Tenant, here: &str) -> bool {
        self.0.load().get(tenant).is_some_and(|region| region != here)
    }
}

/// The tenants that a trust domain's callers may name.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    named: BTreeSet<Tenant>,
    /// Each of the deployment's, beside those.
    all: Option<Arc<Tenants>>,
}

impl Bound {
    /// These tenants, and with `all` each that there is; `_system` only if it is named.
    pub fn new(named: BTreeSet<Tenant>, all: Option<Arc<Tenants>>) -> Self {
        Self { named, all }
    }

    fn allows(&self, tenant: &Tenant) -> bool {
        // What there is not can't be named, so that nobody learns what there is by naming.
        self.named.contains(tenant) || self.all.as_ref().is_some_and(|all| all.0.load().contains_key(tenant))
    }
}

/// Which tenants the callers of each trust domain may name.
#[derive(Clone, Debug, Default)]
pub struct Bindings(BTreeMap<TrustDomain, Arc<Bound>>);

impl Bindings {
    fn of(&self, principal: &Principal) -> Arc<Bound> {
        principal.trust_domain().and_then(|domain| self.0.get(domain)).cloned().unwrap_or_default()
    }
}

impl FromIterator<(TrustDomain, Bound)> for Bindings {
    fn from_iter<I: IntoIterator<Item = (TrustDomain, Bound)>>(bound: I) -> Self {
        Self(bound.into_iter().map(|(domain, bound)| (domain, Arc::new(bound))).collect())
    }
}
