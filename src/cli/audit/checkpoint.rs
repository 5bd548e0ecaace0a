//! `privet audit checkpoint`: what the log says of itself now, signed.

use clap::Args;
use serde_json::json;

use super::super::{
    answer::{misfit, put, put_json},
    failure::{Exit, Failure},
    options::Connection,
    table::number,
    terminal::{Terminal, printable_lines},
    verifier::KnownKeys,
};
use crate::{
    audit::checkpoint,
    id::{Reference, Tenant},
    proto::v1::{GetCheckpointRequest, GetCheckpointResponse},
};

/// Print the log's newest checkpoint, or its verifier keys
#[derive(Args)]
#[command(after_help = "\
Keep checkpoints where the server can't reach them: whoever holds one can prove what it covers.
  privet audit checkpoint > checkpoint-$(date +%F)
  privet audit checkpoint --keys > privet.vkeys   # once, over a way that you trust")]
pub struct Checkpoint {
    /// In whose log the call is recorded
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// Print the keys that the server names as its own, the newest last
    #[arg(long)]
    keys: bool,
    /// Log's key or @FILE, to check the checkpoint with
    #[arg(long, value_name = "VKEY", conflicts_with = "keys")]
    verifier_key: Option<KnownKeys>,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

impl Checkpoint {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let request = GetCheckpointRequest { tenant: self.tenant.to_string(), request_id: self.request_id.to_string() };
        let answer = self.connection.open().await?.audit().get_checkpoint(request).await?.into_inner();
        let checked = checked(&answer, self.verifier_key.as_ref())?;
        if terminal.json {
            put_json(&json!({
                "checkpoint": answer.checkpoint,
                "origin": checked.origin(),
                "size": checked.size(),
                "root": hex::encode(checked.root()),
                "verified_with": if self.verifier_key.is_some() { "given key" } else { "key on trust" },
                "verifier_keys": answer.verifier_keys,
                "key_announcements": answer.key_announcements,
            }))?;
            return Ok(Exit::Ok);
        }
        let text = if self.keys { answer.verifier_keys.join("\n") + "\n" } else { answer.checkpoint };
        put(if terminal.stdout { printable_lines(&text) } else { text }.as_bytes())?;
        if terminal.details() {
            eprintln!("{} entries", number(checked.size()));
        }
        if self.keys && !terminal.quiet {
            eprintln!("{NAMED}");
        } else if self.verifier_key.is_none() && !terminal.quiet {
            eprintln!("{ON_TRUST}");
        }
        Ok(Exit::Ok)
    }
}

/// Opens the checkpoint with the keys that were given, or else with those that came with it.
fn checked(answer: &GetCheckpointResponse, given: Option<&KnownKeys>) -> Result<checkpoint::Checkpoint, Failure> {
    open(&answer.checkpoint, &keys(answer, given)?)
}

/// The keys that were given with those that they vouch for, or else those that the server names.
///
/// # Errors
/// [`Failure`] (unavailable) if the server's are none.
pub(super) fn keys(answer: &GetCheckpointResponse, given: Option<&KnownKeys>) -> Result<KnownKeys, Failure> {
    given.map_or_else(
        || KnownKeys::named(&answer.verifier_keys).map_err(|_| misfit()),
        |keys| Ok(keys.with_announced(&answer.key_announcements)),
    )
}

/// Opens a checkpoint with the keys of one of the logs that there are keys of.
///
/// # Errors
/// [`Failure`] (refused), for the first of them.
pub(super) fn open(note: &str, keys: &KnownKeys) -> Result<checkpoint::Checkpoint, Failure> {
    let mut first = None;
    for origin in keys.origins() {
        match checkpoint::Checkpoint::open(note, origin, &keys.of(origin)) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let why = first.map_or_else(|| "no key".to_owned(), |error| error.to_string());
    Err(Failure::refused(format!("the checkpoint is not to be believed: {why}")).reason("CHECKPOINT_NOT_VERIFIED"))
}

/// Said of keys that are only shown.
const NAMED: &str = "note: these are the keys that the server itself names: \
     trust them only if the first is the one that `privet init` printed";

/// Said whenever nobody but the server vouches for its key.
pub(super) const ON_TRUST: &str = "note: the verifier key was taken on trust from the server itself; \
     --verifier-key checks with one that came to you another way";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{audit::golden, client::fake::audit as fake};

    async fn answer(log: &fake::Log) -> GetCheckpointResponse {
        log.clients().await.audit().get_checkpoint(GetCheckpointRequest::default()).await.unwrap().into_inner()
    }

    #[tokio::test]
    async fn a_checkpoint_is_held_against_the_given_key_or_else_the_servers() {
        let log = fake::Log::of(golden::entries());
        for given in [None, Some(log.keys()), Some(log.first_key())] {
            assert_eq!(checked(&answer(&log).await, given.as_ref()).unwrap().size(), log.size());
        }
        for given in [fake::stranger(fake::ORIGIN), fake::stranger("other.example")] {
            let failure = checked(&answer(&log).await, Some(&given)).unwrap_err();
            assert_eq!(failure.exit(), Exit::Refused, "{failure}");
        }
        log.set(fake::Tamper::OtherKey);
        assert!(checked(&answer(&log).await, Some(&log.keys())).is_err());
        assert!(checked(&GetCheckpointResponse::default(), None).is_err());
    }
}
