//! Casbin, fenced in: the only file that names it.
//!
//! Casbin decides; this file sees to it that it decides on what was meant. It holds one known model and refuses any other. It
//! builds an enforcer in memory from typed lines, once, and never changes it. It passes every value as text, because
//! casbin's numbers are 32 bits wide and wrap. An error or a panic inside casbin is [`Unclear`], which callers turn into a
//! denial. An enforcer without a grant answers no without asking: casbin evaluates an empty policy against an empty line.
//!
//! Deliberately unused, for each can answer yes to the wrong question: `CachedEnforcer`, `keyMatch*`, `regexMatch`, `eval`,
//! `g2`, `enable_enforce`, file adapters, and every call that changes a policy in place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use casbin::{CoreApi, DefaultModel, Model, NullAdapter, function_map::OperatorFunction, rhai::Dynamic};
use futures_util::FutureExt;

use super::{
    Question,
    grant::{Grant, is_below},
};

mod roles;

pub(super) use roles::Roles;

/// The model. The matcher is security code, so the file must say exactly this; over a whole policy, the cheapest and most
/// selective terms come first, and `g` last.
const MODEL: &str = r#"
[request_definition]
r = sub, dom, obj, act, pur, now
[policy_definition]
p = sub, dom, obj, act, pur, nbf, exp, eft
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = (r.dom == p.dom || p.dom == "*") && r.act == p.act && (r.pur == p.pur || p.pur == "*") && classMatch(r.obj, p.obj) && inWindow(r.now, p.nbf, p.exp) && g(r.sub, p.sub, r.dom)
"#;

/// The same matcher with its terms in the order that costs least over the lines of one shard: there, who a line is for is
/// all that most lines differ in, and with [`Roles`] `g` costs no more than other terms.
const MATCHER_IN_SHARD: &str = r#"g(r.sub, p.sub, r.dom) && inWindow(r.now, p.nbf, p.exp) && classMatch(r.obj, p.obj) && r.act == p.act && (r.pur == p.pur || p.pur == "*") && (r.dom == p.dom || p.dom == "*")"#;

const MATCHER_KEY: &str = "m = ";

/// Casbin gave no answer that can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    /// It returned an error.
    #[error("casbin failed")]
    Failed,
    /// It panicked.
    #[error("casbin panicked")]
    Panicked,
    /// It waited for something, though everything it needs is in memory.
    #[error("casbin waited")]
    Waited,
}

/// Compares a model file with the one known model; blank lines, comments and spacing aside.
///
/// # Errors
/// The first line of the file that differs (`None` if it ends too early), and what should stand there.
pub(super) fn check_model(text: &str) -> Result<(), (Option<usize>, String)> {
    let mut known = meaning(MODEL).map(|(_, line)| line);
    for (number, line) in meaning(text) {
        match known.next() {
            Some(expected) if expected == line => {}
            Some(expected) => return Err((Some(number), differs(&expected))),
            None => return Err((Some(number), differs("the end of the file"))),
        }
    }
    known.next().map_or(Ok(()), |expected| Err((None, differs(&expected))))
}

fn differs(expected: &str) -> String {
    format!("the model is not the one this program decides by; expected here: {expected}")
}

/// Lines that mean something, with their numbers: comments and spacing dropped, continued lines joined.
fn meaning(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let line = words.join(" ");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (line, continued) = line.strip_suffix('\\').map_or((line.as_str(), false), |head| (head.trim_end(), true));
        match joined.last_mut() {
            Some((_, start)) if continues => {
                start.push(' ');
                start.push_str(line);
            }
            Some(_) | None => joined.push((at + 1, line.to_owned())),
        }
        continues = continued;
    }
    joined.into_iter()
}

/// A casbin enforcer over some grants, never changed after it is built.
pub(super) struct Enforcer {
    casbin: casbin::Enforcer,
    without_grants: bool,
}

impl Enforcer {
    /// Builds an enforcer. The roles are those of memberships that hold: casbin knows no expiry of `g`.
    ///
    /// # Errors
    /// [`Unclear`], whatever went wrong.
    pub(super) fn build<'a>(grants: impl Iterator<Item = &'a Grant>, roles: &Roles) -> Result<Self, Unclear> {
        Self::from_lines(&model_in_shard(), grants.map(|grant| grant.casbin_fields().to_vec()).collect(), roles)
    }

    /// Whether casbin allows `question` at `now`.
    ///
    /// # Errors
    /// [`Unclear`], whatever went wrong.
    pub(super) fn allows(&self, question: &Question<'_>, now: u64) -> Result<bool, Unclear> {
        if self.without_grants {
            return Ok(false);
        }
        let request: Vec<String> = vec![
            question.principal.as_str().into(),
            question.tenant.as_str().into(),
            question.object.as_str().into(),
            question.action.as_str().into(),
            question.purpose.as_str().into(),
            now.to_string(),
        ];
        fenced(|| self.casbin.enforce(request).map_err(|_| Unclear::Failed))
    }

    fn from_lines(model: &str, grants: Vec<Vec<String>>, roles: &Roles) -> Result<Self, Unclear> {
        let without_grants = grants.is_empty();
        fenced(|| {
            // Each enforcer parses its own model: a cloned one shares its role graph.
            let mut model = ready(DefaultModel::from_str(model))?;
            // Straight into the model: an adapter would keep every line a second time.
            if !model.add_policies("p", "p", grants) {
                return Err(Unclear::Failed);
            }
            let mut casbin = ready(casbin::Enforcer::new_raw(model, NullAdapter))?;
            casbin.add_function("classMatch", OperatorFunction::Arg2(class_match));
            casbin.add_function("inWindow", OperatorFunction::Arg3(in_window));
            casbin.enable_auto_build_role_links(false);
            casbin.set_role_manager(roles.for_casbin()).map_err(|_| Unclear::Failed)?;
            Ok(Self { casbin, without_grants })
        })
    }
}

impl std::fmt::Debug for Enforcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enforcer")
    }
}

fn model_in_shard() -> String {
    let before = MODEL.split_once(MATCHER_KEY).map_or("", |(before, _)| before);
    [before, MATCHER_KEY, MATCHER_IN_SHARD, "\n"].concat()
}

fn fenced<T>(ask: impl FnOnce() -> Result<T, Unclear>) -> Result<T, Unclear> {
    // Nothing outlives a panic here but an enforcer that is only ever read.
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or(Err(Unclear::Panicked))
}

/// Casbin's constructors are async for adapters that wait; the in-memory ones never do.
fn ready<T>(future: impl Future<Output = casbin::Result<T>>) -> Result<T, Unclear> {
    future.now_or_never().ok_or(Unclear::Waited)?.map_err(|_| Unclear::Failed)
}

/// `classMatch(object, pattern)`: the same name, or a pattern `<prefix>/*` under `pii` with the object below it. What is not
/// text gives no bool, which makes the whole question fail rather than a deny not match.
fn class_match(object: Dynamic, pattern: Dynamic) -> Dynamic {
    let (Ok(object), Ok(pattern)) = (object.into_immutable_string(), pattern.into_immutable_string()) else {
        return Dynamic::UNIT;
    };
    match pattern.strip_suffix("/*") {
        Some(prefix) => (prefix == "pii" || prefix.starts_with("pii/")) && is_below(&object, prefix),
        None => object == pattern,
    }
    .into()
}

/// `inWindow(now, nbf, exp)`: seconds as text, half-open, 0 for none. As above, what is no number gives no bool.
fn in_window(now: Dynamic, nbf: Dynamic, exp: Dynamic) -> Dynamic {
    let secs = |value: Dynamic| value.into_immutable_string().ok().and_then(|text| text.parse::<u64>().ok());
    let (Some(now), Some(nbf), Some(exp)) = (secs(now), secs(nbf), secs(exp)) else { return Dynamic::UNIT };
    (nbf <= now && (exp == 0 || now < exp)).into()
}

#[cfg(test)]
mod whole;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{Action, Object, Principal, Purpose, Role, Tenant},
        policy::grant::{GrantId, Grantee, Membership},
    };

    const LINE: [&str; 8] = ["role:r", "acme", "pii/account/*", "decrypt", "signup", "0", "0", "allow"];
    const MEMBER: [&str; 3] = ["spiffe://a/p", "role:r", "acme"];

    fn roles(memberships: &[[&str; 3]]) -> Roles {
        let memberships: Vec<Membership> = memberships
            .iter()
            .map(|[member, role, tenant]| Membership {
                id: GrantId::parse("m").unwrap(),
                member: Grantee::parse(member).unwrap(),
                role: Role::parse(role).unwrap(),
                tenant: Tenant::parse(tenant).unwrap(),
                expires: None,
                reason: "r".into(),
            })
            .collect();
        Roles::new(memberships.iter())
    }

    fn lines<const N: usize>(lines: &[[&str; N]]) -> Vec<Vec<String>> {
        lines.iter().map(|line| line.iter().map(ToString::to_string).collect()).collect()
    }

    /// Whether `principal` may decrypt e-mail addresses for sign-up in acme.
    fn ask(enforcer: &Enforcer, principal: &str) -> Result<bool, Unclear> {
        ask_about(enforcer, principal, "pii/account/email")
    }

    fn ask_about(enforcer: &Enforcer, principal: &str, object: &str) -> Result<bool, Unclear> {
        let (principal, tenant) = (Principal::parse(principal).unwrap(), Tenant::parse("acme").unwrap());
        let (object, purpose) = (Object::parse(object).unwrap(), Purpose::parse("signup").unwrap());
        let action = Action::Decrypt;
        enforcer.allows(
            &Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose },
            1_800_000_000,
        )
    }

    fn with(grants: &[[&str; 8]], memberships: &[[&str; 3]]) -> Enforcer {
        Enforcer::from_lines(&model_in_shard(), lines(grants), &roles(memberships)).unwrap()
    }

    #[test]
    fn a_shard_is_matched_by_the_models_own_terms_in_another_order() {
        let sorted = |model: &str| {
            let (before, matcher) = model.split_once(MATCHER_KEY).unwrap();
            let mut terms: Vec<&str> = matcher.trim().split(" && ").collect();
            terms.sort_unstable();
            (before.to_owned(), terms.join("\n"))
        };
        assert_eq!(sorted(&model_in_shard()), sorted(MODEL));
        assert_eq!(sorted(MODEL).1.lines().count(), 6);
    }

    #[test]
    fn casbin_allows_a_member_and_nobody_else() {
        let enforcer = with(&[LINE], &[MEMBER]);
        assert_eq!(ask(&enforcer, "spiffe://a/p"), Ok(true));
        assert_eq!(ask(&enforcer, "spiffe://a/q"), Ok(false));
        assert_eq!(ask_about(&enforcer, "spiffe://a/p", "pii/billing/payment"), Ok(false));
    }

    #[test]
    fn no_grants_means_no_even_where_casbin_would_match_empty_text() {
        // The trap itself: without a policy, casbin evaluates the matcher once against empty texts, and takes its yes for an allow.
        let (before, _) = MODEL.split_once("m = ").unwrap();
        let trap = Enforcer::from_lines(&format!("{before}m = p.sub == \"\"\n"), Vec::new(), &roles(&[])).unwrap();
        assert!(trap.casbin.enforce(vec![String::new(); 6]).unwrap());
        assert_eq!(ask(&trap, "spiffe://a/p"), Ok(false));
    }

    #[test]
    fn an_error_inside_casbin_is_unclear() {
        let short = vec![LINE[..7].iter().map(ToString::to_string).collect()];
        let enforcer = Enforcer::from_lines(MODEL, short, &roles(&[MEMBER])).unwrap();
        assert_eq!(ask(&enforcer, "spiffe://a/p"), Err(Unclear::Failed));
        let broken = MODEL.replace("classMatch(r.obj, p.obj)", "noSuchFunction(r.obj)");
        let enforcer = Enforcer::from_lines(&broken, lines(&[LINE]), &roles(&[MEMBER])).unwrap();
        assert_eq!(ask(&enforcer, "spiffe://a/p"), Err(Unclear::Failed));
    }

    #[test]
    fn a_panic_inside_casbin_is_unclear() {
        let unsupported = MODEL.replace("some(where (p.eft == allow)) &&", "");
        let enforcer =
            Enforcer::from_lines(&unsupported.replace("!some", "!all"), lines(&[LINE]), &roles(&[MEMBER])).unwrap();
        assert_eq!(ask(&enforcer, "spiffe://a/p"), Err(Unclear::Panicked));
    }

    #[test]
    fn a_moment_that_is_no_number_makes_the_answer_unclear_rather_than_a_deny_ineffective() {
        let deny = ["role:r", "acme", "pii/*", "decrypt", "*", "0", "soon", "deny"];
        assert_eq!(ask(&with(&[LINE, deny], &[MEMBER]), "spiffe://a/p"), Err(Unclear::Failed));
        assert_eq!(ask(&with(&[deny, LINE], &[MEMBER]), "spiffe://a/p"), Err(Unclear::Failed));
    }

    #[test]
    fn patterns_match_below_pii_only_and_break_no_character() {
        let text =
            |object: &str, pattern: &str| class_match(object.to_owned().into(), pattern.to_owned().into()).as_bool();
        assert_eq!(text("pii/account/email", "pii/account/*"), Ok(true));
        assert_eq!(text("pii/account/email", "pii/*"), Ok(true));
        assert_eq!(text("pii/account/email", "pii/account/email"), Ok(true));
        // keyMatch slices bytes and panics on this one.
        assert_eq!(text("piiéx/a", "pii/*"), Ok(false));
        for (object, pattern) in [
            ("pii/account", "pii/account/*"),
            ("pii/account/", "pii/account/*"),
            ("pii/accounts/email", "pii/account/*"),
            ("policy", "*"),
            ("policy", "/*"),
            ("policy/x", "policy/*"),
            ("", "pii/*"),
            ("pii/account/email", "pii/account/e*"),
            ("pii/account/email", "pii/.*"),
        ] {
            assert_eq!(text(object, pattern), Ok(false), "{object} {pattern}");
        }
        assert!(class_match(1.into(), "pii/*".into()).as_bool().is_err());
    }

    #[test]
    fn moments_are_wider_than_casbins_numbers() {
        let text = |now: &str, nbf: &str, exp: &str| {
            in_window(now.to_owned().into(), nbf.to_owned().into(), exp.to_owned().into()).as_bool()
        };
        let last = u64::MAX.to_string();
        assert_eq!(text("4294967296", "4294967296", "4294967297"), Ok(true));
        assert_eq!(text("4294967295", "4294967296", "0"), Ok(false));
        assert_eq!(text("5", "0", "5"), Ok(false));
        assert_eq!(text(&last, "0", "0"), Ok(true));
        assert_eq!(text(&last, "0", &last), Ok(false));
        assert!(text("-1", "0", "0").is_err() && text("", "0", "0").is_err() && text("1", "x", "0").is_err());
    }

    #[test]
    fn a_role_of_another_tenant_does_not_count() {
        let elsewhere = ["spiffe://a/p", "role:r", "bolt"];
        assert_eq!(ask(&with(&[LINE], &[elsewhere]), "spiffe://a/p"), Ok(false));
        // Casbin's trap: a membership in every tenant is one in none, so a deny through it would do nothing.
        let everywhere = ["spiffe://a/p", "role:r", "*"];
        let whole = Enforcer::whole_of_lines(lines(&[LINE]), lines(&[everywhere])).unwrap();
        assert_eq!(ask(&whole, "spiffe://a/p"), Ok(false));
    }

    #[test]
    fn casbin_would_allow_what_only_the_rules_of_lines_and_names_keep_from_it() {
        // A mistyped deny is none, and so is one for everybody: `csv` refuses both.
        let mistyped = ["role:r", "acme", "pii/*", "decrypt", "*", "0", "0", "Deny"];
        assert_eq!(ask(&with(&[LINE, mistyped], &[MEMBER]), "spiffe://a/p"), Ok(true));
        let everybody = ["*", "acme", "pii/*", "decrypt", "*", "0", "0", "deny"];
        assert_eq!(ask(&with(&[LINE, everybody], &[MEMBER]), "spiffe://a/p"), Ok(true));
        // Who bears the name of a role has the role: `id` lets no principal have such a name.
        let named = ["role:r", "acme", "pii/account/email", "decrypt", "signup", "1800000000"].map(String::from);
        assert!(with(&[LINE], &[]).casbin.enforce(named.to_vec()).unwrap());
        assert!(Principal::parse("role:r").is_err());
    }

    #[test]
    fn enforcers_share_no_roles() {
        let (first, second) = (with(&[LINE], &[MEMBER]), with(&[LINE], &[]));
        assert_eq!((ask(&first, "spiffe://a/p"), ask(&second, "spiffe://a/p")), (Ok(true), Ok(false)));
    }

    #[test]
    fn nothing_here_calls_what_can_answer_yes_to_the_wrong_question() {
        let source = include_str!("enforcer.rs");
        let code: Vec<&str> = source
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        assert!(code.contains("casbin::Enforcer::new"));
        for banned in [
            "CachedEnforcer",
            "keyMatch",
            "regexMatch",
            "eval(",
            "g2 =",
            "enable_enforce",
            "FileAdapter",
            "remove_",
            "update_",
            "clear_policy",
            "save_policy",
            "load_filtered",
            "enforce_mut(",
            "get_mut_model",
            "implicit",
            "set_model",
            "set_effector",
            "enforce_with_context",
        ] {
            assert!(!code.contains(banned), "{banned}");
        }
    }
}
