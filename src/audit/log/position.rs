//! Where the log stands when it is opened: read back from the store, and held against its own checkpoint.

use std::{collections::HashMap, sync::Arc};

use prost::Message;

use super::{OpenError, Options, sign};
use crate::{
    audit::{
        History,
        anchor::{self, Anchor, Mismatch},
        archive::{self, Archive},
        checkpoint::{self, Checkpoint},
        history::NoProof,
        keys,
        note::{self, SignerKey, VerifierKey},
        tiles::edge::Edge,
    },
    id::Tenant,
    proto::stored,
    store::{Direction, Error, Head, Space, Store},
};

/// All that the writer goes on from.
pub(super) struct Position {
    pub(super) head: Head,
    pub(super) state: stored::LogHead,
    pub(super) tenants: HashMap<Tenant, stored::TenantHead>,
    /// The tree over every entry up to the head.
    pub(super) edge: Edge,
}

impl Position {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the newest entries and tiles do not have the root that the log signed; [`Error::Refused`] for
    /// another format, origin or key; [`Error::Storage`].
    pub(super) async fn read(store: &Arc<dyn Store>, options: &Options) -> Result<(Self, History), Error> {
        let head = store.head()?;
        if head == Head::default() {
            let state = stored::LogHead {
                format: FORMAT,
                origin: options.origin.clone(),
                log_key: options.log_key,
                ..Default::default()
            };
            let history = history(store, options, &state).await?;
            let edge = Edge::new();
            let checkpoint = sign(&options.origin, &edge, &[&options.signer])
                .map_err(|error| Error::Refused(format!("the log's origin can't be signed: {error}")))?;
            let state = stored::LogHead { checkpoint, ..state };
            return Ok((Self { head, state, tenants: HashMap::new(), edge }, history));
        }
        let state = head_state(&head, options)?;
        let history = history(store, options, &state).await?;
        let edge = history.edge(head.entries).await?;
        let known = [options.signer.verifier().clone()];
        let checkpoint = Checkpoint::open(&state.checkpoint, &options.origin, &known).map_err(|error| {
            Error::Damaged { what: format!("the log's newest checkpoint can't be believed ({error})") }
        })?;
        if checkpoint.size() != head.entries || *checkpoint.root() != edge.root() {
            return Err(Error::Damaged { what: "the log's newest entries are not those it has signed".into() });
        }
        Ok((Self { head, state, tenants: tenant_heads(&**store).await?, edge }, history))
    }
}

/// The anchor, once the store is known to be what it last saw, or that one grown; and advanced to the store's own checkpoint.
/// A new one is left as it is: the record of it is the first that it sees.
pub(super) async fn anchored(
    mut anchor: Anchor,
    new_anchor: bool,
    origin: &str,
    known: &[VerifierKey],
    position: &Position,
    history: &History,
) -> Result<Anchor, OpenError> {
    let Position { head, state, edge, .. } = position;
    let newest = anchor.newest().map(str::to_owned);
    let seen = newest.as_deref().map(|note| open_seen(note, origin, known, head.entries)).transpose()?;
    let root_at = async |size| match history.root(edge, size).await {
        Ok(root) => Ok(root),
        Err(NoProof::Store(error)) => Err(OpenError::from(error)),
        Err(NoProof::OutOfRange) => Err(Error::Damaged { what: "the log's tiles".into() }.into()),
    };
    match anchor::check(seen.as_ref(), head.entries, root_at).await {
        Err(OpenError::Mismatch(Mismatch::Missing { .. })) if new_anchor => return Ok(anchor),
        checked => checked?,
    }
    // An empty log has nothing to lose.
    if head.entries > 0 && newest.as_deref() != Some(&state.checkpoint) {
        anchor.advance(newest.as_deref(), &state.checkpoint)?;
    }
    Ok(anchor)
}

/// The checkpoint of an anchor. A store from before a rotation does not know the key that signed it, and an empty one none at
/// all: what they lack is entries, and that is what is said.
fn open_seen(note: &str, origin: &str, known: &[VerifierKey], entries: u64) -> Result<Checkpoint, OpenError> {
    Checkpoint::open(note, origin, known).map_err(|error| match (error, Checkpoint::claimed_size(note, origin)) {
        (checkpoint::Error::Note(note::Error::Unsigned), Some(anchor)) if anchor > entries => {
            Mismatch::Older { anchor, store: entries }.into()
        }
        (checkpoint::Error::Note(note::Error::Unsigned), Some(anchor)) => Mismatch::Stranger { anchor }.into(),
        (error, _) => {
            let why = format!("the anchor's checkpoint can't be believed ({error}); put the log's own anchor back");
            Error::Refused(why).into()
        }
    })
}

/// Every key that the log in the store ever had, and the one that is to sign it: an empty store knows none.
pub(super) async fn verifiers(store: &dyn Store, signer: &SignerKey) -> Result<Vec<VerifierKey>, Error> {
    let stored = keys::all(store).await?;
    let known = stored.iter().filter_map(|key| key.verifier_key.parse().ok());
    Ok(known.chain([signer.verifier().clone()]).collect())
}

async fn history(store: &Arc<dyn Store>, options: &Options, state: &stored::LogHead) -> Result<History, Error> {
    let (sealed_end, retained_from) = (state.sealed_end, state.retained_from);
    let Some(dir) = options.archive.clone() else {
        let history = History::new(store.clone(), None, sealed_end, retained_from);
        let nowhere = || Error::Refused("the log has sealed segments: say where its archive lies".to_owned());
        return if sealed_end == 0 { Ok(history) } else { Err(nowhere()) };
    };
    let known = verifiers(&**store, &options.signer).await?;
    let origin = options.origin.clone();
    let archive = with_archive(move || Archive::open(&dir, &origin, &known, sealed_end)).await?;
    Ok(History::new(store.clone(), Some(Arc::new(archive)), sealed_end, retained_from))
}

/// Brings the archive in order and looks whether everything is there, now that the store is known to be the one to serve.
/// `newest`: its anchor has seen no newer one.
///
/// # Errors
/// [`Error::Refused`], [`Error::Storage`].
pub(super) async fn finish_archive(history: &History, known: Vec<VerifierKey>, newest: bool) -> Result<(), Error> {
    let Some(archive) = history.archive().map(Arc::clone) else { return Ok(()) };
    let retained_from = history.bounds().retained_from();
    with_archive(move || {
        archive.finish_opening(&known, newest)?;
        archive.check(&known, retained_from)
    })
    .await
}

async fn with_archive<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, archive::Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(job).await;
    let done = done.map_err(|stopped| Error::Storage { doing: "opened the archive", source: stopped.into() })?;
    done.map_err(|error| Error::Refused(with_causes(&error)))
}

/// The whole of what an error says.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn head_state(head: &Head, options: &Options) -> Result<stored::LogHead, Error> {
    let state =
        stored::LogHead::decode(head.state.as_slice()).map_err(|_| Error::Damaged { what: "the log's head".into() })?;
    if state.format != FORMAT {
        return Err(Error::Refused(format!(
            "the log has format {} and this program writes format {FORMAT}: use a version of privet that knows it",
            state.format
        )));
    }
    if state.origin != options.origin {
        return Err(Error::Refused(format!(
            "the store holds the log {:?} and the configuration names {:?}: set log.origin to the former, or point store.dir elsewhere",
            state.origin, options.origin
        )));
    }
    if state.log_key != options.log_key {
        return Err(Error::Refused(format!(
            "the log is signed with key {} and key {} was given",
            state.log_key, options.log_key
        )));
    }
    Ok(state)
}

/// Of the head, the blocks and the tiles.
const FORMAT: u32 = 2;

async fn tenant_heads(store: &dyn Store) -> Result<HashMap<Tenant, stored::TenantHead>, Error> {
    const PAGE: usize = 1_000;
    let damaged = || Error::Damaged { what: "a tenant's place in the log".into() };
    let mut heads = HashMap::new();
    let mut from = Vec::new();
    loop {
        let page = store.scan(Space::TenantHead, from..vec![0xff], Direction::Ascending, PAGE).await?;
        let full = page.len() == PAGE;
        from = page.last().map(|(key, _)| [key.as_slice(), &[0]].concat()).unwrap_or_default();
        for (key, value) in page {
            let tenant =
                str::from_utf8(&key).ok().and_then(|text| Tenant::parse_or_system(text).ok()).ok_or_else(damaged)?;
            heads.insert(tenant, stored::TenantHead::decode(value.as_slice()).map_err(|_| damaged())?);
        }
        if !full {
            return Ok(heads);
        }
    }
}
