//! An access log in memory, with the proofs of a real one and a server that can be told to lie.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever lie is not named leaves an answer as it is")]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status};

use super::{super::Clients, Answers, over};
use crate::{
    audit::{
        announcement::Announcement,
        checkpoint::Checkpoint,
        entry::leaf_hash,
        merkle::{
            Hash, Node,
            prove::{self, HashReader},
            root,
        },
        note::SignerKey,
    },
    cli::verifier::KnownKeys,
    proto::v1::{
        self, AuditEntry, Order, Receipt,
        audit_service_server::{AuditService, AuditServiceServer},
        get_inclusion_proof_request::Entry,
    },
    secret::Key,
};

/// The log's name.
pub(in crate::cli) const ORIGIN: &str = "log.example/privet";

/// What signed the log before its first entry, and what signs it since.
const FIRST_KEY: u8 = 5;
const KEY: u8 = 7;

/// How the server lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Tamper {
    /// Not at all.
    None,
    /// Pages never end.
    SamePage,
    /// Pages have more than was asked for.
    LongPage,
    /// Retention deletes so many entries once any are read since a time.
    CutWhenRead(usize),
    /// Nothing is allowed.
    Denied,
    /// Nobody answers.
    Away,
    /// A tail breaks off after so many entries.
    BreakAfter(usize),
    /// A tail ends in good order after so many entries.
    EndAfter(usize),
    /// A tail begins with the log's first entry, twice.
    Repeat,
    /// A proof is of the next entry's index.
    OtherIndex,
    /// A proof is of the next entry's leaf.
    OtherLeaf,
    /// A hash of inclusion proofs is wrong.
    Inclusion,
    /// A hash of consistency proofs is wrong.
    Consistency,
    /// Checkpoints are signed by another key of the log's name.
    OtherKey,
    /// Checkpoints are of another log.
    OtherOrigin,
    /// Checkpoints are not signed.
    Unsigned,
}

/// The log.
#[derive(Clone)]
pub(in crate::cli) struct Log(Arc<State>);

struct State {
    entries: Vec<AuditEntry>,
    leaves: Vec<Hash>,
    tamper: Mutex<Tamper>,
    /// So many of the oldest entries are deleted.
    cut: AtomicUsize,
}

/// A key that has nothing to do with the log, of this name.
pub(in crate::cli) fn stranger(origin: &str) -> KnownKeys {
    signer(origin, 9).verifier().to_string().parse().unwrap()
}

fn signer(origin: &str, seed: u8) -> SignerKey {
    SignerKey::new(origin, &Key::new([seed; 32])).unwrap()
}

impl Log {
    /// A log of these entries, in this order; it fills in their places and bytes.
    pub(in crate::cli) fn of(mut entries: Vec<AuditEntry>) -> Self {
        for (entry, index) in entries.iter_mut().zip(0..) {
            entry.index = index;
            entry.raw = format!("entry {index}").into_bytes().into();
            entry.leaf_hash = leaf_hash(&entry.raw).to_vec().into();
        }
        let leaves = entries.iter().map(|entry| leaf_hash(&entry.raw)).collect();
        Self(Arc::new(State { entries, leaves, tamper: Mutex::new(Tamper::None), cut: AtomicUsize::new(0) }))
    }

    /// Lies like this from now on.
    pub(in crate::cli) fn set(&self, tamper: Tamper) {
        *self.0.tamper.lock().unwrap() = tamper;
    }

    /// Clients over a new connection.
    pub(in crate::cli) async fn clients(&self) -> Clients {
        over(tonic::transport::Server::builder().add_service(AuditServiceServer::new(self.clone()))).await
    }

    /// The log's keys, as somebody knows them from elsewhere.
    pub(in crate::cli) fn keys(&self) -> KnownKeys {
        signer(ORIGIN, KEY).verifier().to_string().parse().unwrap()
    }

    /// The key that it had before, as somebody knows it who was not told of the new one.
    pub(in crate::cli) fn first_key(&self) -> KnownKeys {
        signer(ORIGIN, FIRST_KEY).verifier().to_string().parse().unwrap()
    }

    pub(in crate::cli) fn size(&self) -> u64 {
        self.0.leaves.len() as u64
    }

    pub(in crate::cli) fn leaf(&self, index: u64) -> Hash {
        self.0.leaves[index as usize]
    }

    /// The receipt of an entry, given when the log had `size` entries.
    pub(in crate::cli) fn receipt(&self, index: u64, size: u64) -> Receipt {
        self.receipt_over(&self.0.leaves, index, size)
    }

    /// As [`receipt`](Self::receipt), of a log that tells another story of its entry 0.
    pub(in crate::cli) fn forked_receipt(&self, index: u64, size: u64) -> Receipt {
        let mut leaves = self.0.leaves.clone();
        leaves[0][0] ^= 1;
        self.receipt_over(&leaves, index, size)
    }

    fn receipt_over(&self, leaves: &[Hash], index: u64, size: u64) -> Receipt {
        let checkpoint = Checkpoint::new(ORIGIN, size, root(&leaves[..size as usize])).unwrap();
        Receipt {
            origin: ORIGIN.into(),
            entry_index: index,
            leaf_hash: self.leaf(index).to_vec().into(),
            checkpoint: checkpoint.sign(&[&signer(ORIGIN, KEY)]).unwrap(),
        }
    }

    fn tamper(&self) -> Tamper {
        *self.0.tamper.lock().unwrap()
    }

    fn checkpoint(&self, size: u64) -> String {
        let (origin, seed) = match self.tamper() {
            Tamper::OtherOrigin => ("other.example", KEY),
            Tamper::OtherKey => (ORIGIN, KEY + 1),
            _ => (ORIGIN, KEY),
        };
        let checkpoint = Checkpoint::new(origin, size, root(&self.0.leaves[..size as usize])).unwrap();
        let note = checkpoint.sign(&[&signer(origin, seed)]).unwrap();
        if self.tamper() == Tamper::Unsigned { note.split_inclusive("\n\n").next().unwrap().to_owned() } else { note }
    }

    fn allow(&self) -> Result<(), Status> {
        match self.tamper() {
            Tamper::Denied => Err(Status::permission_denied("no grant")),
            Tamper::Away => Err(Status::unavailable("away")),
            _ => Ok(()),
        }
    }
}

struct Leaves<'l>(&'l [Hash]);

impl HashReader for Leaves<'_> {
    type Error = Infallible;

    fn hash(&mut self, Node { level, index }: Node) -> Result<Hash, Infallible> {
        Ok(root(&self.0[(index << level) as usize..((index + 1) << level) as usize]))
    }
}

fn bytes(mut hashes: Vec<Hash>, spoilt: bool) -> Vec<bytes::Bytes> {
    if spoilt {
        hashes[0][31] ^= 1;
    }
    hashes.iter().map(|hash| hash.to_vec().into()).collect()
}

#[tonic::async_trait]
impl AuditService for Log {
    type TailEntriesStream = Answers<v1::TailEntriesResponse>;
    type ExportEntriesStream = Answers<v1::ExportEntriesResponse>;

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        self.allow()?;
        let request = request.into_inner();
        let mut entries = self.0.entries[self.0.cut.load(Relaxed)..].to_vec();
        if let (Tamper::CutWhenRead(count), Some(_)) = (self.tamper(), request.start_time) {
            self.0.cut.store(count, Relaxed);
        }
        // Of the filters, this one.
        let since = request.start_time.map_or(i64::MIN, |time| time.seconds);
        entries.retain(|entry| entry.time.is_none_or(|time| time.seconds >= since));
        if request.order() == Order::NewestFirst {
            entries.reverse();
        }
        let start: usize = if request.page_token.is_empty() { 0 } else { request.page_token.parse().unwrap() };
        let more = usize::from(self.tamper() == Tamper::LongPage);
        let end = (start + request.page_size as usize + more).min(entries.len());
        let next_page_token = match self.tamper() {
            Tamper::SamePage => "0".to_owned(),
            _ if end < entries.len() => end.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListEntriesResponse {
            entries: entries[start..end].to_vec(),
            next_page_token,
            ..Default::default()
        }))
    }

    async fn tail_entries(
        &self,
        request: Request<v1::TailEntriesRequest>,
    ) -> Result<Response<Self::TailEntriesStream>, Status> {
        self.allow()?;
        let start = request.into_inner().start_index.unwrap_or(self.size());
        let message = |entry: &AuditEntry| {
            Ok(v1::TailEntriesResponse {
                entries: vec![entry.clone()],
                next_index: entry.index + 1,
                ..Default::default()
            })
        };
        let rest = self.0.entries[start as usize..].iter().map(message);
        Ok(Response::new(match self.tamper() {
            Tamper::BreakAfter(each) => {
                let broken = stream::iter([Err(Status::unavailable("broken off"))]);
                stream::iter(rest.take(each).collect::<Vec<_>>()).chain(broken).boxed()
            }
            Tamper::EndAfter(each) => stream::iter(rest.take(each).collect::<Vec<_>>()).boxed(),
            Tamper::Repeat => {
                let twice = [&self.0.entries[0]; 2].map(message);
                stream::iter(twice).chain(stream::pending()).boxed()
            }
            _ => stream::iter(rest.collect::<Vec<_>>()).chain(stream::pending()).boxed(),
        }))
    }

    async fn export_entries(
        &self,
        _: Request<v1::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        Err(Status::unimplemented("no export here"))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Ok(Response::new(v1::GetCheckpointResponse {
            checkpoint: self.checkpoint(self.size()),
            verifier_keys: [FIRST_KEY, KEY].map(|seed| signer(ORIGIN, seed).verifier().to_string()).into(),
            key_announcements: vec![
                Announcement::sign(ORIGIN, 0, &signer(ORIGIN, FIRST_KEY), &signer(ORIGIN, KEY)).unwrap(),
            ],
            ..Default::default()
        }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        self.allow()?;
        let found = match request.into_inner().entry {
            Some(Entry::Index(index)) => Some(index).filter(|index| *index < self.size()),
            Some(Entry::LeafHash(hash)) => (0..self.size()).find(|index| self.leaf(*index)[..] == hash[..]),
            None => None,
        };
        let index = found.ok_or_else(|| Status::not_found("no such entry"))?;
        let hashes = prove::inclusion(&mut Leaves(&self.0.leaves), index, self.size()).unwrap();
        let tamper = self.tamper();
        Ok(Response::new(v1::GetInclusionProofResponse {
            index: index + u64::from(tamper == Tamper::OtherIndex),
            leaf_hash: self.leaf(index + u64::from(tamper == Tamper::OtherLeaf)).to_vec().into(),
            hashes: bytes(hashes, tamper == Tamper::Inclusion),
            checkpoint: self.checkpoint(self.size()),
            ..Default::default()
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let v1::GetConsistencyProofRequest { first_size, second_size, .. } = request.into_inner();
        if second_size > self.size() {
            return Err(Status::out_of_range("the log is not as large"));
        }
        let hashes = prove::consistency(&mut Leaves(&self.0.leaves), first_size, second_size).unwrap();
        Ok(Response::new(v1::GetConsistencyProofResponse {
            first_size,
            second_size,
            hashes: bytes(hashes, self.tamper() == Tamper::Consistency),
            checkpoint: self.checkpoint(self.size()),
            ..Default::default()
        }))
    }
}
