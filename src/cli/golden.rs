//! What commands say, kept in `tests/golden`: whoever changes an output sees it there.

use std::{fs, path::Path};

/// Holds a text against its golden file, or writes it there if `PRIVET_GOLDEN` says `write`.
#[track_caller]
pub fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("PRIVET_GOLDEN").is_some_and(|golden| golden == "write") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} is not what it was (PRIVET_GOLDEN=write accepts it):\n{text}", path.display());
}
