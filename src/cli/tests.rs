//! What the command line accepts.

use clap::CommandFactory;

use super::*;

fn parse(args: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(format!("privet {args}").split_whitespace())
}

const SEAL: &str = "encrypt --identity d --tenant acme --purpose signup";

/// Some log's key.
const KEY: &str = "elsewhere.example/log+80619d24+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

#[test]
fn the_declaration_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn one_field_or_a_file_is_asked_for_in_full_and_never_both() {
    for good in [
        "--class pii/account/email --subject c1",
        "--class pii/account/email --subject-file f --in v --context 00ff --index --json -q",
        "--csv i --subject id --map email=pii/account/email,name=pii/account/name --out o --force --batch 1000",
        "--csv - --subject id --map email=pii/account/email --map name=pii/account/name --out -",
        "--csv i --subject id --map email=pii/account/email",
    ] {
        assert!(parse(&format!("{SEAL} {good}")).is_ok(), "{good}");
    }
    for bad in [
        "",
        "--class pii/account/email",
        "--subject c1",
        "--class email --subject c1",
        "--class pii/account/email --subject c1 --subject-file f",
        "--class pii/account/email --subject c1 anna@example.com",
        "--class pii/account/email --subject c1 --map a=pii/account/email",
        "--class pii/account/email --subject c1 --out o",
        "--csv i --subject id --out o",
        "--csv i --subject id --map email=pii/account/email --force",
        "--csv i --map email=pii/account/email --out o",
        "--csv i --subject-file f --map email=pii/account/email --out o",
        "--csv i --subject id --map email=pii/account/email --out o --class pii/account/email --in v",
        "--csv i --subject id --map email=pii/account/email --out o --index",
        "--csv i --subject id --map email=pii/account/email --out o --context 00",
        "--csv i --subject id --map email --out o",
        "--csv i --subject id --map email=pii/account/email --out o --batch 0",
        "--csv i --subject id --map email=pii/account/email --out o --batch 1001",
    ] {
        assert!(parse(&format!("{SEAL} {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn ids_are_checked_before_anything_is_sent() {
    for bad in [
        "--tenant ACME",
        "--tenant _system",
        "--purpose Signup",
        "--reference a_b c",
        "--actor role:admin",
        "--server h",
    ] {
        let line = format!("index --identity d --tenant acme --purpose signup --class pii/account/email {bad}");
        assert!(parse(&line).is_err(), "{bad}");
    }
    assert!(parse("audit list --identity d --tenant _system --since 15m --limit 0").is_ok());
    assert!(parse(&format!("audit verify acme.privet --verifier-key {KEY}")).is_ok());
    assert!(
        parse(&format!(
            "audit verify --tenant _system --verifier-key {KEY} --identity d --state s --fresh --retention-days 30"
        ))
        .is_ok()
    );
    for bad in [
        "",
        "--server localhost:1",
        "acme.privet --verifier-key k",
        &format!("--verifier-key {KEY} --retention-days -1"),
        &format!("a b --verifier-key {KEY}"),
        &format!("--verifier-key {KEY} --server localhost:1"),
    ] {
        assert!(parse(&format!("audit verify {bad}")).is_err(), "{bad}");
    }
    for touched in ["pii/account/email", "policy", "audit", "keys", "subjects", "tenants"] {
        assert!(parse(&format!("audit list --identity d --tenant acme --class {touched}")).is_ok(), "{touched}");
    }
    assert!(parse("audit list --identity d --tenant acme --subject-from f --by hour --since 7d").is_ok());
    for bad in ["--subject cust-1", "--by week", "--by hour --limit 3", "--by day --oldest-first"] {
        assert!(parse(&format!("audit list --identity d --tenant acme {bad}")).is_err(), "{bad}");
    }
    for bad in [
        "--since yesterday",
        "--operation sealing",
        "--class log",
        "--verdict maybe",
        "--page-size 0",
        "--page-size 1001",
    ] {
        assert!(parse(&format!("audit list --identity d --tenant acme {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn a_proof_is_of_one_entry_and_a_key_is_one() {
    let hash = "ab".repeat(32);
    for good in [
        "prove 7",
        &format!("prove --leaf-hash {hash} --with-entry"),
        "checkpoint --keys",
        "tail --from 0",
        "export --format cef --since 1d",
    ] {
        assert!(parse(&format!("audit {good} --identity d --tenant acme")).is_ok(), "{good}");
    }
    for bad in [
        "prove",
        "prove -1",
        "prove 7 8",
        "prove 7 --leaf-hash abab",
        &format!("prove 7 --leaf-hash {hash}"),
        "prove 7 --verifier-key nonsense",
        "checkpoint --verifier-key @/nowhere/at/all",
        "tail --since 1d",
        "export --format csv",
    ] {
        assert!(parse(&format!("audit {bad} --identity d --tenant acme")).is_err(), "{bad}");
    }
}

#[test]
fn a_customer_is_named_in_a_file_wherever_an_argument_names_one() {
    const RETIRE: &str = "--category usage --up-to-version 1 --rewrapped";
    let retire = format!("keys retire --subject-file - {RETIRE}");
    for good in [
        "keys status",
        "keys status --subject-file -",
        "keys rotate --subject-file f --category usage",
        "keys rotate --subject c1",
        "keys rotate --all",
        &retire,
        "subject hold CASE-1 --reason-file r --subject-file -",
        "subject hold CASE-1 --reason r --subject c1",
    ] {
        assert!(parse(&format!("{good} --identity d --tenant acme")).is_ok(), "{good}");
    }
    for bad in [
        "keys status --subject c1 --subject-file f",
        "keys rotate",
        "keys rotate --category usage",
        "keys rotate --all --subject-file f",
        "keys rotate --all --subject c1",
        "keys rotate --all --category usage",
        "keys retire --subject-file f --category usage --up-to-version 1",
        "subject hold CASE-1 --subject c1",
        "subject hold CASE-1 --reason r --reason-file r --subject c1",
    ] {
        assert!(parse(&format!("{bad} --identity d --tenant acme")).is_err(), "{bad}");
    }
}

#[test]
fn a_policy_is_looked_at_by_its_directory() {
    for good in ["lint d", "lint d --json", "test d -q", "diff d e"] {
        assert!(parse(&format!("policy {good}")).is_ok(), "{good}");
    }
    for bad in ["", "lint", "test", "diff d", "diff d e f", "lint d --identity i"] {
        assert!(parse(&format!("policy {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn dev_listens_on_loopback_addresses_only() {
    for good in ["127.0.0.1:0", "127.9.9.9:7443", "[::1]:7443"] {
        assert!(parse(&format!("dev --listen {good}")).is_ok(), "{good}");
    }
    for bad in ["0.0.0.0:7443", "10.0.0.1:7443", "[::]:7443", "localhost:7443", "127.0.0.1", "[::ffff:127.0.0.1]:1"] {
        assert!(parse(&format!("dev --listen {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn a_value_among_the_arguments_is_not_repeated() {
    let error = parse(&format!("{SEAL} --class pii/account/email --subject c1 anna@example.com")).err().unwrap();
    let failure = misplaced_value(&error).unwrap();
    assert!(!failure.for_people(false).contains("anna") && failure.exit() == Exit::Usage);
    // An unknown option is named as usual.
    assert!(misplaced_value(&parse(&format!("{SEAL} --clas x")).err().unwrap()).is_none());
}

#[test]
fn help_is_no_fault_and_nonsense_is() {
    let exit = |args: &str| Cli::from_args(format!("privet {args}").split_whitespace().map(Into::into)).err();
    assert_eq!(exit("--version"), Some(Exit::Ok));
    assert_eq!(exit("encrypt --nonsense"), Some(Exit::Usage));
    assert_eq!(exit("nonsense"), Some(Exit::Usage));
}

#[test]
fn help_fits_in_100_columns() {
    let mut root = Cli::command();
    root.build();
    let client =
        ["encrypt", "decrypt", "mask", "index", "check"].map(|name| root.find_subcommand(name).unwrap().clone());
    let audit: Vec<_> = root.find_subcommand("audit").unwrap().get_subcommands().cloned().collect();
    let policy: Vec<_> = root.find_subcommand("policy").unwrap().get_subcommands().cloned().collect();
    let rights = ["subject", "keys"]
        .map(|name| root.find_subcommand(name).unwrap().get_subcommands().cloned().collect::<Vec<_>>())
        .concat();
    for mut command in client.into_iter().chain(audit).chain(policy).chain(rights).chain([root]) {
        let help = command.render_help().to_string();
        // Examples are there to be copied whole, and the line of usage is clap's.
        let whole = ["privet encrypt ", "privet decrypt ", "Usage: "];
        let long = |line: &&str| line.chars().count() > 100 && !whole.iter().any(|part| line.contains(part));
        let long: Vec<_> = help.lines().filter(long).collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}
