//! Which columns hold fields of which classes.

use std::{collections::BTreeSet, str::FromStr};

use csv::ByteRecord;

use super::super::failure::Failure;
use crate::id::Class;

/// A column and its class: `email=pii/account/email`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    column: String,
    class: Class,
}

/// Text that is no [`Mapping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be COLUMN=CLASS, e.g. email=pii/account/email")]
pub struct InvalidMapping;

impl FromStr for Mapping {
    type Err = InvalidMapping;

    fn from_str(text: &str) -> Result<Self, InvalidMapping> {
        // A class holds no equals sign; a column's name may.
        let (column, class) = text.rsplit_once('=').ok_or(InvalidMapping)?;
        let class = Class::parse(class).map_err(|_| InvalidMapping)?;
        if column.is_empty() { Err(InvalidMapping) } else { Ok(Self { column: column.to_owned(), class }) }
    }
}

/// Checks mappings among themselves.
pub(super) fn check(map: &[Mapping], subject_column: &str) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = map.iter().find(|mapping| !seen.insert(&mapping.column)) {
        return Err(Failure::usage(format!("--map names column {} twice", twice.column)));
    }
    if seen.iter().any(|column| *column == subject_column) {
        return Err(Failure::usage(
            "the column of --subject can't be in --map: without it nothing can be opened again",
        ));
    }
    match map.len() {
        0 => Err(Failure::usage("--map is needed: COLUMN=CLASS,…")),
        1..=COLUMNS_MAX => Ok(()),
        _ => Err(Failure::usage(format!("--map takes at most {COLUMNS_MAX} columns"))),
    }
}

/// The columns of one file that matter.
#[derive(Debug)]
pub(super) struct Columns {
    /// Where the subject id is.
    pub(super) subject: usize,
    /// The columns to work on, from left to right.
    pub(super) mapped: Vec<Column>,
}

/// A column to work on.
#[derive(Debug)]
pub(super) struct Column {
    /// Its place in a row.
    pub(super) place: usize,
    /// Its name, for reports.
    pub(super) name: String,
    /// What it holds.
    pub(super) class: Class,
}

impl Columns {
    /// Finds the columns in a file's header line. Only names from the command line are ever shown: a file without a header
    /// has personal data there.
    pub(super) fn find(header: &ByteRecord, map: &[Mapping], subject_column: &str) -> Result<Self, Failure> {
        let place = |name: &str| {
            let mut places = header.iter().enumerate().filter(|(_, column)| *column == name.as_bytes());
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                (None, _) => Err(Failure::usage(format!("the header line has no column {name}"))),
                (Some(_), Some(_)) => Err(Failure::usage(format!("the header line has more than one column {name}"))),
            }
        };
        let column = |mapping: &Mapping| {
            let (name, class) = (mapping.column.clone(), mapping.class.clone());
            Ok(Column { place: place(&name)?, name, class })
        };
        let mut mapped = map.iter().map(column).collect::<Result<Vec<_>, Failure>>()?;
        mapped.sort_by_key(|column| column.place);
        Ok(Self { subject: place(subject_column)?, mapped })
    }
}

const COLUMNS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Vec<Mapping> {
        text.split(',').map(|mapping| mapping.parse().unwrap()).collect()
    }

    #[test]
    fn a_mapping_is_a_column_and_a_class() {
        let mapping: Mapping = "e=mail=pii/account/email".parse().unwrap();
        assert_eq!((mapping.column.as_str(), mapping.class.as_str()), ("e=mail", "pii/account/email"));
        for bad in ["", "email", "=pii/account/email", "email=", "email=account/email", "email=pii/a", "email=pii/a/b "]
        {
            assert_eq!(bad.parse::<Mapping>(), Err(InvalidMapping), "{bad}");
        }
    }

    #[test]
    fn columns_are_found_from_left_to_right() {
        let header = ByteRecord::from(vec!["name", "id", "email"]);
        let columns = Columns::find(&header, &map("email=pii/account/email,name=pii/account/name"), "id").unwrap();
        assert_eq!(columns.subject, 1);
        assert_eq!(
            columns.mapped.iter().map(|c| (c.place, c.name.as_str())).collect::<Vec<_>>(),
            [(0, "name"), (2, "email")]
        );
    }

    #[test]
    fn ambiguous_missing_and_self_defeating_mappings_are_refused() {
        let header = ByteRecord::from(vec!["id", "email", "email", "Zoë Secret"]);
        for (names, subject) in [("email=pii/a/b", "id"), ("mail=pii/a/b", "id"), ("id=pii/a/b", "email")] {
            let failure = Columns::find(&header, &map(names), subject).unwrap_err();
            assert!(!failure.to_string().contains("Secret"));
        }
        assert!(check(&map("a=pii/a/b,a=pii/a/c"), "id").is_err());
        assert!(check(&map("id=pii/a/b"), "id").is_err());
        assert!(check(&[], "id").is_err());
        let many = |n: usize| (0..n).map(|i| format!("c{i}=pii/a/b").parse().unwrap()).collect::<Vec<Mapping>>();
        assert!(check(&many(100), "id").is_ok() && check(&many(101), "id").is_err());
    }
}
