//! `privet policy lint`: everything that would keep a directory from being put in force.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::problems::{placed, read, show};
use crate::{
    catalogue::Problem,
    cli::{
        answer::{put, put_json},
        failure::{Exit, Failure},
        table::plural,
        terminal::Terminal,
    },
    clock::{Clock, SystemClock},
    policy::{Snapshot, keeps_control},
};

/// Find what is wrong with a policy's files, each with its file, line and field
#[derive(Args, Debug)]
pub struct Lint {
    /// Directory with model.conf, policy.csv, catalogue.toml and assertions.toml
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Lint {
    /// Refused if anything is wrong.
    pub(super) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match look(&self.dir, SystemClock::start().wall_secs()) {
            Err(problems) => show(&problems, terminal),
            Ok(snapshot) => {
                if terminal.json {
                    put_json(&value(&snapshot))?;
                } else if !terminal.quiet {
                    put(text(&snapshot).as_bytes())?;
                }
                Ok(Exit::Ok)
            }
        }
    }
}

/// The policy of a directory, if it could be put in force at `now`: sound, its assertions hold, no rule has expired, and two
/// persons can change it.
pub(super) fn look(dir: &Path, now: u64) -> Result<Snapshot, Vec<Problem>> {
    let document = read(dir)?;
    let snapshot = Snapshot::of(1, document).map_err(|problems| placed(dir, problems))?;
    let problems: Vec<Problem> =
        snapshot.expired(now).into_iter().chain(keeps_control(None, &snapshot, now).err()).collect();
    if problems.is_empty() { Ok(snapshot) } else { Err(placed(dir, problems)) }
}

fn counts(snapshot: &Snapshot) -> [(&'static str, usize); 7] {
    let catalogue = snapshot.catalogue();
    [
        ("grants", snapshot.grants().count()),
        ("memberships", snapshot.memberships().count()),
        ("classes", catalogue.classes().count()),
        ("purposes", catalogue.purposes().count()),
        ("roles", catalogue.roles().count()),
        ("persons", catalogue.persons().count()),
        ("budgets", catalogue.budgets().count()),
    ]
}

pub(super) fn text(snapshot: &Snapshot) -> String {
    let counted = |(name, count): (&str, usize)| match name {
        "classes" => plural(count as u64, "class").replace("classs", "classes"),
        name => plural(count as u64, name.trim_end_matches('s')),
    };
    let counts = counts(snapshot).map(counted).join(", ");
    format!("sound: {counts}; hash {}\n", hex::encode(snapshot.hash()))
}

pub(super) fn value(snapshot: &Snapshot) -> Value {
    let mut value = json!({ "sound": true, "problems": [], "hash": hex::encode(snapshot.hash()) });
    if let Some(object) = value.as_object_mut() {
        object.extend(counts(snapshot).map(|(name, count)| (name.to_owned(), count.into())));
    }
    value
}
