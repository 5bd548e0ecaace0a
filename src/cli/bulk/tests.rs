//! Whole jobs against a server in memory.

use std::{fs, sync::atomic::Ordering::Relaxed};

use tempfile::TempDir;

use super::{super::client::fake, *};
use crate::id::{Purpose, Reference, Tenant};

const SILENT: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };

struct Ran {
    dir: TempDir,
    done: Result<Totals, Failure>,
    seen: std::sync::Arc<fake::Seen>,
}

impl Ran {
    fn out(&self) -> String {
        fs::read_to_string(self.dir.path().join("out.csv")).unwrap()
    }

    /// The files there are beside the input.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "in.csv").collect()
    }
}

async fn run(csv: impl AsRef<[u8]>, work: Work, map: &str, batch: usize) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.csv"), csv).unwrap();
    let (clients, seen) = fake::clients().await;
    let header = Header {
        tenant: Tenant::parse("acme").unwrap(),
        purpose: Purpose::parse("signup").unwrap(),
        reference: Reference::empty(),
        request_id: Reference::empty(),
        actor: None,
    };
    let map = map.split(',').map(|mapping| mapping.parse().unwrap()).collect();
    let (csv, out) = (dir.path().join("in.csv"), dir.path().join("out.csv"));
    let job = Job::new(csv, out, false, "id".into(), map, batch).unwrap();
    let done = match Source::open(&job, work) {
        Ok(source) => {
            let mut report = Report::new(source.length(), &SILENT);
            work_through(source, &Wire::new(clients, header, work), &job, &mut report).await
        }
        Err(failure) => Err(failure),
    };
    Ran { dir, done, seen }
}

const OPEN: Work = Work::Open(v1::Form::Plaintext);
const MAP: &str = "email=pii/account/email,note=pii/account/name";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_back_as_it_was_in_order_with_its_other_columns() {
    let mut csv = String::from("note,id,other,email\n");
    for n in 0..2_000 {
        let note = ["", "\"a, \"\"b\"\"\nc\"", "Zoë"][n % 3];
        let email = if n % 7 == 0 { String::new() } else { format!("p{n}@example.com") };
        csv.push_str(&format!("{note},cust-{n},keep {n},{email}\n"));
    }
    let sealed = run(&csv, Work::Seal, MAP, 250).await;
    let totals = sealed.done.as_ref().unwrap();
    assert_eq!((totals.rows, totals.failed), (2_000, 0));
    assert_eq!(totals.done, (0..2_000).map(|n| u64::from(n % 3 != 0) + u64::from(n % 7 != 0)).sum::<u64>());
    let text = sealed.out();
    assert!(text.starts_with("note,id,other,email\n,cust-0,keep 0,\npv1_"), "{}", &text[..200]);
    assert!(!text.contains("@example.com") && !text.contains("Zoë"));
    assert!(sealed.seen.fields_max.load(Relaxed) <= 250);
    assert_eq!(totals.entries, Some((0, sealed.seen.messages.load(Relaxed) as u64 - 1)));
    assert_eq!(sealed.files(), ["out.csv"]);

    let opened = run(&text, OPEN, MAP, 100).await;
    assert_eq!(opened.done.as_ref().unwrap().failed, 0);
    assert_eq!(opened.out(), csv);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_can_not_be_opened_is_left_empty_and_counted_and_the_others_are_not_affected() {
    let sealed = run("id,email,note\nc1,a@b,x\nc2,c@d,y\nc3,e@f,z\n", Work::Seal, MAP, 250).await.out();
    let lines: Vec<Vec<&str>> = sealed.lines().map(|line| line.split(',').collect()).collect();
    // One is swapped to another subject, one is no ciphertext, one has no subject.
    let csv = format!(
        "id,email,note\nc1,{},{}\nc2,plain@text,{}\n,{},\n",
        lines[2][1], lines[1][2], lines[2][2], lines[3][1]
    );
    let opened = run(csv, OPEN, MAP, 250).await;
    let totals = opened.done.as_ref().unwrap();
    assert_eq!((totals.rows, totals.done, totals.failed), (3, 2, 3));
    assert_eq!(opened.out(), "id,email,note\nc1,,x\nc2,,y\n,,\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn rewrapped_cells_are_new_ciphertexts_and_what_is_none_is_left_empty() {
    let sealed = run("id,email,note\nc1,a@b,x\nc2,,y\n", Work::Seal, MAP, 250).await.out();
    let rewrapped = run(&sealed, Work::Rewrap, MAP, 250).await;
    assert_eq!(rewrapped.done.as_ref().unwrap().failed, 0);
    assert_ne!(rewrapped.out(), sealed);
    assert_eq!(run(rewrapped.out(), OPEN, MAP, 250).await.out(), "id,email,note\nc1,a@b',x'\nc2,,y'\n");
    let plain = run("id,email,note\nc1,a@b,x\n", Work::Rewrap, MAP, 250).await;
    assert_eq!((plain.done.as_ref().unwrap().failed, plain.out().as_str()), (2, "id,email,note\nc1,,\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_is_sealed_already_is_not_sealed_again() {
    let sealed = run("id,email,note\nc1,a@b,x\n", Work::Seal, "email=pii/account/email", 250).await.out();
    let again = run(&sealed, Work::Seal, MAP, 250).await;
    let totals = again.done.as_ref().unwrap();
    assert_eq!((totals.rows, totals.done, totals.failed), (1, 1, 1));
    assert!(again.out().starts_with("id,email,note\nc1,,pv1_"), "{}", again.out());
    // What only begins like a ciphertext is a value like any other.
    let alike = run("id,email,note\nc1,pv1,pv1_not!\n", Work::Seal, MAP, 250).await;
    assert_eq!(alike.done.as_ref().unwrap().failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_past_a_limit_fails_alone_and_its_message_is_sent_again_without_it() {
    let (long, longer) = ("l".repeat(101), "l".repeat(200));
    let csv = format!("id,email,note\nc1,a@b,{long}\nc2,{longer},y\nc3,e@f,{longer}\nc4,g@h,{}\n", "l".repeat(100));
    let ran = run(csv, Work::Seal, MAP, 250).await;
    let totals = ran.done.as_ref().unwrap();
    assert_eq!((totals.done, totals.failed), (5, 3));
    // One further call a column: what is longer still breaks the same rule.
    assert_eq!(ran.seen.unary.load(Relaxed), 2);
    assert_eq!(run(ran.out(), OPEN, MAP, 250).await.done.unwrap().done, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unavailable_for_a_moment_is_asked_again() {
    let ran = run("id,email,note\nc1,busy,x\nc2,c@d,y\n", Work::Seal, MAP, 250).await;
    assert_eq!(ran.done.as_ref().unwrap().failed, 0);
    assert_eq!(ran.seen.unary.load(Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_unavailable_ends_the_job_without_a_file() {
    let ran = run("id,email,note\nc1,a@b,x\nc2,lost,y\n", Work::Seal, MAP, 1).await;
    assert_eq!(ran.done.as_ref().unwrap_err().exit(), Exit::Unavailable);
    assert!(ran.files().is_empty(), "{:?}", ran.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_column_is_left_empty_and_a_denied_job_makes_no_file() {
    let some =
        run("id,email,note\nc1,a@b,x\nc2,,y\n", Work::Seal, "email=pii/account/email,note=pii/denied/x", 2).await;
    let totals = some.done.as_ref().unwrap();
    assert_eq!((totals.done, totals.failed), (1, 2));
    assert!(some.out().ends_with(",\nc2,,\n"), "{}", some.out());

    let all = run("id,email,note\nc1,a@b,x\n", Work::Seal, "email=pii/denied/y,note=pii/denied/x", 2).await;
    assert_eq!(all.done.as_ref().unwrap_err().exit(), Exit::Refused);
    assert!(all.files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_class_is_bad_input_and_not_a_fault_of_each_cell() {
    let ran = run("id,email,note\nc1,a@b,x\n", Work::Seal, "email=pii/account/email,note=pii/unknown/x", 2).await;
    let failure = ran.done.as_ref().unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.for_people(false).contains("--map note=pii/unknown/x"), "{failure:?}");
    assert!(ran.files().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_csv_of_this_shape_makes_no_file_and_shows_no_content() {
    let open_quote = [&b"id,email,note\nc1,\"secret"[..], &vec![b'x'; 17 << 20]].concat();
    for csv in [&b""[..], b"id,email\nc1,secret\n", b"id,email,note\nc1,a@b,x\nc2,secret\n", &open_quote] {
        let ran = run(csv, Work::Seal, MAP, 250).await;
        let failure = ran.done.as_ref().unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{failure}");
        assert!(!failure.for_people(false).contains("secret"), "{failure}");
        assert!(ran.files().is_empty(), "{:?}", ran.files());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_header_line_or_of_empty_cells_sends_nothing() {
    for csv in ["id,email,note\n", "id,email,note\nc1,,\nc2,,\n"] {
        let ran = run(csv, Work::Seal, MAP, 250).await;
        assert_eq!(ran.done.as_ref().unwrap().done, 0);
        assert_eq!(ran.seen.messages.load(Relaxed), 0);
        assert_eq!(ran.out(), csv);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_are_kept_and_sealed() {
    let csv = b"id,email,note,other\nc1,\xff\xfe,x,\xe9t\xe9\n";
    let sealed = run(csv, Work::Seal, MAP, 250).await;
    let out = fs::read(sealed.dir.path().join("out.csv")).unwrap();
    assert!(out.ends_with(b",\xe9t\xe9\n"));
    let opened = run(out, OPEN, MAP, 250).await;
    assert_eq!(fs::read(opened.dir.path().join("out.csv")).unwrap(), csv);
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_are_written_as_they_come() {
    let sealed = run("id,email,note\nc1,a@b,x\n", Work::Seal, MAP, 250).await.out();
    let masked = run(sealed, Work::Open(v1::Form::Masked), MAP, 250).await;
    assert_eq!(masked.out(), "id,email,note\nc1,***3,***1\n");
}

#[test]
fn a_summary_says_how_much_how_fast_and_where_it_is_recorded() {
    let totals = Totals { rows: 2_500, done: 25_913, failed: 1, entries: Some((120, 243)) };
    let summary = Summary { work: Work::Seal, totals, secs: 2.0 };
    assert_eq!(
        summary.for_people(),
        "2,500 rows: 25,913 fields sealed, 1 error, in 2.00 s (12,956 fields/s); recorded in entries 120 to 243"
    );
    assert_eq!(summary.for_machines()["fields_per_sec"], 12_956);
}
