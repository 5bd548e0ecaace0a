//! House rules that no compiler knows: which way imports point, who may use which library, and how files read.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Top-level modules from the ground up. A file may import modules of lower layers and of its own module; nothing else.
const LAYERS: [&[&str]; 12] = [
    &["proto", "id", "clock", "entropy", "private"],
    &["secret"],
    // The Store port; its backends are a layer of their own.
    &["store"],
    &["catalogue"],
    &["envelope", "identity"],
    &["config"],
    &["policy", "keyring", "audit"],
    &["store/"],
    &["operations"],
    &["api"],
    &["server"],
    &["cli"],
];

/// A library and the only places that may use it.
const LIBRARIES: [(&str, &[&str]); 6] = [
    ("casbin", &["src/policy/enforcer"]),
    ("sled", &["src/store/sled"]),
    ("tonic", &["src/api", "src/server", "src/cli/client", "src/proto.rs"]),
    ("tonic_health", &["src/api", "src/server"]),
    ("tonic_types", &["src/api", "src/cli/client"]),
    ("rcgen", &["src/cli/dev", "src/cli/client/tests"]),
];

/// A file longer than this tells two stories.
const LINES_MAX: usize = 450;

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = module(&path);
        let Some(layer) = layer(&own) else { continue };
        for (number, imported) in imports(&text) {
            let same = imported == top(&own);
            let below = LAYERS[..layer].iter().any(|modules| modules.contains(&imported.as_str()));
            let known = LAYERS.iter().any(|modules| modules.contains(&imported.as_str()));
            if known && !same && !below {
                wrong.push(format!("{path}:{number}: {own} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_behind_their_ports() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (library, places) in LIBRARIES {
            if places.iter().any(|place| path.starts_with(place)) {
                continue;
            }
            for (number, line) in code(&text) {
                let uses = [format!("{library}::"), format!("use {library}")];
                let own_module = line.contains(&format!("{library}::SledStore"));
                if !own_module && uses.iter().any(|used| starts_word(line, used)) {
                    wrong.push(format!("{path}:{number}: {library} is used outside {}", places.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_open_with_what_they_are_and_stay_short() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            wrong.push(format!("{path}: must open with `//! `: what this is"));
        }
        if path.ends_with("/mod.rs") {
            wrong.push(format!("{path}: is foo.rs beside foo/, never mod.rs"));
        }
        // A module of tests may be as long as its list of cases.
        let only_tests = text.contains("\n#[test]") || text.contains("::proptest! {");
        let lines = code(&text).last().map_or(0, |(number, _)| number);
        if lines > LINES_MAX && !only_tests {
            wrong.push(format!("{path}: has {lines} lines; past {LINES_MAX} there is a second subject in it"));
        }
        for (number, line) in text.lines().zip(1..).map(|(line, number)| (number, line)) {
            if line.ends_with([' ', '\t']) {
                wrong.push(format!("{path}:{number}: trailing space"));
            }
            if ["TODO", "FIXME", "XXX"].iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{path}:{number}: an open end"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_are_lower_case_and_end_without_a_full_stop() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (number, line) in code(&text) {
            let Some(message) = line.trim_start().strip_prefix("#[error(\"") else { continue };
            let message = message.split("\")]").next().unwrap();
            if message.starts_with(char::is_uppercase) || message.ends_with('.') {
                wrong.push(format!("{path}:{number}: {message:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_else_lies_at_the_top() {
    const KNOWN: [&str; 16] = [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "proto",
        "src",
        "policies",
        "tests",
        "README.md",
        "benches",
        "fuzz",
        "docs",
        "deploy",
        "target",
        "clippy.toml",
        "rustfmt.toml",
        "deny.toml",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || KNOWN.contains(&name.as_str()), "{name} does not belong at the top");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src`, as path from the top and text.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    assert!(files.len() > 20, "the sources were found");
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text)
        })
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The lines that are neither comments nor tests, with their numbers. Tests are what follows `#[cfg(test)] mod … {`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0].starts_with("#[cfg(test)]") && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
    let end = tests.unwrap_or(lines.len());
    lines
        .into_iter()
        .take(end)
        .zip(1..)
        .map(|(line, number)| (number, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The module that a path belongs to: its top-level name, with a slash for the inside of `store`.
fn module(path: &str) -> String {
    let inner = path.trim_start_matches("src/");
    if inner.starts_with("store/") {
        return "store/".to_owned();
    }
    inner.split(['/', '.']).next().unwrap().to_owned()
}

fn top(module: &str) -> &str {
    module.trim_end_matches('/')
}

fn layer(module: &str) -> Option<usize> {
    let found = LAYERS.iter().position(|modules| modules.contains(&module));
    assert!(found.is_some() || ["lib", "main"].contains(&module), "{module} has no layer");
    found
}

/// The top-level modules that code names: after `crate::`, alone or as the first names of a `{…}` tree, which may span lines.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code: String = code(text).map(|(number, line)| format!("{number}\u{0}{line}\n")).collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let number = code[..at].rsplit('\n').next().unwrap().split('\u{0}').next().unwrap().parse().unwrap();
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push((number, rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())),
            Some(tree) => found.extend(first_names(tree).into_iter().map(|name| (number, name))),
        }
    }
    found
}

/// The names at the top of a `{…}` tree whose opening brace was read.
fn first_names(tree: &str) -> Vec<String> {
    let (mut depth, mut names, mut name, mut in_name) = (0, Vec::new(), String::new(), true);
    // Line numbers stand between a line break and a NUL.
    let mut skipping = false;
    for c in tree.chars() {
        match c {
            '\n' => skipping = true,
            '\u{0}' => skipping = false,
            _ if skipping => {}
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                in_name = true;
            }
            c if depth == 0 && in_name && (c.is_alphanumeric() || c == '_') => name.push(c),
            ' ' if name.is_empty() => {}
            _ if depth == 0 => in_name = false,
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let text = "use crate::{audit, store};\nuse crate::{\n    api::{self, status},\n    id::Tenant,\n};\nlet x = crate::policy::y();\n";
    let found: Vec<_> = imports(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["audit", "store", "api", "id", "policy"]);
}

/// Whether `word` stands in `line` and is not the tail of a longer name or path.
fn starts_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            && (word.ends_with(':') || !after.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    })
}
