//! The export's lines: one spelling each, bounded, and named when they are wrong.

use super::{
    read::{BadLine, Error, Place, Problem},
    *,
};
use crate::audit::entry;

fn head() -> Head {
    Head {
        origin: "log.example/privet".into(),
        tenant: Tenant::parse("acme").unwrap(),
        start: 0,
        end: 2,
        checkpoint: "log\n2\nroot\n\n— log x=\n".into(),
        key_announcements: vec![],
        edge: vec![],
    }
}

fn file() -> String {
    let mut writer = Writer::new(Vec::new(), &head()).unwrap();
    writer.leaf(0, &Leaf::Raw(b"entry".to_vec())).unwrap();
    writer.checkpoint("log\n1\n").unwrap();
    writer.leaf(1, &Leaf::Hash([1; 32])).unwrap();
    String::from_utf8(writer.into_inner()).unwrap()
}

fn read(file: &[u8]) -> Result<(Head, Vec<Line>), BadLine> {
    let of_line = |error| match error {
        Error::Line(bad) => bad,
        Error::Read(error) => panic!("{error}"),
    };
    let (head, mut reader) = Reader::open(file).map_err(of_line)?;
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line().map_err(of_line)? {
        lines.push(line);
    }
    assert_eq!(reader.offset(), file.len() as u64);
    Ok((head, lines))
}

/// A body with the sum that fits it.
fn sealed(body: &str) -> String {
    format!("{body},\"sum\":\"{}\"}}\n", sum(body.as_bytes()))
}

#[test]
fn a_file_is_spelled_as_the_format_says() {
    assert_eq!(
        file(),
        [
            sealed(
                r#"{"format":"privet-export-v1","origin":"log.example/privet","tenant":"acme","start":0,"end":2,"checkpoint":"log\n2\nroot\n\n— log x=\n","key_announcements":[]"#
            ),
            sealed(r#"{"index":0,"raw":"ZW50cnk=""#),
            sealed(r#"{"checkpoint":"log\n1\n""#),
            sealed(r#"{"index":1,"leaf_hash":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=""#),
        ]
        .concat()
    );
    let sum = "{\"index\":0,\"raw\":\"ZW50cnk=\",\"sum\":\"";
    assert!(file().contains(sum));
}

#[test]
fn what_is_written_is_read() {
    let (read_head, lines) = read(file().as_bytes()).unwrap();
    assert!(read_head == head());
    let expected = [
        Line::Leaf(0, Leaf::Raw(b"entry".to_vec())),
        Line::Checkpoint("log\n1\n".into()),
        Line::Leaf(1, Leaf::Hash([1; 32])),
    ];
    assert!(lines == expected);
    let edge = Head { start: 2, edge: vec![[2; 32]], key_announcements: vec!["a".into(), "b".into()], ..head() };
    let mut file = Writer::new(Vec::new(), &edge).unwrap();
    for bytes in [0, 1, 2, 3, entry::BYTES_MAX] {
        file.leaf(u64::MAX, &Leaf::Raw(vec![0xff; bytes])).unwrap();
    }
    let (read_head, lines) = read(&file.into_inner()).unwrap();
    assert!(read_head == edge && lines.len() == 5);
}

#[test]
fn a_line_has_one_spelling() {
    let first = file().lines().next().unwrap().to_owned() + "\n";
    let hash = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    for body in [
        r#"{"index":00,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":+0,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":-0,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":0.0,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":0e0,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":18446744073709551616,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":"0","raw":"ZW50cnk=""#.to_owned(),
        r#"{"index": 0,"raw":"ZW50cnk=""#.to_owned(),
        r#" {"index":0,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":0,"raw":"ZW50cnk=" "#.to_owned(),
        r#"{"raw":"ZW50cnk=","index":0"#.to_owned(),
        r#"{"index":0,"raw":"ZW50cnk","#.to_owned(),
        r#"{"index":0,"raw":"ZW50cnk""#.to_owned(),
        r#"{"index":0,"raw":"ZW50cnl=""#.to_owned(),
        r#"{"index":0,"raw":"ZW50\u0063nk=""#.to_owned(),
        r#"{"index":0,"raw":"ZW50cnk=","more":1"#.to_owned(),
        r#"{"index":0,"index":0,"raw":"ZW50cnk=""#.to_owned(),
        r#"{"index":0,"raw":"ZW50cnk=","raw":"ZW50cnk=""#.to_owned(),
        format!(r#"{{"index":0,"raw":"ZW50cnk=","leaf_hash":"{hash}""#),
        r#"{"index":0,"leaf_hash":"AQEB""#.to_owned(),
        r#"{"index":0,"leaf_hash":"""#.to_owned(),
        r#"{"index":0,"leaf_hash":null"#.to_owned(),
        r#"{"index":0"#.to_owned(),
        r#"{"checkpoint":"log\u000a1\n""#.to_owned(),
        r#"{"checkpoint":"\u006cog""#.to_owned(),
        r#"{"checkpoint":"a\/b""#.to_owned(),
        r#"{"checkpoint":1"#.to_owned(),
        r#"{"checkpoint":"a","index":0"#.to_owned(),
        r#"{"checkpoint":"a","checkpoint":"a""#.to_owned(),
        r#"{"more":"a""#.to_owned(),
        "{".to_owned(),
        "".to_owned(),
        "\u{feff}{\"checkpoint\":\"a\"".to_owned(),
        format!(r#"{{"index":0,"raw":"{}""#, BASE64_STANDARD.encode(vec![0; entry::BYTES_MAX + 1])),
    ] {
        let bad = read(format!("{first}{}", sealed(&body)).as_bytes()).err();
        assert_eq!(bad.map(|bad| (bad.line, bad.problem)), Some((2, Problem::Form)), "{body}");
    }
}

#[test]
fn a_head_has_one_spelling_too() {
    let good = file().lines().next().unwrap().split_once(",\"sum\"").unwrap().0.to_owned();
    assert!(read(sealed(&good).as_bytes()).is_ok());
    for (from, to) in [
        ("\"start\":0", "\"start\": 0"),
        ("\"start\":0", "\"start\":00"),
        ("\"start\":0", "\"start\":-1"),
        ("\"start\":0", "\"start\":3"),
        ("\"start\":0,\"end\":2", "\"end\":2,\"start\":0"),
        ("\"end\":2", "\"end\":9223372036854775808"),
        ("\"end\":2", "\"end\":2,\"end\":2"),
        ("\"end\":2", "\"end\":2,\"more\":2"),
        ("\"end\":2,", ""),
        ("acme", "ACME"),
        ("acme", "\\u0061cme"),
        ("announcements\":[]", "announcements\":[],\"edge\":[]"),
        ("announcements\":[]", "announcements\":[],\"edge\":[\"AQEB\"]"),
        ("announcements\":[]", "announcements\":[1]"),
    ] {
        let bad = read(sealed(&good.replace(from, to)).as_bytes()).err();
        let expected = BadLine { line: 1, place: Place::Head, problem: Problem::Form };
        assert_eq!(bad, Some(expected), "{from} → {to}");
    }
    let other = sealed(&good.replace("export-v1", "export-v2"));
    for other in [other.as_str(), "{}\n", "<html>\n", "\n"] {
        let expected = BadLine { line: 1, place: Place::Head, problem: Problem::Format };
        assert_eq!(read(other.as_bytes()).err(), Some(expected), "{other}");
    }
    let empty = BadLine { line: 1, place: Place::Head, problem: Problem::Empty };
    assert_eq!(read(b"").err(), Some(empty));
}

#[test]
fn bytes_that_are_no_text_are_no_line() {
    let first = file().lines().next().unwrap().to_owned() + "\n";
    for body in [&b"{\"checkpoint\":\"\xff\""[..], b"{\"index\":0,\"raw\":\"\xc3\x28\""] {
        let line = [first.as_bytes(), body, format!(",\"sum\":\"{}\"}}\n", sum(body)).as_bytes()].concat();
        assert_eq!(read(&line).err().map(|bad| (bad.line, bad.problem)), Some((2, Problem::Form)));
    }
}

#[test]
fn every_line_ends_with_one_line_break() {
    let file = file();
    for end in 1..file.len() {
        if !file.is_char_boundary(end) || file.as_bytes()[end - 1] == b'\n' {
            continue;
        }
        assert_eq!(read(&file.as_bytes()[..end]).err().map(|bad| bad.problem), Some(Problem::CutOff), "cut at {end}");
    }
    for (changed, line) in
        [(file.replace('\n', "\r\n"), 1), (format!("{file}\n"), 5), (file.replacen('\n', "\n\n", 1), 2)]
    {
        let bad = read(changed.as_bytes()).err().unwrap();
        assert_eq!((bad.line, bad.problem), (line, Problem::Sum));
    }
}

#[test]
fn a_size_is_claimed_on_the_second_line() {
    assert_eq!(claimed_size("log\n42\nroot\n"), Some(42));
    for text in ["", "42", "log\n042\n", "log\n-1\n", "log\n\n", "log\n18446744073709551616\n"] {
        assert_eq!(claimed_size(text), None, "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_read_makes_it_panic(text in "(\\{\"index\":|0|,\"raw\":\"|A|=|\"|,\"sum\":\"|\\}|\n|\\{\"checkpoint\":|\\PC){0,40}") {
        let first = file().lines().next().unwrap().to_owned() + "\n";
        let taken = read(format!("{first}{text}").as_bytes()).is_ok();
        proptest::prop_assert!(text.is_empty() || !taken);
        let _ = read(format!("{first}{}", sealed(&text)).as_bytes());
        let _ = read(text.as_bytes());
    }
}
