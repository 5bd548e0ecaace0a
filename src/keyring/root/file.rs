//! Root keys as files: `root-<generation>.key`, 32 raw bytes each, or sealed with a passphrase, in a directory of their own.
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

use super::{Destruction, Error, Generation, RootProvider, ToWrap, sealed};
use crate::{
    entropy::Entropy,
    keyring::aead::{self, NONCE_BYTES},
    private,
    secret::{Key, Passphrase},
};

/// Asks for the passphrase of the file at a path.
pub type Ask<'a> = &'a mut dyn FnMut(&Path) -> Result<Passphrase, Error>;

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
        Self::create_with(dir, entropy, None)
    }

    /// The same, sealed with a passphrase if there is one.
    ///
    /// # Errors
    /// As for [`FileRoot::create`].
    pub fn create_with(dir: &Path, entropy: Arc<dyn Entropy>, passphrase: Option<&Passphrase>) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("make", dir))?;
        check_dir(dir)?;
        if !generations(dir)?.is_empty() {
            return Err(refused(dir, "root keys are there already"));
        }
        let (generation, key) = (Generation(1), Key::random(&*entropy)?);
        write_new(dir, &path(dir, generation), &written(dir, generation, &key, passphrase, &*entropy)?)?;
        Ok(Self { dir: dir.into(), entropy, keys: RwLock::new(BTreeMap::from([(generation, key)])) })
    }

    /// Reads the root keys of a directory.
    ///
    /// # Errors
    /// [`Error::Refused`] as the module's text says; [`Error::Io`].
    pub fn open(dir: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        Self::open_with(dir, entropy, &mut |path| Err(Error::Sealed { path: path.into() }))
    }

    /// The same; `ask` gives the passphrase of what is sealed. It is asked once, and only if something is.
    ///
    /// # Errors
    /// As for [`FileRoot::open`]; what `ask` says; [`Error::Passphrase`] if that opens one of the keys not.
    pub fn open_with(dir: &Path, entropy: Arc<dyn Entropy>, ask: Ask<'_>) -> Result<Self, Error> {
        check_dir(dir)?;
        let (mut keys, mut known) = (BTreeMap::new(), Vec::new());
        for generation in generations(dir)? {
            keys.insert(generation, read(&path(dir, generation), generation, &mut known, ask)?);
        }
        if keys.is_empty() {
            return Err(refused(dir, "there is no root key in it"));
        }
        Ok(Self { dir: dir.into(), entropy, keys: RwLock::new(keys) })
    }

    /// Seals each key's file with a passphrase, or without one writes it plain: one file after the other, each whole or as it was.
    /// The keys stay the same. `ask` gives the passphrases that they are sealed with now: cut off, some have the new one.
    ///
    /// # Errors
    /// As for [`FileRoot::open_with`].
    pub fn seal_with(
        dir: &Path,
        entropy: &dyn Entropy,
        ask: Ask<'_>,
        passphrase: Option<Passphrase>,
    ) -> Result<(), Error> {
        check_dir(dir)?;
        let mut known = Vec::from_iter(passphrase);
        let is_new = !known.is_empty();
        for generation in generations(dir)? {
            let path = path(dir, generation);
            let key = read(&path, generation, &mut known, ask)?;
            let bytes = written(dir, generation, &key, known.first().filter(|_| is_new), entropy)?;
            let mut before = private::open_to_write(&path).map_err(private_error(&path))?;
            let fresh = dir.join(format!("new-{generation}.key"));
            let _ = fs::remove_file(&fresh);
            write_new(dir, &fresh, &bytes)?;
            fs::rename(&fresh, &path).map_err(io_error("rename", &fresh))?;
            sync_dir(dir)?;
            // As far as the medium lets it, the old file is gone.
            let _ = before.write_all(&[0; sealed::SEALED_BYTES]).and_then(|()| before.sync_all());
        }
        Ok(())
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

/// Reads a key; of a sealed one, by a passphrase that is known, or by one that is asked for.
fn read(path: &Path, generation: Generation, known: &mut Vec<Passphrase>, ask: Ask<'_>) -> Result<Key, Error> {
    let file = private::open(path).map_err(private_error(path))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(sealed::SEALED_BYTES + 1));
    file.take(sealed::SEALED_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if let Ok(plain) = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new) {
        return Ok(Key::new(*plain));
    }
    if !sealed::is_sealed(&bytes) {
        return Err(refused(path, "it is neither 32 bytes long nor a sealed key"));
    }
    let unsealed = |passphrase: &Passphrase| match sealed::open(generation, &bytes, passphrase) {
        Err(sealed::NoKey::Cost) => Some(Err(refused(path, "its costs of guessing are out of bounds"))),
        Err(sealed::NoKey::Passphrase | sealed::NoKey::Malformed) => None,
        Ok(key) => Some(Ok(key)),
    };
    if let Some(read) = known.iter().find_map(unsealed) {
        return read;
    }
    let asked = ask(path)?;
    let read = unsealed(&asked).unwrap_or_else(|| Err(Error::Passphrase { path: path.into() }));
    known.push(asked);
    read
}

/// A key as its file has it.
fn written(
    dir: &Path,
    generation: Generation,
    key: &Key,
    passphrase: Option<&Passphrase>,
    entropy: &dyn Entropy,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let Some(passphrase) = passphrase else { return Ok(Zeroizing::new(key.expose().to_vec())) };
    let mut drawn = [0; sealed::DRAWN_BYTES];
    entropy.fill(&mut drawn)?;
    let sealed = sealed::seal(generation, key, passphrase, &drawn);
    sealed.map(Zeroizing::new).ok_or_else(|| refused(dir, "a key can't be sealed on this machine"))
}

/// Refuses to touch a file that is there.
fn write_new(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io_error("create", path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // Nothing was wrapped by it yet; a short file would only stand in the way of the next try.
        let _ = fs::remove_file(path);
        return Err(io_error("write", path)(source));
    }
    sync_dir(dir)
}

fn erase(dir: &Path, path: &Path) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).open(path).map_err(io_error("open", path))?;
    file.rewind()
        .and_then(|()| file.write_all(&[0; sealed::SEALED_BYTES]))
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
mod tests;
