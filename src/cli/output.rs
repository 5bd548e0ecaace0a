//! Where results go that are written as they come: standard output, or a file that takes its name once it is whole.
//!
//! A file is written under another name beside its own, readable by its owner only. An existing file is replaced only on
//! demand; one that was not kept is removed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use super::{failure::Failure, input::is_stdin};

/// Refuses early to replace a file, before anything is read or sent.
///
/// # Errors
/// [`Failure`] (usage) if there is one.
pub fn check(out: &Path, replace: bool) -> Result<(), Failure> {
    if replace || is_stdin(Some(out)) || fs::symlink_metadata(out).is_err() { Ok(()) } else { Err(exists(out)) }
}

/// Where results go. A file that was not kept is removed on drop.
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file, under another name for now.
    File {
        /// Its name once it is whole.
        name: PathBuf,
        /// Its name until then.
        unfinished: PathBuf,
        /// Whether an existing file may be replaced.
        replace: bool,
        /// Whether it has its name.
        kept: bool,
    },
}

/// An output to write to, and its file if it is one.
pub type Opened = (Box<dyn Write + Send>, Option<File>);

impl Output {
    /// The output of this name; `-` is standard output. Nothing is made yet.
    ///
    /// # Errors
    /// [`Failure`] (usage) if this can't be a file's name.
    pub fn create(out: &Path, replace: bool) -> Result<Self, Failure> {
        if is_stdin(Some(out)) {
            return Ok(Self::Stdout);
        }
        let Some(file_name) = out.file_name() else {
            return Err(Failure::usage(format!("--out {} is no file", out.display())));
        };
        let mut name = OsString::from(".");
        name.push(file_name);
        name.push(format!(".{}.unfinished", process::id()));
        Ok(Self::File { name: out.to_owned(), unfinished: out.with_file_name(name), replace, kept: false })
    }

    /// What to write to. A file is to be synced before it is kept.
    ///
    /// # Errors
    /// [`Failure`] (usage) if the file can't be made.
    pub fn open(&self) -> Result<Opened, Failure> {
        match self {
            Self::Stdout => Ok((Box::new(io::stdout()), None)),
            Self::File { unfinished, .. } => {
                let unwritable = |error| Failure::usage(format!("{}: {error}", unfinished.display()));
                let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished);
                let file = open().map_err(unwritable)?;
                let copy = file.try_clone().map_err(unwritable)?;
                Ok((Box::new(copy), Some(file)))
            }
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`Failure`] if it can't have it.
    pub fn keep(mut self) -> Result<(), Failure> {
        let Self::File { name, unfinished, replace, kept } = &mut self else { return Ok(()) };
        let failed = |error: io::Error| Failure::unavailable(format!("{}: {error}", name.display()));
        if *replace {
            fs::rename(&unfinished, &name).map_err(failed)?;
        } else {
            // A link, unlike a renaming, never replaces what came there in the meantime.
            match fs::hard_link(&unfinished, &name) {
                Ok(()) => fs::remove_file(&unfinished).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(name)),
                Err(_) if name.exists() => return Err(exists(name)),
                Err(_) => fs::rename(&unfinished, &name).map_err(failed)?,
            }
        }
        *kept = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::File { unfinished, kept: false, .. } = self {
            // If it can't be removed there is nobody left to tell.
            let _ = fs::remove_file(unfinished);
        }
    }
}

/// Writes a small result whole: to standard output, or to a new file that is on disk when this returns.
///
/// # Errors
/// [`Failure`] if it can't be written, or if the file exists.
pub fn write_whole(out: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let output = Output::create(out, false)?;
    let (mut writer, file) = output.open()?;
    writer.write_all(bytes).and_then(|()| writer.flush()).map_err(Failure::output)?;
    file.map_or(Ok(()), |file| file.sync_all()).map_err(Failure::output)?;
    output.keep()
}

fn exists(out: &Path) -> Failure {
    Failure::usage(format!("{} exists already", out.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::failure::Exit;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_only_once_it_is_whole_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let output = Output::create(&out, false).unwrap();
        let (mut writer, _) = output.open().unwrap();
        writer.write_all(b"half").unwrap();
        assert!(!out.exists() && names(dir.path()).len() == 1);
        drop(output);
        assert!(names(dir.path()).is_empty(), "what was not kept is gone");
        write_whole(&out, b"whole").unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((fs::read(&out).unwrap().as_slice(), names(dir.path()).len()), (&b"whole"[..], 1));
    }

    #[test]
    fn a_file_is_replaced_only_when_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        check(&out, false).unwrap();
        // Somebody else takes the name in the meantime.
        let output = Output::create(&out, false).unwrap();
        drop(output.open().unwrap());
        fs::write(&out, "theirs").unwrap();
        assert_eq!(output.keep().unwrap_err().exit(), Exit::Usage);
        assert_eq!((fs::read(&out).unwrap().as_slice(), names(dir.path()).len()), (&b"theirs"[..], 1));
        assert_eq!(check(&out, false).unwrap_err().exit(), Exit::Usage);
        assert!(check(&out, true).is_ok() && check(Path::new("-"), false).is_ok());

        let output = Output::create(&out, true).unwrap();
        drop(output.open().unwrap());
        output.keep().unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((fs::read(&out).unwrap().as_slice(), names(dir.path()).len()), (&b""[..], 1));
    }
}
