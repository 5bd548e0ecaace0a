//! `privet subject report`: what a person may be told of the data that is held about them, and of who has used it.

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        answer::{misfit, put, put_json},
        failure::{Exit, Failure},
        names::Names,
        table::{plural, rfc3339},
        terminal::{Terminal, printable_lines},
    },
    Acting, Whom, show,
};
use crate::proto::v1::{Access, AccessedData, Operation, Outcome, ReportAccessRequest, Subject, Verdict};

#[derive(Args)]
#[command(after_help = "\
With --json, each access has its proof: hashes that lead from its leaf to the checkpoint's root.

Example:
  privet subject report --subject cust-42 --reference REQ-7 > report.txt")]
pub struct Report {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    acting: Acting,
}

impl Report {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let mut request = ReportAccessRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
            ..Default::default()
        };
        let clients = connection.open().await?;
        let (mut first, mut count, mut names) = (true, 0_u64, Names::default());
        loop {
            let page = clients.subjects().report_access(request.clone()).await?.into_inner();
            let since = page.kept_since.as_ref().map(rfc3339);
            if terminal.json {
                let head = first.then(|| show::machine(&page.subject.clone().unwrap_or_default()));
                put_json(&json!({
                    "subject": head,
                    "accesses": page.accesses.iter().map(machine).collect::<Vec<_>>(),
                    "checkpoint": page.checkpoint,
                    "kept_since": since,
                }))?;
            } else {
                let mut text = if first { opening(page.subject.as_ref().ok_or_else(misfit)?) } else { String::new() };
                page.accesses.iter().for_each(|access| text.push_str(&sentence(access, &mut names)));
                put(printable_lines(&text).as_bytes())?;
            }
            count += page.accesses.len() as u64;
            if page.next_page_token.is_empty() {
                if !terminal.json {
                    put(printable_lines(&closing(count, since, &names)).as_bytes())?;
                }
                return Ok(Exit::Ok);
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            (first, request.page_token) = (false, page.next_page_token);
        }
    }
}

fn opening(subject: &Subject) -> String {
    let held = show::human(subject);
    format!("What is held:\n{}\nWho has used it, newest first:\n", indented(&held))
}

fn closing(count: u64, since: Option<String>, names: &Names) -> String {
    let before = match since {
        Some(since) => format!("What was before {since} was kept for its time and is deleted."),
        None => "Nothing was ever deleted from the log.".to_owned(),
    };
    // The report says itself whom it names: it is handed on without what a terminal shows beside it.
    let short: String = names.shortened().map(|(short, principal)| format!("  {short}: {principal}\n")).collect();
    let whom = if short.is_empty() { short } else { format!("\nIn full:\n{short}") };
    format!("{whom}\n{} in the log. {before}\n", plural(count, "entry").replace("entrys", "entries"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// An access as one says it.
fn sentence(access: &Access, names: &mut Names) -> String {
    let time = access.time.as_ref().map(rfc3339).unwrap_or_default();
    let who = names.short(&access.principal);
    let roles = if access.roles.is_empty() { String::new() } else { format!(" ({})", access.roles.join(", ")) };
    let behind = if access.actor.is_empty() { String::new() } else { format!(" for {}", access.actor) };
    let mut deeds: Vec<(String, Vec<&str>)> = Vec::new();
    for data in &access.data {
        let (did, object) = (deed(data, access), data.object.trim_start_matches("pii/"));
        match deeds.iter_mut().find(|(known, _)| *known == did) {
            Some((_, objects)) => objects.push(object),
            None => deeds.push((did, vec![object])),
        }
    }
    let did: Vec<String> = deeds.into_iter().map(|(did, objects)| did.replace("{}", &objects.join(", "))).collect();
    let did = if did.is_empty() { operation(access) } else { did.join("; ") };
    let why = if access.purpose == "operate" { String::new() } else { format!(", for {}", access.purpose) };
    let reference = if access.reference.is_empty() { String::new() } else { format!(", {}", access.reference) };
    format!("  {time}  {who}{roles}{behind} {did}{why}{reference}; entry {}\n", access.entry_index)
}

/// What was done; `{}` stands for what to.
fn deed(data: &AccessedData, access: &Access) -> String {
    match data.outcome() {
        Outcome::Sealed => "stored {}".to_owned(),
        Outcome::SealedAndIndexed => "stored {} so that it can be found".to_owned(),
        Outcome::Opened if access.operation() == Operation::UnwrapDataKey => "opened a document of {}".to_owned(),
        Outcome::Opened => "read {}".to_owned(),
        Outcome::Masked => "saw a part of {}".to_owned(),
        Outcome::Indexed => "looked up {}".to_owned(),
        Outcome::Rewrapped => "moved {} to a newer key".to_owned(),
        Outcome::Denied => "was refused {}".to_owned(),
        Outcome::Allowed => operation(access),
        Outcome::InvalidCiphertext
        | Outcome::SubjectErased
        | Outcome::SubjectClosed
        | Outcome::UnknownSubject
        | Outcome::InvalidValue
        | Outcome::OverBudget
        | Outcome::Held
        | Outcome::Unspecified => "tried for {} and got nothing".to_owned(),
    }
}

/// What was done that touches no value.
fn operation(access: &Access) -> String {
    let plain = || access.operation().as_str_name().trim_start_matches("OPERATION_").to_lowercase().replace('_', " ");
    let known = DEEDS.iter().find(|(operation, _)| *operation == access.operation());
    let did = known.map_or_else(plain, |(_, did)| (*did).to_owned());
    let refused = if access.verdict() == Verdict::Deny { " – refused" } else { "" };
    format!("{did}{refused}")
}

/// What is done to a subject as one says it.
const DEEDS: [(Operation, &str); 9] = [
    (Operation::GetSubject, "saw what is held"),
    (Operation::ReportAccess, "had this report made"),
    (Operation::PlaceHold, "placed a hold"),
    (Operation::ReleaseHold, "released a hold"),
    (Operation::CloseSubject, "noted that the relation has ended"),
    (Operation::ReinstateSubject, "let data be stored again"),
    (Operation::RotateSubjectKeys, "had new keys made"),
    (Operation::RetireKeyVersions, "had old keys destroyed"),
    (Operation::GetKeyStatus, "saw how old the keys are"),
];

fn machine(access: &Access) -> Value {
    let data = |data: &AccessedData| {
        json!({
            "object": data.object,
            "action": (!data.action.is_empty()).then_some(&data.action),
            "outcome": data.outcome().as_str_name().trim_start_matches("OUTCOME_"),
        })
    };
    json!({
        "time": access.time.as_ref().map(rfc3339),
        "principal": access.principal,
        "roles": access.roles,
        "asserted_actor": (!access.actor.is_empty()).then_some(&access.actor),
        "operation": access.operation().as_str_name().trim_start_matches("OPERATION_"),
        "purpose": access.purpose,
        "reference": access.reference,
        "verdict": access.verdict().as_str_name().trim_start_matches("VERDICT_"),
        "data": access.data.iter().map(data).collect::<Vec<_>>(),
        "entry_index": access.entry_index,
        "leaf_hash": hex::encode(&access.leaf_hash),
        "proof": access.proof.iter().map(hex::encode).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn an_access_is_a_sentence_that_its_person_understands() {
        let access = |operation: Operation, data: &[(&str, Outcome)], purpose: &str| Access {
            time: Some(Timestamp { seconds: 1_795_461_365, nanos: 0 }),
            principal: "spiffe://acme.example/support-desk".into(),
            roles: vec!["role:support".into()],
            operation: operation.into(),
            purpose: purpose.into(),
            reference: "T-1".into(),
            verdict: Verdict::Allow.into(),
            data: data
                .iter()
                .map(|(object, outcome)| AccessedData {
                    object: (*object).into(),
                    outcome: (*outcome).into(),
                    ..Default::default()
                })
                .collect(),
            entry_index: 7,
            ..Default::default()
        };
        let mut names = Names::default();
        let data = [("pii/account/email", Outcome::Opened), ("pii/account/phone", Outcome::Masked)];
        assert_eq!(
            sentence(&access(Operation::Decrypt, &data, "support-ticket"), &mut names),
            "  2026-11-23T19:16:05Z  support-desk (role:support) read account/email; saw a part of account/phone, \
             for support-ticket, T-1; entry 7\n"
        );
        let hold = access(Operation::PlaceHold, &[("subjects", Outcome::Allowed)], "operate");
        assert!(sentence(&hold, &mut names).contains("(role:support) placed a hold, T-1; entry 7"));
        let none = Names::default();
        assert!(closing(1, None, &none).starts_with("\n1 entry in the log. Nothing was ever deleted"));
        assert!(closing(2, Some("2027".into()), &none).contains("2 entries in the log. What was before 2027"));
    }

    #[test]
    fn two_who_are_called_the_same_are_told_apart() {
        let by = |principal: &str| Access { principal: principal.into(), ..Default::default() };
        let mut names = Names::default();
        let told = ["spiffe://a/support", "spiffe://b/support", "spiffe://a/support", "user:okta/support"]
            .map(|principal| sentence(&by(principal), &mut names).split_whitespace().next().unwrap().to_owned());
        assert_eq!(told, ["support", "spiffe://b/support", "support", "user:okta/support"]);
        assert!(closing(4, None, &names).starts_with("\nIn full:\n  support: spiffe://a/support\n\n4 entries"));
    }
}
