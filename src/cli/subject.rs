//! `privet subject`: the rights of the people whose data it is.

mod certificate;
mod due;
mod erase;
mod holds;
mod report;
mod show;

use clap::Subcommand;

use super::{
    answer::{put, put_json, receipts, tell},
    failure::{Exit, Failure},
    input::Whom,
    options::Acting,
    terminal::{Terminal, printable_lines},
};
use crate::proto::v1::Receipt;

/// Erase customers, hold them, close them, and see what is held of them
#[derive(Subcommand)]
pub enum Subject {
    /// See what is held of one: categories, ages of keys, holds, erasures
    Show(show::Show),
    /// Tell a person what is held of them, and who has used it
    Report(report::Report),
    /// Destroy the keys of some: final, with a certificate for each
    Erase(erase::Erase),
    /// Place a hold, which stops erasure and retention
    Hold(holds::Hold),
    /// Release a hold
    Release(holds::Release),
    /// Close one: what is kept for some time after closure falls due
    Close(show::Close),
    /// Let one that was erased or closed be sealed for again
    Reinstate(show::Reinstate),
    /// Count what retention will erase by a day
    Due(due::Due),
    /// List erasures, by day
    Erasures(certificate::Erasures),
    /// Fetch the certificate of an erasure
    Certificate(certificate::Certificate),
    /// Check a certificate: offline, with the log's key
    VerifyCertificate(certificate::Verify),
}

impl Subject {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] if it can't be done.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Show(command) => command.run(terminal).await,
            Self::Report(command) => command.run(terminal).await,
            Self::Erase(command) => command.run(terminal).await,
            Self::Hold(command) => command.run(terminal).await,
            Self::Release(command) => command.run(terminal).await,
            Self::Close(command) => command.run(terminal).await,
            Self::Reinstate(command) => command.run(terminal).await,
            Self::Due(command) => command.run(terminal).await,
            Self::Erasures(command) => command.run(terminal).await,
            Self::Certificate(command) => command.run(terminal).await,
            Self::VerifyCertificate(command) => command.run(terminal),
        }
    }
}

/// Says what was done: as text with what accompanies it, or as JSON with its receipts.
fn say(text: &str, mut machine: serde_json::Value, recorded: &[Receipt], terminal: &Terminal) -> Result<Exit, Failure> {
    if terminal.json {
        if let Some(object) = machine.as_object_mut() {
            object.insert("receipts".to_owned(), receipts(recorded));
        }
        put_json(&machine)?;
    } else {
        put(printable_lines(text).as_bytes())?;
        tell("done", recorded, terminal);
    }
    Ok(Exit::Ok)
}
