//! What was measured of the policy engine, for people and for programs.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

use super::Row;

/// Ratios of two sides, round by round: the median and both ends.
struct Ratio([f64; 3]);

impl Ratio {
    fn of(above: &[f64], below: &[f64]) -> Self {
        let mut ratios: Vec<f64> = above.iter().zip(below).map(|(above, below)| above / below).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        Self([ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]])
    }

    fn cell(&self) -> String {
        let [median, least, most] = self.0.map(number);
        format!("{median} ({least}–{most})")
    }
}

/// What a row says.
struct Said {
    hit: Ratio,
    miss: Ratio,
    whole: Ratio,
    build: Ratio,
    ready: Ratio,
}

impl Said {
    fn of(row: &Row) -> Self {
        let line: Vec<f64> = row.casbin.iter().map(|whole| whole / row.lines as f64).collect();
        Self {
            hit: Ratio::of(&row.hit, &row.look_up),
            miss: Ratio::of(&row.miss, &line),
            whole: Ratio::of(&row.casbin, &row.miss),
            build: Ratio::of(&row.build, &row.casbin_build),
            ready: Ratio::of(&row.ready, &row.casbin_build),
        }
    }
}

/// For people.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "policy",
        "hit ÷ look-up",
        "miss ÷ casbin's line",
        "all of casbin ÷ miss",
        "build ÷ casbin's",
        "compiled ÷ casbin's",
        "kept ÷ casbin's",
        "peak ÷ casbin's",
        "look-up",
        "casbin's line",
        "casbin's build",
        "casbin keeps a line",
    ]);
    for row in rows {
        let said = Said::of(row);
        let line = middle(&row.casbin) / row.lines as f64;
        table.add_row([
            format!("{} lines", row.lines),
            said.hit.cell(),
            said.miss.cell(),
            said.whole.cell(),
            said.build.cell(),
            said.ready.cell(),
            number(row.memory.kept / row.casbin_memory.kept),
            number(row.memory.peak / row.casbin_memory.peak),
            format!("{} ns", number(middle(&row.look_up))),
            format!("{} ns", number(line)),
            format!("{} ms", number(middle(&row.casbin_build) / 1e6)),
            format!("{} B", number(row.casbin_memory.kept / row.lines as f64)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{table}\none tenant, 5 actions, 20 purposes, 11 classes in 3 categories; a line in ten is a membership\n\
         Only the ratios mean something: the median of neighbouring rounds (least–most). A look-up finds the same question in a\n\
         plain hash map. A line of casbin is its decision over the whole policy divided by the lines."
    )
}

/// For programs.
pub fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let said = Said::of(row);
        json!({
            "name": format!("{} lines", row.lines),
            "hit_by_look_up": said.hit.0,
            "miss_by_casbin_line": said.miss.0,
            "casbin_by_miss": said.whole.0,
            "build_by_casbin_build": said.build.0,
            "ready_by_casbin_build": said.ready.0,
            "kept_by_casbin_kept": row.memory.kept / row.casbin_memory.kept,
            "peak_by_casbin_peak": row.memory.peak / row.casbin_memory.peak,
            "look_up_nanos": middle(&row.look_up),
            "hit_nanos": middle(&row.hit),
            "casbin_nanos": middle(&row.casbin),
            "miss_nanos": middle(&row.miss),
            "casbin_build_nanos": middle(&row.casbin_build),
            "build_nanos": middle(&row.build),
            "ready_nanos": middle(&row.ready),
            "casbin_kept_bytes": row.casbin_memory.kept,
            "kept_bytes": row.memory.kept,
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

fn middle(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn number(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        10.0..1_000.0 => format!("{number:.0}"),
        _ => format!("{:.1} k", number / 1e3),
    }
}
