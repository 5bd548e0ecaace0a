//! EraseSubjects: destroys the keys of some or all categories of some subjects, and certifies it.
//!
//! All of a request is one commit: each subject is erased or refused, and nothing is in between. Its record names erasures, never
//! aliases, so the log does not lead from what was done before to what was erased now.

use std::collections::{HashMap, HashSet};

use super::{categories, header, refusal::Refusal, stored as certificates};
use crate::{
    audit::{Released, certificate::Certificate, record::Targets},
    id::{Action, Category, ControlObject, Subject, Tenant},
    identity::Caller,
    keyring::{ErasureId, Subjects, Unerased},
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored::{self, Outcome},
};

/// The most subjects of one request.
pub const SUBJECTS_MAX: usize = 1_000;

const DAY_SECS: u64 = 86_400;

/// What is asked.
pub struct EraseSubjects {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The subjects, each once.
    pub subjects: Vec<String>,
    /// The categories; none: all.
    pub categories: Vec<String>,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    subjects: Vec<Subject>,
    /// Sorted; `None` for all.
    categories: Option<Vec<Category>>,
}

/// An erasure that covers something of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// Its certificate.
    pub certificate: String,
    /// Whether it was this request.
    pub now: bool,
}

/// What an erasure's message has beside its certificate, at most.
const ANSWER_BYTES_EACH: usize = 64;

impl Operation for EraseSubjects {
    type Asked = Asked;
    type Answer = Vec<Result<Vec<Erasure>, Unerased>>;
    const NAME: stored::Operation = stored::Operation::EraseSubjects;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = header(&self.header, caller)?;
        validate::count("subjects", self.subjects.len(), SUBJECTS_MAX)?;
        let mut known = HashSet::with_capacity(self.subjects.len());
        let subjects = self.subjects.into_iter().enumerate().map(|(at, id)| {
            if !known.insert(id.clone()) {
                return Err(Violation::new(format!("subjects[{at}]"), "must not be named before"));
            }
            Subject::parse(id).map_err(validate::broken(&format!("subjects[{at}]")))
        });
        let subjects = subjects.collect::<Result<_, _>>()?;
        Ok(Asked { header, subjects, categories: categories(&self.categories, policy)? })
    }

    fn answer_bytes_max(_: &Service) -> usize {
        SUBJECTS_MAX * CERTIFICATE_BYTES
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Self::Answer>, Halt> {
        let Asked { header, subjects: named, categories } = asked;
        let attempt = Attempt::decide(service, caller, header, Self::NAME, Action::Erase)?;
        let (_, mut subjects, _turn) = attempt.read(named).await?;

        // Erase.
        let now = service.log.believed_secs();
        let fresh = ids(service, named.len(), now)?;
        let erased: Vec<Result<Vec<ErasureId>, Unerased>> =
            fresh.iter().enumerate().map(|(at, id)| subjects.erase(at, categories.as_deref(), *id)).collect();
        // Of several, each has its own answer.
        match erased.as_slice() {
            [Err(Unerased::Held(hold))] => {
                return Err(attempt.refuse_of(&subjects, Refusal::Held { hold: hold.clone() }));
            }
            [Err(Unerased::Unknown)] => return Err(attempt.refuse(Refusal::Unknown)),
            _ => {}
        }

        // Certify. What was erased before has its certificate.
        let mut effects = Vec::new();
        let mut known: HashMap<ErasureId, String> = HashMap::new();
        let mut targets = Targets::default();
        for (at, (id, result)) in fresh.iter().zip(&erased).enumerate() {
            let (outcome, erasure) = match result {
                Ok(erasures) => (Outcome::Allowed, erasures.last().map(|erasure| erasure.0)),
                Err(Unerased::Held(_)) => (Outcome::Held, None),
                Err(Unerased::Unknown) => (Outcome::UnknownSubject, None),
            };
            targets.add(ControlObject::Subjects.as_str(), Action::Erase.as_str(), outcome, erasure);
            if result.as_ref().is_ok_and(|erasures| erasures.contains(id)) {
                let certificate = certificate(service, &header.tenant, &subjects, (at, *id), now)?;
                effects.push(certificates::effect(&header.tenant, *id, &certificate));
                known.insert(*id, certificate);
            }
        }
        let erasing = effects.len();
        before(service, header, &erased, &mut known).await?;
        // Before anything is done: what can't be answered is not done either.
        let certified = erased.iter().flatten().flatten().filter_map(|id| known.get(id));
        let bytes: usize = certified.map(|certificate| certificate.len() + ANSWER_BYTES_EACH).sum();
        if named.len() > 1 && bytes > service.limits.message_bytes_max {
            return Err(attempt.refuse(Refusal::AnswerTooLong));
        }
        let answer = fresh.iter().zip(erased).map(|(fresh, result)| {
            let erasure = |id: ErasureId| Some(Erasure { id, certificate: known.get(&id)?.clone(), now: id == *fresh });
            result.map(|erasures| erasures.into_iter().filter_map(erasure).collect())
        });
        let answer = answer.collect();

        // Record, and with it release.
        let of = match categories {
            None => "all categories".to_owned(),
            Some(some) => some.iter().map(Category::as_str).collect::<Vec<_>>().join(", "),
        };
        let record = attempt.record(targets, format!("{erasing} erased of {}: {of}", named.len()))?;
        attempt.commit(record, subjects, effects, answer).await
    }
}

/// The certificate of what an erasure takes of a subject.
pub(super) fn certificate(
    service: &Service,
    tenant: &Tenant,
    subjects: &Subjects,
    (at, erasure): (usize, ErasureId),
    unix_secs: u64,
) -> Result<String, Halt> {
    let certificate = Certificate {
        origin: service.log.origin().to_owned(),
        tenant: tenant.clone(),
        erasure: erasure.0,
        categories: subjects.view(at).map(|view| view.erased_by(erasure)).unwrap_or_default(),
        unix_secs,
    };
    service.log.certify(&certificate).map_err(|error| Halt::unreadable(&error))
}

/// Draws ids of erasures, each beginning with the day.
pub(super) fn ids(service: &Service, count: usize, now_secs: u64) -> Result<Vec<ErasureId>, Halt> {
    let mut ids = vec![[0; certificates::ID_BYTES]; count];
    service.entropy.fill(ids.as_flattened_mut()).map_err(|error| Halt::unreadable(&error))?;
    let day = u32::try_from(now_secs / DAY_SECS).unwrap_or(u32::MAX).to_be_bytes();
    let id = |mut id: [u8; certificates::ID_BYTES]| {
        id.iter_mut().zip(day).for_each(|(to, from)| *to = from);
        ErasureId(id)
    };
    Ok(ids.into_iter().map(id).collect())
}

/// Reads the certificates of earlier erasures.
async fn before(
    service: &Service,
    header: &Checked,
    erased: &[Result<Vec<ErasureId>, Unerased>],
    known: &mut HashMap<ErasureId, String>,
) -> Result<(), Halt> {
    let ids: Vec<ErasureId> = erased.iter().flatten().flatten().copied().filter(|id| !known.contains_key(id)).collect();
    let slots: Vec<_> = ids.iter().map(|id| certificates::slot(&header.tenant, *id)).collect();
    let values = service.store.read(&slots).await.map_err(|error| Halt::unreadable(&error))?;
    for (id, value) in ids.into_iter().zip(values) {
        let note = value.and_then(|value| String::from_utf8(value).ok());
        known.insert(id, note.ok_or_else(|| Halt::unreadable(&certificates::Lost))?);
    }
    Ok(())
}

/// About as long as a certificate is.
const CERTIFICATE_BYTES: usize = 900;
