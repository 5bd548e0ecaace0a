//! Verifies what is new in the log of a server, entry by entry as it comes.

use super::{
    super::super::{answer::misfit, client::Clients, failure::Failure, terminal::Terminal},
    super::leaves::Leaves,
    Ask, Outcome,
    memory::Memory,
    offline::remember,
    report,
};
use crate::{
    audit::{
        export::{Head, Leaf, claimed_size},
        verify::{Finding, Found, State, Verified, Verifier},
    },
    id::Tenant,
    proto::v1::{self, exported_leaf},
};

/// Verifies.
pub(super) async fn run(clients: &Clients, ask: &Ask, terminal: &Terminal) -> Result<Outcome, Failure> {
    let tenant = ask.trust.tenant.clone().ok_or_else(|| Failure::usage("--tenant is needed to ask a server"))?;
    let memory = ask.memory(&tenant);
    let saved = if ask.fresh { None } else { memory.read()? };
    let remembered = saved.map(|saved| saved.verified);
    let start = remembered.as_ref().map_or(0, State::size);
    let result = Session { clients, ask, tenant: &tenant, memory: &memory, terminal }.verify(start, remembered).await?;
    let saved = remember(&memory, &result)?;
    let origin = ask.trust.key.name().to_owned();
    Ok(Outcome { origin, tenant, remembered: start, result, line: None, saved })
}

struct Session<'a> {
    clients: &'a Clients,
    ask: &'a Ask,
    tenant: &'a Tenant,
    memory: &'a Memory,
    terminal: &'a Terminal,
}

impl Session<'_> {
    async fn verify(&self, start: u64, remembered: Option<State>) -> Result<Result<Verified, Found>, Failure> {
        let mut client = self.clients.audit();
        if start > 0 {
            // A server that has less than what was seen before could not even be asked for the rest.
            let request = v1::GetCheckpointRequest { tenant: self.tenant.to_string(), ..Default::default() };
            let newest = client.get_checkpoint(request).await?.into_inner();
            let head = self.head(start, newest.checkpoint, newest.key_announcements)?;
            if let Err(found) = Verifier::begin(&self.ask.trust, &head, remembered.clone()) {
                return Ok(Err(found));
            }
        }
        let request =
            v1::ExportEntriesRequest { tenant: self.tenant.to_string(), start_index: start, ..Default::default() };
        let (mut leaves, mut first) = Leaves::open(self.clients, request).await?;
        let announcements = std::mem::take(&mut first.key_announcements);
        let head = self.head(start, std::mem::take(&mut first.checkpoint), announcements)?;
        let mut verifier = match Verifier::begin(&self.ask.trust, &head, remembered) {
            Ok(verifier) => verifier,
            Err(found) => return Ok(Err(found)),
        };
        let bar = report::bar_of_entries(head.end.saturating_sub(start), self.terminal);
        let mut saved_at = start;
        while let Some(next) = leaves.next().await? {
            if let Err(stop) = self.feed(&mut verifier, next, &mut saved_at) {
                return stop.map(Err);
            }
            bar.set_position(verifier.size().saturating_sub(start));
        }
        bar.finish_and_clear();
        Ok(verifier.finish())
    }

    /// Feeds a message's leaves, and its checkpoint after as many entries as it speaks of.
    fn feed(
        &self,
        verifier: &mut Verifier,
        message: v1::ExportEntriesResponse,
        saved_at: &mut u64,
    ) -> Result<(), Result<Found, Failure>> {
        let mut note = Some(message.checkpoint).filter(|note| !note.is_empty());
        let size = note.as_deref().and_then(claimed_size);
        for leaf in message.leaves {
            if let Some(note) = note.take_if(|_| size == Some(verifier.size())) {
                self.checkpoint(verifier, &note, saved_at)?;
            }
            let shown = match leaf.leaf.ok_or_else(|| Err(misfit()))? {
                exported_leaf::Leaf::Raw(bytes) => Leaf::Raw(bytes.into()),
                exported_leaf::Leaf::LeafHash(hash) => Leaf::Hash(
                    hash.as_ref()
                        .try_into()
                        .map_err(|_| Ok(verifier.stop(Finding::Unreadable { index: leaf.index })))?,
                ),
            };
            verifier.leaf(leaf.index, &shown).map_err(Ok)?;
        }
        note.map_or(Ok(()), |note| self.checkpoint(verifier, &note, saved_at))
    }

    fn checkpoint(
        &self,
        verifier: &mut Verifier,
        note: &str,
        saved_at: &mut u64,
    ) -> Result<(), Result<Found, Failure>> {
        verifier.checkpoint(note).map_err(Ok)?;
        if verifier.size().saturating_sub(*saved_at) >= self.ask.save_every
            && let Some(state) = verifier.state()
        {
            self.memory.write(state, None).map_err(Err)?;
            *saved_at = verifier.size();
        }
        Ok(())
    }

    /// What an export's head would say.
    fn head(&self, start: u64, checkpoint: String, key_announcements: Vec<String>) -> Result<Head, Failure> {
        Ok(Head {
            origin: self.ask.trust.key.name().to_owned(),
            tenant: self.tenant.clone(),
            start,
            end: claimed_size(&checkpoint).ok_or_else(misfit)?,
            checkpoint,
            key_announcements,
            edge: Vec::new(),
        })
    }
}
