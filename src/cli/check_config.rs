//! `privet check-config`: everything that would keep a server from starting, said before it is started – and every place that
//! it would talk to.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use x509_parser::{parse_x509_certificate, pem::Pem};

use super::{failure::Exit, terminal::Terminal};
use crate::{
    clock::{Clock, SystemClock},
    config::{Config, RootKind},
    entropy::SystemEntropy,
    keyring::root::FileRoot,
    policy::{Snapshot, Sources},
    server::tls::{DevCertificates, Tls},
};

/// Which configuration.
#[derive(Args, Debug)]
pub struct CheckConfig {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "privet.toml")]
    config: PathBuf,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    holds: bool,
    /// What was found, or what is wrong with it.
    found: String,
}

/// Looks at everything; refused if something does not hold.
///
/// # Errors
/// A configuration that can't be read at all.
pub fn run(args: &CheckConfig, terminal: &Terminal) -> Result<Exit> {
    let config = Config::load(&args.config)?;
    let now = SystemClock::start().wall_secs();
    let checks = [
        check("configuration", usable(&config)),
        check("certificates", certificates(&config, now)),
        check("root key", root(&config)),
        check("store", store(&config)),
        check("policy", policy(&config, now)),
        check("listens on", Ok(listeners(&config))),
        check("talks to", Ok("nothing outside this machine: root, store and policy are local files".to_owned())),
    ];
    let holds = checks.iter().all(|check| check.holds);
    if terminal.json {
        println!("{}", serde_json::json!({ "holds": holds, "checks": checks }));
    } else {
        for Check { what, holds, found } in &checks {
            let mark = if *holds { "✓" } else { "✗" };
            let found = found.replace('\n', "\n                 ");
            println!(" {mark} {what:<13} {found}");
        }
    }
    Ok(if holds { Exit::Ok } else { Exit::Refused })
}

fn check(what: &'static str, found: Result<String>) -> Check {
    match found {
        Ok(found) => Check { what, holds: true, found },
        Err(error) => Check { what, holds: false, found: format!("{error:#}") },
    }
}

fn usable(config: &Config) -> Result<String> {
    if config.dev {
        bail!("made by `privet dev`; `privet serve` refuses it");
    }
    let tenants: Vec<_> = config.tenant.iter().map(|tenant| tenant.id.as_str()).collect();
    Ok(format!("log {}, tenants {}", config.log.origin, tenants.join(", ")))
}

fn certificates(config: &Config, now: u64) -> Result<String> {
    let dev = if config.dev { DevCertificates::Accepted } else { DevCertificates::Refused };
    Tls::load(&config.tls, dev)?;
    let pem = fs::read(&config.tls.cert)?;
    let Some(Ok(leaf)) = Pem::iter_from_buffer(&pem).next() else {
        bail!("{} holds no PEM", config.tls.cert.display())
    };
    let (_, leaf) = parse_x509_certificate(&leaf.contents)?;
    let now = i64::try_from(now)?;
    let (from, to) = (leaf.validity().not_before, leaf.validity().not_after);
    if now < from.timestamp() || now > to.timestamp() {
        bail!("{} is valid from {from} to {to}, not now", config.tls.cert.display());
    }
    let days = (to.timestamp() - now) / 86_400;
    Ok(format!("the server's is valid for {days} more days; {} client CA files", config.tls.client_ca.len()))
}

fn root(config: &Config) -> Result<String> {
    match config.root.kind {
        RootKind::File => {
            FileRoot::open(&config.root.dir, std::sync::Arc::new(SystemEntropy::open()))?;
            Ok(format!("file in {}", config.root.dir.display()))
        }
    }
}

/// Opening the store would lock it against a running server and write to it, so it is only looked at.
fn store(config: &Config) -> Result<String> {
    let dir = &config.store.dir;
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(dir.display().to_string()),
        Ok(_) => bail!("{} is not a directory", dir.display()),
        Err(_) => match dir.parent() {
            Some(parent) if parent.is_dir() => Ok(format!("{} will be made", dir.display())),
            _ => bail!("{} can't be made: the directory above it is missing", dir.display()),
        },
    }
}

fn policy(config: &Config, now: u64) -> Result<String> {
    let list = |problems: Vec<crate::catalogue::Problem>| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    };
    let sources = Sources::read(&config.policy.dir).map_err(list)?;
    let snapshot = Snapshot::build(1, &sources).map_err(list)?;
    let expired = snapshot.expired(now).len();
    let hash = hex::encode(snapshot.hash().get(..8).unwrap_or_default());
    let (grants, memberships) = (snapshot.grants().count(), snapshot.memberships().count());
    let expired = if expired > 0 { format!(", {expired} of them expired") } else { String::new() };
    Ok(format!("{grants} grants and {memberships} memberships{expired}; assertions hold; hash {hash}…"))
}

fn listeners(config: &Config) -> String {
    let metrics = config.server.metrics_listen.map(|address| format!(", metrics on {address}")).unwrap_or_default();
    format!("{}{metrics}", config.server.listen)
}
