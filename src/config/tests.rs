//! Tests of the configuration as operators meet it: whole files, whole messages.

use super::*;

const MINIMAL: &str = r#"
[tls]
cert = "server.pem"
key = "/etc/privet/server.key"
[[tls.client_ca]]
file = "ca.pem"
trust_domains = ["acme.example"]

[[trust_domain]]
name = "acme.example"
tenants = ["acme", "_system"]

[[tenant]]
id = "acme"

[store]
dir = "data"
[root]
kind = "file"
dir = "root"
[policy]
dir = "policies"
[log]
origin = "privet.acme.example/log"
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/acme/privet.toml")).map_err(|error| error.to_string())
}

/// The minimal file with one line replaced, and the message it leads to.
fn refusal(line: &str, instead: &str) -> String {
    assert!(MINIMAL.contains(line), "{line}");
    parse(&MINIMAL.replacen(line, instead, 1)).unwrap_err()
}

#[test]
fn a_minimal_file_gets_the_documented_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert!(!config.dev && !config.reflection);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(config.server.metrics_listen, None);
    let limits = &config.limits;
    assert_eq!((limits.fields_max, limits.field_bytes_max, limits.message_bytes_max), (1_000, 65_536, 4 << 20));
    assert_eq!((limits.in_flight_per_connection, limits.connections_max), (256, 1_024));
    assert_eq!(limits.bytes_in_flight_max, 256 << 20);
    assert_eq!((limits.connection_age_secs.as_secs(), limits.connection_grace_secs.as_secs()), (600, 60));
    assert_eq!(config.keys.subject_key_age_max.as_secs(), 365 * 86_400);
    let log = &config.log;
    assert_eq!((log.segment_bytes_max, log.segment_age_max_days.as_secs()), (1 << 30, 30 * 86_400));
    assert_eq!(log.retention_days.as_secs(), 400 * 86_400);
    assert!(log.anchor.is_none() && !log.danger_no_anchor && !log.danger_anchor_on_same_device);
}

#[test]
fn relative_paths_are_taken_from_the_file_and_absolute_ones_kept() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.tls.cert, Path::new("/etc/acme/server.pem"));
    assert_eq!(config.tls.key, Path::new("/etc/privet/server.key"));
    assert_eq!(config.tls.client_ca[0].file, Path::new("/etc/acme/ca.pem"));
    assert_eq!(config.store.dir, Path::new("/etc/acme/data"));
    assert_eq!(config.root.dir.as_deref(), Some(Path::new("/etc/acme/root")));
    assert_eq!(config.policy.dir, Path::new("/etc/acme/policies"));
    assert_eq!(config.log.key, Path::new("/etc/acme/log-key"));
    let with = |lines: &str| parse(&format!("{MINIMAL}{lines}")).unwrap().log;
    assert_eq!(with("key = \"keys/1\"\n").key, Path::new("/etc/acme/keys/1"));
    assert_eq!(with("[log.anchor]\ndir = \"anchor\"\n").anchor.unwrap().dir, Path::new("/etc/acme/anchor"));
    assert_eq!(with("[log.anchor]\ndir = \"/mnt/a\"\n").anchor.unwrap().dir, Path::new("/mnt/a"));
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let message = refusal("dir = \"data\"", "dir = \"data\"\ndri = 1");
    assert!(message.starts_with("/etc/acme/privet.toml:18:1: store.dri: unknown field `dri`"), "{message}");
    for (line, instead) in [
        ("[tls]", "x = 1\n[tls]"),
        ("[tls]", "[tls]\nx = 1"),
        ("id = \"acme\"", "id = \"acme\"\nx = 1"),
        ("[store]", "[limits]\nx = 1\n[store]"),
        ("[store]", "[keys]\nx = 1\n[store]"),
        ("[store]", "[x]\n[store]"),
        ("[log]", "[log]\nx = 1"),
        ("[log]", "[log.anchor]\ndir = \"a\"\nx = 1\n[log]"),
    ] {
        assert!(refusal(line, instead).contains("unknown field `x`"), "{instead}");
    }
}

#[test]
fn a_bad_value_is_refused_at_its_place_by_its_rule_and_not_repeated() {
    let message = refusal("id = \"acme\"", "id = \"Acme Secret\"");
    assert_eq!(message, "/etc/acme/privet.toml:14:6: tenant.id: must be a tenant: [a-z0-9][a-z0-9-]{0,62}");
    let message = refusal("origin = \"privet.acme.example/log\"", "origin = \"a b\"");
    assert!(message.contains("log.origin: must be an origin"), "{message}");
    assert!(refusal("kind = \"file\"", "kind = \"kms\"").contains("root.kind: unknown variant"));
}

#[test]
fn limits_are_accepted_up_to_their_bounds_and_no_further() {
    let with = |line: &str| parse(&format!("{MINIMAL}\n[limits]\n{line}\n"));
    for (key, min, max) in [
        ("fields_max", 1_u64, 10_000_u64),
        ("in_flight_per_connection", 1, 4_096),
        ("connections_max", 1, 65_536),
        ("connection_age_secs", 1, 86_400),
        ("handshake_secs_max", 1, 60),
        ("message_secs_max", 1, 600),
    ] {
        assert!(with(&format!("{key} = {min}")).is_ok() && with(&format!("{key} = {max}")).is_ok(), "{key}");
        for bad in [min - 1, max + 1] {
            let message = with(&format!("{key} = {bad}")).unwrap_err();
            assert!(message.ends_with(&format!("limits.{key}: must be {min} to {max}")), "{message}");
        }
    }
    assert!(with("fields_max = -1").is_err() && with("fields_max = 1.5").is_err());
}

#[test]
fn segments_and_retention_are_accepted_up_to_their_bounds_and_no_further() {
    let with = |line: &str| parse(&format!("{MINIMAL}{line}\n"));
    for (key, min, max) in [
        ("segment_bytes_max", 16 << 20, 16_u64 << 30),
        ("segment_age_max_days", 1, 3_650),
        ("retention_days", 1, 36_500),
    ] {
        assert!(with(&format!("{key} = {min}")).is_ok() && with(&format!("{key} = {max}")).is_ok(), "{key}");
        for bad in [min - 1, max + 1] {
            let message = with(&format!("{key} = {bad}")).unwrap_err();
            assert!(message.ends_with(&format!("log.{key}: must be {min} to {max}")), "{message}");
        }
    }
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let message = parse(&format!("{MINIMAL}\n[limits]\nmessage_bytes_max = 1024\n")).unwrap_err();
    assert!(message.ends_with("limits.field_bytes_max: must not be more than message_bytes_max"), "{message}");
    let text = format!("{MINIMAL}\n[limits]\nbytes_in_flight_max = 1048576\n");
    let message = parse(&text).unwrap_err();
    let line = text.lines().position(|line| line.starts_with("bytes_in")).unwrap() + 1;
    assert!(message.contains(&format!(":{line}:1: limits.bytes_in_flight_max: must not be less")), "{message}");
}

#[test]
fn names_must_fit_together() {
    let unknown = refusal("tenants = [\"acme\", \"_system\"]", "tenants = [\"other\"]");
    assert!(unknown.contains(":11:1: trust_domain.tenants: must be tenants listed"), "{unknown}");
    let unlisted = refusal("trust_domains = [\"acme.example\"]", "trust_domains = [\"acme.example\", \"b\"]");
    assert!(unlisted.contains(":7:1: tls.client_ca.trust_domains: must be trust domains listed"), "{unlisted}");
    assert!(refusal("trust_domains = [\"acme.example\"]", "trust_domains = []").contains("at least one"));
    let nobody = refusal("[[tenant]]", "[[trust_domain]]\nname = \"b\"\ntenants = []\n[[tenant]]");
    assert!(nobody.contains("trust_domain.name: must be vouched for"), "{nobody}");
    let twice = refusal("[store]", "[[tenant]]\nid = \"acme\"\n[store]");
    assert!(twice.contains(":17:1: tenant.id: must not be there twice"), "{twice}");
    assert!(refusal("id = \"acme\"", "id = \"_system\"").contains("must be a tenant"));
}

#[test]
fn a_tenant_of_another_region_is_refused() {
    let with = |region: &str| {
        parse(
            &MINIMAL.replacen("id = \"acme\"", "id = \"acme\"\nregion = \"us-east\"", 1).replacen("\n[tls]", region, 1),
        )
    };
    assert!(with("\nregion = \"us-east\"\n[tls]").is_ok());
    for region in ["\nregion = \"eu-west\"\n[tls]", "\n[tls]"] {
        assert!(with(region).unwrap_err().contains("tenant.region: must be the deployment's region"));
    }
}

#[test]
fn root_and_store_lie_apart_whatever_their_paths_look_like() {
    for root in ["data", "data/root", "./data/root", "."] {
        let refused = refusal("dir = \"root\"", &format!("dir = {root:?}"));
        assert!(refused.contains("root.dir: must not lie in store.dir"), "{root}: {refused}");
    }
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(scratch.path().join("data/inner")).unwrap();
    std::os::unix::fs::symlink(scratch.path().join("data/inner"), scratch.path().join("root")).unwrap();
    let refused = Config::parse(MINIMAL, &scratch.path().join("privet.toml")).unwrap_err().to_string();
    assert!(refused.contains("root.dir"), "{refused}");
}

#[test]
fn an_anchor_and_the_store_lie_apart_even_for_development() {
    for first in ["", "dev = true\n"] {
        for dir in ["data", "data/anchor", "./data/anchor", "."] {
            let refused = parse(&format!("{first}{MINIMAL}[log.anchor]\ndir = {dir:?}\n")).unwrap_err();
            assert!(refused.contains(":1: log.anchor.dir: must not lie in store.dir"), "{dir}: {refused}");
        }
        assert!(parse(&format!("{first}{MINIMAL}[log.anchor]\ndir = \"data-anchor\"\n")).is_ok());
    }
}

#[test]
fn an_anchor_without_a_directory_or_beside_the_wish_for_none_is_refused() {
    assert!(parse(&format!("{MINIMAL}[log.anchor]\n")).unwrap_err().contains("log.anchor: missing field `dir`"));
    let both = parse(&format!("{MINIMAL}danger_no_anchor = true\n[log.anchor]\ndir = \"a\"\n")).unwrap_err();
    let line = MINIMAL.lines().count() + 1;
    assert!(both.contains(&format!(":{line}:1: log.danger_no_anchor: must not be set beside [log.anchor]")), "{both}");
}

#[test]
fn metrics_listen_on_loopback_only() {
    let with = |address: &str| parse(&format!("{MINIMAL}\n[server]\nmetrics_listen = \"{address}\"\n"));
    assert!(with("127.0.0.1:9090").is_ok() && with("[::1]:9090").is_ok());
    for address in ["0.0.0.0:9090", "[::]:9090", "192.0.2.1:9090"] {
        assert!(with(address).unwrap_err().contains("server.metrics_listen: must be a loopback address"), "{address}");
    }
}

#[test]
fn text_that_is_no_toml_is_refused_at_its_place() {
    let message = parse("dev = tru\n").unwrap_err();
    assert!(message.starts_with("/etc/acme/privet.toml:1:7: dev: "), "{message}");
    assert!(parse("").unwrap_err().contains("missing field `tls`"));
}

#[test]
fn a_missing_file_is_said_to_be_unreadable() {
    let error = Config::load(Path::new("/nonexistent/privet.toml")).unwrap_err();
    assert!(matches!(&error, Error::Unreadable { .. }), "{error}");
}

#[test]
fn a_root_key_is_said_to_be_in_one_place() {
    let file = "kind = \"file\"\ndir = \"root\"\n";
    assert!(refusal(file, "kind = \"file\"\n").contains("root.dir: must be"));
    assert!(refusal(file, &format!("{file}token = \"t\"\n")).contains("root.token: is for"));
    let token = "kind = \"pkcs11\"\nmodule = \"m.so\"\ntoken = \"t\"\npin_file = \"pin\"\n";
    if cfg!(feature = "pkcs11") {
        let config = parse(&MINIMAL.replacen(file, token, 1)).unwrap();
        let Keeper::Token { module, token, key, pin_file } = config.root.keeper() else { panic!("{config:?}") };
        assert_eq!((module, pin_file), (Path::new("/etc/acme/m.so"), Some(Path::new("/etc/acme/pin"))));
        assert_eq!((token, key), ("t", "privet-root"));
        assert!(refusal("kind = \"file\"", "kind = \"pkcs11\"").contains("root.dir: is for"));
        let unnamed = "kind = \"pkcs11\"\nmodule = \"m.so\"\ntoken = \"\"\n";
        assert!(refusal(file, unnamed).contains("root.token: must"));
    } else {
        assert!(refusal(file, token).contains("--features pkcs11"));
    }
}
