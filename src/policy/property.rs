//! The cache, the shards and casbin itself, each held against the others and against an evaluator that shares no code with
//! them, over random policies, edits, questions and times that run both ways.

mod document;
mod random;
mod swaps;

use proptest::{prelude::*, test_runner::Config};

use self::{document::Document, random::Random};
use super::*;

const MODEL_TEXT: &str = include_str!("../../policies/model.conf");

/// Builds what the lint leaves of a document: rules on lines it refuses are dropped until it refuses none.
fn build(document: &mut Document, version: u64) -> Snapshot {
    loop {
        let (policy, catalogue) = (document.csv(), document.catalogue());
        let sources = Sources { model: MODEL_TEXT.into(), policy, catalogue, assertions: String::new() };
        match Snapshot::build(version, &sources) {
            Ok(snapshot) => return snapshot,
            Err(problems) => {
                let lines: Vec<usize> = problems.iter().filter_map(|problem| problem.line).collect();
                assert!(problems.iter().all(|problem| problem.file == POLICY), "{problems:#?}");
                document.drop_lines(&lines);
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 64, ..Config::default() })]

    #[test]
    fn the_csv_of_typed_rules_reads_back_as_the_same_rules(seed in any::<u64>()) {
        let mut document = Document::random(&mut Random::new(seed));
        build(&mut document, 1);
        let (rules, problems) = super::csv::parse(&document.csv());
        prop_assert!(problems.is_empty(), "{problems:?}");
        let mut text = String::new();
        rules.grants.iter().for_each(|line| text += &line.rule.to_string());
        rules.memberships.iter().for_each(|line| text += &line.rule.to_string());
        prop_assert_eq!(text, document.csv());
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "[pg#:, =\"\\n*/a-z0-9\u{202e}\u{0}-]{0,400}") {
        _ = super::csv::parse(&text);
        _ = Catalogue::parse("c", &text);
        _ = enforcer::check_model(&text);
        let catalogue = include_str!("../../policies/catalogue.toml").into();
        let sources = Sources { model: MODEL_TEXT.into(), policy: String::new(), catalogue, assertions: text };
        _ = Snapshot::build(1, &sources);
    }
}
