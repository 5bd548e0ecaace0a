//! Directories of tests.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// Copies a directory with everything in it, each file and directory with its mode. Without a store's reserve: it holds nothing,
/// and is made anew.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == "reserve" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Closes a directory to everybody but its owner, as the store wants it.
pub fn make_private(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}
