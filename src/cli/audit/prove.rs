//! `privet audit prove`: a file that shows, without any server, that the log has an entry.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use serde_json::json;
use tokio::time::timeout;

use super::{
    super::{
        answer::{misfit, put_json},
        client::Clients,
        failure::{Exit, Failure},
        input::is_stdin,
        options::Connection,
        output,
        receipts::hashes,
        table::number,
        terminal::{Terminal, printable_lines},
        verifier::KnownKeys,
    },
    checkpoint::{ON_TRUST, keys, open},
};
use crate::{
    audit::{checkpoint::Checkpoint, entry::leaf_hash, merkle::Hash, proof::Proof},
    id::{Reference, Tenant},
    proto::v1::{
        GetCheckpointRequest, GetInclusionProofRequest, TailEntriesRequest, get_inclusion_proof_request::Entry,
    },
};

/// Write a proof that the log has an entry, as a C2SP .tlog-proof
#[derive(Args)]
#[command(after_help = "\
By index for who may read the entries; by leaf hash, which receipts carry, for every caller:
  privet audit prove 73894 --out entry.tlog-proof --verifier-key @privet.vkeys --with-entry
  privet audit prove --leaf-hash 5dc1…d7 > entry.tlog-proof")]
pub struct Prove {
    /// The entry's index
    #[arg(required_unless_present = "leaf_hash", conflicts_with = "leaf_hash")]
    index: Option<u64>,
    /// Its leaf hash, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = leaf_hash_of)]
    leaf_hash: Option<Hash>,
    /// Whose entry it is, and whose log records the call
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// File to write, which must not exist
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    out: PathBuf,
    /// Log's key or @FILE, to check the proof with
    #[arg(long, value_name = "VKEY")]
    verifier_key: Option<KnownKeys>,
    /// Put the entry itself into the proof, if you may read it
    #[arg(long)]
    with_entry: bool,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

impl Prove {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let entry = match (self.index, self.leaf_hash) {
            (Some(index), None) => Entry::Index(index),
            (None, Some(hash)) => Entry::LeafHash(hash.to_vec().into()),
            (None, None) | (Some(_), Some(_)) => return Err(Failure::usage("either INDEX or --leaf-hash is needed")),
        };
        output::check(&self.out, false)?;
        let clients = self.connection.open().await?;
        let question = Question { tenant: self.tenant.to_string(), request_id: self.request_id.to_string(), entry };
        let proved = question.ask(&clients, self.verifier_key.as_ref(), self.with_entry).await?;
        let (text, to_stdout) = (proved.proof.to_string(), is_stdin(Some(&self.out)));
        let text = if terminal.stdout && to_stdout { printable_lines(&text) } else { text };
        output::write_whole(&self.out, text.as_bytes())?;
        match (terminal.json, to_stdout) {
            (true, false) => put_json(&proved.machine(self.verifier_key.is_some()))?,
            (true, true) => eprintln!("{}", proved.machine(self.verifier_key.is_some())),
            (false, _) if terminal.details() => eprintln!("{}", proved.human()),
            (false, _) => {}
        }
        if self.verifier_key.is_none() && !terminal.quiet {
            eprintln!("{ON_TRUST}");
        }
        Ok(Exit::Ok)
    }
}

/// Which entry, and whose.
struct Question {
    tenant: String,
    request_id: String,
    entry: Entry,
}

/// A proof that holds.
struct Proved {
    proof: Proof,
    leaf_hash: Hash,
    checkpoint: Checkpoint,
}

impl Question {
    /// Gets the proof and checks it, with the server's own keys if there are no others.
    async fn ask(self, clients: &Clients, given: Option<&KnownKeys>, with_entry: bool) -> Result<Proved, Failure> {
        let Self { tenant, request_id, entry } = self;
        let request = GetInclusionProofRequest {
            tenant: tenant.clone(),
            entry: Some(entry.clone()),
            request_id: request_id.clone(),
            ..Default::default()
        };
        let answer = clients.audit().get_inclusion_proof(request).await?.into_inner();
        let leaf_hash: Hash = answer.leaf_hash.as_ref().try_into().map_err(|_| misfit())?;
        let asked = match &entry {
            Entry::Index(index) => *index == answer.index,
            Entry::LeafHash(hash) => *hash == answer.leaf_hash,
        };
        let proof =
            hashes(&answer.hashes).and_then(|hashes| Proof::new(answer.index, hashes, answer.checkpoint.clone()).ok());
        let mut proof = proof.filter(|_| asked).ok_or_else(misfit)?;
        let request = GetCheckpointRequest { tenant: tenant.clone(), request_id: request_id.clone() };
        let keys = keys(&clients.audit().get_checkpoint(request).await?.into_inner(), given)?;
        let checkpoint = open(&answer.checkpoint, &keys)?;
        proof.verify(&leaf_hash, checkpoint.origin(), &keys.of(checkpoint.origin())).map_err(|error| {
            Failure::refused(format!("the proof does not hold: {error}")).reason("PROOF_NOT_VERIFIED")
        })?;
        if with_entry {
            let raw = raw(clients, tenant, answer.index, &leaf_hash, request_id).await?;
            proof = proof.with_extra(raw.to_vec()).map_err(|_| misfit())?;
        }
        Ok(Proved { proof, leaf_hash, checkpoint })
    }
}

/// The entry's bytes, for who may read them: the first of a tail that begins there.
async fn raw(clients: &Clients, tenant: String, index: u64, hash: &Hash, request_id: String) -> Result<Bytes, Failure> {
    let request = TailEntriesRequest { tenant, start_index: Some(index), request_id, ..Default::default() };
    let mut messages = clients.audit().tail_entries(request).await?.into_inner();
    let first = async {
        while let Some(message) = messages.message().await? {
            if let Some(entry) = message.entries.into_iter().next() {
                return Ok(Some(entry));
            }
        }
        Ok::<_, Failure>(None)
    };
    let entry = timeout(READ_TIME_MAX, first).await.ok().transpose()?.flatten();
    match entry.filter(|entry| entry.index == index && leaf_hash(&entry.raw) == *hash) {
        Some(entry) => Ok(entry.raw),
        None => {
            Err(Failure::refused(format!("entry {} can't be read: it is not this tenant's, or deleted", number(index)))
                .hint("without --with-entry the proof is written all the same"))
        }
    }
}

impl Proved {
    fn human(&self) -> String {
        format!(
            "entry {} (leaf {}…) is in the log {} of {} entries",
            number(self.proof.index()),
            hex::encode(self.leaf_hash.first_chunk::<8>().unwrap_or(&[0; 8])),
            crate::cli::terminal::printable(self.checkpoint.origin()),
            number(self.checkpoint.size()),
        )
    }

    fn machine(&self, given: bool) -> serde_json::Value {
        json!({
            "index": self.proof.index(),
            "leaf_hash": hex::encode(self.leaf_hash),
            "origin": self.checkpoint.origin(),
            "size": self.checkpoint.size(),
            "verified_with": if given { "given key" } else { "key on trust" },
        })
    }
}

fn leaf_hash_of(text: &str) -> Result<Hash, String> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "must be 32 bytes in hexadecimal".to_owned())
}

const READ_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{audit::golden, client::fake::audit as fake};

    async fn ask(
        log: &fake::Log,
        entry: Entry,
        given: Option<&KnownKeys>,
        with_entry: bool,
    ) -> Result<Proved, Failure> {
        let question = Question { tenant: "acme".into(), request_id: String::new(), entry };
        question.ask(&log.clients().await, given, with_entry).await
    }

    #[tokio::test]
    async fn a_proof_is_the_golden_one_and_stands_alone() {
        let log = fake::Log::of(golden::entries());
        for (index, with_entry, file) in [(5, false, "prove.tlog-proof"), (0, true, "prove-with-entry.tlog-proof")] {
            let proved = ask(&log, Entry::Index(index), Some(&log.keys()), with_entry).await.unwrap();
            let text = proved.proof.to_string();
            golden::check(file, &text);
            let read: Proof = text.parse().unwrap();
            read.verify(&log.leaf(index), fake::ORIGIN, &log.keys().of(fake::ORIGIN)).unwrap();
            let by_hash = ask(&log, Entry::LeafHash(log.leaf(index).to_vec().into()), None, with_entry).await.unwrap();
            assert_eq!(by_hash.proof.to_string(), text, "by leaf hash, and with the server's own keys");
            assert_eq!(with_entry, !read.extra().is_empty());
        }
        let by_the_key_before = ask(&log, Entry::Index(5), Some(&log.first_key()), false).await.unwrap();
        assert_eq!(by_the_key_before.checkpoint.size(), log.size());
        golden::check("prove.txt", &(ask(&log, Entry::Index(5), None, false).await.unwrap().human() + "\n"));
    }

    #[tokio::test]
    async fn what_does_not_prove_it_is_refused() {
        let log = fake::Log::of(golden::entries());
        for tamper in [
            fake::Tamper::OtherIndex,
            fake::Tamper::OtherLeaf,
            fake::Tamper::Inclusion,
            fake::Tamper::OtherKey,
            fake::Tamper::OtherOrigin,
            fake::Tamper::Unsigned,
        ] {
            log.set(tamper);
            for entry in [Entry::Index(3), Entry::LeafHash(log.leaf(3).to_vec().into())] {
                assert!(ask(&log, entry, Some(&log.keys()), false).await.is_err(), "{tamper:?}");
            }
        }
        log.set(fake::Tamper::None);
        let strange = ask(&log, Entry::Index(3), Some(&fake::stranger(fake::ORIGIN)), false).await.err().unwrap();
        assert_eq!(strange.exit(), Exit::Refused);
        assert!(ask(&log, Entry::Index(999), None, false).await.is_err());
    }

    #[tokio::test]
    async fn another_entry_is_not_put_into_a_proof() {
        let log = fake::Log::of(golden::entries());
        log.set(fake::Tamper::Repeat);
        let failure = ask(&log, Entry::Index(3), None, true).await.err().unwrap();
        assert_eq!(failure.exit(), Exit::Refused, "{failure}");
    }

    #[test]
    fn a_leaf_hash_is_32_bytes() {
        assert_eq!(leaf_hash_of(&"ab".repeat(32)), Ok([0xab; 32]));
        for bad in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"xy".repeat(32)] {
            assert!(leaf_hash_of(bad).is_err(), "{bad}");
        }
    }
}
