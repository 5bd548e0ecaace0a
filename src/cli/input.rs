//! Where values and subject ids come from: a file or standard input, and never the command line, where `ps` shows them.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use zeroize::Zeroizing;

use super::{failure::Failure, terminal::Terminal};
use crate::id::Subject;

/// Whom a command is about. Not printable: it holds a subject id.
#[derive(Args)]
pub struct Whom {
    /// Customer's id; other users of this machine can see it
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// File with the customer's id, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "subject")]
    subject_file: Option<PathBuf>,
}

impl Whom {
    /// The subject, which must have been given.
    ///
    /// # Errors
    /// [`Failure`] (usage) that never shows the id.
    pub fn id(self) -> Result<Subject, Failure> {
        subject(self.subject, self.subject_file.as_deref())
    }

    /// The subject, if one was given.
    ///
    /// # Errors
    /// [`Failure`] (usage) that never shows the id.
    pub fn id_if_given(self) -> Result<Option<Subject>, Failure> {
        let given = self.subject.is_some() || self.subject_file.is_some();
        given.then(|| self.id()).transpose()
    }

    /// Whether the id comes from standard input, where nothing else can come from then.
    pub fn takes_stdin(&self) -> bool {
        self.subject_file.as_deref().is_some_and(|file| is_stdin(Some(file)))
    }
}

/// A value as it was given, wiped on drop.
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Reads a value from `file`, or from standard input, byte for byte. What is typed at a terminal ends before its last
    /// line break.
    ///
    /// # Errors
    /// [`Failure`] (usage) if it can't be read or is longer than 1 MiB.
    pub fn read(file: Option<&Path>, terminal: &Terminal) -> Result<Self, Failure> {
        let typed = is_stdin(file) && io::stdin().is_terminal();
        if typed && terminal.details() {
            eprintln!("Type the value; end it with Enter and Ctrl-D.");
        }
        let mut value = Self(read(file)?);
        if typed {
            value.trim_line_break();
        } else if value.0.last() == Some(&b'\n') && terminal.details() {
            eprintln!("note: the value ends with a line break, which counts as part of it (`printf %s` makes none)");
        }
        Ok(value)
    }

    /// Reads one line of text, such as a ciphertext; the line break is no part of it.
    ///
    /// # Errors
    /// [`Failure`] (usage) if it can't be read, is longer than 1 MiB or no text.
    pub fn read_line(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
        let mut value = Self(read(file)?);
        value.trim_line_break();
        match String::from_utf8(std::mem::take(&mut *value.0)) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(Failure::usage(format!("{} is no text", name(file))))
            }
        }
    }

    /// The value, for a request; wiped when the last part of it is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }

    fn trim_line_break(&mut self) {
        for end in [b'\n', b'\r'] {
            if self.0.last() == Some(&end) {
                self.0.pop();
            }
        }
    }
}

/// Reads a text that is no secret, such as a signed note.
///
/// # Errors
/// [`Failure`] (usage) if it can't be read, is longer than 1 MiB or no text.
pub fn text(file: &Path) -> Result<String, Failure> {
    let bytes = read(Some(file))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Failure::usage(format!("{} is no text", name(Some(file)))))
}

/// The subject of a request, out of an argument or a file.
///
/// # Errors
/// [`Failure`] (usage) that never shows the id.
pub fn subject(id: Option<String>, file: Option<&Path>) -> Result<Subject, Failure> {
    let id = match (id, file) {
        (Some(id), _) => id,
        (None, Some(file)) => std::mem::take(&mut *Value::read_line(Some(file))?),
        (None, None) => return Err(Failure::usage("--subject or --subject-file is needed")),
    };
    Subject::parse(id).map_err(|invalid| Failure::usage(format!("--subject: {invalid}")))
}

/// How messages call an input.
pub fn name(file: Option<&Path>) -> String {
    match file {
        Some(file) if !is_stdin(Some(file)) => file.display().to_string(),
        _ => "standard input".to_owned(),
    }
}

/// Whether an input is standard input: by default, or as `-`.
pub fn is_stdin(file: Option<&Path>) -> bool {
    file.is_none_or(|file| file == Path::new("-"))
}

fn read(file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Big enough from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX + 2));
    let mut take = |input: &mut dyn Read| input.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    let read = match file.filter(|file| !is_stdin(Some(file))) {
        Some(file) => File::open(file).and_then(|mut open| take(&mut open)),
        None => take(&mut io::stdin().lock()),
    };
    match read {
        Ok(count) if count <= VALUE_BYTES_MAX => Ok(bytes),
        Ok(_) => Err(Failure::usage(format!("{} is longer than 1 MiB", name(file)))),
        Err(error) => Err(Failure::usage(format!("{}: {error}", name(file)))),
    }
}

/// More than any server accepts by default; the server says its own limit.
const VALUE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SILENT: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn a_value_is_taken_byte_for_byte() {
        for content in [&b"anna@example.com"[..], b"line\r\n", b"", b"\xff\x00\n\n"] {
            let value = Value::read(Some(file(content).path()), &SILENT).unwrap();
            assert_eq!(value.into_bytes(), content);
        }
    }

    #[test]
    fn a_line_ends_before_its_one_line_break() {
        for (content, line) in [("pv1_x\n", "pv1_x"), ("pv1_x\r\n", "pv1_x"), ("pv1_x", "pv1_x"), ("x\n\n", "x\n")] {
            assert_eq!(*Value::read_line(Some(file(content.as_bytes()).path())).unwrap(), line);
        }
        assert!(Value::read_line(Some(file(b"\xff").path())).is_err());
    }

    #[test]
    fn a_value_ends_at_one_mebibyte() {
        let at = file(&vec![7; VALUE_BYTES_MAX]);
        assert_eq!(Value::read(Some(at.path()), &SILENT).unwrap().into_bytes().len(), VALUE_BYTES_MAX);
        let past = file(&vec![7; VALUE_BYTES_MAX + 1]);
        assert!(Value::read(Some(past.path()), &SILENT).is_err());
    }

    #[test]
    fn a_subject_comes_from_either_place_and_is_never_shown() {
        assert_eq!(subject(Some("cust-1".into()), None).unwrap().expose(), "cust-1");
        assert_eq!(subject(None, Some(file(b"cust-2\n").path())).unwrap().expose(), "cust-2");
        let long = "s".repeat(257);
        for failure in [subject(Some(long.clone()), None), subject(Some(String::new()), None), subject(None, None)] {
            assert!(!failure.unwrap_err().for_people(false).contains("sss"));
        }
    }

    #[test]
    fn whoever_is_not_given_is_nobody_and_an_empty_file_is_a_mistake() {
        let whom = |subject: Option<&str>, file: Option<&Path>| Whom {
            subject: subject.map(str::to_owned),
            subject_file: file.map(Path::to_owned),
        };
        let (given, empty) = (file(b"cust-2\n"), file(b""));
        assert_eq!(whom(None, Some(given.path())).id_if_given().unwrap().unwrap().expose(), "cust-2");
        assert_eq!(whom(Some("cust-1"), None).id_if_given().unwrap().unwrap().expose(), "cust-1");
        assert!(whom(None, None).id_if_given().unwrap().is_none());
        // It must not come to mean the whole tenant.
        assert!(whom(None, Some(empty.path())).id_if_given().is_err() && whom(Some(""), None).id_if_given().is_err());
        assert!(whom(None, Some(Path::new("-"))).takes_stdin());
        assert!(!whom(None, Some(given.path())).takes_stdin() && !whom(Some("cust-1"), None).takes_stdin());
    }
}
