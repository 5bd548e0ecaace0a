//! One chain of documents after the other, each an edit of the last, put in force one by one while threads ask.
//!
//! Each decision is asked for twice (made, then most often remembered) and held against the document's plain meaning: verdict,
//! grants, roles, and that nothing changes before `valid_until`. One in [`UNCACHED`] is made anew by the shards as well, and
//! one in [`WHOLE`] by one fresh casbin enforcer over every line, built as casbin's documentation has it: that one costs as
//! much as all the rest.
//!
//! `PRIVET_POLICY_DECISIONS` says how many decisions (by default a million), `PRIVET_POLICY_SEED` repeats a run's documents and
//! questions; a failure names the seed.

use std::{
    collections::HashMap,
    env,
    hash::{BuildHasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    super::{enforcer::Enforcer, *},
    build,
    document::{ACTIONS, Document, OBJECTS, PRINCIPALS, PURPOSES, TENANTS},
    random::Random,
};

/// Documents in a chain.
const VERSIONS: usize = 10;
/// Decisions on each document before the next is built; more are made on it meanwhile.
const EACH: u64 = 500;
const THREADS: u64 = 2;
const UNCACHED: usize = 2;
const WHOLE: usize = 12;
/// Times at which a question is asked, one after the other, whichever way the clock goes.
const TIMES: usize = 8;

/// Every name as the engine has it.
struct Names {
    principals: [Principal; PRINCIPALS.len()],
    tenants: [Tenant; TENANTS.len()],
    objects: [Object; OBJECTS.len()],
    actions: [Action; ACTIONS.len()],
    purposes: [Purpose; PURPOSES.len()],
}

/// A chain of documents, one of them in force.
struct Chain {
    name: String,
    seed: u64,
    /// By version; written before the version is in force.
    documents: [OnceLock<Document>; VERSIONS + 1],
    in_force: ArcSwap<Snapshot>,
    /// No later ask may meet an older version.
    newest: AtomicU64,
    asked: AtomicU64,
}

/// What an asking thread has seen.
#[derive(Default)]
struct Seen {
    decisions: u64,
    allows: u64,
    denies_by_a_line: u64,
    through_other_roles: u64,
    whole: u64,
    after_a_swap: u64,
}

#[test]
fn cached_equals_uncached_equals_one_whole_enforcer_equals_the_plain_meaning_while_documents_are_swapped() {
    let from_environment = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let wanted = from_environment("PRIVET_POLICY_DECISIONS").unwrap_or(1_000_000);
    let seed = from_environment("PRIVET_POLICY_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let mut seen = Seen::default();
    let mut chains = 0;
    while seen.decisions < wanted {
        let found = Chain::new(seed, chains).run();
        seen.add(&found);
        chains += 1;
    }
    let Seen { decisions, allows, denies_by_a_line, through_other_roles, whole, after_a_swap } = seen;
    println!(
        "seed {seed}: {chains} chains, {decisions} decisions ({allows} allow, {denies_by_a_line} denied by a rule, \
         {through_other_roles} through roles of roles, {after_a_swap} times a version no longer in force), {whole} by a whole \
         enforcer"
    );
    // All kinds are common enough for the comparison to mean something.
    assert!(
        allows > decisions / 20 && denies_by_a_line > decisions / 100,
        "{allows}, {denies_by_a_line} of {decisions}"
    );
    assert!(through_other_roles > decisions / 1_000, "{through_other_roles} of {decisions}");
    assert!(whole > decisions / 40 && after_a_swap > 0, "{whole}, {after_a_swap} of {decisions}");
}

impl Chain {
    fn new(seed: u64, number: u64) -> Self {
        let mut document = Document::random(&mut Random::branch(seed, number << 8));
        let snapshot = build(&mut document, 1);
        let documents: [OnceLock<Document>; VERSIONS + 1] = Default::default();
        documents[1].set(document).unwrap();
        Self {
            name: format!("seed {seed}, chain {number}"),
            seed: seed ^ number.rotate_left(32),
            documents,
            in_force: ArcSwap::from_pointee(snapshot),
            newest: AtomicU64::new(1),
            asked: AtomicU64::new(0),
        }
    }

    /// Swaps through all versions while threads ask.
    fn run(&self) -> Seen {
        let mut seen = Seen::default();
        thread::scope(|scope| {
            let asking: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || self.ask(thread))).collect();
            for version in 1..=VERSIONS as u64 {
                while self.asked.load(Ordering::Relaxed) < version * EACH && !asking.iter().any(|one| one.is_finished())
                {
                    thread::sleep(Duration::from_millis(1));
                }
                if version < VERSIONS as u64 {
                    self.put_in_force(version + 1);
                }
            }
            self.newest.store(u64::MAX, Ordering::Release);
            for one in asking {
                match one.join() {
                    Ok(found) => seen.add(&found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        seen
    }

    fn put_in_force(&self, version: u64) {
        let before = self.documents[version as usize - 1].get().unwrap();
        let mut document = before.edited(&mut Random::branch(self.seed, version << 16));
        let snapshot = build(&mut document, version);
        self.documents[version as usize].set(document).unwrap();
        self.in_force.store(Arc::new(snapshot));
        self.newest.store(version, Ordering::Release);
    }

    /// Asks until the chain is at its end; now and then a version that is in force no more.
    fn ask(&self, thread: u64) -> Seen {
        let (names, mut seen) = (Names::parse(), Seen::default());
        let mut random = Random::branch(self.seed, thread << 24 | 1);
        let mut previous: Option<Arc<Snapshot>> = None;
        let mut whole = HashMap::new();
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            if newest == u64::MAX {
                return seen;
            }
            let mut snapshot = self.in_force.load_full();
            assert!(snapshot.version() >= newest, "{}: version {} after {newest}", self.name, snapshot.version());
            match &previous {
                Some(old) if old.version() == snapshot.version() => {}
                Some(old) if random.once_in(4) => {
                    // Its own answers still, and none of the next version's.
                    snapshot = Arc::clone(old);
                    seen.after_a_swap += 1;
                }
                _ => {
                    previous = Some(Arc::clone(&snapshot));
                    whole.clear();
                }
            }
            let mut asking = Asking { chain: self, names: &names, whole: &mut whole, seen: &mut seen };
            asking.question(&snapshot, &mut random);
            self.asked.fetch_add(TIMES as u64, Ordering::Relaxed);
        }
    }
}

struct Asking<'a> {
    chain: &'a Chain,
    names: &'a Names,
    /// Whole enforcers of one version, by which memberships hold.
    whole: &'a mut HashMap<(u64, Vec<bool>), Enforcer>,
    seen: &'a mut Seen,
}

impl Asking<'_> {
    /// One question at several times.
    fn question(&mut self, snapshot: &Snapshot, random: &mut Random) {
        let document = self.chain.documents[snapshot.version() as usize].get().unwrap();
        let [who, place, what, act, why] = document.question(random);
        let texts = [PRINCIPALS[who], TENANTS[place], OBJECTS[what], ACTIONS[act], PURPOSES[why]];
        let question = Question {
            principal: &self.names.principals[who],
            tenant: &self.names.tenants[place],
            object: &self.names.objects[what],
            action: self.names.actions[act],
            purpose: &self.names.purposes[why],
        };
        for _ in 0..TIMES {
            let now = document.time(random);
            let (uncached, whole) = (random.once_in(UNCACHED), random.once_in(WHOLE));
            if let Err(what) = self.compare(snapshot, document, &question, texts, now, (uncached, whole)) {
                let (chain, version) = (&self.chain.name, snapshot.version());
                panic!("{chain}, version {version}: {texts:?} at {now}: {what}\n{}", document.csv());
            }
        }
    }

    fn compare(
        &mut self,
        snapshot: &Snapshot,
        document: &Document,
        question: &Question<'_>,
        texts: [&str; 5],
        now: u64,
        (uncached, whole): (bool, bool),
    ) -> Result<(), String> {
        let meant = document.answer(texts, now);
        let made = snapshot.decide(question, now);
        same("verdict", &(made.verdict == Verdict::Allow), &meant.allow)?;
        let mut ids: Vec<String> = made.grant_ids.iter().map(ToString::to_string).collect();
        let mut roles: Vec<&str> = made.roles.iter().map(Role::as_str).collect();
        ids.sort();
        roles.sort_unstable();
        if ids.len() < 8 {
            same("grants", &ids, &meant.ids)?;
            same("roles", &roles, &meant.roles)?;
        }
        same("again", &snapshot.decide(question, now), &made)?;
        let known = snapshot.knows(question);
        same("known", &known, &document.knows(texts))?;
        self.stands(document, texts, now, &meant, made.valid_until)?;
        if known && uncached {
            let (decided, holds) = snapshot.shards.decide(question, now).map_err(|unclear| unclear.to_string())?;
            same("uncached", &decided, &made)?;
            same("holds", &(holds.contains(&now) || now == u64::MAX), &true)?;
        }
        if known && whole {
            let allowed = self.whole(snapshot, now).allows(question, now).map_err(|unclear| unclear.to_string())?;
            same("whole enforcer", &allowed, &meant.allow)?;
            self.seen.whole += 1;
        }
        self.seen.decisions += 1;
        self.seen.allows += u64::from(meant.allow);
        self.seen.denies_by_a_line += u64::from(!meant.allow && !meant.ids.is_empty());
        self.seen.through_other_roles += u64::from(document.is_through_others(texts[0], texts[1], &meant.roles));
        Ok(())
    }

    /// Holds `valid_until` against the document: never past, the same meaning up to it, and no rule of the shard begins or ends
    /// before it.
    fn stands(
        &self,
        document: &Document,
        texts: [&str; 5],
        now: u64,
        meant: &super::document::Meant,
        valid_until: Option<u64>,
    ) -> Result<(), String> {
        let until = valid_until.unwrap_or(u64::MAX);
        if valid_until.is_some() && until <= now {
            return Err(format!("valid until {until}"));
        }
        if !document.knows(texts) {
            return same("valid_until", &valid_until, &None);
        }
        let next = document.next_boundary(texts, now).unwrap_or(u64::MAX);
        if next < until {
            return Err(format!("valid until {until}, though a rule begins or ends at {next}"));
        }
        for moment in document.boundaries().into_iter().filter(|moment| *moment > now && *moment < until) {
            same("meaning before valid_until", &document.answer(texts, moment), meant)?;
        }
        Ok(())
    }

    /// A casbin enforcer over every line and every membership that holds.
    fn whole(&mut self, snapshot: &Snapshot, now: u64) -> &Enforcer {
        let holding: Vec<bool> =
            snapshot.memberships().map(|membership| membership.expires.is_none_or(|end| now < end)).collect();
        self.whole.entry((snapshot.version(), holding)).or_insert_with(|| {
            let lasting = snapshot.memberships().filter(|membership| membership.expires.is_none_or(|end| now < end));
            Enforcer::whole(snapshot.grants(), lasting).unwrap()
        })
    }
}

impl Names {
    fn parse() -> Self {
        Self {
            principals: PRINCIPALS.map(|text| Principal::parse(text).unwrap()),
            tenants: TENANTS.map(|text| Tenant::parse_or_system(text).unwrap()),
            objects: OBJECTS.map(|text| Object::parse(text).unwrap()),
            actions: ACTIONS.map(|text| Action::parse(text).unwrap()),
            purposes: PURPOSES.map(|text| Purpose::parse(text).unwrap()),
        }
    }
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.decisions += other.decisions;
        self.allows += other.allows;
        self.denies_by_a_line += other.denies_by_a_line;
        self.through_other_roles += other.through_other_roles;
        self.whole += other.whole;
        self.after_a_swap += other.after_a_swap;
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, meant: &T) -> Result<(), String> {
    if found == meant { Ok(()) } else { Err(format!("{what}: {found:?} and not {meant:?}")) }
}
