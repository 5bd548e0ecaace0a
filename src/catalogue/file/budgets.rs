//! The `[[budget]]` tables of the file.

use serde::Deserialize;
use toml::Spanned;

use super::Reader;
use crate::{
    catalogue::{
        RoleSpec,
        budget::{Budget, Budgets, SUBJECTS_MAX, Spender},
    },
    id::{Principal, Role},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetEntry {
    who: Spanned<String>,
    subjects: Spanned<SubjectsEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectsEntry {
    minute: u32,
    hour: u32,
    day: u32,
}

impl Reader<'_> {
    pub(super) fn budgets(&mut self, entries: Vec<BudgetEntry>, roles: &[RoleSpec]) -> Budgets {
        let mut budgets = Budgets::default();
        for entry in entries {
            let span = entry.who.span();
            let subjects = self.subjects(&entry.subjects);
            let Some(spender) = self.spender(&entry.who, roles) else { continue };
            if let Some(budget) = subjects
                && !budgets.insert(spender, budget)
            {
                self.refuse(&span, "who", "has another budget above: each has one".into());
            }
        }
        budgets
    }

    fn spender(&mut self, who: &Spanned<String>, roles: &[RoleSpec]) -> Option<Spender> {
        let text = who.get_ref();
        if text == "*" {
            return Some(Spender::Anyone);
        }
        if text.starts_with("role:") {
            let role = self.parsed(who, "who", Role::parse)?;
            if !roles.iter().any(|spec| spec.role == role) {
                self.refuse(&who.span(), "who", "must be a role that is listed here".into());
                return None;
            }
            return Some(Spender::Role(role));
        }
        self.parsed(who, "who", Principal::parse_external).map(Spender::Principal)
    }

    fn subjects(&mut self, entry: &Spanned<SubjectsEntry>) -> Option<Budget> {
        let SubjectsEntry { minute, hour, day } = *entry.get_ref();
        if !(1..=hour).contains(&minute) || hour > day || day > SUBJECTS_MAX {
            let rule = format!("must be 1 <= minute <= hour <= day <= {SUBJECTS_MAX}");
            self.refuse(&entry.span(), "subjects", rule);
            return None;
        }
        Some(Budget { minute, hour, day })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const GOOD: &str = r#"
[[role]]
name = "role:clerk"
about = "Opens accounts."

[[budget]]
who = "*"
subjects = { minute = 100, hour = 200, day = 300 }

[[budget]]
who = "role:clerk"
subjects = { minute = 10, hour = 500, day = 500 }

[[budget]]
who = "spiffe://a/jo"
subjects = { minute = 1, hour = 1, day = 1000000 }
"#;

    #[test]
    fn what_binds_is_the_least_of_each_stretch() {
        let catalogue = parse("c.toml", GOOD).unwrap();
        let budgets = catalogue.budgets();
        assert_eq!(budgets.count(), 3);
        let of = |principal| budgets.of(&Principal::parse(principal).unwrap()).unwrap();
        assert_eq!(of("spiffe://a/kim"), Budget { minute: 100, hour: 200, day: 300 });
        assert_eq!(of("spiffe://a/jo"), Budget { minute: 1, hour: 1, day: 300 });
        let clerk = budgets.of_role(&Role::parse("role:clerk").unwrap());
        assert_eq!(clerk, Some(Budget { minute: 10, hour: 500, day: 500 }));
        assert_eq!(budgets.of_any_role(), clerk);
        assert_eq!(clerk.unwrap().and(of("spiffe://a/kim")), Budget { minute: 10, hour: 200, day: 300 });
        assert_eq!(budgets.of_role(&Role::parse("role:other").unwrap()), None);
    }

    #[test]
    fn each_malformed_budget_is_named_by_line_and_field() {
        for (from, to, expected) in [
            ("minute = 100", "minute = 0", "c.toml:8: field subjects: must be 1 <= minute <= hour <= day <= 1000000"),
            ("minute = 100", "minute = 201", "c.toml:8: field subjects: must be"),
            ("day = 300", "day = 199", "c.toml:8: field subjects: must be"),
            ("day = 1000000", "day = 1000001", "c.toml:16: field subjects: must be"),
            ("minute = 100", "minute = -1", "c.toml:8: "),
            (", day = 300", "", "c.toml:8: missing field `day`"),
            ("day = 300", "day = 300, week = 900", "c.toml:8: unknown field `week`"),
            ("who = \"*\"", "who = \"role:clerk\"", "c.toml:11: field who: has another budget above"),
            ("who = \"*\"", "who = \"role:none\"", "c.toml:7: field who: must be a role that is listed here"),
            ("who = \"*\"", "who = \"role:Clerk\"", "c.toml:7: field who: must be a role"),
            ("who = \"*\"", "who = \"clerk\"", "c.toml:7: field who: must be a principal"),
            ("who = \"*\"", "who = \"system:privet\"", "c.toml:7: field who: must be a principal"),
            ("who = \"*\"", "who = \"\"", "c.toml:7: field who: must be a principal"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let found = parse("c.toml", &GOOD.replacen(from, to, 1)).unwrap_err();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}\n{expected}");
        }
    }
}
