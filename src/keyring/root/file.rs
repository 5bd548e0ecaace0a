//! Root keys as files: `root-<generation>.key`, 32 raw bytes each, in a directory of their own.
//!
//! Refused: a file or directory of another owner, a file that group or others may touch, a directory that they may write,
//! a symbolic link, a file of another length, a name that only looks like a root key's, and a directory without any key.
//! Nothing here is ever overwritten by a new key.
//!
//! Destruction is [`Destruction::BestEffort`]: flash and copy-on-write file systems may keep what was overwritten.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use zeroize::Zeroizing;

use super::{Destruction, Error, Generation, RootProvider, ToWrap};
use crate::{
    entropy::Entropy,
    keyring::aead::{self, NONCE_BYTES},
    private,
    secret::Key,
};

/// Root keys in a directory.
pub struct FileRoot {
    dir: PathBuf,
    entropy: Arc<dyn Entropy>,
    /// Never empty: the last one is the newest.
    keys: RwLock<BTreeMap<Generation, Key>>,
}

impl FileRoot {
    /// Makes a directory (0700, if there is none) and the first generation's key in it (0600), durable when this returns.
    ///
    /// # Errors
    /// [`Error::Refused`] if a root key is there already or the directory is not safe; [`Error::Io`]; [`Error::Entropy`].
    pub fn create(dir: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("make", dir))?;
        check_dir(dir)?;
        if !generations(dir)?.is_empty() {
            return Err(refused(dir, "root keys are there already"));
        }
        write_new(dir, Generation(1), &Key::random(&*entropy)?)?;
        Self::open(dir, entropy)
    }

    /// Reads the root keys of a directory.
    ///
    /// # Errors
    /// [`Error::Refused`] as the module's text says; [`Error::Io`].
    pub fn open(dir: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        check_dir(dir)?;
        let mut keys = BTreeMap::new();
        for generation in generations(dir)? {
            keys.insert(generation, read(&path(dir, generation))?);
        }
        if keys.is_empty() {
            return Err(refused(dir, "there is no root key in it"));
        }
        Ok(Self { dir: dir.into(), entropy, keys: RwLock::new(keys) })
    }

    fn keys(&self) -> RwLockReadGuard<'_, BTreeMap<Generation, Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootProvider for FileRoot {
    fn newest(&self) -> Generation {
        self.keys().last_key_value().map_or(Generation(0), |(generation, _)| *generation)
    }

    fn wrap(&self, generation: Generation, keys: &[ToWrap<'_>]) -> Result<Vec<Vec<u8>>, Error> {
        let mut nonces = vec![0; keys.len() * NONCE_BYTES];
        self.entropy.fill(&mut nonces)?;
        let roots = self.keys();
        let root = roots.get(&generation).ok_or(Error::Missing(generation))?;
        let (nonces, _) = nonces.as_chunks::<NONCE_BYTES>();
        Ok(keys.iter().zip(nonces).map(|(one, nonce)| aead::seal(root, nonce, one.aad, one.key.expose())).collect())
    }

    fn unwrap(&self, generation: Generation, aad: &[u8], wrapped: &[u8]) -> Result<Key, Error> {
        let roots = self.keys();
        let root = roots.get(&generation).ok_or(Error::Missing(generation))?;
        aead::open_key(root, aad, wrapped).ok_or(Error::Mismatch(generation))
    }

    fn destroy(&self, generation: Generation) -> Result<Destruction, Error> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.last_key_value().is_some_and(|(newest, _)| *newest == generation) {
            return Err(Error::Newest(generation));
        }
        if !keys.contains_key(&generation) {
            return Err(Error::Missing(generation));
        }
        erase(&self.dir, &path(&self.dir, generation))?;
        keys.remove(&generation);
        Ok(Destruction::BestEffort)
    }
}

impl fmt::Debug for FileRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileRoot")
    }
}

fn path(dir: &Path, generation: Generation) -> PathBuf {
    dir.join(format!("root-{generation}.key"))
}

/// The generations that have a file, in no order.
fn generations(dir: &Path) -> Result<Vec<Generation>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let name = entry.map_err(io_error("list", dir))?.file_name();
        if !name.as_encoded_bytes().starts_with(b"root-") {
            continue;
        }
        let number = name.to_str().and_then(|name| name.strip_prefix("root-")?.strip_suffix(".key")?.parse().ok());
        match number.map(Generation) {
            // Only the canonical spelling, so that one generation is one file.
            Some(generation) if generation.0 > 0 && *path(dir, generation) == dir.join(&name) => found.push(generation),
            Some(_) | None => {
                return Err(refused(&dir.join(name), "its name is not root-<generation>.key; move it away"));
            }
        }
    }
    Ok(found)
}

fn check_dir(dir: &Path) -> Result<(), Error> {
    private::check_dir(dir).map_err(private_error(dir))
}

fn read(path: &Path) -> Result<Key, Error> {
    let mut file = private::open(path).map_err(private_error(path))?;
    if file.metadata().map_err(io_error("inspect", path))?.len() != 32 {
        return Err(refused(path, "it is not 32 bytes long"));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    file.read_exact(&mut *bytes).map_err(io_error("read", path))?;
    Ok(Key::new(*bytes))
}

/// Refuses to touch a file that is there.
fn write_new(dir: &Path, generation: Generation, key: &Key) -> Result<(), Error> {
    let path = path(dir, generation);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io_error("create", &path))?;
    let written = file.write_all(key.expose()).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // Nothing was wrapped by it yet; a short file would only stand in the way of the next try.
        let _ = fs::remove_file(&path);
        return Err(io_error("write", &path)(source));
    }
    sync_dir(dir)
}

fn erase(dir: &Path, path: &Path) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).open(path).map_err(io_error("open", path))?;
    file.rewind()
        .and_then(|()| file.write_all(&[0; 32]))
        .and_then(|()| file.sync_all())
        .map_err(io_error("overwrite", path))?;
    fs::remove_file(path).map_err(io_error("remove", path))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))
}

fn refused(path: &Path, why: &'static str) -> Error {
    Error::Refused { path: path.into(), why }
}

fn private_error(path: &Path) -> impl FnOnce(private::Error) -> Error {
    move |error| match error {
        private::Error::Refused(why) => refused(path, why),
        private::Error::Io { doing, source } => io_error(doing, path)(source),
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::entropy::SystemEntropy;

    fn entropy() -> Arc<dyn Entropy> {
        Arc::new(SystemEntropy::open())
    }

    fn why(result: Result<FileRoot, Error>) -> &'static str {
        match result {
            Err(Error::Refused { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_created_root_is_private_and_opens_again_with_the_same_key() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("root");
        let made = FileRoot::create(&dir, entropy()).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        let meta = fs::metadata(dir.join("root-1.key")).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, 32));

        let key = Key::new([3; 32]);
        let wrapped = made.wrap(Generation(1), &[ToWrap { aad: b"a", key: &key }]).unwrap();
        let opened = FileRoot::open(&dir, entropy()).unwrap();
        assert_eq!(opened.newest(), Generation(1));
        assert_eq!(opened.unwrap(Generation(1), b"a", &wrapped[0]).unwrap().expose(), key.expose());
        assert!(matches!(opened.unwrap(Generation(1), b"b", &wrapped[0]), Err(Error::Mismatch(Generation(1)))));
        assert!(matches!(opened.unwrap(Generation(2), b"a", &wrapped[0]), Err(Error::Missing(Generation(2)))));
    }

    #[test]
    fn creating_never_overwrites_a_root() {
        let dir = tempfile::tempdir().unwrap();
        FileRoot::create(dir.path(), entropy()).unwrap();
        let before = fs::read(dir.path().join("root-1.key")).unwrap();
        assert_eq!(why(FileRoot::create(dir.path(), entropy())), "root keys are there already");
        assert_eq!(fs::read(dir.path().join("root-1.key")).unwrap(), before);
        assert!(write_new(dir.path(), Generation(1), &Key::new([0; 32])).is_err());
    }

    #[test]
    fn a_file_that_others_may_touch_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        FileRoot::create(dir.path(), entropy()).unwrap();
        let file = dir.path().join("root-1.key");
        for mode in [0o640, 0o604, 0o610, 0o620, 0o602, 0o666] {
            chmod(&file, mode);
            assert!(why(FileRoot::open(dir.path(), entropy())).contains("0600"), "{mode:o}");
        }
        for mode in [0o600, 0o400] {
            chmod(&file, mode);
            assert!(FileRoot::open(dir.path(), entropy()).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        FileRoot::create(dir.path(), entropy()).unwrap();
        for mode in [0o770, 0o702, 0o777] {
            chmod(dir.path(), mode);
            assert!(why(FileRoot::open(dir.path(), entropy())).contains("0700"), "{mode:o}");
        }
    }

    #[test]
    fn links_pipes_and_other_lengths_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        FileRoot::create(dir.path(), entropy()).unwrap();
        let first = dir.path().join("root-1.key");
        let second = dir.path().join("root-2.key");

        symlink(&first, &second).unwrap();
        assert_eq!(why(FileRoot::open(dir.path(), entropy())), "it is a symbolic link");
        fs::remove_file(&second).unwrap();

        rustix::fs::mknodat(
            rustix::fs::CWD,
            &second,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(why(FileRoot::open(dir.path(), entropy())), "it is not a regular file");
        fs::remove_file(&second).unwrap();

        for len in [0, 31, 33] {
            fs::write(&first, vec![1; len]).unwrap();
            assert_eq!(why(FileRoot::open(dir.path(), entropy())), "it is not 32 bytes long");
        }
    }

    #[test]
    fn an_empty_directory_and_lookalike_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o700);
        assert_eq!(why(FileRoot::open(dir.path(), entropy())), "there is no root key in it");
        FileRoot::create(dir.path(), entropy()).unwrap();
        for name in ["root-0.key", "root-01.key", "root-+2.key", "root-1.key.bak", "root-x.key", "root-4294967296.key"]
        {
            fs::write(dir.path().join(name), [0; 32]).unwrap();
            assert!(why(FileRoot::open(dir.path(), entropy())).contains("its name"), "{name}");
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("README"), "").unwrap();
        assert!(FileRoot::open(dir.path(), entropy()).is_ok());
    }

    #[test]
    fn a_destroyed_generation_opens_nothing_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        FileRoot::create(dir.path(), entropy()).unwrap();
        write_new(dir.path(), Generation(10), &Key::new([5; 32])).unwrap();
        let root = FileRoot::open(dir.path(), entropy()).unwrap();
        assert_eq!(root.newest(), Generation(10));
        let wrapped = root.wrap(Generation(1), &[ToWrap { aad: b"", key: &Key::new([3; 32]) }]).unwrap();

        assert!(matches!(root.destroy(Generation(10)), Err(Error::Newest(_))));
        assert!(matches!(root.destroy(Generation(2)), Err(Error::Missing(_))));
        assert_eq!(root.destroy(Generation(1)).unwrap(), Destruction::BestEffort);
        assert!(!dir.path().join("root-1.key").exists());
        assert!(matches!(root.unwrap(Generation(1), b"", &wrapped[0]), Err(Error::Missing(_))));
        assert!(FileRoot::open(dir.path(), entropy()).is_ok());
    }

    #[test]
    fn a_root_prints_nothing_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(format!("{:?}", FileRoot::create(dir.path(), entropy()).unwrap()), "FileRoot");
    }
}
