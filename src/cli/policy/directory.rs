//! A directory with the policy's four files, and the version that they were made from.
//!
//! `.base-version` holds that version's number and hash. Without it nobody knows whether what the server has and the directory
//! has not was removed here or added there.

use std::path::Path;

use super::super::{
    failure::{Failure, Violation},
    files,
};
use crate::{
    policy::Sources,
    proto::v1::{PolicyDocument, PolicyVersion},
};

/// The file that names the version.
pub(super) const BASE_VERSION: &str = ".base-version";

/// Reads the four files.
///
/// # Errors
/// [`Failure`] (usage) naming each that can't be read.
pub(super) fn read(dir: &Path) -> Result<PolicyDocument, Failure> {
    let sources = Sources::read(dir).map_err(|problems| {
        let violations =
            problems.iter().map(|problem| Violation { field: problem.place(), rule: problem.message.clone() });
        Failure::usage(format!("{}: the policy's files can't be read", dir.display())).violations(violations.collect())
    })?;
    let Sources { model, policy, catalogue, assertions } = sources;
    Ok(PolicyDocument { model, policy, catalogue, assertions })
}

/// The version that a directory was made from.
///
/// # Errors
/// [`Failure`] (usage) if it does not say so.
pub(super) fn base_version(dir: &Path) -> Result<u64, Failure> {
    let file = dir.join(BASE_VERSION);
    let hint = format!("`privet policy show --out {}` writes it, or name the version with --base", dir.display());
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Failure::usage(format!("{}: can't be read: {}", file.display(), error.kind())).hint(&hint))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first
        .parse()
        .ok()
        .filter(|version| *version > 0)
        .ok_or_else(|| Failure::usage(format!("{}: must begin with a policy version", file.display())).hint(hint))
}

/// Writes a version's files, over those that are there.
///
/// # Errors
/// [`Failure`] if they can't be written.
pub(super) fn write(dir: &Path, version: &PolicyVersion, document: &PolicyDocument) -> Result<(), Failure> {
    let write = || {
        files::make_dir(dir)?;
        files::replace(&dir.join("model.conf"), document.model.as_bytes())?;
        files::replace(&dir.join("policy.csv"), document.policy.as_bytes())?;
        files::replace(&dir.join("catalogue.toml"), document.catalogue.as_bytes())?;
        files::replace(&dir.join("assertions.toml"), document.assertions.as_bytes())?;
        note_base(dir, version.version, &version.policy_hash)
    };
    write().map_err(Failure::on_host)
}

/// Notes which version a directory stands on.
///
/// # Errors
/// It can't be written.
pub(super) fn note_base(dir: &Path, version: u64, hash: &[u8]) -> anyhow::Result<()> {
    files::replace(&dir.join(BASE_VERSION), format!("{version} {}\n", hex::encode(hash)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn what_was_written_is_read_back_with_its_version() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("policies");
        let document =
            PolicyDocument { model: "m".into(), policy: "p\n".into(), catalogue: "".into(), assertions: "a".into() };
        let version = PolicyVersion { version: 7, policy_hash: vec![0xab; 32].into(), ..Default::default() };
        write(&dir, &version, &document).unwrap();
        assert_eq!((read(&dir).unwrap(), base_version(&dir).unwrap()), (document, 7));
    }

    #[test]
    fn a_directory_that_does_not_say_what_it_was_made_from_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(base_version(dir.path()).unwrap_err().exit(), Exit::Usage);
        for bad in ["", "seven", "0", "-1", "7x"] {
            std::fs::write(dir.path().join(BASE_VERSION), bad).unwrap();
            let failure = base_version(dir.path()).unwrap_err();
            assert!(failure.for_people(false).contains("privet policy show --out"), "{bad}");
        }
        assert_eq!(read(dir.path()).unwrap_err().broken().len(), 4);
    }
}
