//! A root key under a passphrase, as its operator meets it.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use crate::command::{code, privet, stderr, stdout};

#[test]
fn a_sealed_root_key_is_made_checked_changed_and_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    // Nobody to ask: standard input is no terminal.
    let run = |args: &[&str]| privet(args).stdin(Stdio::null()).output().unwrap();
    write("first", "correct horse\n");
    write("second", "battery staple");
    write("empty", "\n");
    let (dir, config) = (path("privet"), path("privet/privet.toml"));
    let init = ["init", "--dir", &dir, "--origin", "log.example/1"];
    let empty = run(&[&init[..], &["--passphrase-file", &path("empty")]].concat());
    assert!(code(&empty) != 0 && stderr(&empty).contains("1 to 1,024 bytes"), "{}", stderr(&empty));
    let _ = fs::remove_dir_all(&dir);
    let made = run(&[&init[..], &["--passphrase-file", &path("first")]].concat());
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let root_key = |output: &std::process::Output| {
        stdout(output).lines().find(|line| line.contains("root key")).unwrap_or_default().to_owned()
    };
    let checked = run(&["check-config", "--config", &config]);
    assert!(root_key(&checked).contains("generation 1"), "{}", stdout(&checked));

    let change = |args: &[&str]| run(&[&["passphrase", "--config", &config], args].concat());
    assert!(stderr(&change(&[])).contains("--new-file"), "nobody can be asked");
    let changed = change(&["--new-file", &path("second")]);
    assert_eq!(code(&changed), 0, "{}", stderr(&changed));
    let checked = run(&["check-config", "--config", &config]);
    assert!(stdout(&checked).contains("the passphrase is wrong, or the file is damaged"), "{}", stdout(&checked));
    let text = fs::read_to_string(&config).unwrap();
    let line = text.lines().find(|line| line.starts_with("passphrase_file")).unwrap().to_owned();
    fs::write(&config, text.replace(&line, "")).unwrap();
    let checked = run(&["check-config", "--config", &config]);
    assert!(stdout(&checked).contains("root.passphrase_file"), "{}", stdout(&checked));
    fs::write(&config, text.replace(&path("first"), &path("second"))).unwrap();
    let checked = run(&["check-config", "--config", &config]);
    assert!(root_key(&checked).contains("generation 1"), "{}", stdout(&checked));
    fs::set_permissions(path("second"), fs::Permissions::from_mode(0o644)).unwrap();
    let checked = run(&["check-config", "--config", &config]);
    assert!(stdout(&checked).contains("0600"), "a passphrase that others can read is refused: {}", stdout(&checked));
    fs::set_permissions(path("second"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(code(&change(&["--remove"])), 0);
    fs::write(&config, text.replace(&line, "")).unwrap();
    assert!(root_key(&run(&["check-config", "--config", &config])).contains("generation 1"));
}
