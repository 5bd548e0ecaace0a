//! The parts of OCSF 1.6.0 that events use, as tables, and events held against them: every required attribute is there,
//! every attribute is one of the schema's, of its type, and every enum value is one of its enum's.

use serde_json::Value;

use super::{super::golden, *};

/// What an attribute's value is.
#[derive(Clone, Copy)]
enum Is {
    Integer,
    /// 64 bits.
    Long,
    Text,
    /// One of an enum's numbers, and the attribute that holds its name, if there is one.
    Enum(&'static [i64]),
    Object(&'static Table),
    Array(&'static Table),
    /// Whatever the producer likes.
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// Recommended or optional.
    Not,
}

use Need::{Not, Required};

/// A class's or object's attributes, and its constraint: at least one of these must be there.
struct Table {
    attributes: &'static [(&'static str, Is, Need)],
    at_least_one: &'static [&'static str],
}

/// The attributes of the base event.
const BASE: &[(&str, Is, Need)] = &[
    ("activity_name", Is::Text, Not),
    ("category_name", Is::Text, Not),
    ("class_name", Is::Text, Not),
    ("count", Is::Integer, Not),
    ("message", Is::Text, Not),
    ("metadata", Is::Object(&METADATA), Required),
    ("severity", Is::Text, Not),
    ("severity_id", Is::Enum(&[0, 1, 2, 3, 4, 5, 6, 99]), Required),
    ("status", Is::Text, Not),
    ("status_detail", Is::Text, Not),
    ("status_id", Is::Enum(&[0, 1, 2, 99]), Not),
    ("time", Is::Long, Required),
    ("type_name", Is::Text, Not),
    ("unmapped", Is::Json, Not),
];

/// API Activity.
const API_ACTIVITY: &[(&str, Is, Need)] = &[
    ("activity_id", Is::Enum(&[0, 1, 2, 3, 4, 99]), Required),
    ("category_uid", Is::Enum(&[6]), Required),
    ("class_uid", Is::Enum(&[6_003]), Required),
    ("type_uid", Is::Enum(&[600_300, 600_301, 600_302, 600_303, 600_304, 600_399]), Required),
    ("actor", Is::Object(&ACTOR), Required),
    ("api", Is::Object(&API), Required),
    ("src_endpoint", Is::Object(&NETWORK_ENDPOINT), Required),
    ("resources", Is::Array(&RESOURCE_DETAILS), Not),
];

/// Entity Management.
const ENTITY_MANAGEMENT: &[(&str, Is, Need)] = &[
    ("activity_id", Is::Enum(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99]), Required),
    ("category_uid", Is::Enum(&[3]), Required),
    ("class_uid", Is::Enum(&[3_004]), Required),
    (
        "type_uid",
        Is::Enum(&[
            300_400, 300_401, 300_402, 300_403, 300_404, 300_405, 300_406, 300_407, 300_408, 300_409, 300_410, 300_411,
            300_412, 300_413, 300_499,
        ]),
        Required,
    ),
    ("entity", Is::Object(&MANAGED_ENTITY), Required),
    ("actor", Is::Object(&ACTOR), Not),
    ("src_endpoint", Is::Object(&NETWORK_ENDPOINT), Not),
];

const METADATA: Table = Table {
    attributes: &[
        ("version", Is::Text, Required),
        ("product", Is::Object(&PRODUCT), Required),
        ("uid", Is::Text, Not),
        ("event_code", Is::Text, Not),
        ("log_name", Is::Text, Not),
        ("sequence", Is::Integer, Not),
        ("original_time", Is::Text, Not),
        ("correlation_uid", Is::Text, Not),
    ],
    at_least_one: &[],
};

const PRODUCT: Table = Table {
    attributes: &[
        ("name", Is::Text, Not),
        ("uid", Is::Text, Not),
        ("vendor_name", Is::Text, Not),
        ("feature", Is::Object(&NAMED), Not),
    ],
    at_least_one: &["name", "uid"],
};

/// The objects that need a name or an id: feature, service, group, policy.
const NAMED: Table = Table {
    attributes: &[("name", Is::Text, Not), ("uid", Is::Text, Not), ("version", Is::Text, Not)],
    at_least_one: &["name", "uid"],
};

const ACTOR: Table = Table {
    attributes: &[("user", Is::Object(&USER), Not), ("authorizations", Is::Array(&AUTHORIZATION), Not)],
    at_least_one: &["process", "user", "invoked_by", "session", "app_name", "app_uid"],
};

const USER: Table = Table {
    attributes: &[
        ("name", Is::Text, Not),
        ("uid", Is::Text, Not),
        ("type", Is::Text, Not),
        ("type_id", Is::Enum(&[0, 1, 2, 3, 4, 99]), Not),
        ("groups", Is::Array(&NAMED), Not),
    ],
    at_least_one: &["account", "name", "uid"],
};

const AUTHORIZATION: Table = Table {
    attributes: &[("decision", Is::Text, Not), ("policy", Is::Object(&NAMED), Not)],
    at_least_one: &["decision", "policy"],
};

const API: Table = Table {
    attributes: &[
        ("operation", Is::Text, Required),
        ("service", Is::Object(&NAMED), Not),
        ("version", Is::Text, Not),
        ("request", Is::Object(&REQUEST), Not),
        ("response", Is::Object(&RESPONSE), Not),
    ],
    at_least_one: &[],
};

const REQUEST: Table = Table { attributes: &[("uid", Is::Text, Required)], at_least_one: &[] };

const RESPONSE: Table = Table { attributes: &[("error", Is::Text, Not)], at_least_one: &[] };

const NETWORK_ENDPOINT: Table = Table {
    attributes: &[("name", Is::Text, Not), ("svc_name", Is::Text, Not)],
    at_least_one: &[
        "ip",
        "uid",
        "name",
        "hostname",
        "svc_name",
        "instance_uid",
        "interface_uid",
        "interface_name",
        "domain",
    ],
};

const RESOURCE_DETAILS: Table = Table {
    attributes: &[("name", Is::Text, Not), ("uid", Is::Text, Not), ("type", Is::Text, Not), ("data", Is::Json, Not)],
    at_least_one: &["name", "uid"],
};

const MANAGED_ENTITY: Table = Table {
    attributes: &[
        ("name", Is::Text, Not),
        ("uid", Is::Text, Not),
        ("type", Is::Text, Not),
        ("type_id", Is::Enum(&[0, 1, 2, 3, 4, 5, 6, 7, 99]), Not),
        ("version", Is::Text, Not),
    ],
    at_least_one: &["name", "uid", "device", "group", "org", "policy", "user"],
};

/// What is wrong with an object; empty if nothing is.
fn wrong(at: &str, object: &Value, attributes: &[&[(&str, Is, Need)]], at_least_one: &[&str]) -> Vec<String> {
    let Some(members) = object.as_object() else { return vec![format!("{at} is no object")] };
    let known: Vec<_> = attributes.concat();
    let mut wrong = Vec::new();
    for (name, _, need) in &known {
        if *need == Required && !members.contains_key(*name) {
            wrong.push(format!("{at}.{name} is required"));
        }
    }
    if !at_least_one.is_empty() && !at_least_one.iter().any(|name| members.contains_key(*name)) {
        wrong.push(format!("{at} needs one of {at_least_one:?}"));
    }
    for (name, value) in members {
        let at = format!("{at}.{name}");
        let Some((_, is, _)) = known.iter().find(|(known, ..)| known == name) else {
            wrong.push(format!("{at} is not of the schema"));
            continue;
        };
        let table =
            |table: &Table, value: &Value, at: &str| self::wrong(at, value, &[table.attributes], table.at_least_one);
        let right = match is {
            Is::Integer => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Is::Long => value.is_i64(),
            Is::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Is::Enum(numbers) => value.as_i64().is_some_and(|n| numbers.contains(&n)),
            Is::Json => !value.is_null(),
            Is::Object(object) => {
                wrong.extend(table(object, value, &at));
                true
            }
            Is::Array(object) => value.as_array().is_some_and(|values| {
                let each = values.iter().enumerate();
                wrong.extend(each.flat_map(|(i, value)| table(object, value, &format!("{at}[{i}]"))));
                true
            }),
        };
        if !right {
            wrong.push(format!("{at} can't be {value}"));
        }
    }
    wrong
}

fn wrong_event(event: &Value) -> Vec<String> {
    let class = if event["class_uid"] == 6_003 { API_ACTIVITY } else { ENTITY_MANAGEMENT };
    let mut wrong = wrong("event", event, &[BASE, class], &[]);
    let number = |name: &str| event[name].as_i64().unwrap_or(-1);
    if number("type_uid") != number("class_uid") * 100 + number("activity_id") {
        wrong.push("type_uid is not class_uid * 100 + activity_id".to_owned());
    }
    wrong
}

/// Every operation with every verdict, full and bare.
fn every() -> impl Iterator<Item = AuditEntry> {
    let full = |operation, verdict| AuditEntry {
        operation,
        verdict,
        index: u64::MAX,
        tenant_seq: u64::MAX,
        count: u64::MAX,
        refusal: "DENIED".into(),
        request_id: "r".into(),
        ..golden::entries().swap_remove(6)
    };
    let bare = |operation, verdict| AuditEntry { operation, verdict, ..Default::default() };
    let kinds = (0..=18).flat_map(|operation| (0..=4).map(move |verdict| (operation, verdict)));
    kinds.flat_map(move |(operation, verdict)| [full(operation, verdict), bare(operation, verdict)])
}

#[test]
fn every_event_keeps_to_the_schema() {
    let mut seen = 0;
    for entry in every().chain(golden::entries()).chain([golden::hostile()]) {
        let event = event(&entry);
        assert!(wrong_event(&event).is_empty(), "{:#?}\n{event:#}", wrong_event(&event));
        seen += 1;
    }
    assert_eq!(seen, 19 * 5 * 2 + golden::entries().len() + 1);
}

#[test]
fn the_tables_find_what_is_missing_or_strange() {
    let entries = golden::entries();
    for (entry, required) in [
        (
            &entries[3],
            &[
                "metadata",
                "severity_id",
                "time",
                "activity_id",
                "category_uid",
                "class_uid",
                "type_uid",
                "actor",
                "api",
                "src_endpoint",
            ][..],
        ),
        (
            &entries[0],
            &["metadata", "severity_id", "time", "activity_id", "category_uid", "class_uid", "type_uid", "entity"],
        ),
    ] {
        let good = event(entry);
        for name in required {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(*name);
            assert!(!wrong_event(&bad).is_empty(), "without {name}");
        }
        for (pointer, value) in [
            ("/severity_id", json!(7)),
            ("/status_id", json!("1")),
            ("/time", json!("now")),
            ("/type_uid", json!(600_301)),
            ("/metadata/version", json!(null)),
            ("/metadata/product", json!({})),
            ("/actor", json!({})),
            ("/actor/user/type_id", json!(5)),
            ("/src_endpoint", json!({})),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(bad == good || !wrong_event(&bad).is_empty(), "{pointer}");
        }
        let mut strange = good.clone();
        strange["colour"] = json!("red");
        assert_eq!(wrong_event(&strange), ["event.colour is not of the schema"]);
    }
}

#[test]
fn what_changes_the_deployment_is_entity_management_and_all_else_api_activity() {
    for n in 0..=53 {
        let operation = Operation::try_from(n).unwrap();
        let changes = [
            Operation::CreateTenant,
            Operation::DestroyTenant,
            Operation::CancelDestroyTenant,
            Operation::AdoptPolicy,
            Operation::Start,
            Operation::RotateLogKey,
            Operation::SealSegment,
            Operation::DeleteEntries,
            Operation::ProposeChange,
            Operation::ApproveProposal,
            Operation::RejectProposal,
            Operation::BreakGlass,
            Operation::EndBreakGlass,
            Operation::ReviewBreakGlass,
            Operation::RecoverPolicy,
            Operation::EraseSubjects,
            Operation::ReinstateSubject,
            Operation::PlaceHold,
            Operation::ReleaseHold,
            Operation::CloseSubject,
            Operation::Sweep,
            Operation::RotateSubjectKeys,
            Operation::RetireKeyVersions,
        ];
        let uid = if changes.contains(&operation) { 3_004 } else { 6_003 };
        assert_eq!(event(&AuditEntry { operation: n, ..Default::default() })["class_uid"], uid, "{operation:?}");
    }
}

#[test]
fn an_event_says_how_it_ended_and_how_bad_that_is() {
    let ended = |entry: &AuditEntry| {
        let event = event(entry);
        (event["status_id"].as_i64().unwrap(), event["severity_id"].as_i64().unwrap())
    };
    let entries = golden::entries();
    let [allowed, denied, partial, invalid, flood] = [4, 5, 6, 7, 8].map(|n| &entries[n]);
    assert_eq!(ended(allowed), (1, 1));
    assert_eq!(ended(denied), (2, 2));
    assert_eq!(ended(partial), (99, 2));
    assert_eq!(ended(invalid), (2, 1), "allowed, and nothing came out");
    assert_eq!(ended(flood), (2, 3));
    assert_eq!(ended(&AuditEntry::default()), (0, 1));
}

#[test]
fn the_source_is_an_identity_and_no_address_is_made_up() {
    for entry in golden::entries() {
        let source = event(&entry)["src_endpoint"].clone();
        let expected = if entry.principal.is_empty() {
            json!({"name": UNIDENTIFIED})
        } else {
            json!({"svc_name": entry.principal})
        };
        assert_eq!(source, expected);
    }
}

#[test]
fn what_has_no_attribute_is_kept() {
    let entry = AuditEntry { index: 7, leaf_hash: vec![1; 32].into(), ..golden::entries().swap_remove(4) };
    let event = event(&entry);
    let unmapped = &event["unmapped"];
    assert_eq!(unmapped["index"], 7);
    assert_eq!(unmapped["leaf_hash"], "01".repeat(32));
    assert_eq!(unmapped["grant_ids"][0], "support-desk-may");
    assert_eq!(unmapped["policy_version"], 1);
    assert_eq!([&unmapped["reference"], &unmapped["asserted_actor"]], ["TICKET-7", "user:okta/00u1"]);
    assert_eq!(event["metadata"]["uid"], unmapped["leaf_hash"]);
    assert_eq!(event["metadata"]["version"], VERSION);
    assert_eq!(event["time"], 1_795_461_369_004_i64);
}
