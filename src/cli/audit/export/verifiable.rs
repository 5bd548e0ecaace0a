//! The export that proves itself, written as it comes: what is in it is for whoever verifies it to check.

use std::{
    io::{BufWriter, Write},
    path::Path,
};

use super::super::{
    super::{
        answer::misfit,
        client::Clients,
        failure::Failure,
        output::{Opened, Output},
        terminal::Terminal,
    },
    leaves::Leaves,
    verify::bar_of_entries,
};
use crate::{
    audit::export::{Head, Leaf, Writer, claimed_size},
    id::Tenant,
    proto::v1::{self, exported_leaf},
};

/// Writes the whole log as the tenant may see it; gives the number of its leaves.
pub(super) async fn write(
    clients: &Clients,
    tenant: &Tenant,
    request_id: String,
    out: &Path,
    terminal: &Terminal,
) -> Result<u64, Failure> {
    let output = Output::create(out, false)?;
    let request = v1::ExportEntriesRequest { tenant: tenant.to_string(), request_id, ..Default::default() };
    let (mut leaves, first) = Leaves::open(clients, request).await?;
    let head = head(tenant, &first)?;
    let bar = bar_of_entries(head.end, terminal);
    let (file, synced): Opened = output.open()?;
    let mut writer = Writer::new(BufWriter::new(file), &head).map_err(Failure::output)?;
    let mut next = 0;
    while let Some(part) = leaves.next().await? {
        let size = claimed_size(&part.checkpoint);
        for leaf in part.leaves {
            let shown = match leaf.leaf.ok_or_else(misfit)? {
                exported_leaf::Leaf::Raw(bytes) => Leaf::Raw(bytes.into()),
                exported_leaf::Leaf::LeafHash(hash) => Leaf::Hash(hash.as_ref().try_into().map_err(|_| misfit())?),
            };
            writer.leaf(leaf.index, &shown).map_err(Failure::output)?;
            next = leaf.index.saturating_add(1);
            if size == Some(next) {
                writer.checkpoint(&part.checkpoint).map_err(Failure::output)?;
            }
        }
        bar.set_position(next);
    }
    bar.finish_and_clear();
    if next != head.end {
        return Err(Failure::unavailable("the server ended the export before its end; the output is not complete"));
    }
    writer.into_inner().flush().map_err(Failure::output)?;
    synced.map_or(Ok(()), |file| file.sync_all()).map_err(Failure::output)?;
    output.keep()?;
    Ok(next)
}

fn head(tenant: &Tenant, first: &v1::ExportEntriesResponse) -> Result<Head, Failure> {
    Ok(Head {
        origin: first.checkpoint.lines().next().ok_or_else(misfit)?.to_owned(),
        tenant: tenant.clone(),
        start: 0,
        end: claimed_size(&first.checkpoint).ok_or_else(misfit)?,
        checkpoint: first.checkpoint.clone(),
        key_announcements: first.key_announcements.clone(),
        edge: Vec::new(),
    })
}
