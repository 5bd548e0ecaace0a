//! The catalogue's file format: TOML in which every name carries its place, so that a problem can point at its line.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Catalogue, ClassSpec, FILE_BYTES_MAX, Kind, PersonSpec, Problem, PurposeSpec, Retention, RetentionStart, RoleSpec,
    VALUE_BYTES_MAX, line_at,
};
use crate::id::{Category, Class, Invalid, PersonId, Principal, Purpose, Role};

mod budgets;

const ABOUT_BYTES_MAX: usize = 300;
const RETENTION_DAYS_MAX: u32 = 36_525;
const CLASSES_MAX: usize = 1_000;
const PURPOSES_MAX: usize = 1_000;
const ROLES_MAX: usize = 10_000;
const PERSONS_MAX: usize = 10_000;
const BUDGETS_MAX: usize = 10_000;

pub(super) fn parse(file_name: &str, text: &str) -> Result<Catalogue, Vec<Problem>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(vec![Problem::of_file(file_name, format!("is longer than {FILE_BYTES_MAX} bytes"))]);
    }
    let file: File = toml::from_str(text).map_err(|error| vec![toml_problem(file_name, text, &error)])?;
    let mut reader = Reader { file_name, text, names: HashSet::new(), persons: HashSet::new(), problems: Vec::new() };
    let catalogue = reader.catalogue(file);
    if reader.problems.is_empty() {
        Ok(catalogue)
    } else {
        reader.problems.sort();
        Err(reader.problems)
    }
}

/// A TOML error as a problem: its line, and its first line of text without the string that it may quote.
pub(crate) fn toml_problem(file_name: &str, text: &str, error: &toml::de::Error) -> Problem {
    let message = error.message().lines().next().unwrap_or("is not TOML");
    let message = match (message.split_once('"'), message.rsplit_once('"')) {
        (Some((before, _)), Some((_, after))) => format!("{}{after}", before.trim_end()),
        _ => message.to_owned(),
    };
    match error.span() {
        Some(span) => Problem::of_line(file_name, line_at(text, span.start), message),
        None => Problem::of_file(file_name, message),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    purpose: Vec<PurposeEntry>,
    #[serde(default)]
    role: Vec<RoleEntry>,
    #[serde(default)]
    class: Vec<ClassEntry>,
    #[serde(default)]
    person: Vec<PersonEntry>,
    #[serde(default)]
    budget: Vec<budgets::BudgetEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurposeEntry {
    name: Spanned<String>,
    about: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    name: Spanned<String>,
    about: Spanned<String>,
    #[serde(default)]
    emergency: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassEntry {
    name: Spanned<String>,
    about: Spanned<String>,
    kind: Spanned<String>,
    max_bytes: Spanned<u64>,
    retention: Spanned<RetentionEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionEntry {
    from: Spanned<String>,
    days: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonEntry {
    id: Spanned<String>,
    principals: Spanned<Vec<Spanned<String>>>,
}

struct Reader<'a> {
    file_name: &'a str,
    text: &'a str,
    /// Names of purposes, roles and classes can't be mistaken for one another, so one set finds every repetition.
    names: HashSet<String>,
    persons: HashSet<PersonId>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn catalogue(&mut self, file: File) -> Catalogue {
        self.at_most("class", file.class.len(), CLASSES_MAX);
        self.at_most("purpose", file.purpose.len(), PURPOSES_MAX);
        self.at_most("role", file.role.len(), ROLES_MAX);
        self.at_most("person", file.person.len(), PERSONS_MAX);
        self.at_most("budget", file.budget.len(), BUDGETS_MAX);
        let purposes: Vec<PurposeSpec> = file.purpose.into_iter().filter_map(|entry| self.purpose(entry)).collect();
        let roles: Vec<RoleSpec> = file.role.into_iter().filter_map(|entry| self.role(entry)).collect();
        let classes = self.classes(file.class);
        let (persons, person_by_principal) = self.persons(file.person);
        let budgets = self.budgets(file.budget, &roles);
        Catalogue {
            class_by_name: classes.iter().map(|spec| (spec.class.clone(), Arc::clone(spec))).collect(),
            purpose_by_name: purposes.iter().enumerate().map(|(at, spec)| (spec.purpose.clone(), at)).collect(),
            role_by_name: roles.iter().enumerate().map(|(at, spec)| (spec.role.clone(), at)).collect(),
            classes,
            purposes,
            roles,
            persons,
            person_by_principal,
            budgets,
        }
    }

    fn purpose(&mut self, entry: PurposeEntry) -> Option<PurposeSpec> {
        let about = self.about(&entry.about);
        let purpose = self.name(&entry.name, Purpose::parse)?;
        Some(PurposeSpec { purpose, about })
    }

    fn role(&mut self, entry: RoleEntry) -> Option<RoleSpec> {
        let about = self.about(&entry.about);
        let role = self.name(&entry.name, Role::parse)?;
        Some(RoleSpec { role, about, emergency: entry.emergency })
    }

    fn classes(&mut self, entries: Vec<ClassEntry>) -> Vec<Arc<ClassSpec>> {
        let mut kept: HashMap<Category, Retention> = HashMap::new();
        let mut classes = Vec::with_capacity(entries.len());
        for entry in entries {
            let span = entry.retention.span();
            let Some(spec) = self.class(entry) else { continue };
            if *kept.entry(spec.category.clone()).or_insert(spec.retention) != spec.retention {
                let message = format!(
                    "classes of category {} must agree: a category has one key, and is kept or erased as a whole",
                    spec.category
                );
                self.refuse(&span, "retention", message);
            }
            classes.push(Arc::new(spec));
        }
        classes
    }

    fn class(&mut self, entry: ClassEntry) -> Option<ClassSpec> {
        let about = self.about(&entry.about);
        let kind = Kind::ALL.iter().find_map(|(kind, name)| (name == entry.kind.get_ref()).then_some(*kind));
        if kind.is_none() {
            let names = Kind::ALL.map(|(_, name)| name).join(", ");
            self.refuse(&entry.kind.span(), "kind", format!("must be one of {names}"));
        }
        let max_bytes = usize::try_from(*entry.max_bytes.get_ref()).unwrap_or(usize::MAX);
        if !(1..=VALUE_BYTES_MAX).contains(&max_bytes) {
            self.refuse(&entry.max_bytes.span(), "max_bytes", format!("must be 1 to {VALUE_BYTES_MAX}"));
        }
        let retention = self.retention(entry.retention.get_ref());
        let class = self.name(&entry.name, Class::parse)?;
        Some(ClassSpec { category: class.category(), class, kind: kind?, max_bytes, retention: retention?, about })
    }

    fn retention(&mut self, entry: &RetentionEntry) -> Option<Retention> {
        let from = match entry.from.get_ref().as_str() {
            "closure" => Some(RetentionStart::Closure),
            "seal" => Some(RetentionStart::Seal),
            _ => {
                self.refuse(&entry.from.span(), "from", "must be closure or seal".into());
                None
            }
        };
        let days = *entry.days.get_ref();
        if !(1..=RETENTION_DAYS_MAX).contains(&days) {
            self.refuse(&entry.days.span(), "days", format!("must be 1 to {RETENTION_DAYS_MAX}"));
            return None;
        }
        Some(Retention { from: from?, days })
    }

    fn persons(&mut self, entries: Vec<PersonEntry>) -> (Vec<PersonSpec>, HashMap<Principal, usize>) {
        let (mut persons, mut behind) = (Vec::with_capacity(entries.len()), HashMap::new());
        for entry in entries {
            let at = persons.len();
            let id = self.parsed(&entry.id, "id", PersonId::parse);
            if id.as_ref().is_some_and(|id| !self.persons.insert(id.clone())) {
                self.refuse(&entry.id.span(), "id", format!("{} is listed twice", entry.id.get_ref()));
            }
            if entry.principals.get_ref().is_empty() {
                self.refuse(&entry.principals.span(), "principals", "must name at least one".into());
            }
            let mut principals = Vec::with_capacity(entry.principals.get_ref().len());
            for text in entry.principals.get_ref() {
                // Never a role: whoever is given the role would be that person.
                let Some(principal) = self.parsed(text, "principals", Principal::parse_external) else { continue };
                if behind.insert(principal.clone(), at).is_some() {
                    self.refuse(&text.span(), "principals", "a principal is one person's, and is listed once".into());
                }
                principals.push(principal);
            }
            persons.extend(id.map(|id| PersonSpec { id, principals }));
        }
        (persons, behind)
    }

    fn parsed<T>(
        &mut self,
        text: &Spanned<String>,
        field: &'static str,
        parse: fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        parse(text.get_ref()).map_err(|invalid| self.refuse(&text.span(), field, invalid.to_string())).ok()
    }

    fn name<T>(&mut self, text: &Spanned<String>, parse: fn(&str) -> Result<T, Invalid>) -> Option<T> {
        let name = self.parsed(text, "name", parse)?;
        if !self.names.insert(text.get_ref().clone()) {
            self.refuse(&text.span(), "name", format!("{} is listed twice", text.get_ref()));
        }
        Some(name)
    }

    fn about(&mut self, about: &Spanned<String>) -> String {
        let text = about.get_ref().trim();
        if text.is_empty() || text.len() > ABOUT_BYTES_MAX || text.chars().any(char::is_control) {
            self.refuse(&about.span(), "about", format!("must be one line of 1 to {ABOUT_BYTES_MAX} bytes"));
        }
        text.to_owned()
    }

    fn at_most(&mut self, what: &str, found: usize, max: usize) {
        if found > max {
            self.problems.push(Problem::of_file(self.file_name, format!("holds more than {max} [[{what}]] tables")));
        }
    }

    fn refuse(&mut self, span: &Range<usize>, field: &'static str, message: String) {
        self.problems.push(Problem::of_field(self.file_name, line_at(self.text, span.start), field, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[purpose]]
name = "signup"
about = "A person opens an account."

[[role]]
name = "role:clerk"
about = "Opens accounts."

[[class]]
name = "pii/account/email"
about = "E-mail address."
kind = "email"
max_bytes = 320
retention = { from = "closure", days = 30 }

[[class]]
name = "pii/account/name"
about = "Name."
kind = "name"
max_bytes = 65536
retention = { from = "closure", days = 30 }
"#;

    fn problems(text: &str) -> Vec<String> {
        parse("c.toml", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    /// The good file with one line replaced, and the problem it must give.
    fn refused(line: &str, by: &str, expected: &str) {
        assert!(GOOD.contains(line), "{line}");
        let found = problems(&GOOD.replacen(line, by, 1));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }

    #[test]
    fn a_good_file_gives_classes_purposes_and_roles_by_name() {
        let catalogue = parse("c.toml", GOOD).unwrap();
        let email = catalogue.class("pii/account/email").unwrap();
        assert_eq!((email.kind, email.max_bytes, email.category.as_str()), (Kind::Email, 320, "account"));
        assert_eq!(email.retention, Retention { from: RetentionStart::Closure, days: 30 });
        assert_eq!(catalogue.retention("account"), Some(email.retention));
        assert_eq!(catalogue.classes().count(), 2);
        assert_eq!(catalogue.purpose("signup").unwrap().as_str(), "signup");
        assert!(!catalogue.role("role:clerk").unwrap().emergency);
        assert!(catalogue.has_category("account") && !catalogue.has_category("billing"));
        assert!(catalogue.class("pii/account/*").is_none() && catalogue.purpose("").is_none());
    }

    #[test]
    fn each_malformed_entry_is_named_by_line_and_field() {
        refused("kind = \"email\"", "kind = \"e-mail\"", "c.toml:13: field kind: must be one of name, address,");
        refused("max_bytes = 320", "max_bytes = 0", "c.toml:14: field max_bytes: must be 1 to 65536");
        refused("max_bytes = 65536", "max_bytes = 65537", "c.toml:21: field max_bytes: must be 1 to 65536");
        refused("max_bytes = 320", "max_bytes = -1", "c.toml:14: ");
        refused("name = \"signup\"", "name = \"Signup\"", "c.toml:3: field name: must be a purpose");
        refused("name = \"role:clerk\"", "name = \"clerk\"", "c.toml:7: field name: must be a role");
        refused("pii/account/name", "pii/account", "c.toml:18: field name: must be a class");
        refused("pii/account/name", "pii/account/email", "c.toml:18: field name: pii/account/email is listed twice");
        refused("about = \"Name.\"", "about = \" \"", "c.toml:19: field about: must be one line");
        refused("from = \"closure\", days = 30", "from = \"birth\", days = 30", "c.toml:15: field from: must be");
        refused("days = 30 }", "days = 0 }", "c.toml:15: field days: must be 1 to 36525");
        refused("days = 30 }", "days = 30, hours = 1 }", "c.toml:15: unknown field `hours`");
        refused("kind = \"email\"", "kind = \"email\"\nmask = \"none\"", "c.toml:14: unknown field `mask`");
        refused("[[role]]", "[[rule]]", "c.toml:6: unknown field `rule`");
        refused("max_bytes = 320\n", "", "c.toml:10: missing field `max_bytes`");
        refused("[[purpose]]", "[[purpose]", "c.toml:2: ");
    }

    const PERSONS: &str = r#"
[[person]]
id = "jo"
principals = ["spiffe://a/jo", "user:idp/jo"]

[[person]]
id = "kim"
principals = ["user:idp/kim"]
"#;

    #[test]
    fn a_person_is_found_by_any_of_its_principals() {
        let catalogue = parse("c.toml", &[GOOD, PERSONS].concat()).unwrap();
        let behind = |principal: &str| {
            catalogue.person_of(&Principal::parse(principal).unwrap()).map(|person| person.id.as_str())
        };
        assert_eq!(
            ["spiffe://a/jo", "user:idp/jo", "user:idp/kim", "user:idp/lee"].map(behind),
            [Some("jo"), Some("jo"), Some("kim"), None]
        );
        assert_eq!(catalogue.persons().count(), 2);
    }

    #[test]
    fn a_malformed_person_is_named_by_line_and_field_and_no_principal_is_shown() {
        for (from, to, expected) in [
            ("\"kim\"", "\"jo\"", "c.toml:7: field id: jo is listed twice"),
            ("\"kim\"", "\"Kim\"", "c.toml:7: field id: must be a person: [a-z0-9-]{1,64}"),
            ("[\"user:idp/kim\"]", "[]", "c.toml:8: field principals: must name at least one"),
            ("user:idp/kim", "user:idp/jo", "c.toml:8: field principals: a principal is one person's"),
            ("\"user:idp/jo\"", "\"spiffe://a/jo\"", "c.toml:4: field principals: a principal is one person's"),
            ("user:idp/kim", "role:clerk", "c.toml:8: field principals: must be a principal"),
            ("user:idp/kim", "system:sweeper", "c.toml:8: field principals: must be a principal"),
            ("user:idp/kim", "*", "c.toml:8: field principals: must be a principal"),
            ("id = \"kim\"", "id = \"kim\"\nroles = []", "c.toml:8: unknown field `roles`"),
        ] {
            assert!(PERSONS.contains(from), "{from}");
            let found = problems(&PERSONS.replacen(from, to, 1));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected) && !found[0].contains("idp"), "{found:?}\n{expected}");
        }
    }

    #[test]
    fn classes_of_one_category_can_not_be_kept_for_different_times() {
        let found = problems(&GOOD.replacen("days = 30 }", "days = 31 }", 1));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("c.toml:22: field retention: classes of category account must agree"),
            "{found:?}"
        );
    }

    #[test]
    fn every_problem_is_reported_in_the_order_of_lines() {
        let found = problems(&GOOD.replace("email\"", "E\"").replace("days = 30", "days = 0").replace("signup", "#"));
        let at: Vec<&str> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
        assert_eq!(at, ["c.toml:3", "c.toml:11", "c.toml:13", "c.toml:15", "c.toml:22"]);
    }

    #[test]
    fn a_problem_never_repeats_text_that_failed_its_rule() {
        let found = problems(&GOOD.replace("signup", "anna@example.com").replace("\"email\"", "\"s3cret\""));
        assert!(!found.is_empty() && found.iter().all(|text| !text.contains("anna") && !text.contains("s3cret")));
    }

    #[test]
    fn an_oversized_file_is_refused_unread() {
        let text = " ".repeat(FILE_BYTES_MAX + 1);
        assert_eq!(problems(&text), ["c.toml: is longer than 1048576 bytes"]);
        assert!(parse("c.toml", &text[1..]).is_ok());
    }
}
