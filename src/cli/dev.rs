//! `privet dev`: a whole deployment in one directory, on this machine, in one command – with nothing turned off.
//!
//! It makes what a deployment needs, starts the real server with real mutual TLS, runs the main job on invented customers
//! through it, says what happened, and stays up.

mod bulk;
mod claim;
mod customers;
mod entry;
mod layout;
mod pki;
mod proof;
mod report;
mod scenario;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use time::OffsetDateTime;
use tracing::level_filters::LevelFilter;

use super::{
    failure::Exit,
    root,
    serve::{self, Machine, Options},
    terminal::Terminal,
    verifier,
};
use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    entropy::SystemEntropy,
    operations::start::Changed,
    server::{
        Ended,
        shutdown::terminated,
        telemetry::logging::{self, Format},
        tls::DevCertificates,
    },
};
use layout::Layout;
use report::Report;

/// Where and how.
#[derive(Args, Debug)]
pub struct Dev {
    /// Directory of the deployment; made if missing, resumed if made by `privet dev`
    #[arg(long, value_name = "DIR", default_value = ".privet-dev")]
    dir: PathBuf,
    /// Loopback address to listen on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7443", value_parser = loopback)]
    listen: SocketAddr,
    /// Take an anchor that has seen nothing for a log that has entries; recorded
    #[arg(long)]
    new_anchor: bool,
    /// Exit after the scenario: 0 only if every step held
    #[arg(long)]
    once: bool,
}

/// Runs until the process is told to end, or through the scenario once.
///
/// # Errors
/// A directory that is not ours, an address in use, or a server that can't start.
pub async fn run(args: Dev, terminal: &Terminal) -> Result<Exit> {
    let terminated = terminated()?;
    logging::start(Format::Text, LevelFilter::WARN)?;
    let clock = SystemClock::start();
    let now = OffsetDateTime::from_unix_timestamp(i64::try_from(clock.wall_secs())?)?;
    let layout = Layout::open(&args.dir, now, Arc::new(SystemEntropy::open()))?;
    let listener = std::net::TcpListener::bind(args.listen)
        .with_context(|| format!("{} can't be listened on; name another port with --listen, 0 for any", args.listen))?;
    // The policy files of a development directory are there to be edited.
    let options = Options {
        listener,
        policy_changed: Changed::Adopt,
        new_anchor: args.new_anchor,
        // Whoever tries things out may move the clock.
        clock_is_right: true,
        dev: DevCertificates::Accepted,
    };
    let config = Config::load(&layout.config())?;
    let running = serve::start(config.clone(), options).await?;
    layout.write_address(running.address())?;
    // Whoever audits a log has its key from elsewhere than from its server.
    let root = root::open(&config, &Machine::this())?;
    let key = verifier::first_of(&config, &*root)?;
    layout.write_verifier_key(&key)?;

    let outcome = scenario::run(&args.dir, &key).await?;
    let report = Report {
        dir: &args.dir,
        address: running.address(),
        resumed: layout.resumed(),
        edited: &layout.edited_policies(),
        stays: !args.once,
        outcome: &outcome,
    };
    report.print(terminal);
    let ended = if args.once { running.shutdown().await? } else { running.wait(terminated).await? };
    Ok(match ended {
        Ended::Fault => Exit::Unavailable,
        Ended::Shutdown if args.once && !outcome.held() => Exit::Refused,
        Ended::Shutdown => Exit::Ok,
    })
}

/// An address that only this machine can reach.
fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    let address: SocketAddr = text.parse().map_err(|_| "must be IP:PORT, e.g. 127.0.0.1:7443 or [::1]:7443")?;
    let refused = "must be a loopback address: `privet dev` serves this machine only, `privet serve` serves others";
    address.ip().is_loopback().then_some(address).ok_or(refused)
}
