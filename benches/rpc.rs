//! Group `rpc`: Encrypt and Decrypt as a client sees them, beside a server that does nothing.
//!
//! Both sides get the same messages from the same client, over the same TLS with client certificates, and answer with as many
//! bytes. The base is plain tonic on plain hyper: it decides nothing, seals nothing and writes nothing. Privet runs as it is
//! shipped: policy, keys, and its log with an `fdatasync` before every answer. Values have 64 bytes; each field of a request
//! belongs to another customer, which is the dearest case; keys and decisions are warm.

mod echo;
mod load;

use std::{path::Path, sync::Arc, time::Duration};

use privet::{
    config::Config,
    proto::v1,
    server::tls::{DevCertificates, Tls},
};
use tokio::runtime::{self, Runtime};
use tonic::transport::Channel;

use self::load::{Ask, Shape};
use crate::{
    compare::{Plan, Round, Row, take_turns},
    cpu,
    disk::Disk,
    report::Group,
    support::deployment::{self, Client, Deployment, Setup},
};

/// Measures the group in `directory`.
pub fn measure(plan: &Plan, directory: &Path) -> Group {
    let disk = Disk::new(directory);
    let (server, base, client) = (runtime(SERVER[0]), runtime(BASE[0]), runtime("client"));
    let mut deployment = server.block_on(Deployment::start_in(directory, Setup::default()));
    let config = Config::load(&deployment.dir.path().join("privet.toml")).unwrap();
    let tls = Tls::load(&config.tls, DevCertificates::Refused).unwrap().current();
    let echo = base.block_on(echo::start(tls));

    let leaf = deployment.ca.client(&["spiffe://acme.example/tester"]);
    let connect = |address| {
        let configs: Vec<_> = (0..CONNECTIONS).map(|_| deployment.ca.client_config(Some(&leaf))).collect();
        client.block_on(async {
            let mut channels = Vec::new();
            for config in configs {
                channels.push(deployment::connect(address, config).await.unwrap());
            }
            channels
        })
    };
    let (to_base, to_privet) = (connect(echo), connect(deployment.address));

    let single = client.block_on(requests(&to_privet[0], 1));
    let batches = client.block_on(requests(&to_privet[0], BATCH));
    let rows = ROWS.iter().flat_map(|(name, shape, fields)| {
        let asks = if *fields == 1 { &single } else { &batches };
        [("Encrypt", &asks.encrypt), ("Decrypt", &asks.decrypt)]
            .map(|(rpc, asks)| (format!("{rpc} {name}"), shape, *fields, asks))
    });
    let rows = rows.filter(|(name, ..)| name.contains(&plan.rows)).map(|(name, shape, fields, asks)| {
        eprintln!("rpc: {name}");
        let run = |channels: &[Channel], threads: &[&str], time: Duration| {
            let before = cpu::spent(threads);
            let round = client.block_on(load::run(channels.to_vec(), *shape, asks.clone(), time));
            Round { cpu: cpu::spent(threads).saturating_sub(before), ..round }
        };
        let (base, privet) = (|time| run(&to_base, &BASE, time), |time| run(&to_privet, &SERVER, time));
        take_turns(plan, name, fields as u64, || disk.probe(), base, privet)
    });
    let rows: Vec<Row> = rows.collect();
    drop((to_base, to_privet));
    let _ended = server.block_on(deployment.stop());
    Group {
        base: "tonic on hyper, the same TLS, answers of the same size; no policy, keys, log or limits",
        privet: "as shipped: limits, policy, keys, log on sled with fdatasync",
        items: "fields",
        cpu: "the server's threads alone",
        disk: disk.latency(),
        rows,
        facts: Vec::new(),
    }
}

/// The threads of each side: a runtime's, and those that Privet's log and store start.
const BASE: [&str; 1] = ["base"];
const SERVER: [&str; 3] = ["server", "privet-log", "sled-io"];

/// Named, so that a profiler tells them apart.
fn runtime(name: &str) -> Runtime {
    runtime::Builder::new_multi_thread().enable_all().thread_name(name).build().unwrap()
}

const BATCH: usize = 100;
const CONNECTIONS: usize = 4;

const ROWS: [(&str, Shape, usize); 6] = [
    ("unary, 1 in flight", Shape::Unary { in_flight: 1 }, 1),
    ("unary, 64 in flight", Shape::Unary { in_flight: 64 }, 1),
    ("unary, 256 in flight", Shape::Unary { in_flight: 256 }, 1),
    ("unary of 100, 16 in flight", Shape::Unary { in_flight: 16 }, BATCH),
    ("8 streams × 16 in flight", Shape::Streams { streams: 8, in_flight: 16 }, 1),
    ("8 streams of 100 × 4 in flight", Shape::Streams { streams: 8, in_flight: 4 }, BATCH),
];

/// Requests ready to be sent, again and again.
struct Requests {
    encrypt: Arc<[Ask]>,
    decrypt: Arc<[Ask]>,
}

/// Requests of `fields` fields over [`SUBJECTS`] customers, whose keys exist and are in memory afterwards.
async fn requests(privet: &Channel, fields: usize) -> Requests {
    let mut asks = (Vec::new(), Vec::new());
    for first in (0..SUBJECTS).step_by(fields) {
        let to_encrypt = (first..first + fields).map(|n| {
            let value = format!("{n:0>64}");
            deployment::to_encrypt(&format!("customer-{n:08}"), CLASSES[n % CLASSES.len()], &value)
        });
        let encrypt = deployment::encrypt("acme", to_encrypt.collect());
        let privet = Client { channel: privet.clone() };
        let sealed = privet.encryption().encrypt(encrypt.clone()).await.unwrap().into_inner();
        let to_decrypt = |(at, field): (usize, &v1::FieldToEncrypt)| {
            deployment::to_decrypt(&field.subject, &field.class, &deployment::ciphertext(&sealed, at))
        };
        let decrypt = deployment::decrypt("acme", encrypt.fields.iter().enumerate().map(to_decrypt).collect());
        let opened = privet.encryption().decrypt(decrypt.clone()).await.unwrap().into_inner();
        for (at, field) in encrypt.fields.iter().enumerate() {
            assert_eq!(deployment::opened(&opened, at).as_deref(), Ok(&*field.plaintext));
        }
        asks.0.push(Ask::Encrypt(encrypt));
        asks.1.push(Ask::Decrypt(decrypt));
    }
    Requests { encrypt: asks.0.into(), decrypt: asks.1.into() }
}

const SUBJECTS: usize = 1_000;
const CLASSES: [&str; 4] = ["pii/account/email", "pii/account/name", "pii/account/phone", "pii/billing/address"];
