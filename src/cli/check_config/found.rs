//! What a check found: how it stands, what keeps a server from starting, and what somebody should look at.

use serde::Serialize;

/// What one check found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Found {
    /// How it stands, in a line; empty if too little is right to say.
    pub(super) found: String,
    /// What must be mended, each with its place.
    pub(super) problems: Vec<String>,
    /// What may be meant, or a mistake.
    pub(super) warnings: Vec<String>,
    /// What checks the log's signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verifier_key: Option<String>,
}

impl Found {
    /// All is well.
    pub(super) fn well(found: impl Into<String>) -> Self {
        Self { found: found.into(), ..Self::default() }
    }

    /// Nothing to say but this.
    pub(super) fn problem(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()], ..Self::default() }
    }

    /// Whether nothing must be mended.
    pub(super) fn holds(&self) -> bool {
        self.problems.is_empty()
    }
}
