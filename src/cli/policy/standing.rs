//! Since when each grant says what it says.
//!
//! An id is only a name: removed and given to another grant, it would take the uses of the first for its own. So the versions
//! are walked back from the one that was read, each that differs once, and a grant stands as far back as all of them have it
//! with the same who, what and when. Another reason is the same grant.

use std::collections::{HashMap, HashSet};

use prost_types::Timestamp;

use super::{
    super::{answer::misfit, client::Clients, failure::Failure},
    show::{self, Read},
};
use crate::{
    id::Tenant,
    proto::v1::{GetPolicyRequest, ListPolicyVersionsRequest, PolicyGrant, PolicyVersion},
};

/// Since when each grant of a version says what it says there, looked at back to a moment.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The first version of those that have it unbroken; 0: it is older than the moment.
    since: HashMap<String, u64>,
}

impl Standing {
    /// Walks back from what was read to the version that was in force just before `moment`, as far as the caller may read it.
    ///
    /// # Errors
    /// [`Failure`] if the server has no answer, or one that would never end.
    pub(super) async fn read(
        clients: &Clients,
        tenant: &Tenant,
        now: &Read,
        moment: Timestamp,
    ) -> Result<Self, Failure> {
        let mut walk = Walk::from(now.version.version, &now.lines.grants);
        let mut seen = HashSet::from([now.version.policy_hash.clone()]);
        let mut request =
            ListPolicyVersionsRequest { tenant: tenant.to_string(), page_size: PAGE, ..Default::default() };
        loop {
            let page = clients.policy().list_policy_versions(request.clone()).await?.into_inner();
            // The newest comes first.
            for version in page.versions.iter().filter(|version| version.version <= now.version.version) {
                if seen.insert(version.policy_hash.clone()) {
                    let of = version.version;
                    let request = GetPolicyRequest { tenant: tenant.to_string(), version: of, ..Default::default() };
                    walk.step(of, show::all(clients, request).await?.lines.grants);
                } else {
                    walk.same(version.version);
                }
                if is_before(version, moment) {
                    return Ok(walk.end(true));
                }
                if walk.is_over() {
                    return Ok(walk.end(false));
                }
            }
            if page.next_page_token.is_empty() {
                return Ok(walk.end(false));
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Whether a grant says what it says since before the moment.
    pub(super) fn is_old(&self, id: &str) -> bool {
        self.since.get(id) == Some(&0)
    }

    /// Whether the id was the same grant's under a version.
    pub(super) fn covers(&self, id: &str, version: u64) -> bool {
        self.since.get(id).is_some_and(|since| *since <= version)
    }

    /// Grants that all are as old as the moment.
    #[cfg(test)]
    pub(super) fn old(ids: &[&str]) -> Self {
        Self { since: ids.iter().map(|id| ((*id).to_owned(), 0)).collect() }
    }
}

/// Whether a version was in force before the moment. One of the same microsecond may not have been.
fn is_before(version: &PolicyVersion, moment: Timestamp) -> bool {
    version.time.is_some_and(|time| (time.seconds, time.nanos) < (moment.seconds, moment.nanos))
}

/// The way back.
struct Walk {
    /// What the version that it began at says, and all since that were walked.
    unbroken: HashMap<String, PolicyGrant>,
    since: HashMap<String, u64>,
    /// The version walked last.
    at: u64,
}

impl Walk {
    fn from(version: u64, grants: &[PolicyGrant]) -> Self {
        let unbroken = grants.iter().map(|grant| (grant.id.clone(), said(grant.clone()))).collect();
        Self { unbroken, since: HashMap::new(), at: version }
    }

    /// A version that has these grants.
    fn step(&mut self, version: u64, grants: Vec<PolicyGrant>) {
        let then: HashMap<String, PolicyGrant> =
            grants.into_iter().map(|grant| (grant.id.clone(), said(grant))).collect();
        let (at, since) = (self.at, &mut self.since);
        self.unbroken.retain(|id, grant| {
            let stands = then.get(id) == Some(grant);
            if !stands {
                since.insert(id.clone(), at);
            }
            stands
        });
        self.at = version;
    }

    /// A version that has the grants of one that was walked.
    fn same(&mut self, version: u64) {
        self.at = version;
    }

    /// Whether nothing stands any more.
    fn is_over(&self) -> bool {
        self.unbroken.is_empty()
    }

    /// What stands to the end is older than the moment if the moment was reached.
    fn end(self, reached: bool) -> Standing {
        let first = if reached { 0 } else { self.at };
        let mut since = self.since;
        since.extend(self.unbroken.into_keys().map(|id| (id, first)));
        Standing { since }
    }
}

/// A grant without its reason.
fn said(grant: PolicyGrant) -> PolicyGrant {
    PolicyGrant { reason: String::new(), ..grant }
}

/// Versions on a page.
const PAGE: i32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::fake::{audit::Log, policy::Policy};

    fn grant(id: &str, action: &str, reason: &str) -> PolicyGrant {
        PolicyGrant { id: id.into(), action: action.into(), reason: reason.into(), ..Default::default() }
    }

    fn walked(reached: bool) -> Standing {
        let mut walk = Walk::from(9, &["kept", "retold", "other", "back", "new"].map(|id| grant(id, "mask", "now")));
        // What was removed in version 7 and came back in 8 does not stand since 6.
        walk.step(8, ["kept", "retold", "other", "back"].map(|id| grant(id, "mask", "now")).into());
        walk.step(7, ["kept", "retold", "other"].map(|id| grant(id, "mask", "now")).into());
        walk.same(6);
        let old =
            [("kept", "mask", "now"), ("retold", "mask", "then"), ("other", "decrypt", "now"), ("back", "mask", "now")];
        walk.step(5, old.map(|(id, action, reason)| grant(id, action, reason)).into());
        walk.end(reached)
    }

    #[test]
    fn a_grant_stands_as_far_back_as_every_version_says_the_same() {
        let standing = walked(true);
        let old: Vec<bool> =
            ["kept", "retold", "other", "back", "new", "gone"].iter().map(|id| standing.is_old(id)).collect();
        assert_eq!(old, [true, true, false, false, false, false]);
        let covers = |id, versions: [u64; 3]| versions.map(|version| standing.covers(id, version));
        assert_eq!(covers("kept", [1, 5, 9]), [true; 3]);
        assert_eq!(covers("other", [5, 6, 9]), [false, true, true], "an id that was another grant's in version 5");
        assert_eq!(covers("back", [6, 7, 8]), [false, false, true]);
        assert_eq!(covers("new", [7, 8, 9]), [false, false, true]);
        assert_eq!(covers("gone", [5, 7, 9]), [false; 3]);
    }

    #[test]
    fn nothing_is_older_than_a_moment_before_the_first_version() {
        let standing = walked(false);
        assert!(["kept", "retold"].iter().all(|id| !standing.is_old(id) && standing.covers(id, 5)));
        assert!(!standing.covers("kept", 4));
    }

    #[test]
    fn a_version_of_the_very_moment_is_not_before_it() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        let version = |time| PolicyVersion { time, ..Default::default() };
        assert!(is_before(&version(Some(at(9, 999))), at(10, 0)));
        assert!(!is_before(&version(Some(at(10, 0))), at(10, 0)));
        assert!(!is_before(&version(None), at(10, 0)));
    }

    #[tokio::test]
    async fn each_version_that_differs_is_read_once_and_none_that_is_older() {
        let version = |number: u64, hash: u8| PolicyVersion {
            version: number,
            policy_hash: vec![hash; 32].into(),
            time: Some(Timestamp { seconds: 100 * number as i64, nanos: 0 }),
            ..Default::default()
        };
        let of = |ids: &[&str]| ids.iter().map(|id| grant(id, "mask", "r")).collect::<Vec<_>>();
        let policy = Policy::of(
            vec![
                (version(1, 1), of(&["kept"])),
                (version(2, 2), of(&["kept", "glass"])),
                // Somebody broke the glass and put it back, twice.
                (version(3, 3), of(&["kept", "glass"])),
                (version(4, 2), of(&["kept", "glass"])),
                (version(5, 3), of(&["kept", "glass"])),
                (version(6, 4), of(&["kept", "glass", "new"])),
                // Somebody else's, since it was read.
                (version(7, 5), of(&["kept"])),
            ],
            0,
        );
        let clients = policy.clients(&Log::of(Vec::new())).await;
        let tenant = Tenant::parse("acme").unwrap();
        let now = show::all(&clients, GetPolicyRequest { version: 6, ..Default::default() }).await.unwrap();
        let moment = Timestamp { seconds: 250, nanos: 0 };
        let standing = Standing::read(&clients, &tenant, &now, moment).await.unwrap();
        assert_eq!(policy.read(), [6, 5, 4]);
        assert_eq!(["kept", "glass", "new"].map(|id| standing.is_old(id)), [true, true, false]);
        assert!(standing.covers("new", 6) && !standing.covers("new", 5));
        // Before there was any, none was unused.
        let standing = Standing::read(&clients, &tenant, &now, Timestamp { seconds: 50, nanos: 0 }).await.unwrap();
        assert!(!standing.is_old("kept") && standing.covers("kept", 1));
    }
}
