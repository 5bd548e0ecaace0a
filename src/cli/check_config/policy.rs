//! The policy files: sound by themselves, and fitting the tenants and trust domains of the configuration.

use std::collections::BTreeSet;

use super::found::Found;
use crate::{
    catalogue::Problem,
    cli::policy::problems::placed,
    config::{Config, TenantsNamed},
    id::{Principal, Tenant},
    policy::{Grantee, Snapshot, Sources, Tenants, keeps_control},
};

/// The policy that a first start would put in force.
pub(super) fn check(config: &Config, now: u64) -> Found {
    let dir = &config.policy.dir;
    let all = |problems: Vec<Problem>| Found { problems: texts(placed(dir, problems)), ..Found::default() };
    let sources = match Sources::read(dir) {
        Ok(sources) => sources,
        Err(problems) => return all(problems),
    };
    let snapshot = match Snapshot::build(1, &sources) {
        Ok(snapshot) => snapshot,
        Err(problems) => return all(problems),
    };
    let hash = hex::encode(snapshot.hash().get(..8).unwrap_or_default());
    let (grants, memberships) = (snapshot.grants().count(), snapshot.memberships().count());
    let mut warnings = placed(dir, snapshot.expired(now));
    warnings.extend(placed(dir, keeps_control(None, &snapshot, now).err().into_iter().collect()));
    let well = Found::well(format!("{grants} grants and {memberships} memberships; assertions hold; hash {hash}…"));
    Found { warnings: texts(warnings).into_iter().chain(misfits(config, &snapshot)).collect(), ..well }
}

fn texts(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Lines that can never answer anything here: of a tenant that is not configured, or for a caller who may not name it.
fn misfits(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let mut warnings = BTreeSet::new();
    let configured: BTreeSet<&Tenant> = config.tenant.iter().map(|tenant| &tenant.id).collect();
    let mut served = BTreeSet::new();
    let mut line = |id: &str, tenant: &Tenant, grantee: &Grantee| {
        if !tenant.is_system() && !configured.contains(tenant) {
            warnings.insert(format!("policy.csv: {id}: tenant {tenant} is not in the configuration"));
        } else if let Grantee::Principal(principal) = grantee
            && !may_name(config, principal, tenant)
        {
            warnings.insert(format!("policy.csv: {id}: no [[trust_domain]] lets its principal name tenant {tenant}"));
        }
    };
    for grant in snapshot.grants() {
        match &grant.tenants {
            Tenants::One(tenant) => {
                served.insert(tenant);
                line(grant.id.as_str(), tenant, &grant.grantee);
            }
            Tenants::All => served.extend(&configured),
        }
    }
    for membership in snapshot.memberships() {
        line(membership.id.as_str(), &membership.tenant, &membership.member);
    }
    let unserved = configured.iter().filter(|tenant| !served.contains(*tenant));
    warnings.extend(unserved.map(|tenant| format!("policy.csv: no grant names tenant {tenant}: all is denied there")));
    warnings.into_iter().collect()
}

fn may_name(config: &Config, principal: &Principal, tenant: &Tenant) -> bool {
    // Who does not come with a certificate is bound by other means.
    let Some(domain) = principal.trust_domain() else { return true };
    let names = |bound: &TenantsNamed| bound.named.contains(tenant) || bound.all && !tenant.is_system();
    config.trust_domain.iter().any(|bound| bound.name.as_str() == domain && names(&bound.tenants))
}
