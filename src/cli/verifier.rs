//! The keys that a log's checkpoints are checked with, as the command line takes them: one key, or `@` and a file with one a
//! line. They are public; what matters is that they came another way than from the server that they check.

use std::{fs::File, io::Read, str::FromStr};

use crate::{
    audit::{
        announcement::Keys,
        note::{SignerKey, VerifierKey},
    },
    config::Config,
    keyring::{log_key::LogKey, root::RootProvider},
};

/// Verifier keys that somebody vouches for: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKeys(Vec<VerifierKey>);

/// What is no verifier key, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoKeys(String);

impl KnownKeys {
    /// The keys of one log, which its name is on.
    pub fn of(&self, origin: &str) -> Vec<VerifierKey> {
        self.0.iter().filter(|key| key.name() == origin).cloned().collect()
    }

    /// The logs that there are keys of, the newest key's first.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.0.iter().rev().map(VerifierKey::name)
    }

    /// The first of them, which vouches for the later ones.
    ///
    /// # Errors
    /// [`NoKeys`] if they are of several.
    pub fn oldest_of_one_log(&self) -> Result<&VerifierKey, NoKeys> {
        let Some((oldest, later)) = self.0.split_first() else { return Err(NoKeys("no verifier key".to_owned())) };
        match later.iter().find(|key| key.name() != oldest.name()) {
            Some(other) => Err(NoKeys(format!("keys of several logs: {:?}, {:?}", oldest.name(), other.name()))),
            None => Ok(oldest),
        }
    }

    /// These keys, and all later ones of their logs that they vouch for: whoever was given a log's first key needs no other.
    /// Announcements of which nothing follows, because they are of another log or not signed by these keys, add nothing.
    pub fn with_announced(&self, announcements: &[String]) -> Self {
        let mut keys = self.0.clone();
        for known in &self.0 {
            let Ok(walked) = Keys::walk(known.name(), known, announcements) else { continue };
            let later = walked.all().map(|reign| &reign.key).filter(|key| !self.0.contains(key));
            keys.extend(later.cloned());
        }
        Self(keys)
    }

    /// The keys that a server names. They are as good as the server.
    ///
    /// # Errors
    /// [`NoKeys`] if there is none, too many, or something else among them.
    pub fn named(keys: &[String]) -> Result<Self, NoKeys> {
        if keys.len() > KEYS_MAX {
            return Err(NoKeys(format!("more than {KEYS_MAX} verifier keys")));
        }
        let keys: Vec<VerifierKey> =
            keys.iter().map(|key| key.parse().map_err(|error| NoKeys(format!("{error}")))).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(NoKeys("no verifier key".to_owned())) } else { Ok(Self(keys)) }
    }
}

impl From<VerifierKey> for KnownKeys {
    fn from(key: VerifierKey) -> Self {
        Self(vec![key])
    }
}

/// The first key of a deployment's log, as `privet init` printed it: made anew from the log's own key, on its host.
///
/// # Errors
/// The log's key can't be read or opened.
pub fn first_of(config: &Config, root: &dyn RootProvider) -> anyhow::Result<VerifierKey> {
    let seed = LogKey::read(&config.log.key)?.open(root)?;
    Ok(SignerKey::new(&config.log.origin, &seed)?.verifier().clone())
}

impl FromStr for KnownKeys {
    type Err = NoKeys;

    fn from_str(text: &str) -> Result<Self, NoKeys> {
        let Some(file) = text.strip_prefix('@') else {
            return Self::named(&[text.to_owned()]);
        };
        let in_file = |what: String| NoKeys(format!("{file}: {what}"));
        let mut content = String::new();
        let mut read =
            File::open(file).map(|open| open.take(FILE_BYTES_MAX)).map_err(|error| in_file(error.to_string()))?;
        read.read_to_string(&mut content).map_err(|error| in_file(error.to_string()))?;
        let keys = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self::named(&keys.map(str::to_owned).collect::<Vec<_>>()).map_err(|NoKeys(what)| in_file(what))
    }
}

const KEYS_MAX: usize = 100;
const FILE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        audit::{announcement::Announcement, note::SignerKey},
        secret::Key,
    };

    fn key(name: &str, seed: u8) -> String {
        SignerKey::new(name, &Key::new([seed; 32])).unwrap().verifier().to_string()
    }

    #[test]
    fn a_key_stands_by_itself_or_with_others_in_a_file() {
        let keys: KnownKeys = key("log.example", 1).parse().unwrap();
        assert_eq!((keys.of("log.example").len(), keys.of("other.example").len()), (1, 0));

        let file = tempfile::NamedTempFile::new().unwrap();
        let [one, two, other] = [key("log.example", 1), key("log.example", 2), key("other.example", 1)];
        fs::write(file.path(), format!("# ours\n{one}\n\n  {two}\r\n{other}")).unwrap();
        let keys: KnownKeys = format!("@{}", file.path().display()).parse().unwrap();
        assert_eq!((keys.of("log.example").len(), keys.of("other.example").len()), (2, 1));
        assert_eq!(keys.origins().next(), Some("other.example"));
    }

    #[test]
    fn a_key_vouches_for_those_that_it_announces_and_for_no_other() {
        let signer = |name: &str, seed| SignerKey::new(name, &Key::new([seed; 32])).unwrap();
        let [one, two, three] = [1, 2, 3].map(|seed| signer("log.example", seed));
        let announced = |index, old, new| Announcement::sign("log.example", index, old, new).unwrap();
        let announcements = [announced(5, &one, &two), announced(9, &two, &three)];
        let count = |known: &str| known.parse::<KnownKeys>().unwrap().with_announced(&announcements).0.len();
        assert_eq!([&one, &two, &three].map(|key| count(&key.verifier().to_string())), [3, 2, 1]);
        for strange in [key("log.example", 9), key("other.example", 1)] {
            assert_eq!(count(&strange), 1, "{strange}");
        }
        // A chain that is broken adds nothing of what it holds.
        let forged = [announcements[0].clone(), announced(9, &one, &three)];
        let known: KnownKeys = one.verifier().to_string().parse().unwrap();
        assert_eq!(known.with_announced(&forged), known);
        assert_eq!(known.with_announced(&[]), known);
    }

    #[test]
    fn keys_of_one_log_begin_with_its_oldest() {
        let named = |keys: &[String]| KnownKeys::named(keys).unwrap();
        let [one, two, other] = [key("log.example", 1), key("log.example", 2), key("other.example", 1)];
        assert_eq!(named(&[one.clone(), two.clone()]).oldest_of_one_log().unwrap().to_string(), one);
        assert_eq!(named(std::slice::from_ref(&two)).oldest_of_one_log().unwrap().to_string(), two);
        assert!(named(&[one, other]).oldest_of_one_log().is_err());
    }

    #[test]
    fn what_is_no_key_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = format!("@{}", file.path().display());
        let many = format!("{}\n", key("l", 1)).repeat(KEYS_MAX + 1);
        for content in ["", "# nothing\n", "key", &format!("{}\nkey", key("l", 1)), &many, "\u{0}"] {
            fs::write(file.path(), content).unwrap();
            assert!(at.parse::<KnownKeys>().is_err(), "{content:.40?}");
        }
        for text in ["", "key", "@", "@/nowhere/at/all", &format!("{} ", key("l", 1))] {
            assert!(text.parse::<KnownKeys>().is_err(), "{text:?}");
        }
    }
}
