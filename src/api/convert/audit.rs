//! The audit service's messages.

use super::{super::call::receipts, Answer, micros, timestamp};
use crate::{
    audit::{entry::Stored, history::Leaf, merkle::Hash},
    operations::{
        Filter, Header,
        checkpoint::GetCheckpoint,
        consistency_proof::GetConsistencyProof,
        export_entries::ExportEntries,
        inclusion_proof::{GetInclusionProof, Named},
        list_entries::ListEntries,
        tail_entries::{self, TailEntries},
    },
    proto::{
        stored,
        v1::{self, exported_leaf, get_inclusion_proof_request},
    },
    store::Direction,
};

pub(in super::super) fn list_entries(request: v1::ListEntriesRequest) -> ListEntries {
    ListEntries {
        order: match v1::Order::try_from(request.order) {
            Ok(v1::Order::Unspecified | v1::Order::NewestFirst) => Some(Direction::Descending),
            Ok(v1::Order::OldestFirst) => Some(Direction::Ascending),
            Err(_) => None,
        },
        page_size: request.page_size,
        filter: Filter {
            subject: request.subject,
            operation: request.operation,
            verdict: request.verdict,
            principal: request.principal,
            class: request.class,
            reference: request.reference,
            start_micros: request.start_time.map(micros),
            end_micros: request.end_time.map(micros),
        },
        header: header(request.tenant, request.request_id),
        page_token: request.page_token,
    }
}

pub(in super::super) fn listed_entries(released: Answer<ListEntries>) -> v1::ListEntriesResponse {
    let (page, evidence) = released.into_parts();
    v1::ListEntriesResponse {
        entries: audit_entries(page.entries),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

fn audit_entry(stored: Stored, entry: stored::Entry) -> v1::AuditEntry {
    let target = |target: stored::Target| v1::AuditTarget {
        outcome: target.outcome,
        aliases: target.aliases.chunks(crate::audit::record::ALIAS_BYTES).map(|alias| alias.to_vec().into()).collect(),
        object: target.object,
        count: target.count,
        action: target.action,
    };
    v1::AuditEntry {
        index: stored.index,
        raw: stored.bytes.into(),
        leaf_hash: stored.leaf_hash.to_vec().into(),
        time: Some(timestamp(entry.time_unix_micros)),
        principal: entry.principal,
        authentication: entry.authentication,
        roles: entry.roles,
        tenant: entry.tenant,
        tenant_seq: entry.tenant_seq,
        // Numbered alike in both packages.
        operation: entry.operation,
        purpose: entry.purpose,
        policy_version: entry.policy_version,
        policy_hash: entry.policy_hash.into(),
        verdict: entry.verdict,
        grant_ids: entry.grant_ids,
        targets: entry.targets.into_iter().map(target).collect(),
        reference: entry.reference,
        request_id: entry.request_id,
        actor: entry.actor,
        region: entry.region,
        part: entry.part,
        parts: entry.parts,
        count: entry.count,
        effect: entry.effect,
        refusal: entry.refusal,
        log_change: entry.log_change.map(|change| v1::LogChange {
            first_index: change.first_index,
            end_index: change.end_index,
            newest_time: (change.newest_time_unix_micros > 0).then(|| timestamp(change.newest_time_unix_micros)),
            verifier_key: change.verifier_key,
        }),
    }
}

fn audit_entries(entries: Vec<(Stored, stored::Entry)>) -> Vec<v1::AuditEntry> {
    entries.into_iter().map(|(stored, entry)| audit_entry(stored, entry)).collect()
}

pub(in super::super) fn tail_entries(request: v1::TailEntriesRequest) -> TailEntries {
    TailEntries {
        header: header(request.tenant, request.request_id),
        filter: Filter {
            principal: request.principal,
            operation: request.operation,
            verdict: request.verdict,
            class: request.class,
            reference: request.reference,
            start_micros: None,
            end_micros: None,
            subject: request.subject,
        },
        start_index: request.start_index,
    }
}

pub(in super::super) fn tailed_entries(
    released: crate::audit::Released<tail_entries::Batch>,
) -> v1::TailEntriesResponse {
    let (batch, evidence) = released.into_parts();
    v1::TailEntriesResponse {
        entries: audit_entries(batch.entries),
        next_index: batch.next_index,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn export_entries(request: v1::ExportEntriesRequest) -> ExportEntries {
    ExportEntries {
        header: header(request.tenant, request.request_id),
        start_index: request.start_index,
        end_index: request.end_index,
        begun: false,
    }
}

pub(in super::super) fn exported_entries(
    released: Answer<ExportEntries>,
) -> (v1::ExportEntriesResponse, Option<ExportEntries>) {
    let (exported, evidence) = released.into_parts();
    let leaf = |Leaf { index, hash, body }: Leaf| v1::ExportedLeaf {
        index,
        leaf: Some(match body {
            Some(raw) => exported_leaf::Leaf::Raw(raw.into()),
            None => exported_leaf::Leaf::LeafHash(hash.to_vec().into()),
        }),
    };
    let message = v1::ExportEntriesResponse {
        checkpoint: exported.checkpoint.map(|note| note.to_string()).unwrap_or_default(),
        key_announcements: exported.announcements,
        leaves: exported.leaves.into_iter().map(leaf).collect(),
        receipts: receipts(evidence),
    };
    (message, exported.next)
}

pub(in super::super) fn get_checkpoint(request: v1::GetCheckpointRequest) -> GetCheckpoint {
    GetCheckpoint { header: header(request.tenant, request.request_id) }
}

pub(in super::super) fn checkpoint(released: Answer<GetCheckpoint>) -> v1::GetCheckpointResponse {
    let (keys, evidence) = released.into_parts();
    v1::GetCheckpointResponse {
        // Of the group that has this call's own record.
        checkpoint: evidence.last().map(|receipt| receipt.checkpoint.to_string()).unwrap_or_default(),
        verifier_keys: keys.verifier_keys,
        key_announcements: keys.announcements,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn get_inclusion_proof(request: v1::GetInclusionProofRequest) -> GetInclusionProof {
    let hint = request.index_hint;
    GetInclusionProof {
        header: header(request.tenant, request.request_id),
        entry: request.entry.map(|entry| match entry {
            get_inclusion_proof_request::Entry::Index(index) => Named::Index(index),
            get_inclusion_proof_request::Entry::LeafHash(hash) => Named::LeafHash(hash.into(), hint),
        }),
    }
}

pub(in super::super) fn inclusion_proof(released: Answer<GetInclusionProof>) -> v1::GetInclusionProofResponse {
    let (proof, evidence) = released.into_parts();
    v1::GetInclusionProofResponse {
        index: proof.index,
        leaf_hash: proof.leaf_hash.to_vec().into(),
        hashes: hashes(proof.hashes),
        checkpoint: proof.checkpoint.to_string(),
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn get_consistency_proof(request: v1::GetConsistencyProofRequest) -> GetConsistencyProof {
    GetConsistencyProof {
        header: header(request.tenant, request.request_id),
        first_size: request.first_size,
        second_size: request.second_size,
    }
}

pub(in super::super) fn consistency_proof(released: Answer<GetConsistencyProof>) -> v1::GetConsistencyProofResponse {
    let (proof, evidence) = released.into_parts();
    v1::GetConsistencyProofResponse {
        first_size: proof.first_size,
        second_size: proof.second_size,
        hashes: hashes(proof.hashes),
        checkpoint: proof.checkpoint.to_string(),
        receipts: receipts(evidence),
    }
}

fn header(tenant: String, request_id: String) -> Header {
    Header { tenant, request_id, ..Default::default() }
}

fn hashes(hashes: Vec<Hash>) -> Vec<bytes::Bytes> {
    hashes.into_iter().map(|hash| hash.to_vec().into()).collect()
}
