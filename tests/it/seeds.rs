//! The first policy, and the one that is put in force on the host when there is no other way.

use std::{path::Path, sync::Arc};

use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased,
        log::{Ending, Options},
        note::SignerKey,
    },
    entropy::SystemEntropy,
    id::Tenant,
    operations::{
        policies::recover::recover,
        start::{self, Changed, Error},
    },
    policy::Sources,
    proto::stored::Entry,
    secret::Key,
    store::{Effect, Slot, Space, Store},
};

use crate::support::{clock::TestClock, memory_store::MemoryStore};

const NOW: u64 = 1_800_000_000;

async fn open(store: &Arc<dyn Store>) -> (Log, Ending) {
    let options = Options {
        origin: "test/log".into(),
        signer: Arc::new(SignerKey::new("test/log", &Key::new([7; 32])).unwrap()),
        log_key: 1,
        signs_from: 0,
        archive: None,
        anchor: None,
        new_anchor: false,
    };
    let (clock, entropy) = (Arc::new(TestClock::at(NOW)), Arc::new(SystemEntropy::open()));
    Log::open(store.clone(), clock, entropy, options).await.unwrap()
}

fn shipped() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap()
}

/// The shipped policy and a role that the operator once took.
fn taken() -> Sources {
    let mut sources = shipped();
    sources.policy.push_str(
        "#: id=glass-1 expires=2030-01-01T00:00:00Z reason=\"break-glass 1\"\n\
         g, spiffe://acme.example/operator, role:break-glass, acme\n",
    );
    sources
}

/// The shipped policy without anybody who could approve a change.
fn stuck() -> Sources {
    let sources = shipped();
    let text = "id = \"policy-approver\"\nprincipals = [\"spiffe://acme.example/policy-approver\"]";
    assert!(sources.catalogue.contains(text));
    Sources { catalogue: sources.catalogue.replace(text, "id = \"x\"\nprincipals = [\"user:a/b\"]"), ..sources }
}

fn problems<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Policy(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_policy_is_begun_with_that_nobody_could_change_or_that_says_the_glass_was_broken() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (log, _ending) = open(&store).await;
    let seed = async |sources: &Sources, changed| start::policy(&log, &*store, sources, changed).await;
    assert!(problems(seed(&stuck(), Changed::Refuse).await).contains("without a person who can propose"));
    assert!(problems(seed(&taken(), Changed::Refuse).await).contains("is given by breaking the glass"));
    assert!(problems(seed(&taken(), Changed::Adopt).await).contains("is given by breaking the glass"));
    assert_eq!(log.policy_version(), 0, "nothing was begun");
    assert_eq!(seed(&shipped(), Changed::Refuse).await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_policy_that_can_not_be_read_any_more_is_recovered_from() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (log, _ending) = open(&store).await;
    start::policy(&log, &*store, &shipped(), Changed::Refuse).await.unwrap();
    let slot = Slot::new(Space::Policy, &[&1_u64.to_be_bytes(), &0_u16.to_be_bytes()]);
    assert!(store.read(std::slice::from_ref(&slot)).await.unwrap()[0].is_some());
    let writes = vec![Effect { slot, value: Some(vec![0xff; 100]) }];
    let record = Record::encode(&Tenant::system(), Entry::default(), vec![]).unwrap();
    let effects = Effects { writes, ..Effects::default() };
    log.commit(record, Basis::default(), effects, Unreleased::new(())).await.unwrap();
    let damaged = start::policy(&log, &*store, &shipped(), Changed::Refuse).await;
    assert!(matches!(damaged, Err(Error::PolicyDamaged { version: 1 })), "{damaged:?}");

    let entropy = SystemEntropy::open();
    let recovering = async |sources: &Sources| recover(&log, &store, &entropy, sources, "damaged").await;
    assert!(problems(recovering(&stuck()).await).contains("without a person who can propose"));
    assert!(problems(recovering(&taken()).await).contains("is given by breaking the glass"));
    assert_eq!(recovering(&shipped()).await.unwrap(), 2);
}
