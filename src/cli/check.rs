//! `privet check`: asks what the policy answers.

use clap::Args;
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    failure::{Exit, Failure},
    options::Connection,
    receipts::VerifyReceipt,
    table,
    terminal::Terminal,
};
use crate::{
    id::{Action, Object, Principal, Purpose, Reference, Tenant},
    proto::v1::{CheckItem, CheckRequest, CheckResponse, CheckResult, Verdict},
};

/// Ask whether the policy allows something; exits 1 if it denies any of it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  privet check pii/account/email decrypt pii/billing/tax_id decrypt --purpose invoicing
  privet check audit read --principal spiffe://acme.example/auditor")]
pub struct Check {
    /// A class, or policy, audit, keys, subjects, tenants; and an action
    #[arg(required = true, num_args = 1.., value_name = "OBJECT ACTION")]
    items: Vec<String>,
    /// Whose customers these are
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    tenant: Tenant,
    /// Why [default: operate, if no object is a class]
    #[arg(long, value_parser = Purpose::parse)]
    purpose: Option<Purpose>,
    /// Whom to ask about, instead of yourself
    #[arg(long, value_parser = Principal::parse_external)]
    principal: Option<Principal>,
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

impl Check {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let items = pairs(&self.items)?;
        let purpose = match self.purpose {
            Some(purpose) => purpose,
            None if items.iter().all(|(object, _)| matches!(object, Object::Control(_))) => Purpose::operate(),
            None => return Err(Failure::usage("--purpose is needed for classes: why would they be touched?")),
        };
        let request = CheckRequest {
            tenant: self.tenant.to_string(),
            principal: self.principal.map(|principal| principal.to_string()).unwrap_or_default(),
            purpose: purpose.to_string(),
            items: items
                .iter()
                .map(|(object, action)| CheckItem { object: object.as_str().into(), action: action.to_string() })
                .collect(),
            request_id: self.request_id.to_string(),
            reference: self.reference.to_string(),
        };
        let clients = self.connection.open().await?;
        let response = clients.authorization().check(request).await?.into_inner();
        let held = self.verify.hold(&clients, &self.tenant, &response.receipts).await?;
        if response.results.len() != items.len() {
            return Err(misfit());
        }
        if terminal.json {
            put_json(&machine(&items, &response))?;
        } else {
            put(human(&items, &response, terminal).as_bytes())?;
            let what = format!("decided by policy version {}", response.policy_version);
            tell(&held.with(what), &response.receipts, terminal);
        }
        Ok(if response.results.iter().all(allowed) { Exit::Ok } else { Exit::Refused })
    }
}

/// Only a clear allow is one.
fn allowed(result: &CheckResult) -> bool {
    match result.verdict() {
        Verdict::Allow => true,
        Verdict::Deny | Verdict::Partial | Verdict::Unspecified => false,
    }
}

/// Objects and actions, as they alternate on the command line.
///
/// # Errors
/// [`Failure`] for a word too many, and for what is neither.
pub(super) fn pairs(words: &[String]) -> Result<Vec<(Object, Action)>, Failure> {
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Failure::usage("objects and actions come in pairs: OBJECT ACTION [OBJECT ACTION…]"));
    }
    let pair = |[object, action]: &[String; 2]| {
        let object = Object::parse(object).map_err(|invalid| Failure::usage(format!("OBJECT {invalid}")))?;
        let action = Action::parse(action).map_err(|invalid| Failure::usage(format!("ACTION {invalid}")))?;
        Ok((object, action))
    };
    pairs.iter().map(pair).collect()
}

fn human(items: &[(Object, Action)], response: &CheckResponse, terminal: &Terminal) -> String {
    let mut table = table::table(["OBJECT", "ACTION", "VERDICT", "GRANTS", "UNTIL"], terminal);
    for ((object, action), result) in items.iter().zip(&response.results) {
        let allowed = allowed(result);
        let or_dash = |text: String| table::cell(if text.is_empty() { "–" } else { &text });
        table.add_row([
            table::cell(object.as_str()),
            table::cell(action.as_str()),
            table::verdict(if allowed { "allow" } else { "deny" }, allowed),
            or_dash(result.grant_ids.join(" ")),
            or_dash(result.valid_until.as_ref().map(table::rfc3339).unwrap_or_default()),
        ]);
    }
    table::text(&table)
}

fn machine(items: &[(Object, Action)], response: &CheckResponse) -> serde_json::Value {
    let result = |((object, action), result): (&(Object, Action), &CheckResult)| {
        json!({
            "object": object.as_str(),
            "action": action.as_str(),
            "verdict": if allowed(result) { "allow" } else { "deny" },
            "grant_ids": result.grant_ids,
            "valid_until": result.valid_until.as_ref().map(table::rfc3339),
        })
    };
    json!({
        "results": items.iter().zip(&response.results).map(result).collect::<Vec<_>>(),
        "policy_version": response.policy_version,
        "receipts": receipts(&response.receipts),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn answer(verdicts: &[Verdict]) -> CheckResponse {
        let result = |verdict: &Verdict| CheckResult {
            verdict: (*verdict).into(),
            grant_ids: if *verdict == Verdict::Allow { vec!["g-1".into(), "g-2".into()] } else { Vec::new() },
            valid_until: Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 }),
        };
        CheckResponse { results: verdicts.iter().map(result).collect(), policy_version: 3, receipts: Vec::new() }
    }

    #[test]
    fn objects_and_actions_come_in_pairs() {
        assert_eq!(pairs(&words("pii/account/email decrypt audit read")).unwrap().len(), 2);
        for bad in
            ["pii/account/email", "audit read policy", "email decrypt", "pii/account/email open", "pii/a decrypt"]
        {
            assert_eq!(pairs(&words(bad)).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn only_a_clear_allow_is_shown_as_one() {
        let items = pairs(&words("pii/account/email decrypt policy read keys rotate subjects erase")).unwrap();
        let response = answer(&[Verdict::Allow, Verdict::Deny, Verdict::Unspecified, Verdict::Partial]);
        assert_eq!(response.results.iter().map(allowed).collect::<Vec<_>>(), [true, false, false, false]);
        let terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };
        let text = human(&items, &response, &terminal);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "OBJECT             ACTION   VERDICT  GRANTS   UNTIL");
        assert_eq!(lines[1], "pii/account/email  decrypt  allow    g-1 g-2  2026-11-23T19:16:05Z");
        assert_eq!(lines[2], "policy             read     deny     –        2026-11-23T19:16:05Z");
        assert!(lines.iter().all(|line| line.chars().count() <= 100));
        assert_eq!(machine(&items, &response)["results"][2]["verdict"], "deny");
    }
}
