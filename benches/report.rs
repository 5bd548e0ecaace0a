//! What was measured, for people and for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

use crate::{
    compare::{Row, Side},
    disk::SyncLatency,
};

/// What is said of a group.
pub struct Report {
    /// For people.
    pub table: String,
    /// For programs.
    pub document: Value,
}

impl Report {
    /// Of a group whose rows are requests to two servers.
    pub fn of(name: &str, group: &Group) -> Self {
        Self { table: table(name, group), document: json(group) }
    }
}

/// What a group of two servers measured.
#[derive(Debug)]
pub struct Group {
    /// What Privet is compared with.
    pub base: &'static str,
    /// What Privet had switched on.
    pub privet: &'static str,
    /// What an operation is about some of.
    pub items: &'static str,
    /// Whose processor time is told.
    pub cpu: &'static str,
    /// Measured in the same run, on the same disk.
    pub disk: SyncLatency,
    pub rows: Vec<Row>,
    /// What is no comparison.
    pub facts: Vec<Fact>,
}

/// A number that stands by itself.
#[derive(Debug)]
pub struct Fact {
    pub name: String,
    pub value: f64,
    pub unit: String,
}

impl Fact {
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { name: name.into(), value, unit: unit.to_owned() }
    }

    /// A time, in milliseconds.
    pub fn millis(name: impl Into<String>, time: Duration) -> Self {
        Self::new(name, time.as_secs_f64() * 1e3, "ms")
    }
}

/// For people.
fn table(name: &str, group: &Group) -> String {
    let mut table = Table::new();
    let items = group.items;
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        name,
        "base ops/s",
        &format!("base {items}/s"),
        "p50",
        "p99",
        "CPU/op",
        "privet ops/s",
        &format!("privet {items}/s"),
        "p50",
        "p99",
        "CPU/op",
        "privet ÷ base",
        "min–max",
    ]);
    for row in &group.rows {
        let mut cells = vec![row.name.clone()];
        for side in [&row.base, &row.privet] {
            cells.push(thousands(side.ops_per_sec));
            cells.push(thousands(side.ops_per_sec * row.items_per_op as f64));
            cells.extend([side.p50, side.p99].map(millis));
            cells.push(format!("{:.1} µs", side.cpu_per_op.as_secs_f64() * 1e6));
        }
        cells.push(format!("{:.2}", row.ratio()));
        cells.push(format!("{:.2}–{:.2}", row.ratios[0], row.ratios[row.ratios.len() - 1]));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let facts = if group.facts.is_empty() { String::new() } else { format!("\n{}", facts(&group.facts)) };
    format!(
        "{table}{facts}\nbase: {}\nprivet: {}\nfdatasync of 4 KiB between the rounds: p50 {}, p99 {}; {} cores for all of it\n\
         Only the ratios mean something: the median of pairs of neighbouring rounds. CPU/op is of {}.",
        group.base,
        group.privet,
        millis(group.disk.p50),
        millis(group.disk.p99),
        cores(),
        group.cpu,
    )
}

fn facts(facts: &[Fact]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    for fact in facts {
        table.add_row([fact.name.clone(), format!("{:.1} {}", fact.value, fact.unit)]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// For programs.
fn json(group: &Group) -> Value {
    let side = |side: &Side, row: &Row| {
        json!({
            "ops_per_sec": side.ops_per_sec,
            "items_per_sec": side.ops_per_sec * row.items_per_op as f64,
            "cpu_micros_per_op": side.cpu_per_op.as_secs_f64() * 1e6,
            "p50_micros": side.p50.as_micros() as u64,
            "p99_micros": side.p99.as_micros() as u64,
        })
    };
    let row = |row: &Row| {
        json!({
            "name": row.name,
            "items_per_op": row.items_per_op,
            "base": side(&row.base, row),
            "privet": side(&row.privet, row),
            "ratio": row.ratio(),
            "ratios": row.ratios,
        })
    };
    let fact = |fact: &Fact| json!({ "name": fact.name, "value": fact.value, "unit": fact.unit });
    json!({
        "cores": cores(),
        "base": group.base,
        "privet": group.privet,
        "items": group.items,
        "fdatasync_micros": { "p50": group.disk.p50.as_micros() as u64, "p99": group.disk.p99.as_micros() as u64 },
        "rows": group.rows.iter().map(row).collect::<Vec<_>>(),
        "facts": group.facts.iter().map(fact).collect::<Vec<_>>(),
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn thousands(number: f64) -> String {
    if number < 10_000.0 { format!("{number:.0}") } else { format!("{:.1} k", number / 1e3) }
}
