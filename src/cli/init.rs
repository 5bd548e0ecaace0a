//! `privet init`: the beginnings of a deployment for real use – a root key, the log's key, the shipped policy, a configuration
//! to complete.
//!
//! Overwrites nothing. Certificates are not made: they come from the company's own authority.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    answer::{put, put_json},
    failure::Exit,
    files::{POLICIES, make_dir, write_new},
    root,
    serve::Machine,
    terminal::Terminal,
};
use crate::{
    audit::{anchor::same_device, note::SignerKey},
    config::{Keeper, Root, RootKind, parse_origin},
    keyring::{
        log_key::{self, LogKey},
        root::{FileRoot, RootProvider},
    },
};

/// The configuration that `privet init` writes: every key, with its unit and its default.
const CONFIG: &str = include_str!("init/privet.toml");

/// What and where.
#[derive(Args, Debug, Default)]
pub struct Init {
    /// Directory of the deployment; must be missing or empty
    #[arg(long, value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Directory of the root key, best on another device than DIR [default: DIR/root]
    #[arg(long, value_name = "DIR")]
    pub(super) root_dir: Option<PathBuf>,
    /// File with a passphrase to seal the root key with
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Make the root key in a PKCS #11 token, through this shared library of its maker
    #[arg(long, value_name = "FILE", requires = "token", conflicts_with_all = ["root_dir", "passphrase_file"])]
    pub(super) module: Option<PathBuf>,
    /// The token's label
    #[arg(long, value_name = "LABEL", requires = "module")]
    pub(super) token: Option<String>,
    /// How the labels of its keys begin [default: privet-root]
    #[arg(long, value_name = "NAME", requires = "module")]
    pub(super) key: Option<String>,
    /// File with the token's user PIN [default: asked for]
    #[arg(long, value_name = "FILE", requires = "module")]
    pub(super) pin_file: Option<PathBuf>,
    /// Directory of the log's anchor, on another device than DIR
    #[arg(long, value_name = "DIR")]
    pub(super) anchor_dir: Option<PathBuf>,
    /// The log's name for all time, a URL without its scheme [default: to be set in privet.toml]
    #[arg(long, value_name = "NAME", value_parser = parse_origin)]
    pub(super) origin: Option<String>,
}

/// Makes a deployment's files, and says what comes next.
///
/// # Errors
/// A directory that is not empty, or files that can't be written.
pub fn run(args: &Init, terminal: &Terminal) -> Result<Exit> {
    let made = make(args)?;
    let config = args.dir.join("privet.toml");
    if terminal.json {
        let Made { root, verifier_key } = &made;
        put_json(&serde_json::json!({
            "dir": args.dir, "config": config, "root": root, "anchor": args.anchor_dir, "verifier_key": verifier_key,
        }))?;
    } else if !terminal.quiet {
        put(next(args, &config, &made).as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// What there is now.
#[derive(Debug)]
pub(super) struct Made {
    /// The directory of the root key, or its token.
    pub(super) root: PathBuf,
    /// What checks the log's signatures; only a log that has a name has one.
    pub(super) verifier_key: Option<String>,
}

/// Makes the files.
pub(super) fn make(args: &Init) -> Result<Made> {
    let dir = &args.dir;
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", dir.display())),
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} is not empty: nothing in it was touched; name another with --dir", dir.display());
            }
        }
    }
    if let Some(anchor) = &args.anchor_dir {
        make_anchor_dir(anchor)?;
    }
    make_dir(dir)?;
    let machine = Machine::this();
    let entropy = &*machine.entropy;
    let (root, place) = make_root(args, &machine)?;
    let log_key = LogKey::create(&*root, entropy, log_key::FIRST)?;
    write_new(&dir.join("log-key"), &log_key.to_bytes())?;
    let verifier_key = match &args.origin {
        Some(origin) => Some(SignerKey::new(origin, &log_key.open(&*root)?)?.verifier().to_string()),
        None => None,
    };
    make_dir(&dir.join("policies"))?;
    for (name, text) in POLICIES {
        write_new(&dir.join("policies").join(name), text.as_bytes())?;
    }
    // Last: a deployment that has its configuration has everything.
    write_new(&dir.join("privet.toml"), config(args)?.as_bytes())?;
    Ok(Made { root: place, verifier_key })
}

/// Makes the root key, in a file or in a token, and says where.
fn make_root(args: &Init, machine: &Machine) -> Result<(Arc<dyn RootProvider>, PathBuf)> {
    let Some(section) = token(args)? else {
        let dir = args.root_dir.clone().unwrap_or_else(|| args.dir.join("root"));
        let passphrase = args.passphrase_file.as_deref().map(root::read).transpose()?;
        return Ok((Arc::new(FileRoot::create_with(&dir, machine.entropy.clone(), passphrase.as_ref())?), dir));
    };
    let Keeper::Token { token, pin_file, .. } = section.keeper() else { bail!("--token names no token") };
    let pin = root::pin(token, pin_file, root::Asking::AtTerminal)?;
    Ok((root::token::create(&section, &pin, machine)?, PathBuf::from(format!("token {token}"))))
}

/// The token that the root key is to be made in, if it is.
fn token(args: &Init) -> Result<Option<Root>> {
    let Some(module) = &args.module else { return Ok(None) };
    let real = |path: &Path| fs::canonicalize(path).with_context(|| format!("{} can't be found", path.display()));
    let section = Root {
        kind: RootKind::Pkcs11,
        dir: None,
        passphrase_file: None,
        module: Some(real(module)?),
        token: args.token.clone(),
        key: args.key.clone(),
        pin_file: args.pin_file.as_deref().map(real).transpose()?,
    };
    match section.misfit() {
        Some((key, rule)) => bail!("{}: {rule}", if key == "kind" { "--module".into() } else { format!("--{key}") }),
        None => Ok(Some(section)),
    }
}

/// The directory it lies in must be there: making that as well would make a place on this device for one that is not mounted.
fn make_anchor_dir(dir: &Path) -> Result<()> {
    if dir.join("anchor").exists() {
        bail!("{} holds another log's anchor: nothing was made; name another with --anchor-dir", dir.display());
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("{} can't be made", dir.display()))
        }
        _ => Ok(()),
    }
}

fn config(args: &Init) -> Result<String> {
    let quoted = |dir: &Path| -> Result<String> {
        let dir = fs::canonicalize(dir)?;
        let dir = dir.to_str().with_context(|| format!("{} must be UTF-8", dir.display()))?;
        Ok(toml::Value::String(dir.to_owned()).to_string())
    };
    let mut config = CONFIG.to_owned();
    if let Some(dir) = &args.root_dir {
        config = config.replacen("\"root\"", &quoted(dir)?, 1);
    }
    if let Some(file) = &args.passphrase_file {
        let line = format!("passphrase_file = {}", quoted(file)?);
        config = config.replacen("# passphrase_file = \"/run/credentials/privet-root\"", &line, 1);
    }
    if let Some(section) = token(args)? {
        config = with_token(&config, &section)?;
    }
    if let Some(dir) = &args.anchor_dir {
        let section = CONFIG_ANCHOR.replace("# [", "[").replace("# dir = ", "dir = ");
        let section = section.replacen("\"/mnt/privet-anchor/anchor\"", &quoted(dir)?, 1);
        config = config.replacen(CONFIG_ANCHOR, &section, 1);
    }
    if let Some(origin) = &args.origin {
        // An origin has nothing to quote.
        config = config.replacen("\"privet.acme.example/log\"", &format!("{origin:?}"), 1);
    }
    Ok(config)
}

/// The configuration with its root key in a token.
fn with_token(config: &str, section: &Root) -> Result<String> {
    let Keeper::Token { module, token, key, pin_file } = section.keeper() else { return Ok(config.to_owned()) };
    let text = |path: &Path| path.to_str().map(ToOwned::to_owned).context("paths must be UTF-8");
    let mut said = vec![("module", text(module)?), ("token", token.to_owned()), ("key", key.to_owned())];
    if let Some(file) = pin_file {
        said.push(("pin_file", text(file)?));
    }
    let lines = said.into_iter().map(|(key, value)| format!("{key} = {}\n", toml::Value::String(value)));
    Ok(config.replacen("kind = \"file\"\n", &format!("kind = \"pkcs11\"\n{}", lines.collect::<String>()), 1).replacen(
        "\ndir = \"root\"\n",
        "\n# dir = \"root\"\n",
        1,
    ))
}

fn next(args: &Init, config: &Path, made: &Made) -> String {
    let (dir, config, root) = (args.dir.display(), config.display(), made.root.display());
    let auditors = match &made.verifier_key {
        Some(key) => format!("With this verifier key anyone can check what the log signs:\n  {key}\n"),
        None => "Once the log has its name, check-config prints the key that verifies what it signs.\n".to_owned(),
    };
    let keep = if args.module.is_some() {
        "Have the token's keeper keep a copy of the root key, apart from every backup of the store:"
    } else {
        "Keep a copy of the root key somewhere safe and apart from every backup of the store:"
    };
    let name = if args.origin.is_some() { "" } else { ", the log's name" };
    let anchor = match &args.anchor_dir {
        None => "give the log an anchor, a directory on another device: [log.anchor]; serve wants one",
        Some(anchor) if same_device(anchor, &args.dir).unwrap_or(false) => {
            "move the log's anchor to another device: [log.anchor]; serve wants it there"
        }
        Some(_) => "keep the anchor's device out of what restores the store's",
    };
    format!(
        "\
Made {dir}: privet.toml, policies/, the log's key and a root key in {root}.

{keep}
without it nothing that was sealed can be opened, and with it everything can.

{auditors}
Next:
  1. complete {config}: certificates, trust domains, tenants{name}
  2. {anchor}
  3. say who may do what: {dir}/policies/policy.csv, with your principals and tenants
  4. privet check-config --config {config}
  5. privet serve --config {config}
"
    )
}

/// The part of the configuration that is no comment once there is an anchor.
const CONFIG_ANCHOR: &str = "\
# [log.anchor]
# Its directory, on another device than the store. Made at the first start, later only by `privet serve --new-anchor`;
# the directory it lies in must be there.
# dir = \"/mnt/privet-anchor/anchor\"
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::anchor::Anchor, config::Config};

    fn at(dir: PathBuf) -> Init {
        Init { dir, ..Init::default() }
    }

    #[test]
    fn what_it_writes_is_a_whole_configuration_and_it_overwrites_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let args = at(scratch.path().join("privet"));
        let dir = &args.dir;
        assert_eq!(make(&args).unwrap().root, dir.join("root"));
        let config = Config::load(&dir.join("privet.toml")).unwrap();
        assert!(!config.dev);
        assert_eq!((config.root.dir, config.log.key), (Some(dir.join("root")), dir.join("log-key")));
        let read = || ["root/root-1.key", "log-key"].map(|name| fs::read(dir.join(name)).unwrap());
        let before = read();
        assert!(make(&args).unwrap_err().to_string().contains("not empty"));
        assert_eq!(read(), before);
    }

    #[test]
    fn root_key_and_anchor_can_lie_elsewhere() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, anchor) = (scratch.path().join("safe \"place\""), scratch.path().join("an \"anchor\""));
        let mut args = at(scratch.path().join("privet"));
        (args.root_dir, args.anchor_dir) = (Some(root.clone()), Some(anchor.clone()));
        make(&args).unwrap();
        let config = Config::load(&args.dir.join("privet.toml")).unwrap();
        assert_eq!(config.root.dir, fs::canonicalize(root).ok());
        assert_eq!(config.log.anchor.unwrap().dir, fs::canonicalize(anchor).unwrap());
    }

    #[test]
    fn a_root_key_or_an_anchor_that_is_there_already_stops_it() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        make(&Init { root_dir: Some(root.clone()), ..at(scratch.path().join("one")) }).unwrap();
        let before = fs::read(root.join("root-1.key")).unwrap();
        assert!(make(&Init { root_dir: Some(root.clone()), ..at(scratch.path().join("two")) }).is_err());
        assert_eq!(fs::read(root.join("root-1.key")).unwrap(), before);

        let anchor = scratch.path().join("anchor");
        drop(Anchor::create(&anchor, "other.example/log").unwrap());
        let args = Init { anchor_dir: Some(anchor), ..at(scratch.path().join("three")) };
        assert!(make(&args).unwrap_err().to_string().contains("another log's anchor"));
        assert!(!args.dir.exists());
        // As where the device is not mounted.
        let args = Init { anchor_dir: Some(scratch.path().join("no/such")), ..at(scratch.path().join("four")) };
        assert!(make(&args).is_err() && !args.dir.exists());
    }

    #[test]
    fn a_log_with_a_name_has_a_verifier_key_that_its_signatures_fit() {
        let scratch = tempfile::tempdir().unwrap();
        let args = Init { origin: Some("log.example/1".to_owned()), ..at(scratch.path().join("privet")) };
        let made = make(&args).unwrap();
        let config = Config::load(&args.dir.join("privet.toml")).unwrap();
        assert_eq!(config.log.origin, "log.example/1");
        let root = root::open(&config, &Machine::this()).unwrap();
        let seed = LogKey::read(&config.log.key).unwrap().open(&*root).unwrap();
        let signer = SignerKey::new("log.example/1", &seed).unwrap();
        assert_eq!(made.verifier_key.as_deref(), Some(signer.verifier().to_string().as_str()));
        let text = next(&args, &args.dir.join("privet.toml"), &made);
        assert!(text.contains(&signer.verifier().to_string()) && !text.contains("the log's name"), "{text}");
    }

    #[test]
    fn it_says_that_an_anchor_is_wanted_until_there_is_one_on_another_device() {
        let scratch = tempfile::tempdir().unwrap();
        let says = |args: Init| {
            let made = make(&args).unwrap();
            next(&args, Path::new("privet.toml"), &made)
        };
        let none = says(at(scratch.path().join("none")));
        assert!(none.contains("2. give the log an anchor") && none.contains("tenants, the log's name"), "{none}");
        let near = Init { anchor_dir: Some(scratch.path().join("anchor")), ..at(scratch.path().join("near")) };
        assert!(says(near).contains("2. move the log's anchor to another device"));
    }

    #[test]
    fn every_key_stands_in_it_with_its_default() {
        // Commented keys are the defaults: with all of them in force nothing changes.
        let text: String =
            CONFIG.lines().map(|line| line.strip_prefix("# = ").unwrap_or(line).to_owned() + "\n").collect();
        let all = Config::parse(&text, Path::new("/x/privet.toml")).unwrap();
        let shipped = Config::parse(CONFIG, Path::new("/x/privet.toml")).unwrap();
        assert_eq!(format!("{all:?}"), format!("{shipped:?}"));
        let keys: Vec<_> = text
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .filter_map(|line| line.split_once(" = ").map(|(key, _)| key))
            .collect();
        // Each line of a struct's indented Debug form begins with the name of its field.
        let parts = [
            format!("{:#?}", all.limits),
            format!("{:#?}", all.server),
            format!("{:#?}", all.tls),
            format!("{:#?}", all.log),
        ];
        let fields = parts.iter().flat_map(|part| part.lines()).filter_map(|line| {
            let name = line.strip_prefix("    ").filter(|line| !line.starts_with(' '))?;
            name.split_once(": ").map(|(name, _)| name)
        });
        let mut found = 0;
        for field in fields.filter(|field| !["client_ca", "anchor"].contains(field)) {
            assert!(keys.contains(&field), "{field} is not explained");
            found += 1;
        }
        assert!(found >= 26, "{found}");
        assert!(CONFIG.contains(CONFIG_ANCHOR), "{CONFIG_ANCHOR}");
        for key in ["region", "reflection", "cache_subjects", "cache_ttl_secs", "subject_key_max_age_days"] {
            assert!(keys.contains(&key), "{key} is not explained");
        }
    }
}
