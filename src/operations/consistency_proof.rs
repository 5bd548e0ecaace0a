//! GetConsistencyProof: that a smaller log is the beginning of a larger one. Open to every authenticated caller: hashes of the
//! tree tell nothing of its entries.

use std::sync::Arc;

use super::{
    Halt, Header, Operation, Service, Violation, describe,
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, history::NoProof, merkle::Hash},
    identity::Caller,
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct GetConsistencyProof {
    /// In whose log the call is recorded.
    pub header: Header,
    /// The smaller log's size.
    pub first_size: u64,
    /// The larger one's; 0: the newest checkpoint's.
    pub second_size: u64,
}

/// A question that holds.
pub struct Asked {
    header: Checked,
    first_size: u64,
    second_size: u64,
}

/// The proof.
#[derive(Debug)]
pub struct Proof {
    /// The smaller log's size.
    pub first_size: u64,
    /// The larger one's.
    pub second_size: u64,
    /// RFC 6962 section 2.1.2.
    pub hashes: Vec<Hash>,
    /// The newest checkpoint when it was made.
    pub checkpoint: Arc<str>,
}

impl Operation for GetConsistencyProof {
    type Asked = Asked;
    type Answer = Proof;
    const NAME: stored::Operation = stored::Operation::GetConsistencyProof;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let size = service.log.read_point().0;
        if self.second_size > size {
            return Err(Violation::new("second_size", "must not be more than the log has entries"));
        }
        if self.first_size > if self.second_size == 0 { size } else { self.second_size } {
            return Err(Violation::new(
                "first_size",
                "must not be more than second_size, nor than the log has entries",
            ));
        }
        let header = validate::control(&self.header, caller)?;
        Ok(Asked { header, first_size: self.first_size, second_size: self.second_size })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Proof>, Halt> {
        let published = service.log.published();
        let (first_size, second_size) = (
            asked.first_size,
            match asked.second_size {
                0 => published.edge.size(),
                size => size,
            },
        );
        let hashes = service.log.history().prove_beginning(&published.edge, first_size, second_size).await;
        let hashes = hashes.map_err(unproved)?;
        let checkpoint = Arc::clone(&published.checkpoint);
        let proof = Proof { first_size, second_size, hashes, checkpoint };

        let effect = format!("from size {first_size} to {second_size}");
        let record = describe::open(service, Self::NAME, caller, &asked.header, effect)?;
        Ok(service.log.commit(record, Basis::default(), Effects::default(), Unreleased::new(proof)).await?)
    }
}

/// Sizes and indexes were checked, so that a proof that can't be made is a log that can't be read.
pub(super) fn unproved(error: NoProof) -> Halt {
    Halt::unreadable(&error)
}
