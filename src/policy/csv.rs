//! `policy.csv`: casbin's lines, each under a comment line that says what casbin has no field for.
//!
//! ```text
//! #: id=support-masks-account expires=2027-01-01T00:00:00Z reason="tier 1 sees masks only"
//! p, role:support-desk, acme, pii/account/*, mask, support-ticket, 0, 1798761600, allow
//! #: id=support-is-support reason="the support tool"
//! g, spiffe://acme.example/support-desk, role:support-desk, acme
//! ```
//!
//! * `p, sub, dom, obj, act, pur, nbf, exp, eft`: nbf and exp are seconds since 1970, 0 for none. The comment gives the same
//!   moments as dates (`not_before`, `expires`); a line whose date and number differ is refused, so what a reviewer reads is
//!   what casbin gets.
//! * `g, member, role, tenant`: casbin has no field for an expiry, so `expires` stands in the comment alone. Any other
//!   program that loads this file will take such a membership for a lasting one.
//! * A line for all tenants (`*`) belongs to the deployment, and says so: `owner=_system`.
//!
//! This file reads one line at a time and refuses what does not parse; what lines mean together is `lint`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    grant::{Effect, Grant, GrantId, Grantee, Membership, Pattern, Purposes, Tenants, Window, date, secs},
    sources::POLICY,
};
use crate::{
    catalogue::Problem,
    id::{Action, Invalid, Purpose, Role, Tenant},
};

/// The most rules a file may have.
const RULES_MAX: usize = 100_000;
/// The most lines a file may have: a rule, its comment, and room for what people write between them.
const LINES_MAX: usize = 3 * RULES_MAX;
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 300;
/// The last second of the year 9999, the last that RFC 3339 can write.
pub(super) const SECS_MAX: u64 = 253_402_300_799;
const KEYS: [&str; 5] = ["id", "owner", "not_before", "expires", "reason"];

/// A rule and the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct Line<T> {
    pub(super) number: usize,
    pub(super) rule: Arc<T>,
}

/// The rules of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) grants: Vec<Line<Grant>>,
    pub(super) memberships: Vec<Line<Membership>>,
}

impl Rules {
    /// Every tenant that a rule names, and `_system`.
    pub(super) fn tenants(&self) -> BTreeSet<Tenant> {
        let of_grants = self.grants.iter().filter_map(|line| match &line.rule.tenants {
            Tenants::One(tenant) => Some(tenant),
            Tenants::All => None,
        });
        let of_memberships = self.memberships.iter().map(|line| &line.rule.tenant);
        of_grants.chain(of_memberships).cloned().chain([Tenant::system()]).collect()
    }
}

/// Reads a file: the rules that parse, and a problem for each thing that doesn't.
pub(super) fn parse(text: &str) -> (Rules, Vec<Problem>) {
    let mut reader = Reader::default();
    if text.starts_with('\u{feff}') {
        reader.problems.push(Problem::of_line(
            POLICY,
            1,
            "starts with a byte order mark: save the file as plain UTF-8",
        ));
    }
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if at >= LINES_MAX {
            reader.problems.push(Problem::of_file(POLICY, format!("has more than {LINES_MAX} lines")));
            break;
        }
        reader.number = at + 1;
        reader.line(line);
        if reader.met > RULES_MAX {
            reader.problems.push(Problem::of_file(POLICY, format!("has more than {RULES_MAX} rules")));
            break;
        }
    }
    reader.no_comment_waits();
    (reader.rules, reader.problems)
}

#[derive(Default)]
struct Reader {
    number: usize,
    /// How many rules were met so far, good or bad.
    met: usize,
    /// The comment that waits for its rule, and its line.
    comment: Option<(usize, Comment)>,
    rules: Rules,
    problems: Vec<Problem>,
}

/// `key=value` pairs of a `#:` line.
type Comment = BTreeMap<&'static str, String>;

impl Reader {
    fn line(&mut self, line: &str) {
        if line.chars().any(deceives) {
            self.no_comment_waits();
            return self.refuse("holds a control character or one that turns the direction of text");
        }
        let line = line.trim_matches(' ');
        if let Some(comment) = line.strip_prefix("#:") {
            self.no_comment_waits();
            let comment = self.comment(comment);
            self.comment = Some((self.number, comment));
        } else if line.is_empty() || line.starts_with('#') {
            self.no_comment_waits();
        } else {
            self.rule(line);
        }
    }

    /// Refuses a comment that no rule follows: its rule may have been lost.
    fn no_comment_waits(&mut self) {
        if let Some((number, _)) = self.comment.take() {
            self.problems.push(Problem::of_line(POLICY, number, "no rule follows this #: comment"));
        }
    }

    fn rule(&mut self, line: &str) {
        self.met += 1;
        let Some((number, comment)) = self.comment.take() else {
            return self.refuse("has no #: comment on the line before it (id=… reason=\"…\")");
        };
        if line.contains(['"', '\'', '#', '\\']) {
            return self.refuse("a rule holds no quote, backslash or #");
        }
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches(' ')).collect();
        match fields.as_slice() {
            ["p", sub, dom, obj, act, pur, nbf, exp, eft] => {
                self.grant((number, comment), [sub, dom, obj, act, pur, nbf, exp, eft]);
            }
            ["g", member, role, tenant] => self.membership((number, comment), [member, role, tenant]),
            ["p", rest @ ..] => self.refuse(format!("a p rule has 8 fields after the p, this has {}", rest.len())),
            ["g", rest @ ..] => self.refuse(format!("a g rule has 3 fields after the g, this has {}", rest.len())),
            _ => self.refuse("a rule begins with p or g"),
        }
    }

    fn grant(&mut self, comment: (usize, Comment), [sub, dom, obj, act, pur, nbf, exp, eft]: [&str; 8]) {
        let id = self.id(&comment);
        let reason = self.reason(&comment);
        let not_before = self.moment(&comment, "not_before", "nbf", nbf);
        let expires = self.moment(&comment, "expires", "exp", exp);
        let grantee = self.field("sub", Grantee::parse(sub));
        let tenants = self.field("dom", tenants(dom));
        if let Some(tenants) = &tenants {
            self.owner(&comment, tenants);
        }
        let pattern = self.field("obj", Pattern::parse(obj));
        let action = self.field("act", Action::parse(act));
        let purposes = self.field("pur", purposes(pur));
        let effect = self.field("eft", effect(eft));
        let (Some(id), Some(reason), Some(not_before), Some(expires)) = (id, reason, not_before, expires) else {
            return;
        };
        let (Some(grantee), Some(tenants), Some(pattern)) = (grantee, tenants, pattern) else { return };
        let (Some(action), Some(purposes), Some(effect)) = (action, purposes, effect) else { return };
        let window = Window { not_before, expires: (expires > 0).then_some(expires) };
        let grant = Grant { id, grantee, tenants, pattern, action, purposes, window, effect, reason };
        self.rules.grants.push(Line { number: self.number, rule: Arc::new(grant) });
    }

    fn membership(&mut self, comment: (usize, Comment), [member, role, tenant]: [&str; 3]) {
        for key in ["owner", "not_before"] {
            if comment.1.contains_key(key) {
                self.at(comment.0, key, "a membership has only id, expires and reason");
            }
        }
        let id = self.id(&comment);
        let reason = self.reason(&comment);
        let expires = match comment.1.get("expires") {
            None => Some(None),
            Some(date) => self.date(comment.0, "expires", date).map(Some),
        };
        let member = self.field("member", Grantee::parse(member));
        let role = self.field("role", Role::parse(role));
        let tenant = self.field("tenant", Tenant::parse_or_system(tenant));
        let (Some(id), Some(reason), Some(expires)) = (id, reason, expires) else { return };
        let (Some(member), Some(role), Some(tenant)) = (member, role, tenant) else { return };
        let membership = Membership { id, member, role, tenant, expires, reason };
        self.rules.memberships.push(Line { number: self.number, rule: Arc::new(membership) });
    }

    fn comment(&mut self, text: &str) -> Comment {
        let mut comment = Comment::new();
        let mut rest = text.trim_matches(' ');
        while !rest.is_empty() {
            let Some((key, value, tail)) = pair(rest) else {
                self.refuse("a #: comment is key=value or key=\"value\" pairs, with a space between");
                break;
            };
            rest = tail;
            match KEYS.into_iter().find(|known| *known == key) {
                None => self.refuse(format!("unknown key in the #: comment; known are {}", KEYS.join(", "))),
                Some(key) => {
                    if comment.insert(key, value.to_owned()).is_some() {
                        self.at(self.number, key, "is given twice");
                    }
                }
            }
        }
        comment
    }

    fn id(&mut self, (number, comment): &(usize, Comment)) -> Option<GrantId> {
        let Some(id) = comment.get("id") else { return self.missing(*number, "id") };
        GrantId::parse(id).map_err(|invalid| self.at(*number, "id", invalid.to_string())).ok()
    }

    fn reason(&mut self, (number, comment): &(usize, Comment)) -> Option<String> {
        let Some(reason) = comment.get("reason") else { return self.missing(*number, "reason") };
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
            self.at(*number, "reason", format!("must be 1 to {REASON_BYTES_MAX} bytes that say why"));
            return None;
        }
        Some(reason.clone())
    }

    /// Says who owns a line for all tenants, and only of such a line.
    fn owner(&mut self, (number, comment): &(usize, Comment), tenants: &Tenants) {
        match (tenants, comment.get("owner").map(String::as_str)) {
            (Tenants::All, Some("_system")) | (Tenants::One(_), None) => {}
            (Tenants::All, _) => self.at(*number, "owner", "a rule for all tenants (*) must say owner=_system"),
            (Tenants::One(_), Some(_)) => {
                self.at(*number, "owner", "only a rule for all tenants (*) has an owner; this one is its tenant's");
            }
        }
    }

    /// A moment given as a number in the rule and as a date in the comment, which must be the same moment.
    fn moment(
        &mut self,
        (number, comment): &(usize, Comment),
        key: &'static str,
        field: &'static str,
        text: &str,
    ) -> Option<u64> {
        let date_secs = match comment.get(key) {
            None => 0,
            Some(date) => self.date(*number, key, date)?,
        };
        let line_secs = self.field(field, decimal(text))?;
        if line_secs != date_secs {
            let wanted = if line_secs == 0 { "nothing".into() } else { format!("{key}={}", date(line_secs)) };
            let message =
                format!("is {line_secs}, but the comment's {key} is {date_secs}; for {line_secs} it says {wanted}");
            self.problems.push(Problem::of_field(POLICY, self.number, field, message));
            return None;
        }
        Some(line_secs)
    }

    fn date(&mut self, number: usize, key: &'static str, date: &str) -> Option<u64> {
        secs(date).map_err(|invalid| self.at(number, key, invalid.to_string())).ok()
    }

    fn field<T>(&mut self, name: &'static str, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_err(|invalid| self.at(self.number, name, invalid.to_string())).ok()
    }

    fn missing<T>(&mut self, number: usize, key: &'static str) -> Option<T> {
        self.at(number, key, "is missing in the #: comment");
        None
    }

    fn at(&mut self, number: usize, field: &'static str, message: impl Into<String>) {
        self.problems.push(Problem::of_field(POLICY, number, field, message));
    }

    fn refuse(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::of_line(POLICY, self.number, message));
    }
}

/// Whether a text says why something is, or is done: one line that shows all that it is, no longer than the longest reason.
pub fn says_why(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= REASON_BYTES_MAX && !text.chars().any(deceives)
}

/// Whether a reader would not see what is there: control characters, those that turn the order of text or end a line, and those
/// that show nothing (Unicode's tags, spaces without width).
pub(super) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Splits the first `key=value` or `key="value"` off; a quoted value holds no quote.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let (key, rest) = text.split_once('=')?;
    let (value, tail) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
    };
    let bare_fits = rest.starts_with('"') || !value.contains('"');
    let next = tail.trim_start_matches(' ');
    (bare_fits && (tail.is_empty() || next.len() < tail.len())).then_some((key, value, next))
}

pub(super) fn tenants(text: &str) -> Result<Tenants, Invalid> {
    if text == "*" {
        return Ok(Tenants::All);
    }
    let rule = "a tenant ([a-z0-9][a-z0-9-]{0,62}), _system, or * for all";
    Tenant::parse_or_system(text).map(Tenants::One).map_err(|_| Invalid { rule })
}

pub(super) fn purposes(text: &str) -> Result<Purposes, Invalid> {
    if text == "*" { Ok(Purposes::All) } else { Purpose::parse(text).map(Purposes::One) }
}

fn effect(text: &str) -> Result<Effect, Invalid> {
    match text {
        "allow" => Ok(Effect::Allow),
        "deny" => Ok(Effect::Deny),
        _ => Err(Invalid { rule: "allow or deny" }),
    }
}

/// Plain decimal: no sign, no leading zero.
fn decimal(text: &str) -> Result<u64, Invalid> {
    let rule = "seconds since 1970 as a plain number up to the year 9999, 0 for none";
    match text.parse::<u64>() {
        Ok(secs) if secs <= SECS_MAX && secs.to_string() == text => Ok(secs),
        Ok(_) | Err(_) => Err(Invalid { rule }),
    }
}
