//! How the process begins and ends: hardened at the start, told to stop by a signal.

use std::{future::Future, io, sync::Arc};

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::tls::Tls;

/// Where a server stands. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connections and requests are accepted.
    Serving,
    /// Requests under way may finish; handshakes under way may not.
    Draining,
    /// Whatever is left is cut.
    Ended,
}

/// Keeps memory and new files from other eyes: no core dumps, no debugger of the same user, files for the owner alone.
/// To be called before anything secret is read.
///
/// # Errors
/// If the operating system refuses.
pub fn harden() -> io::Result<()> {
    umask(Mode::from_raw_mode(0o077));
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Is ready at the first SIGTERM or SIGINT from now on.
///
/// # Errors
/// If the handlers can't be installed.
pub fn terminated() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Reads the certificates again at each SIGHUP, for as long as it is polled. Files that don't pass leave the old ones in
/// force.
///
/// # Errors
/// If the handler can't be installed.
pub fn reload_on_hangup(tls: Arc<Tls>) -> io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            let tls = tls.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(())) => info!("certificates reloaded"),
                Ok(Err(error)) => error!(%error, "certificates not reloaded"),
                Err(error) => error!(%error, "certificates not reloaded"),
            }
        }
    })
}
