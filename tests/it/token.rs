//! The root key in a token, against SoftHSM. Built only with `--features pkcs11`; what it needs must then be there.
//!
//! SoftHSM reads its configuration from the environment, so what loads its module runs in a child.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass},
    session::{Session, UserType},
    types::AuthPin,
};
use privet::{
    clock::SystemClock,
    entropy::SystemEntropy,
    keyring::root::{Destruction, Error, Generation, Place, RootProvider, ToWrap, TokenRoot},
    secret::{Key, Passphrase},
    server::Ended,
};

use crate::{
    command::{code, privet, stderr, stdout},
    support::{
        child::{Child, say},
        deployment::{Client, Setup, connect, decrypt, opened, run, to_decrypt, write_files},
        pki::Ca,
    },
};

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
const DIR: &str = "PRIVET_TEST_TOKENS";

/// SoftHSM with a directory of its own.
struct Hsm {
    dir: PathBuf,
}

impl Hsm {
    fn new(dir: &Path) -> Self {
        let tokens = dir.join("tokens");
        fs::create_dir_all(&tokens).unwrap();
        let conf =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        fs::write(dir.join("softhsm2.conf"), conf).unwrap();
        Self { dir: dir.to_owned() }
    }

    /// The one of this child.
    fn of_child() -> Self {
        Self { dir: PathBuf::from(std::env::var_os(DIR).unwrap()) }
    }

    fn conf(&self) -> PathBuf {
        self.dir.join("softhsm2.conf")
    }

    fn token(&self, label: &str) {
        let init = ["--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "567890"];
        let output = Command::new("softhsm2-util").args(init).env("SOFTHSM2_CONF", self.conf()).output();
        let output = output.expect("softhsm2-util must be installed (Debian: softhsm2)");
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn pin(&self, name: &str, pin: &str) -> String {
        let file = self.dir.join(name);
        fs::write(&file, pin).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Nobody to ask: standard input is no terminal.
    fn privet(&self, args: &[&str]) -> Output {
        privet(args).env("SOFTHSM2_CONF", self.conf()).stdin(Stdio::null()).output().unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Runs an ignored test with this token.
    fn child(&self, name: &str) {
        let conf = self.conf();
        let environment: [(&str, &OsStr); 2] = [("SOFTHSM2_CONF", conf.as_os_str()), (DIR, self.dir.as_os_str())];
        let child = Child::start(name, environment);
        let (status, said) = child.wait(Duration::from_secs(120));
        // A name that is no test's would end well, too.
        assert!(status.success() && said == ["done"], "{said:?}");
    }
}

fn module() -> &'static str {
    MODULES.into_iter().find(|path| Path::new(path).exists()).expect("SoftHSM must be installed (Debian: softhsm2)")
}

fn place() -> Place {
    Place { module: module().into(), token: "privet".to_owned(), name: "privet-root".to_owned() }
}

fn secret(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

fn create(place: Place, pin: &str) -> Result<TokenRoot, Error> {
    TokenRoot::create(place, &secret(pin), Arc::new(SystemEntropy::open()), Arc::new(SystemClock::start()))
}

fn open(place: Place, pin: &str) -> Result<TokenRoot, Error> {
    TokenRoot::open(place, &secret(pin), Arc::new(SystemEntropy::open()), Arc::new(SystemClock::start()))
}

/// Why a token was refused.
fn why<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Token { why, .. } | Error::Module { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// A session of the test's own, in the same process: what it does to the token's state it does to all.
fn session() -> Session {
    let module = Pkcs11::new(module()).unwrap();
    let _initialized_before = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let label = |slot: &cryptoki::slot::Slot| module.get_token_info(*slot).unwrap().label().trim_end() == "privet";
    let slot = module.get_slots_with_initialized_token().unwrap().into_iter().find(label).unwrap();
    module.open_rw_session(slot).unwrap()
}

fn generate(session: &Session, label: &str, extractable: bool, bytes: u64) {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(bytes.into()),
        Attribute::Label(label.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(!extractable),
        Attribute::Extractable(extractable),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
}

fn remove(session: &Session, label: &str) {
    for key in session.find_objects(&[Attribute::Label(label.into())]).unwrap() {
        session.destroy_object(key).unwrap();
    }
}

#[test]
fn a_root_key_in_a_token_wraps_is_bound_to_its_place_and_never_leaves() {
    let scratch = tempfile::tempdir().unwrap();
    let hsm = Hsm::new(scratch.path());
    hsm.token("privet");
    hsm.child("token::a_child_keeps_keys");
}

#[test]
#[ignore = "a part of another test"]
fn a_child_keeps_keys() {
    let made = create(place(), "1234").unwrap();
    assert_eq!(made.newest(), Generation(1));
    assert!(why(create(place(), "1234")).contains("in it already"));
    let key = Key::new([7; 32]);
    let [a, b] = made
        .wrap(Generation(1), &[ToWrap { aad: b"a", key: &key }, ToWrap { aad: b"b", key: &key }])
        .unwrap()
        .try_into()
        .unwrap();
    // The form is the one of files: nonce, sealed key, tag.
    assert_eq!((a.len(), b.len()), (60, 60));
    assert_ne!(a[..12], b[..12]);

    let root = open(place(), "1234").unwrap();
    assert_eq!(root.unwrap(Generation(1), b"a", &a).unwrap().expose(), key.expose());
    assert!(matches!(root.unwrap(Generation(1), b"b", &a), Err(Error::Mismatch(Generation(1)))));
    for at in 0..a.len() {
        let mut bent = a.clone();
        bent[at] ^= 1;
        assert!(matches!(root.unwrap(Generation(1), b"a", &bent), Err(Error::Mismatch(_))), "{at}");
        assert!(matches!(root.unwrap(Generation(1), b"a", &a[..at]), Err(Error::Mismatch(_))), "{at}");
    }
    assert!(matches!(root.unwrap(Generation(2), b"a", &a), Err(Error::Missing(Generation(2)))));
    assert!(matches!(root.wrap(Generation(2), &[]), Err(Error::Missing(Generation(2)))));

    // Nobody reads the key out of the token, not even who has its PIN.
    let mine = session();
    let keys = mine.find_objects(&[Attribute::Label(b"privet-root-1".to_vec())]).unwrap();
    let value = mine.get_attributes(keys[0], &[AttributeType::Value]).unwrap();
    assert!(value.is_empty(), "{value:?}");

    // A generation more, as a purge makes it: the newest wraps, the older one opens until it is destroyed.
    generate(&mine, "privet-root-2", false, 32);
    generate(&mine, "privet-root-02", true, 16);
    let root = open(place(), "1234").unwrap();
    assert_eq!(root.newest(), Generation(2));
    assert!(matches!(root.destroy(Generation(2)), Err(Error::Newest(Generation(2)))));
    assert!(matches!(root.destroy(Generation(3)), Err(Error::Missing(Generation(3)))));
    assert_eq!(root.unwrap(Generation(1), b"a", &a).unwrap().expose(), key.expose());
    // SoftHSM keeps keys in files and does not say that its slots are hardware.
    assert_eq!(root.destroy(Generation(1)).unwrap(), Destruction::BestEffort);
    assert!(matches!(root.unwrap(Generation(1), b"a", &a), Err(Error::Missing(_))));
    assert!(matches!(open(place(), "1234").unwrap().unwrap(Generation(1), b"a", &a), Err(Error::Missing(_))));

    // What could be given away, or guessed, is no root key.
    for (extractable, bytes, said) in [(true, 32, "must be sensitive"), (false, 16, "not of 256 bits")] {
        generate(&mine, "privet-root-3", extractable, bytes);
        assert!(why(open(place(), "1234")).contains(said), "{said}");
        remove(&mine, "privet-root-3");
    }
    generate(&mine, "privet-root-2", false, 32);
    assert!(why(open(place(), "1234")).contains("one name"));
    say("done");
}

#[test]
fn a_lost_session_is_made_anew_once_and_a_pin_that_was_refused_is_never_given_again() {
    let scratch = tempfile::tempdir().unwrap();
    let hsm = Hsm::new(scratch.path());
    hsm.token("privet");
    hsm.child("token::a_child_loses_its_sessions");
}

#[test]
#[ignore = "a part of another test"]
fn a_child_loses_its_sessions() {
    let root = create(place(), "1234").unwrap();
    let key = Key::new([7; 32]);
    let wrap = || root.wrap(Generation(1), &[ToWrap { aad: b"a", key: &key }]);
    let before = wrap().unwrap();
    let mine = session();
    for _ in 0..3 {
        mine.logout().unwrap();
        assert_eq!(root.unwrap(Generation(1), b"a", &before[0]).unwrap().expose(), key.expose());
    }
    // Many at once, while it happens again and again: a call logs in anew once, so one may meet two of them.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!((0..200).filter(|_| wrap().is_ok()).count() > 0));
        }
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            // Nobody may be logged in just now.
            let _logged_out = mine.logout();
        }
    });
    wrap().unwrap();

    let (old, new) = (AuthPin::new("1234".into()), AuthPin::new("4321".into()));
    mine.set_pin(&old, &new).unwrap();
    mine.logout().unwrap();
    let is_wrong = |result: Result<Vec<Vec<u8>>, Error>| assert!(why(result).contains("the PIN is wrong"));
    is_wrong(wrap());
    // Right again, and known to be; still it is not given.
    mine.login(UserType::User, Some(&new)).unwrap();
    mine.set_pin(&new, &old).unwrap();
    mine.logout().unwrap();
    is_wrong(wrap());
    assert!(open(place(), "1234").is_ok(), "a start anew gives it once");
    say("done");
}

#[test]
fn what_is_missing_wrong_or_unsafe_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let hsm = Hsm::new(scratch.path());
    hsm.token("privet");
    hsm.token("twin");
    hsm.token("twin");
    let (good, wrong) = (hsm.pin("pin", "1234\n"), hsm.pin("wrong", "4321"));
    let dir = hsm.path("privet");
    let init = |args: &[&str]| {
        let base = ["init", "--dir", &dir, "--origin", "test.example/log"];
        let output = hsm.privet(&[&base[..], args].concat());
        assert!(code(&output) == 0 || !Path::new(&dir).join("privet.toml").exists());
        output
    };
    let refused = |args: &[&str], said: &str| {
        let output = init(args);
        assert!(code(&output) != 0 && stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    };
    let at = ["--module", module(), "--pin-file", &good];
    refused(&["--module", module()], "--token");
    refused(&["--token", "privet"], "--module");
    refused(&["--module", "/no/such.so", "--token", "privet"], "/no/such.so can't be found");
    let text = hsm.pin("text.so", "no library");
    refused(&["--module", &text, "--token", "privet", "--pin-file", &good], "text.so can't be used");
    let loose = hsm.path("loose.so");
    fs::copy(module(), &loose).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o666)).unwrap();
    refused(&["--module", &loose, "--token", "privet", "--pin-file", &good], "may write it");
    refused(&[&at[..], &["--token", "other"]].concat(), "has no token of this label; it has: ");
    refused(&[&at[..], &["--token", "twin"]].concat(), "two tokens have this label");
    refused(&[&at[..], &["--token", &"x".repeat(33)]].concat(), "--token: must be the token's label");
    refused(&[&at[..], &["--token", "privet", "--key", ""]].concat(), "--key: must be 1 to 64");
    refused(&["--module", module(), "--token", "privet"], "wants its PIN");
    refused(&["--module", module(), "--token", "privet", "--pin-file", &wrong], "the PIN is wrong");

    let made = init(&[&at[..], &["--token", "privet"]].concat());
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert!(stdout(&made).contains("a root key in token privet"), "{}", stdout(&made));
    assert!(!Path::new(&dir).join("root").exists());
    let config = hsm.path("privet/privet.toml");
    let check = || stdout(&hsm.privet(&["check-config", "--config", &config]));
    let line = |text: &str, what: &str| text.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
    let sound = check();
    assert!(line(&sound, "root key").contains("generation 1, privet-root in token privet"), "{sound}");
    assert!(line(&sound, "log key").contains("the log's first verifier key"), "{sound}");
    assert!(line(&sound, "talks to").contains("libsofthsm2.so"), "{sound}");
    let text = fs::read_to_string(&config).unwrap();
    let with = |from: &str, to: &str, said: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(&config, text.replacen(from, to, 1)).unwrap();
        let found = check();
        assert!(found.contains(said), "{to}: {found}");
    };
    with(&good, &wrong, "the PIN is wrong; it is not given again");
    with("token = \"privet\"", "token = \"other\"", "has no token of this label");
    with("key = \"privet-root\"", "key = \"another\"", "no key in it is named another-1; `privet init` makes one");
    with(&format!("pin_file = \"{good}\""), "", "root.pin_file");
    with("# dir = \"root\"", "dir = \"root\"", "root.dir: is for kind = \"file\" only");
    with("token = \"privet\"", "", "root.token: must be the token's label");
    with(&format!("module = \"{}\"", fs::canonicalize(module()).unwrap().display()), "", "root.module: must be");
    with("kind = \"pkcs11\"", "kind = \"file\"", "is for kind = \"pkcs11\" only");
    fs::write(&config, &text).unwrap();
    let changed = hsm.privet(&["passphrase", "--config", &config, "--remove"]);
    assert!(code(&changed) != 0 && stderr(&changed).contains("token's own tool"), "{}", stderr(&changed));
    fs::remove_dir_all(hsm.dir.join("tokens")).unwrap();
    assert!(check().contains("it has: \n") || check().contains("can't be used"), "{}", check());
}

#[test]
fn a_server_seals_under_a_token_and_opens_after_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let hsm = Hsm::new(scratch.path());
    hsm.token("privet");
    let pin = hsm.pin("pin", "1234");
    let init = ["init", "--dir", &hsm.path("made"), "--origin", "test.example/log"];
    let made = hsm.privet(&[&init[..], &["--module", module(), "--token", "privet", "--pin-file", &pin]].concat());
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    hsm.child("token::a_child_serves");
}

#[test]
#[ignore = "a part of another test"]
fn a_child_serves() {
    let hsm = Hsm::of_child();
    let dir = hsm.dir.join("served");
    fs::create_dir(&dir).unwrap();
    let ca = Ca::new("test CA");
    write_files(&dir, &ca, &Setup::default());
    fs::rename(hsm.dir.join("made/log-key"), dir.join("log-key")).unwrap();
    let made = fs::read_to_string(hsm.dir.join("made/privet.toml")).unwrap();
    let section = made.split("[root]").nth(1).unwrap().split("\n[").next().unwrap();
    let config = fs::read_to_string(dir.join("privet.toml")).unwrap();
    let config = config.replace("kind = \"file\"\ndir = \"root\"\n", section);
    assert!(config.contains("kind = \"pkcs11\""));
    fs::write(dir.join("privet.toml"), config).unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut sealed = None;
        for _ in 0..2 {
            let (running, address) = run(&dir).await;
            let leaf = ca.client(&["spiffe://acme.example/tester"]);
            let client = Client { channel: connect(address, ca.client_config(Some(&leaf))).await.unwrap() };
            let ciphertext = match sealed.take() {
                None => client.seal("acme", "customer-1", "pii/account/email", b"a@b.example", b"").await,
                Some(ciphertext) => ciphertext,
            };
            let field = to_decrypt("customer-1", "pii/account/email", &ciphertext);
            let answer = client.encryption().decrypt(decrypt("acme", vec![field])).await.unwrap().into_inner();
            assert_eq!(opened(&answer, 0).unwrap(), b"a@b.example");
            sealed = Some(ciphertext);
            assert_eq!(running.shutdown().await.unwrap(), Ended::Shutdown);
        }
    });
    say("done");
}
