//! What to seal or open: one field, or columns of a CSV file.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;

use super::{
    bulk::{Job, Mapping},
    failure::Failure,
    input,
};
use crate::id::{Class, Subject};

/// One field, or columns of a CSV file. Not printable: it holds a subject id.
#[derive(Args)]
#[command(next_help_heading = "Field")]
pub struct Fields {
    /// Class of the field, e.g. pii/account/email
    #[arg(long, value_parser = Class::parse, required_unless_present = "csv")]
    class: Option<Class>,
    /// Id of the customer, which `ps` shows; with --csv, its column
    #[arg(long, value_name = "ID|COLUMN", required_unless_present = "subject_file")]
    subject: Option<String>,
    /// File that holds the id of the customer
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "csv"])]
    subject_file: Option<PathBuf>,
    /// File to read instead of standard input
    #[arg(long = "in", value_name = "FILE", conflicts_with = "csv")]
    input: Option<PathBuf>,
    /// Bytes that the ciphertext is bound to: opening needs the same
    #[arg(long, value_name = "HEX", conflicts_with = "csv")]
    context: Option<String>,
    #[command(flatten)]
    bulk: Bulk,
}

/// Columns of a CSV file.
#[derive(Args)]
#[command(next_help_heading = "CSV")]
struct Bulk {
    /// CSV file to work through, with a header line (- for standard input)
    #[arg(long, value_name = "FILE", requires_all = ["map", "subject"])]
    csv: Option<PathBuf>,
    /// Columns and their classes: COLUMN=CLASS,…
    #[arg(long, value_name = "COLUMN=CLASS", value_delimiter = ',', requires = "csv")]
    map: Vec<Mapping>,
    /// CSV file to write (- for standard output)
    #[arg(long, value_name = "FILE", requires = "csv", default_value = "-")]
    out: PathBuf,
    /// Replace the file of --out if it exists
    #[arg(long, requires = "out")]
    force: bool,
    /// Fields in a message
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
}

/// What [`Fields`] come to.
#[derive(Debug)]
pub enum Plan {
    /// One field.
    One(One),
    /// Columns of a file.
    Many(Job),
}

/// One field, but for its value.
#[derive(Debug)]
pub struct One {
    /// Whose.
    pub subject: Subject,
    /// What.
    pub class: Class,
    /// What its ciphertext is bound to.
    pub context: Bytes,
    /// Where its value or ciphertext is; standard input if nowhere.
    pub input: Option<PathBuf>,
}

impl Fields {
    /// Settles what is to be done, reading the subject id if it lies in a file.
    ///
    /// # Errors
    /// [`Failure`] (usage), which shows neither subject nor context.
    pub fn plan(self) -> Result<Plan, Failure> {
        let Self { class, subject, subject_file, input, context, bulk } = self;
        let Bulk { csv, map, out, force, batch } = bulk;
        let subject = match (csv, subject) {
            (Some(csv), Some(subject_column)) => {
                return Job::new(csv, out, force, subject_column, map, batch.into()).map(Plan::Many);
            }
            (_, subject) => subject,
        };
        let class = class.ok_or_else(|| Failure::usage("--class is needed"))?;
        let context = match context.as_deref().map(hex::decode).transpose() {
            Ok(context) => context.unwrap_or_default().into(),
            Err(_) => return Err(Failure::usage("--context must be hexadecimal, two digits a byte")),
        };
        Ok(Plan::One(One { subject: input::subject(subject, subject_file.as_deref())?, class, context, input }))
    }
}
