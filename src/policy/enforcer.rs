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

use casbin::{Adapter, CoreApi, DefaultModel, MemoryAdapter, function_map::OperatorFunction, rhai::Dynamic};
use futures_util::FutureExt;

use super::{
    Question,
    grant::{Grant, Membership, is_below},
};

/// The model. The matcher is security code, so the file must say exactly this; the cheapest and most selective terms come
/// first, and `g`, the dearest, last.
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

/// A casbin enforcer over some grants and memberships, never changed after it is built.
pub(super) struct Enforcer {
    casbin: casbin::Enforcer,
    without_grants: bool,
}

impl Enforcer {
    /// Builds an enforcer. The memberships are those that hold: casbin knows no expiry of `g`.
    ///
    /// # Errors
    /// [`Unclear`], whatever went wrong.
    pub(super) fn build<'a>(
        grants: impl Iterator<Item = &'a Grant>,
        memberships: impl Iterator<Item = &'a Membership>,
    ) -> Result<Self, Unclear> {
        Self::from_lines(
            MODEL,
            grants.map(|grant| grant.casbin_fields().to_vec()).collect(),
            memberships.map(|membership| membership.casbin_fields().to_vec()).collect(),
        )
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

    fn from_lines(model: &str, grants: Vec<Vec<String>>, memberships: Vec<Vec<String>>) -> Result<Self, Unclear> {
        let without_grants = grants.is_empty();
        fenced(|| {
            // Each enforcer parses its own model: a cloned one shares its role graph.
            let model = ready(DefaultModel::from_str(model))?;
            let mut lines = MemoryAdapter::default();
            ready(lines.add_policies("p", "p", grants))?;
            ready(lines.add_policies("g", "g", memberships))?;
            let mut casbin = ready(casbin::Enforcer::new(model, lines))?;
            casbin.add_function("classMatch", OperatorFunction::Arg2(class_match));
            casbin.add_function("inWindow", OperatorFunction::Arg3(in_window));
            Ok(Self { casbin, without_grants })
        })
    }
}

impl std::fmt::Debug for Enforcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enforcer")
    }
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
