//! Budgets of different customers: what a caller may open one by one, it can't carry off as a whole.

use privet::proto::v1::{self, Operation, Outcome, Reason};

use crate::support::deployment::{Client, Deployment, Setup, decrypt, encrypt, opened, to_decrypt, to_encrypt};

const EMAIL: &str = "pii/account/email";
const PHONE: &str = "pii/account/phone";

/// A change of the catalogue is shown to who reads every tenant.
const READS_OTHER: &str = "
#: id=admin-of-acme-reads-other reason=\"tests\"
p, spiffe://acme.example/policy-admin, other, policy, read, operate, 0, 0, allow
";

fn budget(who: &str, minute: u32) -> String {
    format!("\n[[budget]]\nwho = \"{who}\"\nsubjects = {{ minute = {minute}, hour = {minute}, day = {minute} }}\n")
}

/// A server where `tester` may reach three customers a day.
async fn three_customers() -> Deployment {
    let catalogue = budget("spiffe://acme.example/tester", 3);
    Deployment::start_with(Setup { catalogue, ..Setup::default() }).await
}

async fn sealed(client: &Client, subjects: &[&str]) -> Vec<v1::FieldToDecrypt> {
    let mut fields = Vec::new();
    for subject in subjects {
        let ciphertext = client.seal("acme", subject, EMAIL, format!("{subject}@mail.example").as_bytes(), b"").await;
        fields.push(to_decrypt(subject, EMAIL, &ciphertext));
    }
    fields
}

async fn open(client: &Client, fields: Vec<v1::FieldToDecrypt>) -> v1::DecryptResponse {
    client.encryption().decrypt(decrypt("acme", fields)).await.unwrap().into_inner()
}

/// Whoever moves a customer's values, or is told of an erasure or a closure, learns that there is one.
#[tokio::test(flavor = "multi_thread")]
async fn moving_values_and_being_told_of_an_erasure_reach_a_customer_too() {
    let policy = "#: id=tester-rewraps reason=\"tests\"\n\
                  p, spiffe://acme.example/tester, acme, pii/account/*, rewrap, signup, 0, 0, allow\n";
    let catalogue = budget("spiffe://acme.example/tester", 3);
    let server = Deployment::start_with(Setup { catalogue, policy: policy.into(), ..Setup::default() }).await;
    let (client, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let fields = sealed(&client, &["a", "b", "c", "d", "e"]).await;
    for gone in ["c", "d"] {
        let (tenant, subjects) = ("acme".to_owned(), vec![gone.to_owned()]);
        let request = v1::EraseSubjectsRequest { tenant, subjects, ..Default::default() };
        officer.subjects().erase_subjects(request).await.unwrap();
    }
    let field = |field: &v1::FieldToDecrypt| v1::FieldToRewrap {
        subject: field.subject.clone(),
        class: field.class.clone(),
        ciphertext: field.ciphertext.clone(),
        ..Default::default()
    };
    let request = v1::RewrapRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        fields: fields[..2].iter().map(field).collect(),
        ..Default::default()
    };
    client.encryption().rewrap(request.clone()).await.unwrap();
    let again = encrypt("acme", ["c", "d", "f"].map(|subject| to_encrypt(subject, EMAIL, "x@mail.example")).into());
    let again = client.encryption().encrypt(again).await.unwrap().into_inner();
    let reason = |at: usize| match again.fields[at].result.clone().unwrap() {
        v1::encrypted_field::Result::Ciphertext(_) => None,
        v1::encrypted_field::Result::Error(error) => Some(error.reason()),
    };
    assert_eq!([0, 1, 2].map(reason), [Some(Reason::SubjectErased), Some(Reason::OverBudget), None]);
    let past = v1::RewrapRequest { fields: fields[4..].iter().map(field).collect(), ..request };
    let past = client.encryption().rewrap(past).await.unwrap().into_inner();
    let v1::rewrapped_field::Result::Error(error) = past.fields[0].result.clone().unwrap() else { panic!() };
    assert_eq!(error.reason(), Reason::OverBudget);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_more_than_the_budget_is_refused_and_recorded_and_those_known_are_served() {
    let server = three_customers().await;
    let client = server.client("tester").await;
    // Sealing reaches nobody: what is sealed was known already.
    let fields = sealed(&client, &["a", "b", "c", "d", "e"]).await;

    let all = open(&client, fields.clone()).await;
    let reasons: Vec<_> = (0..5).map(|at| opened(&all, at).err()).collect();
    assert_eq!(reasons, [None, None, None, Some(Reason::OverBudget), Some(Reason::OverBudget)]);
    let v1::decrypted_field::Result::Error(error) = all.fields[3].result.clone().unwrap() else { panic!() };
    assert!(error.message.contains("different subjects as it may this minute"), "{}", error.message);

    // In another request, another form and behind known ones, too.
    let mut again = vec![fields[4].clone(), fields[2].clone(), fields[0].clone()];
    again[0].form = v1::Form::Masked.into();
    let again = open(&client, again).await;
    assert_eq!(opened(&again, 0), Err(Reason::OverBudget));
    assert_eq!(
        (opened(&again, 1).unwrap(), opened(&again, 2).unwrap()),
        (b"c@mail.example".into(), b"a@mail.example".into())
    );

    let log = client.log("acme").await;
    let entry = log.iter().find(|entry| entry.operation() == Operation::Decrypt).unwrap();
    let refused = entry.targets.iter().find(|target| target.outcome() == Outcome::OverBudget).unwrap();
    assert!(refused.aliases.is_empty(), "what the budget refuses is not looked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_for_customers_that_are_not_there_spends_as_much() {
    let server = three_customers().await;
    let client = server.client("tester").await;
    let known = sealed(&client, &["a", "b"]).await;
    let mut fields = vec![known[0].clone(); 5];
    fields[0].subject = "nobody-1".into();
    fields[1].subject = "nobody-2".into();
    fields[2].subject = "b".into();
    fields[3].ciphertext = vec![9; 3].into();
    fields[3].subject = "nobody-3".into();
    let answer = open(&client, fields).await;
    let reasons: Vec<_> = (0..5).map(|at| opened(&answer, at).err().unwrap()).collect();
    let over = Reason::OverBudget;
    assert_eq!(reasons, [Reason::UnknownSubject, Reason::UnknownSubject, Reason::InvalidCiphertext, over, over]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_a_customer_found_however_it_is_computed() {
    let server = three_customers().await;
    let client = server.client("tester").await;
    let values = ["a@x.example", "A@x.example ", "b@x.example"]
        .map(|value| v1::ValueToIndex { class: EMAIL.into(), value: value.as_bytes().to_vec().into() });
    let request = v1::ComputeIndexRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        values: values.into(),
        ..Default::default()
    };
    let answer = client.encryption().compute_index(request).await.unwrap().into_inner();
    assert!(answer.values.iter().all(|value| matches!(value.result, Some(v1::indexed_value::Result::Index(_)))));

    let fields = ["+12025550123", "+12025550124"]
        .map(|phone| v1::FieldToEncrypt { index: true, ..to_encrypt("z", PHONE, phone) });
    let answer = client.encryption().encrypt(encrypt("acme", fields.into())).await.unwrap().into_inner();
    assert!(matches!(answer.fields[0].result, Some(v1::encrypted_field::Result::Ciphertext(_))));
    let Some(v1::encrypted_field::Result::Error(error)) = &answer.fields[1].result else { panic!() };
    assert_eq!(error.reason(), Reason::OverBudget);
    assert!(answer.fields[1].index.is_empty());

    let plain =
        client.encryption().encrypt(encrypt("acme", vec![to_encrypt("z", PHONE, "+12025550124")])).await.unwrap();
    assert!(matches!(plain.into_inner().fields[0].result, Some(v1::encrypted_field::Result::Ciphertext(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roles_budget_binds_each_who_acts_by_it_and_nobody_else() {
    // The shipped budget of support is 30 a minute and 1,000 a day.
    let server = Deployment::start().await;
    let (tester, support) = (server.client("tester").await, server.client("support-desk").await);
    let names: Vec<String> = (0..31).map(|n| format!("s{n}")).collect();
    let subjects: Vec<&str> = names.iter().map(String::as_str).collect();
    let fields = sealed(&tester, &subjects).await;
    let mut request = decrypt("acme", fields.clone());
    request.purpose = "support-ticket".into();
    let answer = support.encryption().decrypt(request).await.unwrap().into_inner();
    let refused: Vec<usize> = (0..31).filter(|at| opened(&answer, *at).is_err()).collect();
    // A minute may have turned between two fields' reading of the clock: never within one request.
    assert_eq!(refused, [30]);
    let all = open(&tester, fields).await;
    assert!((0..31).all(|at| opened(&all, at).is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_requests_at_once_spend_one_budget() {
    let server = three_customers().await;
    let client = server.client("tester").await;
    let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let subjects: Vec<&str> = names.iter().map(String::as_str).collect();
    let fields = sealed(&client, &subjects).await;
    let mut asking = tokio::task::JoinSet::new();
    for part in fields.chunks(5) {
        let (mut encryption, request) = (client.encryption(), decrypt("acme", part.to_vec()));
        asking.spawn(async move { encryption.decrypt(request).await.unwrap().into_inner() });
    }
    let mut served = 0;
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        served += (0..answer.fields.len()).filter(|at| opened(&answer, *at).is_ok()).count();
    }
    assert_eq!(served, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_changes_as_any_policy_does_and_binds_from_that_version_on() {
    let policy = READS_OTHER.to_owned();
    let server = Deployment::start_with(Setup { policy, ..Setup::default() }).await;
    let client = server.client("tester").await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    let fields = sealed(&client, &["a", "b", "c"]).await;
    assert!(opened(&open(&client, fields.clone()).await, 2).is_ok());

    let request = v1::GetPolicyRequest { tenant: "_system".into(), document: true, ..Default::default() };
    let document = admin.policy().get_policy(request).await.unwrap().into_inner().document.unwrap();
    let catalogue = [document.catalogue, budget("spiffe://acme.example/tester", 2)].concat();
    let request = v1::ProposeChangeRequest {
        tenant: "_system".into(),
        base_version: 1,
        changes: vec![v1::PolicyChange { change: Some(v1::policy_change::Change::Catalogue(catalogue)) }],
        reason: "tests".into(),
        ..Default::default()
    };
    let proposal = admin.policy().propose_change(request).await.unwrap().into_inner().proposal.unwrap();
    assert!(proposal.widens, "even a budget that is less waits for another person");
    assert!(opened(&open(&client, fields.clone()).await, 2).is_ok());

    let request = v1::ApproveProposalRequest { tenant: "_system".into(), id: proposal.id, ..Default::default() };
    approver.policy().approve_proposal(request).await.unwrap();
    // Nothing was counted while there was no budget.
    let answer = open(&client, fields).await;
    let reasons: Vec<_> = (0..3).map(|at| opened(&answer, at).err()).collect();
    assert_eq!(reasons, [None, None, Some(Reason::OverBudget)]);
}
