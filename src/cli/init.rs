//! `privet init`: the beginnings of a deployment for real use – a root key, the shipped policy, a configuration to complete.
//!
//! Overwrites nothing. Certificates are not made: they come from the company's own authority.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    answer::{put, put_json},
    failure::Exit,
    files::{POLICIES, make_dir, write_new},
    terminal::Terminal,
};
use crate::{entropy::SystemEntropy, keyring::root::FileRoot};

/// The configuration that `privet init` writes: every key, with its unit and its default.
const CONFIG: &str = include_str!("init/privet.toml");

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

/// Makes a deployment's files, and says what comes next.
///
/// # Errors
/// A directory that is not empty, or files that can't be written.
pub fn run(args: &Init, terminal: &Terminal) -> Result<Exit> {
    let root = make(&args.dir, args.root_dir.as_deref())?;
    let config = args.dir.join("privet.toml");
    if terminal.json {
        put_json(&serde_json::json!({ "dir": args.dir, "config": config, "root": root }))?;
    } else if !terminal.quiet {
        put(next(&args.dir, &config, &root).as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// Makes the files; gives the directory of the root key.
pub(super) fn make(dir: &Path, root_dir: Option<&Path>) -> Result<PathBuf> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", dir.display())),
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} is not empty: nothing in it was touched; name another with --dir", dir.display());
            }
        }
    }
    make_dir(dir)?;
    let root = root_dir.map_or_else(|| dir.join("root"), Path::to_owned);
    FileRoot::create(&root, Arc::new(SystemEntropy::open()))?;
    make_dir(&dir.join("policies"))?;
    for (name, text) in POLICIES {
        write_new(&dir.join("policies").join(name), text.as_bytes())?;
    }
    let named = if root_dir.is_some() { fs::canonicalize(&root)? } else { PathBuf::from("root") };
    let named = named.to_str().context("the root directory's name must be UTF-8")?;
    let quoted = toml::Value::String(named.to_owned()).to_string();
    // Last: a deployment that has its configuration has everything.
    write_new(&dir.join("privet.toml"), CONFIG.replacen("\"root\"", &quoted, 1).as_bytes())?;
    Ok(root)
}

fn next(dir: &Path, config: &Path, root: &Path) -> String {
    let (dir, config, root) = (dir.display(), config.display(), root.display());
    format!(
        "\
Made {dir}: privet.toml, policies/ and a root key in {root}.

Keep a copy of the root key somewhere safe and apart from every backup of the store:
without it nothing that was sealed can be opened, and with it everything can.

Next:
  1. complete {config}: certificates, trust domains, tenants
  2. say who may do what: {dir}/policies/policy.csv, with your principals and tenants
  3. privet check-config --config {config}
  4. privet serve --config {config}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_it_writes_is_a_whole_configuration_and_it_overwrites_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("privet");
        assert_eq!(make(&dir, None).unwrap(), dir.join("root"));
        let config = Config::load(&dir.join("privet.toml")).unwrap();
        assert!(!config.dev);
        assert_eq!(config.root.dir, dir.join("root"));
        let before = fs::read(dir.join("root/root-1.key")).unwrap();
        assert!(make(&dir, None).unwrap_err().to_string().contains("not empty"));
        assert_eq!(fs::read(dir.join("root/root-1.key")).unwrap(), before);
    }

    #[test]
    fn the_root_key_can_lie_elsewhere() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("safe \"place\"");
        make(&scratch.path().join("privet"), Some(&root)).unwrap();
        let config = Config::load(&scratch.path().join("privet/privet.toml")).unwrap();
        assert_eq!(config.root.dir, fs::canonicalize(root).unwrap());
    }

    #[test]
    fn a_root_key_that_is_there_already_stops_it() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        make(&scratch.path().join("one"), Some(&root)).unwrap();
        let before = fs::read(root.join("root-1.key")).unwrap();
        assert!(make(&scratch.path().join("two"), Some(&root)).is_err());
        assert_eq!(fs::read(root.join("root-1.key")).unwrap(), before);
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
        assert!(text.contains("# [log.anchor]\n# Its directory") && keys.contains(&"dir"));
        for key in ["region", "reflection", "cache_subjects", "cache_ttl_secs", "subject_key_max_age_days"] {
            assert!(keys.contains(&key), "{key} is not explained");
        }
    }
}
