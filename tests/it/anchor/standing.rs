//! A store under an anchor that is not its own, and a log under a new one: what is refused, what is said, and what is recorded.

use std::sync::Arc;

use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased, keys,
        log::{Ending, OpenError, Options},
        note::SignerKey,
    },
    cli::serve,
    config::Config,
    entropy::SystemEntropy,
    id::Tenant,
    operations::start::{self, Changed},
    proto::stored::{Entry, LogKey, Operation},
    secret::Key,
    server::{Ended, tls::DevCertificates},
    store::{Direction, Store, sled::SledStore},
};

use super::*;
use crate::support::{
    clock::TestClock,
    deployment::{Setup, make_keys, write_files},
    files::copy_directory,
    pki::Ca,
};

struct Opened {
    log: Log,
    ending: Ending,
}

fn key(seed: u8) -> Arc<SignerKey> {
    Arc::new(SignerKey::new(ORIGIN, &Key::new([seed; 32])).unwrap())
}

/// Opens the log in `store`, signed by its key of this number.
async fn open(store: &Path, anchor: &Path, number: u32, new_anchor: bool) -> Result<Opened, OpenError> {
    let anchor = match Anchor::open(anchor, ORIGIN) {
        Err(Error::Absent { .. }) => Anchor::create(anchor, ORIGIN).unwrap(),
        opened => opened.unwrap(),
    };
    let store: Arc<dyn Store> = Arc::new(SledStore::open(store).unwrap());
    let options = Options {
        origin: ORIGIN.into(),
        signer: key(u8::try_from(number).unwrap()),
        log_key: if number == 9 { 1 } else { number },
        signs_from: 0,
        archive: None,
        anchor: Some(anchor),
        new_anchor,
    };
    let clock = Arc::new(TestClock::at(1_800_000_000));
    let (log, ending) = Log::open(store, clock, Arc::new(SystemEntropy::open()), options).await?;
    Ok(Opened { log, ending })
}

impl Opened {
    async fn commit(&self, effects: Effects) {
        let record = Record::encode(&Tenant::system(), Entry::default(), vec![]).unwrap();
        self.log.commit(record, Basis::default(), effects, Unreleased::new(())).await.unwrap();
    }

    /// Names the log's key of this number, as its first entry does, or a rotation.
    async fn name_key(&self, number: u32, signer: &Arc<SignerKey>) {
        let record = LogKey { verifier_key: signer.verifier().to_string(), ..Default::default() };
        let log_key = (number > 1).then(|| (self.log.read_point().0, Arc::clone(signer)));
        self.commit(Effects { writes: vec![keys::effect(number, &record)], log_key, ..Default::default() }).await;
    }

    fn close(self) {
        drop(self.log);
        self.ending.join();
    }
}

async fn refused(store: &Path, anchor: &Path, number: u32) -> String {
    open(store, anchor, number, false).await.err().unwrap().to_string()
}

#[tokio::test]
async fn a_store_that_is_empty_or_of_before_a_rotation_is_older_than_its_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (store, anchor) = (dir.path().join("store"), dir.path().join("anchor"));
    let opened = open(&store, &anchor, 1, false).await.unwrap();
    opened.name_key(1, &key(1)).await;
    opened.close();
    copy_directory(&store, &dir.path().join("before"));
    let opened = open(&store, &anchor, 1, false).await.unwrap();
    opened.commit(Effects::default()).await;
    opened.close();
    let empty = dir.path().join("empty");
    assert!(refused(&empty, &anchor, 1).await.contains("it has 0 entries and the anchor has seen 2"));

    let opened = open(&store, &anchor, 1, false).await.unwrap();
    opened.name_key(2, &key(2)).await;
    opened.commit(Effects::default()).await;
    opened.close();
    let (before, newest) = (dir.path().join("before"), Anchor::peek(&anchor, ORIGIN).unwrap());
    assert!(refused(&before, &anchor, 1).await.contains("it has 1 entries and the anchor has seen 4"));
    assert!(refused(&empty, &anchor, 1).await.contains("it has 0 entries and the anchor has seen 4"));
    assert_eq!(Anchor::peek(&anchor, ORIGIN).unwrap(), newest);
    open(&store, &anchor, 2, false).await.unwrap().close();
}

#[tokio::test]
async fn a_store_of_another_log_by_that_name_is_no_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, anchor) = (dir.path().join("store"), dir.path().join("anchor"));
    let opened = open(&store, &anchor, 1, false).await.unwrap();
    opened.name_key(1, &key(1)).await;
    opened.close();
    let (other, others_anchor) = (dir.path().join("other"), dir.path().join("others"));
    let opened = open(&other, &others_anchor, 9, false).await.unwrap();
    opened.name_key(1, &key(9)).await;
    opened.commit(Effects::default()).await;
    opened.close();
    let why = refused(&other, &anchor, 9).await;
    assert!(why.contains("has seen 1 entries") && why.contains("of two logs"), "{why}");
    // One that is shorter can't be told from an older one.
    assert!(refused(&store, &others_anchor, 1).await.contains("it has 1 entries and the anchor has seen 2"));
}

#[tokio::test]
async fn a_new_anchor_begins_with_the_record_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, anchor) = (dir.path().join("store"), dir.path().join("anchor"));
    let opened = open(&store, &anchor, 1, false).await.unwrap();
    opened.name_key(1, &key(1)).await;
    opened.close();
    let new = dir.path().join("new");
    // The process ends before the record: as if it had not begun.
    open(&store, &new, 1, true).await.unwrap().close();
    assert_eq!(Anchor::peek(&new, ORIGIN).unwrap(), None);
    assert!(refused(&store, &new, 1).await.contains("--new-anchor"));

    let opened = open(&store, &new, 1, true).await.unwrap();
    start::new_anchor(&opened.log).await.unwrap();
    let (end, checkpoint) = (opened.log.read_point().0, opened.log.published().checkpoint.to_string());
    assert_eq!(Anchor::peek(&new, ORIGIN).unwrap(), Some(checkpoint));
    let last = opened.log.history().entries(end - 1..end, Direction::Ascending).await.unwrap();
    let entry = last[0].decode().unwrap();
    assert_eq!((entry.operation(), entry.effect.as_str()), (Operation::Start, "a new anchor was taken at 1 entries"));
    opened.close();
    open(&store, &new, 1, false).await.unwrap().close();
}

async fn serve(dir: &Path, new_anchor: bool) -> Result<serve::Running, String> {
    let config = Config::load(&dir.join("privet.toml")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = serve::Options {
        listener,
        policy_changed: Changed::Refuse,
        new_anchor,
        clock_is_right: false,
        dev: DevCertificates::Refused,
    };
    serve::start(config, options).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_is_made_for_a_new_store_only_and_not_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), &Ca::new("test CA"), &Setup::default());
    make_keys(dir.path());
    drop(SledStore::open(&dir.path().join("store")).unwrap());
    let refused = serve(dir.path(), false).await.unwrap_err();
    assert!(refused.contains("there is no anchor") && refused.contains("--new-anchor"), "{refused}");
    assert!(!dir.path().join("anchor").exists());
    for new_anchor in [true, false] {
        assert_eq!(serve(dir.path(), new_anchor).await.unwrap().shutdown().await.unwrap(), Ended::Shutdown);
    }

    fs::rename(dir.path().join("anchor"), dir.path().join("lost")).unwrap();
    assert!(serve(dir.path(), false).await.unwrap_err().contains("--new-anchor"));
    fs::rename(dir.path().join("lost"), dir.path().join("anchor")).unwrap();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let wiped = serve(dir.path(), false).await.unwrap_err();
    assert!(wiped.contains("it has 0 entries and the anchor has seen"), "{wiped}");
    // Even once that start has made the store.
    fs::remove_dir_all(dir.path().join("anchor")).unwrap();
    assert!(serve(dir.path(), false).await.unwrap_err().contains("there is no anchor"));
}
