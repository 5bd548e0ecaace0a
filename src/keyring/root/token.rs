//! Root keys in a PKCS #11 token (OASIS PKCS #11 2.40 and 3.0): AES-256 keys `<name>-<generation>` that never leave it. The
//! token itself wraps and unwraps, by AES-GCM, in the same form as the provider of files.
//!
//! Refused: a module that others may write, a label that no token or two tokens have, a key that can leave the token or is not
//! AES-256, two keys of one name. A wrong PIN is given once and never again by the same process, and none is given to a token
//! that would lock at the next: a server that is started over and over must not lock it.
//!
//! When a session was lost (another process logged out, the token was taken out and put back) each call logs in anew, once.
//!
//! Destruction is [`Destruction::Confirmed`] only by a hardware slot, for a key that was made there and could never leave or be
//! copied; what the token's keeper copied by other means no module tells.

mod module;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use cryptoki::{
    context::Pkcs11,
    error::{Error as TokenError, RvError},
    mechanism::{Mechanism, MechanismType, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::RawAuthPin,
};
use module::{PIN_LOCKED, PIN_REFUSED, find_token, is_lost, load_module, refuses_pin, said};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};
use zeroize::Zeroizing;

use super::{Destruction, Error, Generation, RootProvider, ToWrap};
use crate::{
    clock::Clock,
    entropy::Entropy,
    keyring::aead::NONCE_BYTES,
    secret::{Key, Passphrase},
};

/// Which keys of which token, through which module.
#[derive(Clone, Debug)]
pub struct Place {
    /// The module, a shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label, as its keeper gave it.
    pub token: String,
    /// How the keys' labels begin.
    pub name: String,
}

/// Root keys in a token.
pub struct TokenRoot {
    place: Place,
    slot: Slot,
    module: Pkcs11,
    pin: RawAuthPin,
    /// The token refused the PIN. The lock is held while it is given, so that it is given once.
    is_refused: Mutex<bool>,
    /// Sessions that nobody uses just now. The lock is held to take one or to put one back.
    idle: Mutex<Vec<Session>>,
    /// Never empty: the last one is the newest.
    keys: RwLock<BTreeMap<Generation, ObjectHandle>>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl TokenRoot {
    /// Makes the first generation's key in a token.
    ///
    /// # Errors
    /// [`Error::Token`] if keys of that name are there already, or as the module's text says; [`Error::Module`].
    pub fn create(
        place: Place,
        pin: &Passphrase,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let root = Self::log_in_to(place, pin, entropy, clock)?;
        let session = root.session()?;
        if !root.find(&session)?.is_empty() {
            return Err(root.refused("root keys of that name are in it already: give them another with --key"));
        }
        let can = root.module.get_mechanism_list(root.slot).map_err(|error| root.failed(&error))?;
        if ![MechanismType::AES_KEY_GEN, MechanismType::AES_GCM].iter().all(|wanted| can.contains(wanted)) {
            return Err(root.refused("it can't make AES keys and seal with them by GCM"));
        }
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Label(root.label(Generation(1)).into_bytes()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Copyable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template).map_err(|error| root.failed(&error))?;
        root.load(&session)?;
        root.put_back(session);
        Ok(root)
    }

    /// Finds the root keys of a token.
    ///
    /// # Errors
    /// [`Error::Module`], or [`Error::Token`] as the module's text says.
    pub fn open(
        place: Place,
        pin: &Passphrase,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let root = Self::log_in_to(place, pin, entropy, clock)?;
        let session = root.session()?;
        root.load(&session)?;
        root.put_back(session);
        Ok(root)
    }

    /// A root without keys yet, at a token that has taken the PIN.
    fn log_in_to(
        place: Place,
        pin: &Passphrase,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let module = load_module(&place.module)?;
        let slot = find_token(&module, &place)?;
        Ok(Self {
            place,
            slot,
            module,
            pin: RawAuthPin::new(Box::new(pin.expose().to_vec())),
            is_refused: Mutex::new(false),
            idle: Mutex::default(),
            keys: RwLock::default(),
            entropy,
            clock,
        })
    }

    /// A session that is logged in.
    fn session(&self) -> Result<Session, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(session) = idle {
            return Ok(session);
        }
        let session = self.module.open_rw_session(self.slot).map_err(|error| self.failed(&error))?;
        self.log_in(&session)?;
        Ok(session)
    }

    fn put_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    /// Logs this process in, unless it is.
    fn log_in(&self, session: &Session) -> Result<(), Error> {
        let mut is_refused = self.is_refused.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_refused {
            return Err(self.refused(PIN_REFUSED));
        }
        let logged_in = |info: cryptoki::session::SessionInfo| {
            use cryptoki::session::SessionState::{RoUser, RwUser};
            matches!(info.session_state(), RoUser | RwUser)
        };
        if session.get_session_info().is_ok_and(logged_in) {
            return Ok(());
        }
        let token = self.module.get_token_info(self.slot).map_err(|error| self.failed(&error))?;
        if token.user_pin_locked() {
            return Err(self.refused(PIN_LOCKED));
        }
        if token.user_pin_final_try() {
            return Err(self.refused("one more wrong PIN would lock it: log in with the token's own tool first"));
        }
        if !token.user_pin_initialized() {
            return Err(self.refused("its user PIN was never set"));
        }
        match session.login_with_raw(UserType::User, &self.pin) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => {
                *is_refused = refuses_pin(&error);
                Err(self.failed(&error))
            }
        }
    }

    /// Works with a session; with a new one, once, if the first was lost. A token may take its time: other tasks do not wait for
    /// it.
    fn with<T>(&self, work: impl Fn(&Session) -> Result<T, Failed>) -> Result<T, Error> {
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(|| self.with_session(work)),
            Ok(_) | Err(_) => self.with_session(work),
        }
    }

    fn with_session<T>(&self, work: impl Fn(&Session) -> Result<T, Failed>) -> Result<T, Error> {
        let session = self.session()?;
        let error = match work(&session) {
            Ok(done) => {
                self.put_back(session);
                return Ok(done);
            }
            Err(Failed::Token(error)) if is_lost(&error) => error,
            // Nobody knows what such a session is still at.
            Err(Failed::Token(error)) => return Err(self.failed(&error)),
            Err(Failed::Other(error)) => {
                self.put_back(session);
                return Err(error);
            }
        };
        tracing::warn!(token = self.place.token, %error, "the token lost its session; logging in anew");
        drop(session);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let session = self.session()?;
        // Handles may be others now.
        self.load(&session)?;
        let done = work(&session).map_err(|failed| self.why(failed))?;
        self.put_back(session);
        Ok(done)
    }

    /// Finds the keys.
    fn load(&self, session: &Session) -> Result<(), Error> {
        let found = self.find(session)?;
        if found.is_empty() {
            return Err(Error::Token {
                token: self.place.token.clone(),
                why: format!("no key in it is named {}; `privet init` makes one", self.label(Generation(1))),
            });
        }
        for handle in found.values() {
            self.check(session, *handle)?;
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    fn find(&self, session: &Session) -> Result<BTreeMap<Generation, ObjectHandle>, Error> {
        let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)];
        let handles = session.find_objects(&template).map_err(|error| self.failed(&error))?;
        let mut found = BTreeMap::new();
        for handle in handles {
            let read = session.get_attributes(handle, &[AttributeType::Label]).map_err(|error| self.failed(&error))?;
            let Some(Attribute::Label(label)) = read.into_iter().next() else { continue };
            let Some(generation) = self.generation(&label) else { continue };
            if found.insert(generation, handle).is_some() {
                return Err(self.refused("two keys in it have one name: remove what is not the root key"));
            }
        }
        Ok(found)
    }

    /// Refuses what a token would give away.
    fn check(&self, session: &Session, handle: ObjectHandle) -> Result<(), Error> {
        let wanted = [
            (Attribute::KeyType(KeyType::AES), "a root key in it is no AES key"),
            (Attribute::ValueLen(32.into()), "a root key in it is not of 256 bits"),
            (Attribute::Sensitive(true), "a root key in it can be read: it must be sensitive"),
            (Attribute::Extractable(false), "a root key in it can leave it: it must not be extractable"),
            (Attribute::Private(true), "a root key in it can be used without its PIN: it must be private"),
            (Attribute::Encrypt(true), "a root key in it may not encrypt"),
            (Attribute::Decrypt(true), "a root key in it may not decrypt"),
        ];
        for (attribute, why) in wanted {
            let read = session.get_attributes(handle, &[attribute.attribute_type()]);
            if !read.map_err(|error| self.failed(&error))?.contains(&attribute) {
                return Err(self.refused(why));
            }
        }
        Ok(())
    }

    fn key(&self, generation: Generation) -> Result<ObjectHandle, Failed> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&generation).copied().ok_or(Failed::Other(Error::Missing(generation)))
    }

    fn label(&self, generation: Generation) -> String {
        format!("{}-{generation}", self.place.name)
    }

    /// Only the canonical spelling, so that one generation is one key.
    fn generation(&self, label: &[u8]) -> Option<Generation> {
        let number = std::str::from_utf8(label).ok()?.strip_prefix(&self.place.name)?.strip_prefix('-')?;
        let generation = Generation(number.parse().ok().filter(|number| *number > 0)?);
        (self.label(generation).as_bytes() == label).then_some(generation)
    }

    fn refused(&self, why: &str) -> Error {
        Error::Token { token: self.place.token.clone(), why: why.to_owned() }
    }

    fn failed(&self, error: &TokenError) -> Error {
        Error::Token { token: self.place.token.clone(), why: said(error) }
    }

    fn why(&self, failed: Failed) -> Error {
        match failed {
            Failed::Token(error) => self.failed(&error),
            Failed::Other(error) => error,
        }
    }
}

impl RootProvider for TokenRoot {
    fn newest(&self) -> Generation {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.last_key_value().map_or(Generation(0), |(generation, _)| *generation)
    }

    fn wrap(&self, generation: Generation, keys: &[ToWrap<'_>]) -> Result<Vec<Vec<u8>>, Error> {
        let mut nonces = vec![0; keys.len() * NONCE_BYTES];
        self.entropy.fill(&mut nonces)?;
        let (nonces, _) = nonces.as_chunks::<NONCE_BYTES>();
        self.with(|session| {
            let root = self.key(generation)?;
            let wrap = |(one, nonce): (&ToWrap<'_>, &[u8; NONCE_BYTES])| {
                let mut nonce = *nonce;
                let sealed = encrypt(session, root, &mut nonce, one.aad, one.key.expose())?;
                Ok([nonce.as_slice(), &sealed].concat())
            };
            keys.iter().zip(nonces).map(wrap).collect()
        })
    }

    fn unwrap(&self, generation: Generation, aad: &[u8], wrapped: &[u8]) -> Result<Key, Error> {
        let mismatch = || Failed::Other(Error::Mismatch(generation));
        self.with(|session| {
            let root = self.key(generation)?;
            let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or_else(mismatch)?;
            match decrypt(session, root, *nonce, aad, sealed) {
                Ok(key) => {
                    Ok(Key::new(*<[u8; 32]>::try_from(key.as_slice()).map(Zeroizing::new).map_err(|_| mismatch())?))
                }
                // Modules name a wrong tag in many ways, and some as any failure: whether the key works tells them apart.
                Err(error) if !is_lost(&error) && works(session, root) => Err(mismatch()),
                Err(error) => Err(Failed::Token(error)),
            }
        })
    }

    fn destroy(&self, generation: Generation) -> Result<Destruction, Error> {
        if self.newest() == generation {
            return Err(Error::Newest(generation));
        }
        let origin = [AttributeType::Local, AttributeType::NeverExtractable, AttributeType::Copyable];
        let made_there = self.with(|session| {
            let root = self.key(generation)?;
            let read = session.get_attributes(root, &origin)?;
            session.destroy_object(root)?;
            let unique = [Attribute::Local(true), Attribute::NeverExtractable(true), Attribute::Copyable(false)];
            Ok(unique.iter().all(|one| read.contains(one)))
        })?;
        self.with(|session| self.load(session).map_err(Failed::Other))?;
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).contains_key(&generation) {
            return Err(self.refused("it kept a key that it was to destroy"));
        }
        let slot = self.module.get_slot_info(self.slot).map_err(|error| self.failed(&error))?;
        Ok(if made_there && slot.hardware_slot() {
            Destruction::Confirmed(self.clock.wall_secs())
        } else {
            Destruction::BestEffort
        })
    }
}

impl fmt::Debug for TokenRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenRoot")
    }
}

/// Why some work with a session failed.
enum Failed {
    Token(TokenError),
    Other(Error),
}

impl From<TokenError> for Failed {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

/// Modules may take another nonce than they are given, and then say which.
fn encrypt(
    session: &Session,
    key: ObjectHandle,
    nonce: &mut [u8; NONCE_BYTES],
    aad: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, TokenError> {
    session.encrypt(&Mechanism::AesGcm(GcmParams::new(nonce, aad, TAG_BITS.into())?), key, data)
}

fn decrypt(
    session: &Session,
    key: ObjectHandle,
    mut nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let params = GcmParams::new(&mut nonce, aad, TAG_BITS.into())?;
    session.decrypt(&Mechanism::AesGcm(params), key, data).map(Zeroizing::new)
}

/// Whether a key opens what it has just sealed. The nonce is no key's secret, and nothing is sealed here but zeros.
fn works(session: &Session, key: ObjectHandle) -> bool {
    let mut nonce = [0xff; NONCE_BYTES];
    let sealed = encrypt(session, key, &mut nonce, b"", &[0; 32]);
    sealed.and_then(|sealed| decrypt(session, key, nonce, b"", &sealed)).is_ok()
}

const TAG_BITS: u64 = 128;
