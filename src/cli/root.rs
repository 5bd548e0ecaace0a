//! The root key of a configuration, and the passphrase of its files or the PIN of its token: out of a credential file, or asked for
//! at a terminal. A wrong one is not asked for again: who mistyped starts anew.

use std::{
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use zeroize::Zeroizing;

use super::{answer::put, failure::Exit, serve::Machine, terminal::Terminal};
use crate::{
    config::{Config, Keeper},
    entropy::SystemEntropy,
    keyring::root::{Error, FileRoot, RootProvider},
    private,
    secret::Passphrase,
};

pub(super) mod token;

/// Change what the root key's files are sealed with; the keys stay the same
#[derive(Args, Debug)]
#[command(after_help = "\
The new passphrase is asked for twice at a terminal, or read from --new-file. Stop the server first: what
it has in memory it keeps, but its next start needs the new one.

Examples:
  privet passphrase --config /etc/privet/privet.toml
  privet passphrase --config /etc/privet/privet.toml --new-file /run/credentials/privet-root
  privet passphrase --config /etc/privet/privet.toml --remove")]
pub struct Command {
    /// Configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// File with the new passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    new_file: Option<PathBuf>,
    /// Write the keys plain
    #[arg(long)]
    remove: bool,
}

/// Does it.
///
/// # Errors
/// Files that can't be read or written, and a passphrase that does not open them.
pub fn run(command: &Command, terminal: &Terminal) -> Result<Exit> {
    let config = Config::load(&command.config)?;
    let fresh = match (&command.new_file, command.remove) {
        (_, true) => None,
        (Some(file), false) => Some(read(file)?),
        (None, false) => Some(ask_twice()?),
    };
    let sealed = fresh.is_some();
    let Keeper::Files { dir, passphrase_file } = config.root.keeper() else {
        bail!("the root key is in a token: change its PIN with the token's own tool");
    };
    FileRoot::seal_with(dir, &SystemEntropy::open(), &mut |path| ask(passphrase_file, path), fresh)?;
    if !terminal.quiet {
        let how = if sealed { "sealed with the new passphrase" } else { "plain" };
        put(format!("the root key in {} is {how}\n", dir.display()).as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// Opens the root key of a configuration, asking for its passphrase or PIN at a terminal if there is no file with it.
///
/// # Errors
/// [`Error`].
pub(super) fn open(config: &Config, machine: &Machine) -> Result<Arc<dyn RootProvider>, Error> {
    match config.root.keeper() {
        Keeper::Files { dir, passphrase_file } => {
            let root = FileRoot::open_with(dir, machine.entropy.clone(), &mut |path| ask(passphrase_file, path))?;
            Ok(Arc::new(root))
        }
        Keeper::Token { token: label, pin_file, .. } => {
            token::open(&config.root, &pin(label, pin_file, Asking::AtTerminal)?, machine)
        }
    }
}

/// The same without asking anybody.
///
/// # Errors
/// [`Error`]; [`Error::Sealed`] or [`Error::NoPin`] if somebody would have to be asked.
pub(super) fn open_unasked(config: &Config, machine: &Machine) -> Result<Arc<dyn RootProvider>, Error> {
    match config.root.keeper() {
        Keeper::Files { dir, passphrase_file } => {
            let root = FileRoot::open_with(dir, machine.entropy.clone(), &mut |path| match passphrase_file {
                Some(file) => read_for(file),
                None => Err(Error::Sealed { path: path.into() }),
            })?;
            Ok(Arc::new(root))
        }
        Keeper::Token { token: label, pin_file, .. } => {
            token::open(&config.root, &pin(label, pin_file, Asking::Nobody)?, machine)
        }
    }
}

/// Whether a PIN may be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// If there is a terminal.
    AtTerminal,
    /// Never.
    Nobody,
}

/// The PIN of a token.
///
/// # Errors
/// What is wrong with the file, or [`Error::NoPin`].
pub(super) fn pin(token: &str, file: Option<&Path>, asking: Asking) -> Result<Passphrase, Error> {
    let none = || Error::NoPin { token: token.to_owned() };
    match file {
        Some(file) => read_for(file),
        None if asking == Asking::AtTerminal && io::stdin().is_terminal() => {
            prompt(&format!("PIN of token {token}: ")).map_err(|_| none())
        }
        None => Err(none()),
    }
}

/// Reads a passphrase: 1 to 1,024 bytes, and perhaps a line break, in a file that is this user's alone.
///
/// # Errors
/// What is wrong with the file. Nothing of it is shown.
pub(super) fn read(file: &Path) -> Result<Passphrase> {
    read_for(file).with_context(|| format!("{} gives no passphrase", file.display()))
}

fn read_for(file: &Path) -> Result<Passphrase, Error> {
    let refused = |why| Error::Refused { path: file.into(), why };
    let failed = |doing, source| Error::Io { doing, path: file.into(), source };
    let opened = private::open(file).map_err(|error| match error {
        private::Error::Refused(why) => refused(why),
        private::Error::Io { doing, source } => failed(doing, source),
    })?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(Passphrase::BYTES_MAX + 2));
    let read = opened.take(Passphrase::BYTES_MAX as u64 + 2).read_to_end(&mut bytes);
    read.map_err(|source| failed("read", source))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Passphrase::new(std::mem::take(&mut *bytes)).ok_or_else(|| refused("it must hold a passphrase of 1 to 1,024 bytes"))
}

fn ask(file: Option<&Path>, path: &Path) -> Result<Passphrase, Error> {
    if let Some(file) = file {
        return read_for(file);
    }
    let sealed = || Error::Sealed { path: path.into() };
    if !io::stdin().is_terminal() {
        return Err(sealed());
    }
    prompt(&format!("Passphrase of {}: ", path.display())).map_err(|_| sealed())
}

fn ask_twice() -> Result<Passphrase> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask at: name a file with the new passphrase as --new-file");
    }
    let (first, second) = (prompt("New passphrase: ")?, prompt("Once more: ")?);
    if first.expose() != second.expose() {
        bail!("these are two passphrases; nothing was changed");
    }
    Ok(first)
}

fn prompt(text: &str) -> Result<Passphrase> {
    let typed = Zeroizing::new(rpassword::prompt_password(text)?);
    Passphrase::new(typed.as_bytes().to_vec()).context("a passphrase has 1 to 1,024 bytes")
}
