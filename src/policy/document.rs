//! A policy document that has been read: its text, and what the text says.
//!
//! INVARIANT: every line is sound, by itself and together with the others. What is left to show before it may answer is that
//! its assertions hold ([`Snapshot`](super::Snapshot)).

use super::{
    MODEL,
    csv::{self, Rules},
    enforcer, lint, refuse_if_any,
    sources::{CATALOGUE, Sources},
};
use crate::catalogue::{Catalogue, Problem};

/// The text of a document with the rules and the catalogue in it.
pub struct Document {
    pub(super) sources: Sources,
    pub(super) catalogue: Catalogue,
    pub(super) rules: Rules,
}

impl Document {
    /// Reads a document, or refuses it.
    ///
    /// # Errors
    /// Every [`Problem`] found. What a problem makes meaningless is not looked at: lines together only once each parses.
    pub fn read(sources: Sources) -> Result<Self, Vec<Problem>> {
        refuse_if_any(sources.oversized())?;
        let mut problems = Vec::new();
        if let Err((line, message)) = enforcer::check_model(&sources.model) {
            problems.push(Problem { file: MODEL.into(), line, field: None, message });
        }
        let catalogue = Catalogue::parse(CATALOGUE, &sources.catalogue).map_err(|found| problems.extend(found)).ok();
        let (rules, found) = csv::parse(&sources.policy);
        problems.extend(found);
        if let Some(catalogue) = &catalogue {
            problems.extend(lint::each(&rules, catalogue));
        }
        refuse_if_any(problems)?;
        let catalogue = catalogue.unwrap_or_default();
        refuse_if_any(lint::together(&rules, &catalogue))?;
        Ok(Self { sources, catalogue, rules })
    }

    /// The text.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The classes, purposes, roles and persons.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document")
    }
}
