//! Policies of any length: one tenant, 5 actions, 20 purposes, the shipped classes.
//!
//! Nine lines in ten are grants and one is a membership. A grant in twenty denies; one in eight is for a category or for all
//! data, so that shards get lines that they share. Each role has one line for each action and purpose.

use std::fmt::Write as _;

use privet::{
    id::{Action, Class, Object, Principal, Purpose, Tenant},
    policy::Sources,
};

/// A policy as Privet reads it, and the same lines as casbin does.
pub struct Document {
    pub sources: Sources,
    pub grants: Vec<Vec<String>>,
    pub memberships: Vec<Vec<String>>,
}

/// A whole question, owned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub principal: Principal,
    pub tenant: Tenant,
    pub object: Object,
    pub action: Action,
    pub purpose: Purpose,
}

impl Document {
    /// A policy of `lines` lines.
    pub fn of(lines: usize) -> Self {
        let members = (lines / 10).max(1);
        let granted = lines - members;
        let roles = granted.div_ceil(ACTIONS.len() * PURPOSES);
        let grants: Vec<_> = (0..granted).map(|n| grant(n, roles)).collect();
        let memberships: Vec<_> =
            (0..members).map(|n| vec![principal(n), format!("role:r{}", n % roles), "acme".into()]).collect();
        let mut policy = String::new();
        for (n, fields) in grants.iter().enumerate() {
            writeln!(policy, "#: id=p{n} reason=\"the bench\"\np, {}", fields.join(", ")).unwrap();
        }
        for (n, fields) in memberships.iter().enumerate() {
            writeln!(policy, "#: id=g{n} reason=\"the bench\"\ng, {}", fields.join(", ")).unwrap();
        }
        let mut catalogue = include_str!("../../policies/catalogue.toml").to_owned();
        for n in 0..PURPOSES {
            writeln!(catalogue, "[[purpose]]\nname = \"purpose-{n}\"\nabout = \"The bench.\"").unwrap();
        }
        for n in 0..roles {
            writeln!(catalogue, "[[role]]\nname = \"role:r{n}\"\nabout = \"The bench.\"").unwrap();
        }
        let model = MODEL.to_owned();
        let sources = Sources { model, policy, catalogue, assertions: String::new() };
        Self { sources, grants, memberships }
    }
}

/// The `n`-th of [`QUESTIONS`] questions, no two alike; neighbours have nothing in common.
pub fn question(n: usize) -> Asked {
    in_order(n.wrapping_mul(STRIDE) % QUESTIONS)
}

fn in_order(n: usize) -> Asked {
    let (rest, class) = (n / CLASSES.len(), CLASSES[n % CLASSES.len()]);
    let (rest, action) = (rest / ACTIONS.len(), ACTIONS[rest % ACTIONS.len()]);
    let (who, purpose) = (rest / PURPOSES, rest % PURPOSES);
    Asked {
        principal: Principal::parse(&principal(who)).unwrap(),
        tenant: Tenant::parse("acme").unwrap(),
        object: Object::Class(Class::parse(class).unwrap()),
        action,
        purpose: Purpose::parse(&format!("purpose-{purpose}")).unwrap(),
    }
}

/// One question about each class for each action and purpose: every casbin enforcer that there can be is compiled for one.
pub fn about_all() -> impl Iterator<Item = Asked> {
    (0..CLASSES.len() * ACTIONS.len() * PURPOSES).map(in_order)
}

fn principal(n: usize) -> String {
    format!("spiffe://acme.example/service-{n}")
}

fn grant(n: usize, roles: usize) -> Vec<String> {
    let (role, scope) = (n % roles, n / roles);
    // Spread by a hash, so that patterns and effects fall alike on all roles, actions and purposes.
    let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let pattern = match mix % 40 {
        0 => "pii/*",
        1..=4 => ["pii/account/*", "pii/billing/*", "pii/usage/*"][mix / 40 % 3],
        _ => CLASSES[mix / 40 % CLASSES.len()],
    };
    let effect = if (mix / 1_000).is_multiple_of(20) { "deny" } else { "allow" };
    let action = ACTIONS[scope % ACTIONS.len()].as_str();
    let purpose = format!("purpose-{}", scope / ACTIONS.len() % PURPOSES);
    let role = format!("role:r{role}");
    [&role, "acme", pattern, action, &purpose, "0", "0", effect].map(str::to_owned).to_vec()
}

/// The only model that Privet takes.
pub const MODEL: &str = include_str!("../../policies/model.conf");
/// How many different questions there are: several times what the decision cache holds.
pub const QUESTIONS: usize = CLASSES.len() * ACTIONS.len() * PURPOSES * PRINCIPALS;
const PURPOSES: usize = 20;
const PRINCIPALS: usize = 250;
/// Prime, and no divisor of [`QUESTIONS`].
const STRIDE: usize = 104_729;
const ACTIONS: [Action; 5] = [Action::Encrypt, Action::Decrypt, Action::Mask, Action::Rewrap, Action::Index];
const CLASSES: [&str; 11] = [
    "pii/account/name",
    "pii/account/address",
    "pii/account/timezone",
    "pii/account/ip_address",
    "pii/account/email",
    "pii/account/phone",
    "pii/billing/tax_id",
    "pii/billing/payment",
    "pii/billing/address",
    "pii/usage/activity",
    "pii/usage/geolocation",
];
