//! What a change comes to, for people and for machines.

use serde_json::{Value, json};

use super::{
    super::{
        table::{number, plural, rfc3339},
        terminal::{Terminal, printable},
    },
    lines,
};
use crate::proto::v1::{
    Flip, PolicyDifference, PolicyGrant, PolicyMembership, PolicyPlan, PolicyProblem, Simulation, Verdict,
    policy_difference::What,
};

/// Columns, at most.
const WIDTH: usize = 100;
/// Flips shown to people.
const FLIPS_MAX: usize = 20;

/// A plan as text: the differences, why it waits, and which decisions flip.
pub(super) fn human(plan: &PolicyPlan, terminal: &Terminal) -> String {
    let mut text = differences(&plan.differences, terminal);
    if plan.hidden_differences > 0 {
        let hidden = plural(plan.hidden_differences.into(), "difference");
        text.push_str(&format!("  {hidden} in tenants that you may not read\n"));
    }
    let removed = plan.differences.iter().filter(|difference| removes(difference)).count();
    if removed > 0 {
        let removed = plural(u64::try_from(removed).unwrap_or(u64::MAX), "line");
        text.push_str(&format!("It removes {removed} that the server has.\n"));
    }
    text.push_str(if plan.widens {
        "It needs another person's approval:\n"
    } else {
        "It only narrows what is allowed.\n"
    });
    plan.widens_because.iter().for_each(|why| wrap(&mut text, "  ", why));
    if let Some(simulation) = &plan.simulation {
        text.push_str(&simulated(simulation));
    }
    text
}

/// Differences as text: `+`, `-` or `~`, the id, and below it what it says.
pub(super) fn differences(differences: &[PolicyDifference], terminal: &Terminal) -> String {
    let mut text = String::new();
    for difference in differences {
        match &difference.what {
            Some(What::Grant(grant)) => {
                let id = grant.before.as_ref().or(grant.after.as_ref()).map(|grant| grant.id.as_str());
                let said = |grant: &Option<PolicyGrant>| grant.as_ref().map(|g| (lines::grant(g), g.reason.clone()));
                line(&mut text, id, [said(&grant.before), said(&grant.after)], terminal);
            }
            Some(What::Membership(membership)) => {
                let id = membership.before.as_ref().or(membership.after.as_ref()).map(|member| member.id.as_str());
                let said = |member: &Option<PolicyMembership>| {
                    member.as_ref().map(|m| (lines::membership(m), m.reason.clone()))
                };
                line(&mut text, id, [said(&membership.before), said(&membership.after)], terminal);
            }
            Some(What::File(file)) => {
                text.push_str(&format!("~ {}\n", printable(&file.file)));
                for line in &file.lines {
                    wrap(&mut text, "    ", line);
                }
                if file.more_lines > 0 {
                    text.push_str(&format!("    and {} more\n", plural(file.more_lines.into(), "line")));
                }
            }
            None => {}
        }
    }
    text
}

type Said = Option<(String, String)>;

fn line(text: &mut String, id: Option<&str>, [before, after]: [Said; 2], terminal: &Terminal) {
    let (red, green, plain) = if terminal.colour_stdout() { ("\x1b[31m", "\x1b[32m", "\x1b[0m") } else { ("", "", "") };
    let (sign, colour) = match (&before, &after) {
        (None, _) => ('+', green),
        (Some(_), None) => ('-', red),
        (Some(_), Some(_)) => ('~', ""),
    };
    let end = if colour.is_empty() { "" } else { plain };
    text.push_str(&format!("{colour}{sign} {}{end}\n", printable(id.unwrap_or_default())));
    match (before, after) {
        (Some((was, why_was)), Some((is, why))) => {
            if was == is {
                wrap(text, "    ", &is);
            } else {
                wrap(text, "    - ", &was);
                wrap(text, "    + ", &is);
            }
            if why_was != why {
                wrap(text, "    + because ", &why);
            }
        }
        (Some((said, why)), None) | (None, Some((said, why))) => {
            wrap(text, "    ", &said);
            wrap(text, "    because ", &why);
        }
        (None, None) => {}
    }
}

fn removes(difference: &PolicyDifference) -> bool {
    match &difference.what {
        Some(What::Grant(grant)) => grant.after.is_none(),
        Some(What::Membership(membership)) => membership.after.is_none(),
        Some(What::File(_)) | None => false,
    }
}

fn simulated(simulation: &Simulation) -> String {
    let entries = simulation.end_index.saturating_sub(simulation.first_index);
    let mut text = format!(
        "Of {} in the newest {}, {} would flip{}\n",
        plural(simulation.decisions, "decision"),
        if entries == 1 { "entry".to_owned() } else { format!("{} entries", number(entries)) },
        number(simulation.flipped),
        if simulation.flips.is_empty() { "." } else { ":" }
    );
    for flip in simulation.flips.iter().take(FLIPS_MAX) {
        let word = |verdict| if verdict == Verdict::Allow { "allow" } else { "deny" };
        let Flip { principal, tenant, object, action, purpose, count, .. } = flip;
        let head = format!("  {} → {}  {}×  ", word(flip.before()), word(flip.after()), number(*count));
        wrap(&mut text, &head, &format!("{principal}: {action} {object} for {purpose} in {tenant}"));
    }
    let hidden = simulation.flips.len().saturating_sub(FLIPS_MAX);
    let more = u64::from(simulation.more_flips).saturating_add(u64::try_from(hidden).unwrap_or(u64::MAX));
    if more > 0 {
        text.push_str(&format!("  and {} more\n", plural(more, "question")));
    }
    if simulation.cut_short {
        text.push_str("There was no time to look at all of them.\n");
    }
    text
}

/// Adds text behind a head, broken at blanks so that no line is longer than [`WIDTH`] unless one word is.
fn wrap(text: &mut String, head: &str, said: &str) {
    let indent = head.chars().count();
    text.push_str(head);
    let mut column = indent;
    let said = printable(said);
    for (at, word) in said.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

/// Problems as text, one a line.
pub(super) fn problems(problems: &[PolicyProblem]) -> String {
    let mut text = String::new();
    for problem in problems {
        wrap(&mut text, "", &format!("{}: {}", place(problem), problem.message));
    }
    text
}

fn place(problem: &PolicyProblem) -> String {
    let line = if problem.line > 0 { format!(":{}", problem.line) } else { String::new() };
    let field = if problem.field.is_empty() { String::new() } else { format!(": field {}", problem.field) };
    format!("{}{line}{field}", problem.file)
}

/// A plan for machines.
pub(super) fn machine(plan: &PolicyPlan) -> Value {
    json!({
        "differences": plan.differences.iter().map(difference_json).collect::<Vec<_>>(),
        "hidden_differences": plan.hidden_differences,
        "tenants": plan.tenants,
        "widens": plan.widens,
        "widens_because": plan.widens_because,
        "simulation": plan.simulation.as_ref().map(simulation_json),
    })
}

/// Problems for machines.
pub(super) fn problems_json(problems: &[PolicyProblem]) -> Value {
    let problem = |problem: &PolicyProblem| {
        json!({
            "file": problem.file,
            "line": problem.line,
            "field": problem.field,
            "message": problem.message,
        })
    };
    problems.iter().map(problem).collect()
}

/// A difference for machines.
pub(super) fn difference_json(difference: &PolicyDifference) -> Value {
    match &difference.what {
        Some(What::Grant(grant)) => json!({ "grant": {
            "before": grant.before.as_ref().map(lines::grant_json),
            "after": grant.after.as_ref().map(lines::grant_json),
        }}),
        Some(What::Membership(membership)) => json!({ "membership": {
            "before": membership.before.as_ref().map(lines::membership_json),
            "after": membership.after.as_ref().map(lines::membership_json),
        }}),
        Some(What::File(file)) => {
            json!({ "file": { "file": file.file, "lines": file.lines, "more_lines": file.more_lines } })
        }
        None => Value::Null,
    }
}

fn simulation_json(simulation: &Simulation) -> Value {
    let verdict = |verdict: Verdict| verdict.as_str_name().trim_start_matches("VERDICT_").to_ascii_lowercase();
    let flip = |flip: &Flip| {
        json!({
            "principal": flip.principal,
            "tenant": flip.tenant,
            "object": flip.object,
            "action": flip.action,
            "purpose": flip.purpose,
            "before": verdict(flip.before()),
            "after": verdict(flip.after()),
            "count": flip.count,
            "last_time": flip.last_time.as_ref().map(rfc3339),
        })
    };
    json!({
        "first_index": simulation.first_index,
        "end_index": simulation.end_index,
        "decisions": simulation.decisions,
        "flipped": simulation.flipped,
        "flips": simulation.flips.iter().map(flip).collect::<Vec<_>>(),
        "more_flips": simulation.more_flips,
        "cut_short": simulation.cut_short,
    })
}
