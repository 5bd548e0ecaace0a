//! `privet init`: the beginnings of a deployment for real use – a root key, the shipped policy, a configuration to complete.
//!
//! Overwrites nothing. Certificates are not made: they come from the company's own authority.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::failure::Exit;
use crate::{entropy::SystemEntropy, keyring::root::FileRoot};

/// The configuration that `privet init` writes: every key, with its unit and its default.
const CONFIG: &str = include_str!("init/privet.toml");

/// The shipped policy.
pub(super) const POLICIES: [(&str, &str); 4] = [
    ("model.conf", include_str!("../../policies/model.conf")),
    ("policy.csv", include_str!("../../policies/policy.csv")),
    ("catalogue.toml", include_str!("../../policies/catalogue.toml")),
    ("assertions.toml", include_str!("../../policies/assertions.toml")),
];

/// Where.
#[derive(Args, Debug)]
pub struct Init {
    /// Directory of the deployment; must be missing or empty
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of the root key, best on another device than DIR [default: DIR/root]
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
}

/// Makes a deployment's files.
///
/// # Errors
/// A directory that is not empty, or files that can't be written.
pub fn run(args: &Init) -> Result<Exit> {
    let Init { dir, root_dir } = args;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: nothing in it was touched; name another with --dir", dir.display());
    }
    make_dir(dir)?;
    let root = root_dir.clone().unwrap_or_else(|| dir.join("root"));
    FileRoot::create(&root, Arc::new(SystemEntropy::open()))?;
    make_dir(&dir.join("policies"))?;
    for (name, text) in POLICIES {
        write_new(&dir.join("policies").join(name), text)?;
    }
    let shown = root.display();
    let named = if root_dir.is_some() { fs::canonicalize(&root)? } else { PathBuf::from("root") };
    let named = named.to_str().context("the root directory's name must be UTF-8")?;
    let quoted = toml::Value::String(named.to_owned()).to_string();
    write_new(&dir.join("privet.toml"), &CONFIG.replacen("\"root\"", &quoted, 1))?;
    println!(
        "Made {dir}: privet.toml, policies/ and a root key in {root}.

Keep a copy of the root key somewhere safe and apart from every backup of the store:
without it nothing that was sealed can be opened, and with it everything can.

Next:
  1. complete {dir}/privet.toml: certificates, trust domains, tenants
  2. say who may do what: {dir}/policies/policy.csv, with your principals and tenants
  3. privet check-config --config {dir}/privet.toml
  4. privet serve --config {dir}/privet.toml",
        dir = dir.display(),
        root = shown,
    );
    Ok(Exit::Ok)
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| dir.display().to_string())
}

fn write_new(file: &Path, text: &str) -> Result<()> {
    let write = || {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_it_writes_is_a_whole_configuration_and_it_overwrites_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("privet");
        let args = Init { dir: dir.clone(), root_dir: None };
        run(&args).unwrap();
        let config = Config::load(&dir.join("privet.toml")).unwrap();
        assert!(!config.dev);
        assert_eq!(config.root.dir, dir.join("root"));
        let before = fs::read(dir.join("root/root-1.key")).unwrap();
        assert!(run(&args).unwrap_err().to_string().contains("not empty"));
        assert_eq!(fs::read(dir.join("root/root-1.key")).unwrap(), before);
    }

    #[test]
    fn the_root_key_can_lie_elsewhere() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("safe \"place\"");
        run(&Init { dir: scratch.path().join("privet"), root_dir: Some(root.clone()) }).unwrap();
        let config = Config::load(&scratch.path().join("privet/privet.toml")).unwrap();
        assert_eq!(config.root.dir, fs::canonicalize(root).unwrap());
    }

    #[test]
    fn every_key_stands_in_it_with_its_default() {
        // Commented keys are the defaults: with all of them in force nothing changes.
        let text: String =
            CONFIG.lines().map(|line| line.strip_prefix("# = ").unwrap_or(line).to_owned() + "\n").collect();
        let all = Config::parse(&text, Path::new("/x/privet.toml")).unwrap();
        let shipped = Config::parse(CONFIG, Path::new("/x/privet.toml")).unwrap();
        assert_eq!(format!("{:?}", (&all.limits, &all.keys)), format!("{:?}", (&shipped.limits, &shipped.keys)));
        assert_eq!(format!("{:?}", all.server), format!("{:?}", shipped.server));
        let keys = CONFIG.lines().filter(|line| line.starts_with("# = ")).count();
        assert!(keys >= 20, "{keys}");
    }
}
