//! Log lines: to standard error, filtered by `PRIVET_LOG`, without anything that a request says.

use std::{
    io::{self, IsTerminal},
    panic,
};

use tracing::{Level, Metadata, error, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Starts logging, and makes panics write where they happened and nothing else: a panic's message can hold the value that
/// it tripped over. `PRIVET_LOG` filters as in `info` or `privet=debug`; without it, lines up to `default` are written.
///
/// # Errors
/// If logging was started before.
pub fn start(format: Format, default: LevelFilter) -> Result<(), AlreadyStarted> {
    let filter =
        EnvFilter::builder().with_default_directive(default.into()).with_env_var("PRIVET_LOG").from_env_lossy();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Text => fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).boxed(),
        Format::Json => fmt::layer().json().with_writer(io::stderr).boxed(),
    };
    let ours = filter_fn(is_ours_or_coarse);
    tracing_subscriber::registry().with(lines.with_filter(ours)).with(filter).try_init().map_err(|_| AlreadyStarted)?;
    panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => error!(file = place.file(), line = place.line(), "panic"),
        None => error!("panic"),
    }));
    Ok(())
}

/// Logging was started before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("logging was started before")]
pub struct AlreadyStarted;

/// Libraries' finer lines may show what they carry, whatever the filter asks for.
fn is_ours_or_coarse(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= Level::INFO || target == "privet" || target.starts_with("privet::")
}
