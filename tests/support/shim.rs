//! Compiles the `LD_PRELOAD` shims beside this file: `powercut`, `slowsync`, `fault` and `fulldisk`. Each C file says at its top
//! what it models and which environment variables steer it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Mutex,
};

/// Compiles `tests/support/<name>.c` if it changed and gives the shared object to put into `LD_PRELOAD` of a child process. Several
/// go there separated by spaces; a call passes through them in that order.
///
/// # Panics
/// If there is no C compiler: these tests can't be skipped without losing what they show.
pub fn compile(name: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(format!("{name}.c"));
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.so"));
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&object) < changed(&source) {
        let unfinished = object.with_extension(process::id().to_string());
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let output = Command::new(&compiler)
            .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o"])
            .args([&unfinished, &source])
            .arg("-ldl")
            .output()
            .unwrap_or_else(|e| panic!("the fault tests need a C compiler, and `{compiler}` does not run ({e}): install gcc or clang, or set CC"));
        assert!(
            output.status.success(),
            "`{compiler}` does not compile {}:\n{}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::rename(&unfinished, &object).unwrap();
    }
    object
}
