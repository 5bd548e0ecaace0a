//! The command line.
//!
//! Values come from standard input or from files, never from arguments, where every user of the machine can read them.
//! Results go to standard output and everything else to standard error, so that commands compose. Exit codes: 0 done,
//! 1 refused or a failed check, 2 asked wrongly, 3 unavailable.

use std::ffi::OsString;

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub mod check_config;
pub mod client;
pub mod dev;
pub mod failure;
pub mod init;
pub mod serve;
pub mod tenant;
mod terminal;

mod answer;
mod audit;
mod break_glass;
mod bulk;
mod check;
mod data_key;
mod decrypt;
mod encrypt;
mod explain;
mod fields;
mod files;
#[cfg(test)]
mod golden;
mod index;
mod input;
mod keys;
mod names;
mod options;
mod output;
mod policy;
mod receipts;
mod report;
mod rewrap;
mod root;
mod subject;
mod table;
mod verifier;

use failure::{Exit, Failure};
use terminal::Terminal;

/// Seals and opens personal data under per-customer keys; every answer is recorded first
#[derive(Parser)]
#[command(name = "privet", version, arg_required_else_help = true)]
pub struct Cli {
    /// Write JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    /// Write results only: no details, notes or progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Server(Server),
    #[command(flatten)]
    Client(Client),
}

/// Commands that make, check or run a server.
#[derive(Subcommand)]
enum Server {
    /// Bring up a whole deployment for trying things out, and show the main job on it
    Dev(dev::Dev),
    /// Make the beginnings of a deployment for real use
    Init(init::Init),
    /// Serve until told to end
    Serve(serve::Serve),
    /// Seal the root key's files with a passphrase, or with another, or take it away
    Passphrase(root::Command),
    /// Say what would keep a server from starting, and whom it would talk to
    CheckConfig(check_config::CheckConfig),
}

/// Commands that talk to a server.
#[derive(Subcommand)]
enum Client {
    Encrypt(encrypt::Encrypt),
    Decrypt(decrypt::Decrypt),
    Mask(decrypt::Mask),
    Rewrap(rewrap::Rewrap),
    Index(index::Index),
    #[command(subcommand)]
    DataKey(data_key::DataKey),
    Check(check::Check),
    Explain(explain::Explain),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    BreakGlass(break_glass::BreakGlass),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Subject(subject::Subject),
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    #[command(subcommand)]
    Report(report::Report),
    #[command(subcommand)]
    Audit(audit::Audit),
}

impl Cli {
    /// Reads the command line. Help goes to standard output; what is wrong, to standard error.
    ///
    /// # Errors
    /// The exit code, if there is nothing to run.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        Self::try_parse_from(args).map_err(|error| {
            match misplaced_value(&error) {
                Some(failure) => eprint!("{}", failure.for_people(Terminal::of_process(false, false).colour_stderr())),
                // That standard error is gone is no reason to fail otherwise.
                None => drop(error.print()),
            }
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        })
    }

    /// Runs the command and says how it ended.
    pub async fn run(self) -> Exit {
        let terminal = Terminal::of_process(self.json, self.quiet);
        let done = match self.command {
            Command::Server(command) => command.run(&terminal).await.map_err(Failure::on_host),
            Command::Client(command) => command.run(&terminal).await,
        };
        done.unwrap_or_else(|failure| {
            if failure.exit() != Exit::Ok {
                let people = || failure.for_people(terminal.colour_stderr());
                eprint!("{}", if terminal.json { failure.for_machines() } else { people() });
            }
            failure.exit()
        })
    }
}

impl Server {
    async fn run(self, terminal: &Terminal) -> anyhow::Result<Exit> {
        match self {
            Self::Dev(args) => dev::run(args, terminal).await,
            Self::Init(args) => init::run(&args, terminal),
            Self::Serve(args) => serve::run(args, terminal).await,
            Self::Passphrase(args) => root::run(&args, terminal),
            Self::CheckConfig(args) => check_config::run(&args, terminal),
        }
    }
}

impl Client {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Encrypt(command) => command.run(terminal).await,
            Self::Decrypt(command) => command.run(terminal).await,
            Self::Mask(command) => command.run(terminal).await,
            Self::Rewrap(command) => command.run(terminal).await,
            Self::Index(command) => command.run(terminal).await,
            Self::DataKey(command) => command.run(terminal).await,
            Self::Check(command) => command.run(terminal).await,
            Self::Explain(command) => command.run(terminal).await,
            Self::Policy(command) => command.run(terminal).await,
            Self::BreakGlass(command) => command.run(terminal).await,
            Self::Keys(command) => command.run(terminal).await,
            Self::Subject(command) => command.run(terminal).await,
            Self::Tenant(command) => command.run(terminal).await,
            Self::Report(command) => command.run(terminal).await,
            Self::Audit(command) => command.run(terminal).await,
        }
    }
}

/// An argument too many is likely a value that somebody meant to pass: it is not shown again.
fn misplaced_value(error: &clap::Error) -> Option<Failure> {
    let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) => unknown,
        _ => return None,
    };
    (!unknown.starts_with('-')).then(|| {
        Failure::usage("there is an argument too many")
            .hint("values come from standard input or --in FILE; arguments can be seen by other users of this machine")
    })
}

#[cfg(test)]
mod tests;
