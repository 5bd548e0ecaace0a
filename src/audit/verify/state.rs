//! What a verification remembers, so that the next one goes on from there and finds a log that contradicts it.
//!
//! Only what a signed checkpoint has proved is remembered: the tree's root is that checkpoint's.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    chain::{Chain, Shown},
    gaps::Gaps,
};
use crate::{
    audit::{
        announcement::Reign,
        checkpoint::parse_hash,
        merkle::{Hash, Tree},
    },
    id::Tenant,
};

/// How far one tenant's view of one log was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Spelled", into = "Spelled")]
pub struct State {
    pub(super) origin: String,
    pub(super) tenant: Tenant,
    pub(super) tree: Tree,
    /// The signed note that proves the tree.
    pub(super) checkpoint: String,
    pub(super) own: Chain,
    pub(super) system: Chain,
    /// The newest entry that was shown whole.
    pub(super) newest: Option<Shown>,
    pub(super) gaps: Gaps,
    pub(super) reigns: Vec<Reign>,
}

impl State {
    /// Which log it is of.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whose view it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// How many entries were verified.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root of the tree over them.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The signed note that proves them.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    format: String,
    origin: String,
    tenant: String,
    size: u64,
    edge: Vec<String>,
    checkpoint: String,
    own: Chain,
    system: Chain,
    newest: Option<Shown>,
    gaps: Gaps,
    keys: Vec<SpelledReign>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpelledReign {
    verifier_key: String,
    from: u64,
}

impl From<State> for Spelled {
    fn from(state: State) -> Self {
        let reign = |reign: Reign| SpelledReign { verifier_key: reign.key.to_string(), from: reign.from };
        Self {
            format: FORMAT.to_owned(),
            size: state.tree.size(),
            edge: state.tree.edge().iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
            origin: state.origin,
            tenant: state.tenant.to_string(),
            checkpoint: state.checkpoint,
            own: state.own,
            system: state.system,
            newest: state.newest,
            gaps: state.gaps,
            keys: state.reigns.into_iter().map(reign).collect(),
        }
    }
}

impl TryFrom<Spelled> for State {
    type Error = &'static str;

    fn try_from(spelled: Spelled) -> Result<Self, &'static str> {
        if spelled.format != FORMAT {
            return Err("not a state that this version of privet reads");
        }
        let edge = spelled.edge.iter().map(|hash| parse_hash(hash)).collect::<Option<_>>().ok_or("no hash")?;
        let reign = |SpelledReign { verifier_key, from }: SpelledReign| {
            Ok::<_, &str>(Reign { key: verifier_key.parse().map_err(|_| "no verifier key")?, from })
        };
        let (mut own, mut system) = (spelled.own, spelled.system);
        own.settle(spelled.size);
        system.settle(spelled.size);
        Ok(Self {
            tree: Tree::restore(spelled.size, edge).ok_or("no edge of a tree of this size")?,
            origin: spelled.origin,
            tenant: Tenant::parse_or_system(&spelled.tenant).map_err(|_| "no tenant")?,
            checkpoint: spelled.checkpoint,
            own,
            system,
            newest: spelled.newest,
            gaps: spelled.gaps,
            reigns: spelled.keys.into_iter().map(reign).collect::<Result<_, _>>()?,
        })
    }
}

const FORMAT: &str = "privet-verified-v1";
