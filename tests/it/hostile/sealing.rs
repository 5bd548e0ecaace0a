//! A log that is written, sealed, emptied and shortened at once, and cut off in the midst of each: whatever was acknowledged
//! stays, and all of its parts fit together again. `tests/support/powercut.c` says what a power cut is here.

use std::{
    env,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased, anchor::Anchor, block, history::Bounds, index::Index, keys,
        log::Options, note::SignerKey,
    },
    entropy::SystemEntropy,
    id::Tenant,
    operations::{
        indexing,
        segments::{Rules, Segments},
    },
    proto::stored::{Entry, LogHead, LogKey, Target},
    secret::Key,
    store::{Direction, Space, Store, sled::SledStore},
};
use prost::Message;
use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use super::{
    load::Random,
    whole::{Identity, Receipt, Whole, bundles},
};
use crate::support::{
    child::{Child, say},
    clock::TestClock,
    files::copy_directory,
    machine::Machine,
};

const CHILD: &str = "hostile::sealing::child_writes_and_seals_until_it_is_killed";
const ORIGIN: &str = "test.example/sealing";
const DAY: Duration = Duration::from_secs(86_400);
const ROUNDS: u64 = 12;
/// Unsealed entries from which on the child seals.
const SEGMENT: u64 = 300;

fn signer() -> Arc<SignerKey> {
    Arc::new(SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_midst_of_sealing_removing_and_deleting_lose_nothing() {
    fail_again_and_again(Failure::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_in_the_midst_of_sealing_removing_and_deleting_lose_nothing() {
    fail_again_and_again(Failure::PowerCut).await;
}

/// A disk writes back early and in any order: some bytes that nobody synced survive as well.
#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_with_torn_and_reordered_writes_in_the_midst_of_sealing_lose_nothing() {
    fail_again_and_again(Failure::TornPowerCut).await;
}

/// The positive control: what the tests above find must not be there for another reason than the syncs.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_archives_syncs_a_power_cut_after_a_seal_is_noticed() {
    let mut machine = Machine::new();
    let skip = [("PRIVET_POWERCUT_SKIP", "syncfs".into()), (DIE_AT, "removing".into())];
    let (receipts, _) = heard(machine.boot(CHILD, &skip), None);
    machine = machine.after_the_cut();
    assert!(receipts.len() as u64 > SEGMENT);
    assert!(reopened(&machine, &mut Midst::default()).await.is_err(), "the entries of the first segment are gone");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Kill,
    PowerCut,
    TornPowerCut,
}

/// How often each step was under way when the end came.
#[derive(Debug, Default)]
struct Midst {
    sealing: u32,
    removing: u32,
    deleting: u32,
}

async fn fail_again_and_again(failure: Failure) {
    let mut machine = Machine::new();
    let mut random = Random::new(failure as u64 + 5);
    let (mut receipts, mut midst, mut sealed_end) = (Vec::new(), Midst::default(), 0);
    for round in 0..ROUNDS {
        // The first time as soon as a step has begun, later at any time in it.
        let luck = if round < 4 { 0 } else { random.next() };
        let mut environment = vec![(LUCK, luck.to_string().into())];
        let step = ["sealing", "removing", "deleting", "starting"][round as usize % 4];
        environment.push((DIE_AT, step.into()));
        if failure == Failure::TornPowerCut {
            environment.push(("PRIVET_POWERCUT_TORN", (random.next() >> 33).to_string().into()));
        }
        let child = machine.boot(CHILD, &environment);
        let at_any_time = (step == "starting").then(|| Duration::from_millis(random.below(250)));
        let (fresh, seen) = heard(child, at_any_time);
        receipts.extend(fresh);
        if failure != Failure::Kill {
            machine = machine.after_the_cut();
        }
        if !machine.real().join("store/format").exists() {
            assert!(receipts.is_empty());
            continue;
        }
        let whole =
            reopened(&machine, &mut midst).await.unwrap_or_else(|e| panic!("{failure:?}, round {round}, {step}: {e}"));
        let lost = receipts.iter().filter(|receipt| !whole.keeps(receipt)).count();
        assert_eq!(lost, 0, "{failure:?}, round {round}, {step}: of {} acknowledged", receipts.len());
        assert!(whole.sealed_end >= sealed_end.max(seen), "{failure:?}, round {round}: a segment is gone");
        sealed_end = whole.sealed_end;
    }
    let Midst { sealing, removing, deleting } = midst;
    assert!(sealing > 0 && removing > 0 && deleting > 0, "{failure:?}: {midst:?}");
    assert!(receipts.len() as u64 > SEGMENT * 5, "{failure:?}: only {} were acknowledged", receipts.len());
}

/// A copy of what is left, opened and checked.
async fn reopened(machine: &Machine, midst: &mut Midst) -> Result<Whole, super::whole::Error> {
    let copy = tempfile::tempdir().unwrap();
    let (store, anchor) = (copy.path().join("store"), copy.path().join("anchor"));
    copy_directory(&machine.real().join("store"), &store);
    if machine.real().join("anchor").exists() {
        copy_directory(&machine.real().join("anchor"), &anchor);
    }
    let database = Arc::new(SledStore::open(&store)?);
    midst.look(&*database, &store.join("archive")).await;
    let identity = Identity { origin: ORIGIN.to_owned(), signer: signer() };
    Whole::open(database, &store, &anchor, identity).await
}

impl Midst {
    /// Looks at what is left before anybody tidies it up.
    async fn look(&mut self, store: &dyn Store, archive: &Path) {
        let head = LogHead::decode(store.head().unwrap().state.as_slice()).unwrap();
        let marker = fs::read_to_string(archive.join("sealing")).unwrap_or_default();
        let unfinished = marker.lines().nth(1).and_then(|range| range.split_once(' '));
        self.sealing += u32::from(unfinished.is_some_and(|(start, _)| start == head.sealed_end.to_string()));
        let sealed = block::key(0, 0)..block::key(head.sealed_end + 1, 0);
        let last = store.scan(Space::Block, sealed, Direction::Descending, 1).await.unwrap();
        let border = last.first().map_or(0, |(key, _)| block::first_index(key).unwrap());
        self.removing += u32::from(head.sealed_end > 0 && head.removed_end < border);
        let deleted = head.retained_from / 256;
        self.deleting += u32::from(bundles(archive).first().is_some_and(|first| *first < deleted));
    }
}

/// Hears a child until it ends, or for a while, and kills it then: its receipts, and how much it knew to be sealed.
fn heard(child: Child, only: Option<Duration>) -> (Vec<Receipt>, u64) {
    let said = match only {
        Some(pause) => {
            thread::sleep(pause);
            child.kill()
        }
        None => child.wait(Duration::from_secs(60)).1,
    };
    let (mut receipts, mut sealed_end) = (Vec::new(), 0);
    for said in said {
        match said.split(' ').collect::<Vec<_>>()[..] {
            ["sealed", end] => sealed_end = end.parse().unwrap(),
            [index, leaf_hash, checkpoint] => receipts.push(Receipt {
                entry_index: index.parse().unwrap(),
                leaf_hash: hex::decode(leaf_hash).unwrap(),
                checkpoint: String::from_utf8(BASE64_STANDARD.decode(checkpoint).unwrap()).unwrap(),
            }),
            _ => panic!("the child said {said}"),
        }
    }
    (receipts, sealed_end)
}

/// Appends with some clients, indexes, seals when there is a segment, and deletes what is a day old; a day lasts one seal.
#[test]
#[ignore = "the child of the tests above"]
fn child_writes_and_seals_until_it_is_killed() {
    let Some(disk) = env::var_os("PRIVET_POWERCUT_DIR") else { return };
    let disk = Path::new(&disk);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&disk.join("store")).unwrap());
        let anchor = disk.join("anchor");
        let anchor = match Anchor::open(&anchor, ORIGIN) {
            Err(privet::audit::anchor::Error::Absent { .. }) => Anchor::create(&anchor, ORIGIN).unwrap(),
            opened => opened.unwrap(),
        };
        let options = Options {
            origin: ORIGIN.into(),
            signer: signer(),
            log_key: 1,
            signs_from: 0,
            archive: Some(disk.join("store/archive")),
            anchor: Some(anchor),
            new_anchor: false,
        };
        let clock = Arc::new(TestClock::at(1_800_000_000));
        let entropy = Arc::new(SystemEntropy::open());
        let (log, _ending) = Log::open(store.clone(), clock.clone(), entropy, options).await.unwrap();
        clock.set_wall_secs(log.now_secs());
        if log.read_point().0 == 0 {
            let key = LogKey { verifier_key: signer().verifier().to_string(), ..Default::default() };
            let effects = Effects { writes: vec![keys::effect(1, &key)], ..Default::default() };
            let record = Record::encode(&Tenant::system(), Entry::default(), vec![]).unwrap();
            log.commit(record, Basis::default(), effects, Unreleased::new(())).await.unwrap();
        }
        DieInTime::start(disk.join("store/archive"), log.history().bounds().clone());
        let bounds = log.history().bounds().clone();
        let index = Index::open(&disk.join("store/index"), ORIGIN, bounds.retained_from()..log.read_point().0).unwrap();
        tokio::spawn(indexing::follow(log.clone(), store.clone(), Arc::new(index)));
        for client in 0..3 {
            tokio::spawn(append(log.clone(), Random::new(client)));
        }
        let rules = Rules { bytes_max: 1, age_max: DAY, retention: DAY };
        let segments = Segments::new(log.clone(), store, rules).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(40) {
            log.grown(bounds.sealed_end() + SEGMENT).await;
            segments.tend().await.unwrap();
            say(&format!("sealed {}", bounds.sealed_end()));
            clock.advance(DAY);
        }
    });
}

/// One entry after the other; says each receipt.
async fn append(log: Log, mut random: Random) {
    loop {
        let tenant = ["acme", "other"][random.below(4) as usize / 3];
        // Some entries take several values of the store.
        let count = if random.below(80) == 0 { 1_000 } else { 1 + random.below(5) };
        let aliases = (0..count).flat_map(|_| [random.below(200) as u8; 16]).collect();
        let target = Target { object: "pii/account/email".into(), aliases, ..Default::default() };
        let record = Record::encode(&Tenant::parse(tenant).unwrap(), Entry::default(), vec![target]).unwrap();
        let done = log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
        for receipt in done.into_parts().1 {
            let checkpoint = BASE64_STANDARD.encode(receipt.checkpoint.as_bytes());
            say(&format!("{} {} {checkpoint}", receipt.entry_index, hex::encode(receipt.leaf_hash)));
        }
    }
}

/// Ends this process, as a kill does, in the midst of sealing, removing or deleting.
struct DieInTime {
    step: String,
    pause: Duration,
}

impl DieInTime {
    fn start(archive: PathBuf, bounds: Arc<Bounds>) {
        let luck: u64 = env::var(LUCK).map_or(0, |luck| luck.parse().unwrap());
        let step = env::var(DIE_AT).unwrap();
        let pause = Duration::from_micros(luck % if step == "sealing" { 8_000 } else { 1_500 });
        if step == "sealing" {
            thread::spawn(move || die_while_it_seals(&archive, &bounds, pause));
        }
        tracing_subscriber::registry().with(Self { step, pause }).init();
    }
}

/// What the log has recorded is told before it is done.
impl<S: Subscriber> Layer<S> for DieInTime {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let told = match self.step.as_str() {
            "removing" => "sealed a segment",
            "deleting" => "deleted the bodies of a segment",
            _ => return,
        };
        let mut begins = false;
        event.record(&mut |field: &Field, value: &dyn Debug| {
            begins |= field.name() == "message" && format!("{value:?}") == told;
        });
        if begins && self.pause.is_zero() {
            die();
        } else if begins {
            let pause = self.pause;
            thread::spawn(move || {
                thread::sleep(pause);
                die();
            });
        }
    }
}

fn die_while_it_seals(archive: &Path, bounds: &Bounds, pause: Duration) {
    // Its first bundle is written once the marker of the segment is durable.
    while !archive.join(format!("tile/entries/{:03}", bounds.sealed_end() / 256)).exists() {
        thread::sleep(Duration::from_micros(20));
    }
    thread::sleep(pause);
    die();
}

fn die() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
}

/// In the child's environment: in the midst of what it ends.
const DIE_AT: &str = "PRIVET_TEST_DIE_AT";
const LUCK: &str = "PRIVET_TEST_LUCK";
