//! Puts a server together and runs it: root, store, log, policy, keys – and only then the listener.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use clap::Args;
use tokio::{sync::oneshot, task::JoinHandle};
use tracing::level_filters::LevelFilter;

pub(super) mod log;
mod upkeep;

use log::Opened;
use upkeep::Upkeep;

use super::{failure::Exit, terminal::Terminal};
use crate::{
    api::{Api, admission::Budget},
    audit::log::{Ending, LogClock},
    clock::{Clock, SystemClock},
    config::Config,
    entropy::{Entropy, SystemEntropy},
    keyring::{self, Keyring},
    operations::{self, Guard, PageKey, Service, segments::Rules, start::Changed},
    policy::Sources,
    server::{
        self, Ended, Parts, shutdown,
        telemetry::{
            Metrics,
            endpoint::Endpoint,
            logging::{self, Format},
        },
        tls::{DevCertificates, Tls},
    },
};

/// `privet serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "privet.toml")]
    config: PathBuf,
    /// Go on under an anchor that has seen nothing of this log, on record
    #[arg(long)]
    new_anchor: bool,
    /// Say that the clock is right after it was seen to step: retention goes on, on record
    #[arg(long)]
    clock_is_right: bool,
}

/// Serves until told to end.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(args: Serve, terminal: &Terminal) -> Result<Exit> {
    logging::start(if terminal.json { Format::Json } else { Format::Text }, LevelFilter::INFO)?;
    let config = Config::load(&args.config)?;
    let address = config.server.listen;
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("server.listen: {address} can't be listened on"))?;
    let terminated = shutdown::terminated()?;
    let policy_changed = Changed::Refuse;
    let options = Options {
        listener,
        policy_changed,
        new_anchor: args.new_anchor,
        clock_is_right: args.clock_is_right,
        dev: DevCertificates::Refused,
    };
    let running = start(config, options).await?;
    tracing::info!(address = %running.address(), "serving");
    match running.wait(terminated).await? {
        Ended::Shutdown => Ok(Exit::Ok),
        Ended::Fault => Ok(Exit::Unavailable),
    }
}

/// How to start, beside the configuration.
#[derive(Debug)]
pub struct Options {
    /// Bound already, so that nobody else can take the address meanwhile.
    pub listener: std::net::TcpListener,
    /// What policy files that differ from the policy in force do.
    pub policy_changed: Changed,
    /// Whether an anchor that has seen nothing is taken for a log that has entries.
    pub new_anchor: bool,
    /// Whether somebody says that the clock is right, if it was seen to step.
    pub clock_is_right: bool,
    /// Whether certificates made by `privet dev` are accepted.
    pub dev: DevCertificates,
}

/// What comes from outside the program and a test may want to see or to steer.
pub struct Machine {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for keys and nonces.
    pub entropy: Arc<dyn Entropy>,
}

impl Machine {
    /// The machine that the program runs on.
    pub fn this() -> Self {
        Self { clock: Arc::new(SystemClock::start()), entropy: Arc::new(SystemEntropy::open()) }
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Ended>,
    ending: Ending,
}

/// Starts a server; it listens when this returns.
///
/// # Errors
/// Whatever keeps it from starting, with what to do about it. Nothing listens then.
pub async fn start(config: Config, options: Options) -> Result<Running> {
    start_on(Machine::this(), config, options).await
}

/// The same, with time and randomness of the caller's choice.
///
/// # Errors
/// As [`start`].
pub async fn start_on(machine: Machine, config: Config, options: Options) -> Result<Running> {
    if config.dev && options.dev == DevCertificates::Refused {
        bail!("this configuration was made by `privet dev`; `serve` wants one made by `privet init`");
    }
    let config = Arc::new(config);
    let tls = Arc::new(Tls::load(&config.tls, options.dev)?);
    let Opened { root, store, log, ending, index, .. } = log::open(&machine, &config, options.new_anchor).await?;
    let Machine { entropy, .. } = machine;

    let files = Sources::read(&config.policy.dir).map_err(operations::start::Error::Policy)?;
    let policy = operations::start::policy(&log, &*store, &files, options.policy_changed).await?;
    let limits = keyring::Limits {
        cache_subjects: usize::try_from(config.keys.cache_subjects).unwrap_or(usize::MAX),
        cache_ttl: config.keys.cache_ttl_secs,
        subject_key_max_age: config.keys.subject_key_age_max,
        ..keyring::Limits::default()
    };
    let keyring = Keyring::new(root, entropy.clone(), Arc::new(LogClock(log.clone())), limits);
    for tenant in &config.tenant {
        let region = tenant.region.as_ref().or(config.region.as_ref());
        operations::start::tenant(&log, &*store, &keyring, &tenant.id, region).await?;
    }
    let tenants = Arc::new(operations::start::tenants(&*store, &keyring).await?);
    let service = Arc::new(Service {
        log,
        store,
        index: Arc::new(index),
        keyring,
        policy: ArcSwap::from_pointee(policy),
        past: Default::default(),
        guard: Guard::default(),
        page_key: PageKey::random(&*entropy)?,
        entropy,
        turns: Default::default(),
        tally: Default::default(),
        tails: Default::default(),
        tenants,
        tenant_wait: config.keys.tenant_destroy_wait_days,
        limits: operations::Limits {
            fields_max: config.limits.fields_max,
            field_bytes_max: config.limits.field_bytes_max,
            message_bytes_max: config.limits.message_bytes_max,
        },
        region: config.region.clone(),
    });
    operations::start::started(&service).await?;
    listen(config, options, tls, service, ending).await
}

async fn listen(
    config: Arc<Config>,
    options: Options,
    tls: Arc<Tls>,
    service: Arc<Service>,
    ending: Ending,
) -> Result<Running> {
    let (routes, health) = Api::new(service.clone()).routes(config.limits.message_bytes_max, config.reflection)?;
    let budget = Budget::new(config.limits.bytes_in_flight_max, config.limits.in_flight_max);
    let metrics = Metrics::new();
    observe(&metrics, &service);
    let endpoint = match config.server.metrics_listen {
        Some(address) => Some(Endpoint::bind(address).await.context("the metrics listener can't be bound")?),
        None => None,
    };
    options.listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(options.listener)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let fault = service.log.failure();
    let rules = Rules {
        bytes_max: config.log.segment_bytes_max,
        age_max: config.log.segment_age_max_days,
        retention: config.log.retention_days,
    };
    let upkeep = Upkeep::start(&service, rules, options.clock_is_right);
    let bindings = config.bindings(&service.tenants);
    drop(service);
    let reloading = tokio::spawn(shutdown::reload_on_hangup(tls.clone())?);
    let parts = Parts { bindings, config, tls, routes, health, metrics, endpoint, budget };
    let serving = tokio::spawn(async move {
        let stopped = async {
            // A dropped handle stops the server too.
            let _ = stopped.await;
        };
        let ended = server::serve(listener, parts, stopped, fault).await;
        reloading.abort();
        upkeep.end().await;
        ended
    });
    Ok(Running { address, stop, serving, ending })
}

fn observe(metrics: &Metrics, service: &Arc<Service>) {
    let log = service.log.clone();
    metrics.observe("log_entries", "Durable entries of the log", move || log.read_point().0);
    let log = service.log.clone();
    metrics.observe("policy_version", "Version of the policy in force", move || log.policy_version());
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests under way finish, then ends.
    ///
    /// # Errors
    /// The server had failed.
    pub async fn shutdown(self) -> Result<Ended> {
        let Self { stop, serving, ending, .. } = self;
        let _ = stop.send(());
        finish(serving, ending).await
    }

    /// Runs until `told` to end or until the log fails. For a process that is [`shutdown::terminated`], taken before it
    /// started, so that no signal comes too early.
    ///
    /// # Errors
    /// The server failed in another way.
    pub async fn wait(self, told: impl Future<Output = ()>) -> Result<Ended> {
        let Self { stop, mut serving, ending, .. } = self;
        tokio::select! {
            ended = &mut serving => return end(ended?, ending).await,
            () = told => {}
        }
        let _ = stop.send(());
        finish(serving, ending).await
    }
}

async fn finish(serving: JoinHandle<Ended>, ending: Ending) -> Result<Ended> {
    end(serving.await?, ending).await
}

/// Waits until the log has written what it was given. Operations of clients that were cut off may still hold it, so not for
/// ever.
async fn end(ended: Ended, ending: Ending) -> Result<Ended> {
    let joined = tokio::task::spawn_blocking(move || ending.join());
    let _ = tokio::time::timeout(WRITER_END_MAX, joined).await;
    Ok(ended)
}

/// How long the log's writer has to finish.
const WRITER_END_MAX: Duration = Duration::from_secs(5);
