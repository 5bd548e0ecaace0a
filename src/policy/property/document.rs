//! Random policies as plain text, and what they mean, said as plainly as possible.
//!
//! Nothing here shares code with the engine: rules are texts and numbers, and a question is answered by comparing them.

use std::fmt::Write as _;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::random::Random;

/// Names that differ in a letter's case, in how an accent is written, or in being the start of another.
pub(super) const PRINCIPALS: [&str; 9] = [
    "spiffe://a/p",
    "spiffe://a/p/q",
    "spiffe://a.b/p",
    "user:idp/%C3%A9lise",
    "user:idp/%c3%a9lise",
    "user:idp/e%CC%81lise",
    "user:idp/%E6%97%A5%E6%9C%AC",
    // No rule ever names these.
    "spiffe://a/stranger",
    "user:idp/role%3Aa",
];
const NAMED: usize = 7;
const ROLES: [&str; 6] = ["role:a", "role:a-b", "role:b", "role:c", "role:d", "role:e"];
/// No rule ever names `nowhere`.
pub(super) const TENANTS: [&str; 5] = ["acme", "acme-2", "bolt", "nowhere", "_system"];
/// No catalogue has `pii/account/fax`.
pub(super) const OBJECTS: [&str; 8] = [
    "pii/account/email",
    "pii/account/email/work",
    "pii/account/name",
    "pii/accounts/name",
    "pii/billing/card",
    "pii/account/fax",
    "audit",
    "policy",
];
const CLASSES: usize = 5;
const PATTERNS: [&str; 5] = ["pii/*", "pii/account/*", "pii/account/email/*", "pii/accounts/*", "pii/billing/*"];
pub(super) const ACTIONS: [&str; 6] = ["encrypt", "decrypt", "mask", "read", "export", "check"];
/// No catalogue has `curiosity`.
pub(super) const PURPOSES: [&str; 5] = ["signup", "signup-2", "invoicing", "operate", "curiosity"];

/// A grant.
#[derive(Clone, Debug)]
pub(super) struct P {
    /// Who, where, what, doing what, why, and whether they may: as casbin's line has them, but for the times.
    fields: [&'static str; 6],
    nbf: u64,
    exp: u64,
}

/// A membership.
#[derive(Clone, Debug)]
pub(super) struct G {
    fields: [&'static str; 3],
    exp: u64,
}

/// A policy document.
#[derive(Clone, Debug)]
pub(super) struct Document {
    version: u64,
    /// When things begin and end in this document.
    base: u64,
    grants: Vec<P>,
    memberships: Vec<G>,
    /// What the catalogue has.
    classes: Vec<&'static str>,
    purposes: Vec<&'static str>,
}

/// What a question should be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) allow: bool,
    /// The rules that decide, sorted.
    pub(super) ids: Vec<String>,
    /// The roles that they are for, sorted.
    pub(super) roles: Vec<&'static str>,
}

impl Document {
    /// The first document of a chain.
    pub(super) fn random(random: &mut Random) -> Self {
        // Also where casbin's numbers would wrap.
        let base = random.of(&[0, 1_800_000_000, (1 << 31) - 15, (1 << 32) - 15]);
        let mut document = Self {
            version: 1,
            base,
            grants: Vec::new(),
            memberships: Vec::new(),
            classes: OBJECTS[..CLASSES].to_vec(),
            purposes: PURPOSES[..4].to_vec(),
        };
        let (grants, memberships) = (random.below(GRANTS_MAX + 1), random.below(MEMBERSHIPS_MAX + 1));
        document.grants = (0..grants).map(|_| document.p(random)).collect();
        document.memberships = (0..memberships).map(|_| document.g(random)).collect();
        document
    }

    /// The next version: a few edits further on.
    pub(super) fn edited(&self, random: &mut Random) -> Self {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        for _ in 0..random.below(5) {
            next.edit(random);
        }
        next
    }

    fn edit(&mut self, random: &mut Random) {
        let (p, g) = (self.p(random), self.g(random));
        let at = |random: &mut Random, len: usize| (len > 0).then(|| random.below(len));
        match (random.below(10), at(random, self.grants.len()), at(random, self.memberships.len())) {
            (0 | 1, ..) if self.grants.len() < GRANTS_MAX => self.grants.push(p),
            (2, ..) if self.memberships.len() < MEMBERSHIPS_MAX => self.memberships.push(g),
            (3, Some(at), _) => _ = self.grants.remove(at),
            (4, _, Some(at)) => _ = self.memberships.remove(at),
            (5, Some(at), _) => {
                let field = random.below(6);
                self.grants[at].fields[field] = p.fields[field];
            }
            (6, Some(at), _) => (self.grants[at].nbf, self.grants[at].exp) = (p.nbf, p.exp),
            (7, _, Some(at)) => self.memberships[at].exp = g.exp,
            (8, Some(at), _) => {
                let eft = &mut self.grants[at].fields[5];
                *eft = if *eft == "allow" { "deny" } else { "allow" };
            }
            (9, ..) => {
                let class = random.of(&OBJECTS[..CLASSES]);
                match self.classes.iter().position(|known| *known == class) {
                    Some(at) => _ = self.classes.remove(at),
                    None => self.classes.push(class),
                }
            }
            _ => {}
        }
    }

    fn p(&self, random: &mut Random) -> P {
        let who = if random.once_in(3) { random.of(&PRINCIPALS[..NAMED]) } else { random.of(&ROLES) };
        let tenant = random.of(&["acme", "acme", "acme", "acme-2", "bolt", "*", "_system"]);
        let allow = !random.once_in(5);
        let [what, action, purpose] = if random.once_in(5) {
            let [what, action] = random.of(&[["audit", "read"], ["audit", "export"], ["policy", "check"]]);
            [what, action, if allow { "operate" } else { random.of(&["operate", "*"]) }]
        } else {
            let what = if random.once_in(2) { random.of(&PATTERNS) } else { random.of(&OBJECTS[..CLASSES]) };
            let purpose = if allow { random.of(&PURPOSES[..3]) } else { random.of(&["signup", "*", "*"]) };
            [what, random.of(&ACTIONS[..3]), purpose]
        };
        let nbf = self.moment(random, &[5, 12, 20]);
        let exp = self.moment(random, &[12, 15, 25]);
        P { fields: [who, tenant, what, action, purpose, if allow { "allow" } else { "deny" }], nbf, exp }
    }

    fn g(&self, random: &mut Random) -> G {
        let member = if random.once_in(2) { random.of(&ROLES) } else { random.of(&PRINCIPALS[..NAMED]) };
        let tenant = random.of(&["acme", "acme", "acme", "acme", "acme-2", "bolt", "_system"]);
        G { fields: [member, random.of(&ROLES), tenant], exp: self.moment(random, &[8, 15, 20]) }
    }

    /// One of these moments, or none as often.
    fn moment(&self, random: &mut Random, all: &[u64]) -> u64 {
        if random.once_in(2) { 0 } else { self.base + random.of(all) }
    }

    /// A time to ask at: most often a second before, at or after a moment at which something begins or ends.
    pub(super) fn time(&self, random: &mut Random) -> u64 {
        match random.below(16) {
            0 => 0,
            1 => u64::MAX,
            2 => random.next(),
            3..8 => self.base + random.below(30) as u64,
            _ => self.base + random.of(&[5, 8, 12, 15, 20, 25]) + random.of(&[0, 1, 2]) - 1,
        }
    }

    /// A question as texts: who, where, what, doing what, why. Most parts are taken from a rule, because a question that is
    /// random in every part is hardly ever allowed.
    pub(super) fn question(&self, random: &mut Random) -> [usize; 5] {
        let pools = [&PRINCIPALS[..], &TENANTS[..], &OBJECTS[..], &ACTIONS[..], &PURPOSES[..]];
        let mut asked = pools.map(|pool| random.below(pool.len()));
        let Some(rule) = (!self.grants.is_empty()).then(|| &self.grants[random.below(self.grants.len())]) else {
            return asked;
        };
        let other = random.below(12);
        let member = self.someone_with(rule.fields[0], rule.fields[1], random);
        for part in (0..5).filter(|part| *part != other) {
            let fits = |text: &str| match rule.fields[part] {
                role if role.starts_with("role:") => text == member,
                wanted => covers(wanted, text),
            };
            let fitting: Vec<usize> = (0..pools[part].len()).filter(|at| fits(pools[part][*at])).collect();
            if !fitting.is_empty() {
                asked[part] = random.of(&fitting);
            }
        }
        asked
    }

    /// A principal who comes to a role through some memberships of a tenant, if anybody does.
    fn someone_with(&self, role: &'static str, tenant: &str, random: &mut Random) -> &'static str {
        let mut name = role;
        for _ in 0..ROLES.len() {
            let of_it = |g: &&G| g.fields[1] == name && covers(tenant, g.fields[2]);
            let members: Vec<&str> = self.memberships.iter().filter(of_it).map(|g| g.fields[0]).collect();
            if !members.is_empty() {
                name = random.of(&members);
            }
        }
        if name.starts_with("role:") { random.of(&PRINCIPALS) } else { name }
    }

    /// Whether a principal has none of these roles but through others.
    pub(super) fn is_through_others(&self, who: &str, tenant: &str, roles: &[&str]) -> bool {
        let direct = |role: &str| self.memberships.iter().any(|g| g.fields == [who, role, tenant]);
        !roles.is_empty() && !roles.iter().any(|role| direct(role))
    }

    /// Whether a catalogue knows all that is asked about, and it fits together.
    pub(super) fn knows(&self, [_, tenant, what, action, purpose]: [&str; 5]) -> bool {
        let fits = match what {
            "audit" => ["read", "export"].contains(&action),
            "policy" => ["read", "check"].contains(&action),
            _ => {
                self.classes.contains(&what) && tenant != "_system" && ["encrypt", "decrypt", "mask"].contains(&action)
            }
        };
        fits && self.purposes.contains(&purpose)
    }

    /// What a question should be answered at `now`.
    pub(super) fn answer(&self, asked: [&str; 5], now: u64) -> Meant {
        let [who, tenant, ..] = asked;
        let mut names = vec![who];
        let mut before = 0;
        while names.len() > before {
            before = names.len();
            for G { fields: [member, role, place], exp } in &self.memberships {
                let holds = *place == tenant && names.contains(member) && (*exp == 0 || now < *exp);
                if holds && !names.contains(role) {
                    names.push(role);
                }
            }
        }
        let applies = |(_, p): &(usize, &P)| {
            let [sub, scope @ ..] = p.fields;
            self.knows(asked)
                && names.contains(&sub)
                && scope.iter().zip(&asked[1..]).all(|(wanted, text)| covers(wanted, text))
                && p.nbf <= now
                && (p.exp == 0 || now < p.exp)
        };
        let applying: Vec<(usize, &P)> = self.grants.iter().enumerate().filter(applies).collect();
        let denied = applying.iter().any(|(_, p)| p.fields[5] == "deny");
        let eft = if denied { "deny" } else { "allow" };
        let deciding = || applying.iter().filter(|(_, p)| p.fields[5] == eft);
        let mut ids: Vec<String> = deciding().map(|(at, _)| format!("p{at}-v{}", self.version)).collect();
        let mut roles: Vec<&str> =
            deciding().map(|(_, p)| p.fields[0]).filter(|sub| sub.starts_with("role:")).collect();
        ids.sort();
        roles.sort_unstable();
        roles.dedup();
        Meant { allow: !denied && !applying.is_empty(), ids, roles }
    }

    /// The first second after `now` at which a rule begins or ends that is about such a question, whoever asks it.
    pub(super) fn next_boundary(&self, [_, tenant, what, action, purpose]: [&str; 5], now: u64) -> Option<u64> {
        let category = |text: &str| text.split('/').nth(1).map(str::to_owned);
        let about = |p: &&P| {
            let [_, dom, obj, act, pur, _] = p.fields;
            let near = obj == "pii/*" || obj == what || (category(obj).is_some() && category(obj) == category(what));
            covers(dom, tenant) && near && act == action && covers(pur, purpose)
        };
        let moments = self.grants.iter().filter(about).flat_map(|p| [p.nbf, p.exp]);
        moments.filter(|moment| *moment > now).min()
    }

    /// Every second at which anything begins or ends.
    pub(super) fn boundaries(&self) -> Vec<u64> {
        let of_memberships = self.memberships.iter().map(|g| g.exp);
        self.grants.iter().flat_map(|p| [p.nbf, p.exp]).chain(of_memberships).collect()
    }

    /// Drops the rules on these lines of [`Document::csv`].
    pub(super) fn drop_lines(&mut self, lines: &[usize]) {
        let grants = self.grants.len();
        let dropped = |rule: usize| lines.iter().any(|line| (line - 1) / 2 == rule);
        let mut at = 0..;
        self.grants.retain(|_| !dropped(at.next().unwrap()));
        let mut at = grants..;
        self.memberships.retain(|_| !dropped(at.next().unwrap()));
    }

    /// As `policy.csv`: two lines a rule. No two versions share an id.
    pub(super) fn csv(&self) -> String {
        let (mut text, version) = (String::new(), self.version);
        let dated = |key: &str, secs: u64| {
            let date = OffsetDateTime::from_unix_timestamp(secs as i64).unwrap().format(&Rfc3339).unwrap();
            if secs == 0 { String::new() } else { format!(" {key}={date}") }
        };
        for (at, P { fields: [who, tenant, what, action, purpose, effect], nbf, exp }) in self.grants.iter().enumerate()
        {
            let owner = if *tenant == "*" { " owner=_system" } else { "" };
            let dates = [dated("not_before", *nbf), dated("expires", *exp)].concat();
            writeln!(text, "#: id=p{at}-v{version}{owner}{dates} reason=\"größer, 日本 → é\"").unwrap();
            writeln!(text, "p, {who}, {tenant}, {what}, {action}, {purpose}, {nbf}, {exp}, {effect}").unwrap();
        }
        for (at, G { fields, exp }) in self.memberships.iter().enumerate() {
            writeln!(text, "#: id=g{at}-v{version}{} reason=\"e\u{301}\"", dated("expires", *exp)).unwrap();
            writeln!(text, "g, {}", fields.join(", ")).unwrap();
        }
        text
    }

    /// As `catalogue.toml`.
    pub(super) fn catalogue(&self) -> String {
        let mut text = String::new();
        for name in &self.purposes {
            writeln!(text, "[[purpose]]\nname = \"{name}\"\nabout = \"x\"").unwrap();
        }
        for name in ROLES {
            writeln!(text, "[[role]]\nname = \"{name}\"\nabout = \"x\"").unwrap();
        }
        for name in &self.classes {
            writeln!(text, "[[class]]\nname = \"{name}\"\nabout = \"x\"\nkind = \"text\"\nmax_bytes = 9").unwrap();
            writeln!(text, "retention = {{ from = \"seal\", days = 9 }}").unwrap();
        }
        text
    }
}

/// Whether a rule's text covers a question's: the same, `*`, or what stands before a last `*`.
fn covers(wanted: &str, text: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => text.starts_with(start) && (start.is_empty() || text.len() > start.len()),
        None => wanted == text,
    }
}

const GRANTS_MAX: usize = 16;
const MEMBERSHIPS_MAX: usize = 16;
