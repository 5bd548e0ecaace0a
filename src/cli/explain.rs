//! `privet explain`: says why the policy answers as it does, now or in an entry of the log.

use clap::Args;
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    check::pairs,
    failure::{Exit, Failure},
    options::Connection,
    policy::lines,
    receipts::VerifyReceipt,
    table::{number, plural, rfc3339},
    terminal::{Terminal, printable_lines},
};
use crate::{
    id::{Object, Principal, Purpose, Reference, Tenant},
    proto::v1::{
        Cause, CheckItem, ExplainRequest, ExplainResponse, ExplainedEntry, Explanation, Mismatch, NearGrant,
        ReachingGrant, Verdict,
    },
};

/// Say why the policy allows or denies something; exits 1 if it denies any of it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  privet explain pii/billing/tax_id decrypt --purpose invoicing
  privet explain audit read --principal spiffe://acme.example/support-desk
  privet explain --entry 1204                # under the policy that was in force then")]
pub struct Explain {
    /// A class, or policy, audit, keys, subjects, tenants; and an action
    #[arg(required_unless_present = "entry", num_args = 1.., value_name = "OBJECT ACTION", conflicts_with = "entry")]
    items: Vec<String>,
    /// Whose customers these are
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    tenant: Tenant,
    /// Why [default: operate, if no object is a class]
    #[arg(long, value_parser = Purpose::parse, conflicts_with = "entry")]
    purpose: Option<Purpose>,
    /// Whom to ask about, instead of yourself
    #[arg(long, value_parser = Principal::parse_external, conflicts_with = "entry")]
    principal: Option<Principal>,
    /// Explain what this entry of the log decided
    #[arg(long, value_name = "INDEX")]
    entry: Option<u64>,
    /// Ticket or order that this is for
    #[arg(long, value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    reference: Reference,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    verify: VerifyReceipt,
    #[command(flatten)]
    connection: Connection,
}

impl Explain {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let items = pairs(&self.items)?;
        let purpose = match self.purpose {
            Some(purpose) => purpose.to_string(),
            None if self.entry.is_some() => String::new(),
            None if items.iter().all(|(object, _)| matches!(object, Object::Control(_))) => {
                Purpose::operate().to_string()
            }
            None => return Err(Failure::usage("--purpose is needed for classes: why would they be touched?")),
        };
        let request = ExplainRequest {
            tenant: self.tenant.to_string(),
            principal: self.principal.map(|principal| principal.to_string()).unwrap_or_default(),
            purpose,
            items: items
                .iter()
                .map(|(object, action)| CheckItem { object: object.as_str().into(), action: action.to_string() })
                .collect(),
            request_id: self.request_id.to_string(),
            reference: self.reference.to_string(),
            entry_index: self.entry,
        };
        let clients = self.connection.open().await?;
        let response = clients.authorization().explain(request).await?.into_inner();
        let held = self.verify.hold(&clients, &self.tenant, &response.receipts).await?;
        if self.entry.is_none() && response.explanations.len() != items.len() {
            return Err(misfit());
        }
        if terminal.json {
            put_json(&machine(&response))?;
        } else {
            put(printable_lines(&human(&response)).as_bytes())?;
            let what = format!("explained by policy version {}", response.policy_version);
            tell(&held.with(what), &response.receipts, terminal);
        }
        Ok(if response.explanations.iter().all(is_allowed) { Exit::Ok } else { Exit::Refused })
    }
}

fn is_allowed(explanation: &Explanation) -> bool {
    explanation.verdict() == Verdict::Allow
}

fn human(response: &ExplainResponse) -> String {
    let mut text = String::new();
    if let Some(entry) = &response.entry {
        text.push_str(&of_entry(entry, response));
    }
    for (n, explanation) in response.explanations.iter().enumerate() {
        if n > 0 {
            text.push('\n');
        }
        text.push_str(&one(explanation, response));
    }
    if response.more_questions > 0 {
        text.push_str(&format!("\n{} of the entry left out\n", plural(response.more_questions.into(), "question")));
    }
    if response.own_grants_only && response.explanations.iter().any(|one| !one.near.is_empty() || !is_allowed(one)) {
        text.push_str("\nGrants of others are not shown: that takes action check on policy.\n");
    }
    text
}

fn of_entry(entry: &ExplainedEntry, response: &ExplainResponse) -> String {
    let operation = entry.operation().as_str_name().trim_start_matches("OPERATION_").to_lowercase().replace('_', "-");
    let who = if response.principal.is_empty() { "a caller without an identity" } else { &response.principal };
    let time = response.time.as_ref().map(rfc3339).unwrap_or_default();
    let mut text = format!(
        "entry {}: {operation} by {who} for {}, {time}, policy version {}\n",
        number(entry.index),
        response.purpose,
        response.policy_version
    );
    if !entry.refusal.is_empty() {
        text.push_str(&format!("refused as a whole: {}\n", entry.refusal));
    }
    if response.explanations.is_empty() {
        text.push_str("it asked nothing of the policy\n");
    }
    text.push('\n');
    text
}

fn one(explanation: &Explanation, response: &ExplainResponse) -> String {
    let until = explanation.valid_until.as_ref().map(|time| format!(" until {}", rfc3339(time))).unwrap_or_default();
    let verdict = if is_allowed(explanation) { "allow" } else { "deny" };
    let mut text = format!("{} {}: {verdict}{until}\n", explanation.action, explanation.object);
    text.push_str(match explanation.cause() {
        Cause::Allowed => "  allowed by\n",
        Cause::Denied => "  a deny wins over every allow: denied by\n",
        Cause::NoGrant => "  no grant matches\n",
        Cause::Unknown => "  the policy has no such class, purpose or action: nothing could allow it\n",
        Cause::Unclear | Cause::Unspecified => "  the policy engine gave no clear answer, which denies\n",
    });
    explanation.deciding.iter().for_each(|line| text.push_str(&reaching(line, &response.principal)));
    if !explanation.overruled.is_empty() {
        text.push_str("  which overrules\n");
        explanation.overruled.iter().for_each(|line| text.push_str(&reaching(line, &response.principal)));
    }
    if explanation.more_matched > 0 {
        text.push_str(&format!("    and {} more\n", number(explanation.more_matched.into())));
    }
    if !explanation.near.is_empty() {
        let effect = if is_allowed(explanation) { "denies" } else { "allows" };
        text.push_str(&format!("  nearest {effect} that do not match\n"));
        explanation.near.iter().for_each(|line| text.push_str(&near(line)));
    }
    text
}

fn reaching(line: &ReachingGrant, principal: &str) -> String {
    let Some(grant) = &line.grant else { return String::new() };
    format!("    {}  {}\n{}", grant.id, lines::grant(grant), lines::way(principal, &line.memberships, "      "))
}

fn near(line: &NearGrant) -> String {
    let Some(grant) = &line.grant else { return String::new() };
    let why: Vec<_> = line.mismatches().map(mismatch).collect();
    format!("    {}  {}\n      but {}\n", grant.id, lines::grant(grant), why.join(", "))
}

fn mismatch(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Tenant => "in another tenant",
        Mismatch::Action => "for another action",
        Mismatch::Purpose => "for another purpose",
        Mismatch::Object => "of something else",
        Mismatch::Window => "not at this time",
        Mismatch::Membership => "given to somebody else",
        Mismatch::Unspecified => "otherwise",
    }
}

fn machine(response: &ExplainResponse) -> serde_json::Value {
    let explanation = |one: &Explanation| {
        let cause = one.cause().as_str_name().trim_start_matches("CAUSE_").to_lowercase();
        let near = one.near.iter().map(|near| {
            let mismatches =
                near.mismatches().map(|one| one.as_str_name().trim_start_matches("MISMATCH_").to_lowercase());
            json!({
                "grant": near.grant.as_ref().map(lines::grant_json),
                "mismatches": mismatches.collect::<Vec<_>>(),
            })
        });
        json!({
            "object": one.object,
            "action": one.action,
            "verdict": if is_allowed(one) { "allow" } else { "deny" },
            "cause": cause,
            "deciding": one.deciding.iter().map(lines::reaching_json).collect::<Vec<_>>(),
            "overruled": one.overruled.iter().map(lines::reaching_json).collect::<Vec<_>>(),
            "more_matched": one.more_matched,
            "near": near.collect::<Vec<_>>(),
            "valid_until": one.valid_until.as_ref().map(rfc3339),
        })
    };
    json!({
        "explanations": response.explanations.iter().map(explanation).collect::<Vec<_>>(),
        "more_questions": response.more_questions,
        "principal": response.principal,
        "purpose": response.purpose,
        "policy_version": response.policy_version,
        "time": response.time.as_ref().map(rfc3339),
        "entry_index": response.entry.as_ref().map(|entry| entry.index),
        "own_grants_only": response.own_grants_only,
        "receipts": receipts(&response.receipts),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::golden,
        proto::v1::{GrantEffect, Operation, PolicyGrant, PolicyMembership},
    };

    fn grant(id: &str, grantee: &str, action: &str, object: &str, purpose: &str, effect: GrantEffect) -> PolicyGrant {
        PolicyGrant {
            id: id.into(),
            grantee: grantee.into(),
            tenant: "acme".into(),
            object: object.into(),
            action: action.into(),
            purpose: purpose.into(),
            effect: effect.into(),
            reason: "as it is needed".into(),
            ..Default::default()
        }
    }

    fn answer() -> ExplainResponse {
        let support = "spiffe://acme.example/support-desk";
        let membership = PolicyMembership {
            id: "support-desk-is-support".into(),
            member: support.into(),
            role: "role:support".into(),
            tenant: "acme".into(),
            ..Default::default()
        };
        let through = |grant| ReachingGrant { grant: Some(grant), memberships: vec![membership.clone()] };
        let masks =
            grant("support-masks", "role:support", "mask", "pii/account/*", "support-ticket", GrantEffect::Allow);
        let never = grant("support-never", "role:support", "decrypt", "pii/billing/*", "*", GrantEffect::Deny);
        let once = PolicyGrant {
            expires: Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 }),
            ..grant("support-once", support, "decrypt", "pii/billing/tax_id", "support-ticket", GrantEffect::Allow)
        };
        let signup = grant("signup-encrypts", "role:signup", "encrypt", "pii/account/*", "signup", GrantEffect::Allow);
        let allowed = Explanation {
            object: "pii/account/email".into(),
            action: "mask".into(),
            verdict: Verdict::Allow.into(),
            cause: Cause::Allowed.into(),
            deciding: vec![through(masks)],
            ..Default::default()
        };
        let denied = Explanation {
            object: "pii/billing/tax_id".into(),
            action: "decrypt".into(),
            verdict: Verdict::Deny.into(),
            cause: Cause::Denied.into(),
            deciding: vec![through(never)],
            overruled: vec![ReachingGrant { grant: Some(once), memberships: Vec::new() }],
            valid_until: Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 }),
            ..Default::default()
        };
        let nothing = Explanation {
            object: "pii/account/email".into(),
            action: "encrypt".into(),
            verdict: Verdict::Deny.into(),
            cause: Cause::NoGrant.into(),
            near: vec![NearGrant {
                grant: Some(signup),
                mismatches: vec![Mismatch::Purpose.into(), Mismatch::Membership.into()],
                memberships: Vec::new(),
            }],
            ..Default::default()
        };
        ExplainResponse {
            explanations: vec![allowed, denied, nothing],
            principal: support.into(),
            purpose: "support-ticket".into(),
            policy_version: 3,
            ..Default::default()
        }
    }

    #[test]
    fn an_explanation_reads_as_it_did() {
        golden::check("policy/explain.txt", &human(&answer()));
        let entry = ExplainedEntry {
            index: 1_204,
            operation: Operation::Decrypt.into(),
            verdict: Verdict::Deny.into(),
            ..Default::default()
        };
        let time = Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 });
        let of_entry = ExplainResponse { entry: Some(entry), time, own_grants_only: true, ..answer() };
        golden::check("policy/explain-entry.txt", &human(&of_entry));
    }

    #[test]
    fn only_a_clear_allow_is_one() {
        for verdict in [Verdict::Unspecified, Verdict::Deny, Verdict::Partial] {
            let one = Explanation { verdict: verdict.into(), ..Default::default() };
            assert!(!is_allowed(&one) && super::one(&one, &answer()).contains(": deny"));
        }
        assert_eq!(machine(&answer())["explanations"][1]["overruled"][0]["grant"]["id"], "support-once");
    }
}
