//! `privet check-config`: everything that would keep a server from starting or its clients from reaching it, said before it
//! is started – and every place that it would talk to.
//!
//! Only looks: makes nothing, changes nothing, and can run beside a server that uses the same files.

mod certificates;
mod found;
mod places;
mod policy;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    answer::{put, put_json},
    failure::Exit,
    root,
    serve::Machine,
    terminal::{Terminal, printable_lines},
};
use crate::{
    audit::anchor::same_device,
    clock::{Clock, SystemClock},
    config::{Config, Keeper},
};
use found::Found;

/// Which configuration.
#[derive(Args, Debug)]
pub struct CheckConfig {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "privet.toml")]
    config: PathBuf,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    holds: bool,
    #[serde(flatten)]
    found: Found,
}

/// Looks at everything; refused if something does not hold.
///
/// # Errors
/// The output can't be written. Whatever is wrong with the configuration is said, and no error.
pub fn run(args: &CheckConfig, terminal: &Terminal) -> Result<Exit> {
    let now = SystemClock::start().wall_secs();
    let checks = look(&args.config, now);
    let holds = checks.iter().all(|check| check.holds);
    let shown = if terminal.json {
        put_json(&serde_json::json!({ "holds": holds, "checks": checks }))
    } else {
        put(text(&checks, terminal.colour_stdout()).as_bytes())
    };
    if !holds {
        // Whether or not anybody reads why.
        return Ok(Exit::Refused);
    }
    shown?;
    Ok(Exit::Ok)
}

fn look(file: &Path, now: u64) -> Vec<Check> {
    let config = match Config::load(file) {
        Ok(config) => config,
        // What the rest would say depends on it.
        Err(error) => return vec![check("configuration", Found::problem(format!("{:#}", anyhow::Error::from(error))))],
    };
    // Opened once: a token counts wrong PINs.
    let root = root::open_unasked(&config, &Machine::this());
    vec![
        check("configuration", usable(&config)),
        check("server", certificates::server(&config, now)),
        check("client CAs", certificates::client_cas(&config, now)),
        check("root key", places::root(&config, &root)),
        check("log key", places::log_key(&config, root.as_deref().ok())),
        check("store", places::store(&config)),
        check("anchor", places::anchor(&config)),
        check("policy", policy::check(&config, now)),
        check("listens on", Found::well(listeners(&config))),
        check("talks to", Found::well(outside(&config))),
    ]
}

fn check(what: &'static str, found: Found) -> Check {
    Check { what, holds: found.holds(), found }
}

fn usable(config: &Config) -> Found {
    let tenants: Vec<_> = config.tenant.iter().map(|tenant| tenant.id.as_str()).collect();
    let region = config.region.as_ref().map(|region| format!(", region {}", region.as_str())).unwrap_or_default();
    let mut found = Found::well(format!("log {}, tenants {}{region}", config.log.origin, tenants.join(", ")));
    if config.dev {
        found.problems.push("it was made by `privet dev`: `privet serve` refuses it".to_owned());
    }
    found
}

fn listeners(config: &Config) -> String {
    let metrics = config.server.metrics_listen.map(|address| format!(", metrics on {address}")).unwrap_or_default();
    format!("{}{metrics}", config.server.listen)
}

/// Every place outside this machine that a server with this configuration would open a connection to, or write to. A device
/// of its own may be a network's.
fn outside(config: &Config) -> String {
    let files = match config.root.keeper() {
        Keeper::Files { .. } => {
            "nothing outside this machine: root key, store, policy and log are local files".to_owned()
        }
        Keeper::Token { module, .. } => format!(
            "whatever {} connects to for the root key's token: store, policy and log are local files",
            module.display()
        ),
    };
    let apart = config.log.anchor.as_ref().filter(|anchor| {
        // Where nobody can tell, it is said rather than not.
        !same_device(&anchor.dir, &config.store.dir).unwrap_or(false)
    });
    match apart {
        Some(anchor) => format!("the anchor on a device of its own, {}; beside it {files}", anchor.dir.display()),
        None => files,
    }
}

fn text(checks: &[Check], colours: bool) -> String {
    let paint = |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    for Check { what, holds, found } in checks {
        let mark = match (holds, found.warnings.is_empty()) {
            (false, _) => paint("31", "✗"),
            (true, false) => paint("33", "!"),
            (true, true) => paint("32", "✓"),
        };
        let notes = found.problems.iter().chain(&found.warnings).map(String::as_str);
        let lines = Some(found.found.as_str()).filter(|line| !line.is_empty()).into_iter().chain(notes);
        for (line, first) in lines.zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            let (mark, what) = if first { (mark.as_str(), *what) } else { (" ", "") };
            let line = printable_lines(line.trim_end()).replace('\n', "\n                 ");
            text.push_str(&format!(" {mark} {what:<13} {line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
    use tempfile::TempDir;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::{
        audit::anchor::Anchor,
        cli::init::{self, Init},
        identity::dev::COMMON_NAME_PREFIX,
    };

    const NOW: i64 = 1_800_000_000;
    const SAME_DEVICE: &str = "# = danger_anchor_on_same_device = false";

    fn params(common_name: &str, days: i64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        params.not_before = now - Duration::days(10);
        params.not_after = now + Duration::days(days);
        params
    }

    /// What `privet init` makes, completed with certificates.
    struct Deployment(TempDir);

    impl Deployment {
        fn new() -> Self {
            let this = Self(tempfile::tempdir().unwrap());
            let anchor_dir = Some(this.0.path().join("anchor"));
            init::make(&Init { dir: this.0.path().join("d"), anchor_dir, ..Init::default() }).unwrap();
            this.edit("privet.toml", SAME_DEVICE, &SAME_DEVICE.replace("# = ", "").replace("false", "true"));
            this.server("privet.acme.example", 100);
            this.client_ca("Acme CA", true, 100);
            this
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.path().join("d").join(name)
        }

        fn server(&self, host: &str, days: i64) {
            let key = KeyPair::generate().unwrap();
            let mut params = params("privet", days);
            params.subject_alt_names = CertificateParams::new([host.to_owned()]).unwrap().subject_alt_names;
            fs::write(self.file("server.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(self.file("server-key.pem"), key.serialize_pem()).unwrap();
            self.mode("server-key.pem", 0o600);
        }

        fn client_ca(&self, name: &str, is_ca: bool, days: i64) {
            let mut params = params(name, days);
            params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
            let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
            fs::write(self.file("clients-ca.pem"), pem).unwrap();
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn edit(&self, name: &str, from: &str, to: &str) {
            let text = fs::read_to_string(self.file(name)).unwrap();
            assert!(text.contains(from), "{name} has no {from:?}");
            fs::write(self.file(name), text.replacen(from, to, 1)).unwrap();
        }

        fn look(&self) -> Vec<Check> {
            look(&self.file("privet.toml"), NOW.unsigned_abs())
        }

        /// The one check that does not hold, and what it says.
        fn problem(&self) -> (&'static str, String) {
            let failed: Vec<_> = self.look().into_iter().filter(|check| !check.holds).collect();
            let [one] = failed.as_slice() else { panic!("{failed:?}") };
            (one.what, one.found.problems.join("\n"))
        }

        fn warnings(&self) -> String {
            let checks = self.look();
            assert!(checks.iter().all(|check| check.holds), "{checks:?}");
            checks.iter().flat_map(|check| check.found.warnings.clone()).collect::<Vec<_>>().join("\n")
        }
    }

    #[test]
    fn a_sound_deployment_holds_and_nothing_is_made_or_changed() {
        let deployment = Deployment::new();
        let before = fs::read_dir(deployment.file("")).unwrap().count();
        let warnings = deployment.warnings();
        assert!(warnings.lines().all(|line| line.contains("device")), "{warnings}");
        let text = text(&deployment.look(), false);
        assert!(text.contains("certificate for privet.acme.example, valid for 100 more days"), "{text}");
        assert!(text.contains("✓ talks to      nothing outside this machine"), "{text}");
        assert_eq!(fs::read_dir(deployment.file("")).unwrap().count(), before);
    }

    #[test]
    fn what_breaks_the_configuration_is_said_with_its_place() {
        let deployment = Deployment::new();
        deployment.edit("privet.toml", "cert = \"server.pem\"", "cert = \"server.pem\"\nverify = false");
        let (what, problem) = deployment.problem();
        assert_eq!(what, "configuration");
        assert!(problem.contains("privet.toml:") && problem.contains("verify"), "{problem}");
        assert_eq!(deployment.look().len(), 1);
    }

    #[test]
    fn a_development_configuration_is_for_dev_alone() {
        let deployment = Deployment::new();
        deployment.edit("privet.toml", "[server]", "dev = true\n[server]");
        assert!(deployment.problem().1.contains("privet dev"));
    }

    #[test]
    fn server_certificates_that_clients_would_refuse_are_problems() {
        let deployment = Deployment::new();
        let says = |part: &str| {
            let (what, problem) = deployment.problem();
            assert!(what == "server" && problem.contains(part), "{what}: {problem}");
        };
        deployment.server("privet.acme.example", -1);
        says("ended at");
        fs::remove_file(deployment.file("server-key.pem")).unwrap();
        deployment.server("privet.acme.example", 15);
        deployment.mode("server-key.pem", 0o640);
        assert!(deployment.warnings().contains("open to its group"));
        deployment.mode("server-key.pem", 0o604);
        says("open to every user");
        fs::write(deployment.file("server-key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        deployment.mode("server-key.pem", 0o600);
        says("must hold the private key");
        fs::write(deployment.file("server.pem"), "nonsense").unwrap();
        says("server.pem");
        fs::remove_file(deployment.file("server.pem")).unwrap();
        says("server.pem can't be read");
        deployment.server("privet.acme.example", 14);
        assert!(deployment.warnings().contains("ends in 14 days"));
    }

    #[test]
    fn client_cas_that_can_vouch_for_nobody_are_problems() {
        let deployment = Deployment::new();
        let says = |part: &str| {
            let (what, problem) = deployment.problem();
            assert!(what == "client CAs" && problem.contains(part), "{what}: {problem}");
        };
        deployment.client_ca("leaf", false, 100);
        says("no CA's");
        deployment.client_ca(&format!("{COMMON_NAME_PREFIX} CA"), true, 100);
        says("privet dev");
        fs::write(deployment.file("clients-ca.pem"), "").unwrap();
        says("clients-ca.pem must hold certificates");
        deployment.client_ca("Acme CA", true, -1);
        assert!(deployment.warnings().contains("clients-ca.pem ended at"));
    }

    #[test]
    fn a_root_key_that_is_missing_open_or_in_the_store_is_a_problem() {
        let deployment = Deployment::new();
        let says = |part: &str| {
            let (what, problem) = deployment.problem();
            assert!(what == "root key" && problem.contains(part), "{what}: {problem}");
        };
        deployment.mode("root/root-1.key", 0o644);
        says("root-1.key");
        deployment.mode("root/root-1.key", 0o600);
        fs::create_dir(deployment.file("store")).unwrap();
        deployment.mode("store", 0o700);
        fs::rename(deployment.file("root"), deployment.file("store/root")).unwrap();
        says("`privet init` makes one");
        symlink(deployment.file("store/root"), deployment.file("root")).unwrap();
        let (what, problem) = deployment.problem();
        assert!(what == "configuration" && problem.contains("must not lie in store.dir"), "{what}: {problem}");
    }

    #[test]
    fn a_store_that_others_can_read_or_that_has_no_place_is_a_problem() {
        let deployment = Deployment::new();
        fs::create_dir(deployment.file("store")).unwrap();
        deployment.mode("store", 0o750);
        assert_eq!(deployment.problem().0, "store");
        deployment.mode("store", 0o700);
        assert!(deployment.look().iter().all(|check| check.holds));
        deployment.edit("privet.toml", "dir = \"store\"", "dir = \"missing/store\"");
        assert!(deployment.problem().1.contains("the directory above it is missing"));
        deployment.edit("privet.toml", "dir = \"missing/store\"", "dir = \"server.pem\"");
        assert!(deployment.problem().1.contains("is not a directory"));
    }

    #[test]
    fn the_log_key_that_is_missing_open_or_another_roots_is_a_problem_and_its_verifier_key_is_said() {
        let deployment = Deployment::new();
        let looked = deployment.look();
        let log_key = looked.iter().find(|check| check.what == "log key").unwrap();
        let verifier_key = log_key.found.verifier_key.clone().unwrap();
        assert!(verifier_key.starts_with("privet.acme.example/log+") && log_key.found.found.contains(&verifier_key));
        let says = |part: &str| {
            let (what, problem) = deployment.problem();
            assert!(what == "log key" && problem.contains(part), "{what}: {problem}");
        };
        deployment.mode("log-key", 0o640);
        says("chmod it to 0600");
        fs::remove_file(deployment.file("log-key")).unwrap();
        says("`privet init` makes one");
        fs::copy(Deployment::new().file("log-key"), deployment.file("log-key")).unwrap();
        says("does not open");
    }

    #[test]
    fn an_anchor_that_is_missing_near_or_another_logs_is_said() {
        let deployment = Deployment::new();
        let dir = deployment.0.path().join("anchor");
        let found = |deployment: &Deployment| {
            let anchor = deployment.look().into_iter().find(|check| check.what == "anchor").unwrap();
            anchor.found.found
        };
        let problem = |part: &str| {
            let (what, problem) = deployment.problem();
            assert!(what == "anchor" && problem.contains(part), "{what}: {problem}");
        };
        assert!(found(&deployment).ends_with("made at the first start"));
        fs::create_dir(deployment.file("store")).unwrap();
        deployment.mode("store", 0o700);
        fs::write(deployment.file("store/format"), "").unwrap();
        assert!(deployment.warnings().contains("--new-anchor"));
        let origin = "privet.acme.example/log";
        let mut anchor = Anchor::create(&dir, origin).unwrap();
        assert!(found(&deployment).ends_with("without a checkpoint yet"));
        anchor.advance(None, &format!("{origin}\n17\n")).unwrap();
        assert!(found(&deployment).ends_with("anchor, at 17 entries"));
        deployment.edit("privet.toml", origin, "other.example/log");
        problem("it is of the log privet.acme.example/log");
        deployment.edit("privet.toml", "other.example/log", origin);

        deployment.edit("privet.toml", "danger_anchor_on_same_device = true", SAME_DEVICE);
        problem("`danger_anchor_on_same_device = true`");
        let section = "[log.anchor]";
        deployment.edit("privet.toml", &format!("\n{section}"), "\n# [log.anchor]");
        let dir = fs::canonicalize(dir).unwrap();
        deployment.edit("privet.toml", &format!("dir = {dir:?}"), "");
        problem("`danger_no_anchor = true`");
        deployment.edit("privet.toml", "# = danger_no_anchor = false", "danger_no_anchor = true");
        assert!(deployment.warnings().contains("older copy of the store"));
    }

    #[test]
    fn an_anchor_on_another_device_is_a_place_that_is_written_to() {
        let deployment = Deployment::new();
        let dir = fs::canonicalize(deployment.0.path().join("anchor")).unwrap();
        // /proc is nobody's disk.
        deployment.edit("privet.toml", &format!("dir = {dir:?}"), "dir = \"/proc/anchor\"");
        let outside = outside(&Config::load(&deployment.file("privet.toml")).unwrap());
        assert!(outside.starts_with("the anchor on a device of its own, /proc/anchor; beside it nothing"), "{outside}");
    }

    #[test]
    fn each_policy_problem_is_said_with_its_file_and_line() {
        let deployment = Deployment::new();
        deployment.edit("policies/policy.csv", ", encrypt, signup,", ", encrypts, signup,");
        deployment.edit("policies/policy.csv", ", index, signup,", ", index, curiosity,");
        let (what, problem) = deployment.problem();
        let file = deployment.file("policies/policy.csv").display().to_string();
        assert_eq!(what, "policy");
        assert_eq!(problem.lines().filter(|line| line.starts_with(&format!("{file}:"))).count(), 2, "{problem}");
    }

    #[test]
    fn lines_that_can_answer_nobody_and_tenants_without_a_line_are_worth_a_look() {
        let deployment = Deployment::new();
        deployment.edit(
            "privet.toml",
            "[[tenant]]\nid = \"acme\"",
            "[[tenant]]\nid = \"acme\"\n[[tenant]]\nid = \"new\"",
        );
        let policy = deployment.file("policies/policy.csv");
        let lines = "\
#: id=foreign reason=\"x\"\ng, spiffe://other.example/x, role:signup, acme\n\
#: id=typo reason=\"x\"\ng, spiffe://acme.example/x, role:signup, acne\n\
#: id=old expires=2001-09-09T01:46:40Z reason=\"x\"\ng, spiffe://acme.example/x, role:signup, acme\n";
        fs::write(&policy, fs::read_to_string(&policy).unwrap() + lines).unwrap();
        let warnings = deployment.warnings();
        for part in ["foreign: no [[trust_domain]]", "typo: tenant acne", "no grant names tenant new", "policy.csv:"] {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
        assert!(!warnings.contains("signup-service"), "{warnings}");
        assert!(text(&deployment.look(), false).contains("! policy"));
    }
}
