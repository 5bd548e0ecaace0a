//! The access log: what was asked, by whom, why, and what was answered. Append-only, and the only way out.
//!
//! [`Log::commit`] is the only writer of authoritative state and the only way to turn an [`Unreleased`] result into one that
//! can leave the process. The type system keeps three promises with it: no answer without a durable record, no change outside
//! the log, and nothing decided on stale ground.
//!
//! * [`record`] – what an operation says of itself, cut into entries
//! * [`log`] – the writer: preconditions, group commit, one durable batch, then the answers
//! * [`tally`] – refusals, counted instead of recorded one by one when they come in floods
//! * [`history`], [`reader`] – reads entries back, checks their hashes, and makes proofs
//! * [`archive`] – sealed segments, as a static log in a directory
//! * [`index`] – which entries say what, derived from the log
//! * [`anchor`] – the newest checkpoint, kept apart from the store: an older store put back does not fit it
//! * [`block`], [`entry`] – how entries lie in the store, and their RFC 6962 leaf hashes
//! * [`merkle`], [`tiles`] – the tree over the leaf hashes, RFC 6962 and C2SP tlog-tiles
//! * [`note`], [`checkpoint`], [`proof`] – what the log signs, and proofs that stand alone
//! * [`keys`], [`announcement`] – the keys that sign it, and how it passes from one to the next
//! * [`export`], [`verify`] – the log in a file, and the proof that it is whole, for who trusts nobody
//!
//! The log holds no subject id, no value and no key. It names a subject by its alias only.

pub mod anchor;
pub mod announcement;
pub mod archive;
pub mod block;
pub mod certificate;
pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod history;
pub mod index;
pub mod keys;
pub mod log;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod reader;
mod recent;
pub mod record;
pub mod release;
pub mod tally;
pub mod tiles;
pub mod verify;

pub use history::History;
pub use log::{Basis, Effects, Lease, Log, Refused};
pub use record::Record;
pub use release::{Receipt, Refusal, Released, Unreleased};
