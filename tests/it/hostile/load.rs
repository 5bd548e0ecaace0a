//! Clients that seal as fast as they can and remember what was acknowledged.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use privet::proto::v1;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::whole::Receipt;
use crate::support::deployment::{Client, ciphertext, decrypt, encrypt, opened, to_decrypt, to_encrypt};

pub const EMAIL: &str = "pii/account/email";
pub const TAX_ID: &str = "pii/billing/tax_id";

/// A sealed field whose receipt a client holds.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub tenant: &'static str,
    pub subject: String,
    pub class: &'static str,
    pub value: String,
    pub ciphertext: Bytes,
    pub receipt: Receipt,
}

/// Many clients at once.
pub struct Load {
    tasks: JoinSet<Status>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
}

impl Load {
    /// Starts `tasks` of them, spread over the connections; each goes on until a call fails.
    pub fn start(clients: &[Client], tasks: u64, seed: u64) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut running = JoinSet::new();
        for (task, client) in (0..tasks).zip(clients.iter().cycle()) {
            let (client, acknowledged) = (client.clone(), acknowledged.clone());
            running.spawn(seal_until_it_fails(client, Random::new(seed << 16 | task), acknowledged));
        }
        Self { tasks: running, acknowledged }
    }

    pub fn acknowledged_so_far(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until every call has failed; gives what was acknowledged before, and how they failed.
    pub async fn end(self) -> (Vec<Acknowledged>, Vec<Status>) {
        let failures = self.tasks.join_all().await;
        (Arc::into_inner(self.acknowledged).unwrap().into_inner().unwrap(), failures)
    }
}

async fn seal_until_it_fails(
    client: Client,
    mut random: Random,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
) -> Status {
    loop {
        let tenant = if random.below(4) == 0 { "other" } else { "acme" };
        let fields: Vec<v1::FieldToEncrypt> = (0..=random.below(3))
            .map(|_| {
                // Some subjects belong to all clients, some are new.
                let subject = if random.below(2) == 0 { random.below(50) } else { random.next() };
                let class = if random.below(3) == 0 { TAX_ID } else { EMAIL };
                to_encrypt(&format!("customer {subject}"), class, &format!("value {}", random.next()))
            })
            .collect();
        match client.encryption().encrypt(encrypt(tenant, fields.clone())).await {
            Ok(answer) => {
                let sealed = remember(tenant, &fields, &answer.into_inner());
                acknowledged.lock().unwrap().extend(sealed);
            }
            // Others made the same subjects' keys each time: nothing was released.
            Err(status) if status.code() == Code::Aborted => {}
            Err(status) => return status,
        }
    }
}

fn remember(tenant: &'static str, fields: &[v1::FieldToEncrypt], answer: &v1::EncryptResponse) -> Vec<Acknowledged> {
    let [receipt] = answer.receipts.as_slice() else { panic!("{} receipts", answer.receipts.len()) };
    assert_eq!(answer.fields.len(), fields.len());
    let sealed = fields.iter().enumerate().map(|(at, field)| Acknowledged {
        tenant,
        subject: field.subject.clone(),
        class: if field.class == EMAIL { EMAIL } else { TAX_ID },
        value: String::from_utf8(field.plaintext.to_vec()).unwrap(),
        ciphertext: ciphertext(answer, at),
        receipt: Receipt {
            entry_index: receipt.entry_index,
            leaf_hash: receipt.leaf_hash.to_vec(),
            checkpoint: receipt.checkpoint.clone(),
        },
    });
    sealed.collect()
}

/// How many of these open to what was sealed.
pub async fn opening(client: &Client, sealed: &[Acknowledged]) -> usize {
    let mut open = 0;
    for tenant in ["acme", "other"] {
        let of_tenant: Vec<&Acknowledged> = sealed.iter().filter(|one| one.tenant == tenant).collect();
        for some in of_tenant.chunks(1_000) {
            let fields = some.iter().map(|one| to_decrypt(&one.subject, one.class, &one.ciphertext)).collect();
            let answer = client.encryption().decrypt(decrypt(tenant, fields)).await.unwrap().into_inner();
            let right = |(at, one): &(usize, &&Acknowledged)| opened(&answer, *at) == Ok(one.value.clone().into());
            open += some.iter().enumerate().filter(right).count();
        }
    }
    open
}

/// Numbers that look random and are the same each time (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
