//! What is compared: plain casbin over all lines, a plain hash look-up, and Privet's engine finding or making a decision.

use std::{
    cell::Cell,
    collections::HashMap,
    hint::black_box,
    time::{Duration, Instant},
};

use casbin::{Adapter, CoreApi, DefaultModel, MemoryAdapter, function_map::OperatorFunction, rhai::Dynamic};
use futures_util::FutureExt;
use privet::policy::{Question, Snapshot, Verdict};

use super::document::{Asked, Document, MODEL, QUESTIONS, question};

/// Any second: no line of the bench begins or ends.
const NOW: u64 = 1_800_000_000;
/// Questions that are asked again and again: they fit into the decision cache and into a processor's.
const HOT: usize = 1_024;

/// Casbin as its own documentation has it: one enforcer over every line.
pub struct Casbin(casbin::Enforcer);

impl Casbin {
    pub fn build(document: &Document) -> Self {
        let model = DefaultModel::from_str(MODEL).now_or_never().unwrap().unwrap();
        let mut lines = MemoryAdapter::default();
        let (grants, memberships) = (document.grants.clone(), document.memberships.clone());
        lines.add_policies("p", "p", grants).now_or_never().unwrap().unwrap();
        lines.add_policies("g", "g", memberships).now_or_never().unwrap().unwrap();
        let mut casbin = casbin::Enforcer::new(model, lines).now_or_never().unwrap().unwrap();
        casbin.add_function("classMatch", OperatorFunction::Arg2(class_match));
        casbin.add_function("inWindow", OperatorFunction::Arg3(in_window));
        Self(casbin)
    }

    pub fn allows(&self, asked: &Asked) -> bool {
        let Asked { principal, tenant, object, action, purpose } = asked;
        let texts = [principal.as_str(), tenant.as_str(), object.as_str(), action.as_str(), purpose.as_str()];
        let mut request: Vec<String> = texts.map(str::to_owned).to_vec();
        request.push(NOW.to_string());
        self.0.enforce(request).unwrap()
    }
}

fn class_match(object: Dynamic, pattern: Dynamic) -> Dynamic {
    let (object, pattern) = (object.into_immutable_string().unwrap(), pattern.into_immutable_string().unwrap());
    match pattern.strip_suffix('*') {
        Some(prefix) => object.starts_with(prefix),
        None => object == pattern,
    }
    .into()
}

fn in_window(now: Dynamic, nbf: Dynamic, exp: Dynamic) -> Dynamic {
    let secs = |value: Dynamic| value.into_immutable_string().unwrap().parse::<u64>().unwrap();
    let (now, nbf, exp) = (secs(now), secs(nbf), secs(exp));
    (nbf <= now && (exp == 0 || now < exp)).into()
}

/// Asks a snapshot.
pub fn allows(snapshot: &Snapshot, asked: &Asked) -> bool {
    let Asked { principal, tenant, object, action, purpose } = asked;
    let question = Question { principal, tenant, object, action: *action, purpose };
    snapshot.decide(&question, NOW).verdict == Verdict::Allow
}

/// All sides over one document, and where each is in the questions.
pub struct Sides {
    casbin: Casbin,
    snapshot: Snapshot,
    questions: Vec<Asked>,
    known: HashMap<Asked, bool>,
    /// How many questions have had their turn to miss.
    turned: usize,
}

impl Sides {
    /// Ready to be asked: every shard is compiled, and the hot questions are decided.
    pub fn new(casbin: Casbin, snapshot: Snapshot) -> Self {
        let questions: Vec<Asked> = (0..QUESTIONS).map(question).collect();
        let known = questions[..HOT].iter().map(|asked| (asked.clone(), allows(&snapshot, asked))).collect();
        Self { casbin, snapshot, questions, known, turned: 0 }
    }

    /// Asks both the same, so that nothing is compared that answers differently.
    pub fn must_agree(&self, questions: usize) {
        for asked in &self.questions[..questions] {
            assert_eq!(self.casbin.allows(asked), self.known[asked], "{asked:?}");
        }
    }

    /// One look-up of a whole question in a hash map: nanoseconds.
    pub fn look_up(&mut self, time: Duration) -> f64 {
        each(time, 64, &self.questions[..HOT], |asked| self.known.get(asked).copied().unwrap_or_default())
    }

    /// One decision that is remembered: nanoseconds.
    pub fn hit(&mut self, time: Duration) -> f64 {
        // A round of misses has pushed them out.
        self.questions[..HOT].iter().for_each(|asked| _ = allows(&self.snapshot, asked));
        each(time, 64, &self.questions[..HOT], |asked| allows(&self.snapshot, asked))
    }

    /// One decision that is not: nanoseconds. Every question there is has its turn before one comes again.
    pub fn miss(&mut self, time: Duration) -> f64 {
        self.questions.rotate_left(self.turned);
        let asked = Cell::new(0);
        let nanos = each(time, 4, &self.questions, |question| {
            asked.set(asked.get() + 1);
            allows(&self.snapshot, question)
        });
        self.questions.rotate_right(self.turned);
        self.turned = (self.turned + asked.get()) % QUESTIONS;
        nanos
    }

    /// One decision by casbin over all lines: nanoseconds.
    pub fn casbin(&mut self, time: Duration) -> f64 {
        each(time, 1, &self.questions, |asked| self.casbin.allows(asked))
    }
}

/// Nanoseconds a question, asking one after the other until the time is over; the clock is read once in a batch.
fn each(time: Duration, batch: usize, questions: &[Asked], ask: impl Fn(&Asked) -> bool) -> f64 {
    let start = Instant::now();
    let mut asked = 0_usize;
    for batch in questions.chunks(batch).cycle() {
        for question in batch {
            black_box(ask(black_box(question)));
        }
        asked += batch.len();
        if start.elapsed() >= time {
            break;
        }
    }
    start.elapsed().as_nanos() as f64 / asked as f64
}
