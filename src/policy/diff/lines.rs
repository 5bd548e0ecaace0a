//! Which lines of a text are not those of another.

/// The most pairs of lines that are held against each other; past that, everything between what two texts begin with and end
/// with counts as changed.
const PAIRS_MAX: usize = 1_000_000;

/// A line that one of two texts has and the other hasn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit<'a> {
    Removed(&'a str),
    Added(&'a str),
}

/// The edits that make `before` into `after`, in the order of the lines.
pub(super) fn edits<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Edit<'a>> {
    let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (before, after) = (before.get(same..).unwrap_or_default(), after.get(same..).unwrap_or_default());
    let same = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let before = before.get(..before.len() - same).unwrap_or_default();
    let after = after.get(..after.len() - same).unwrap_or_default();
    if before.len().saturating_mul(after.len()) > PAIRS_MAX {
        let removed = before.iter().copied().map(Edit::Removed);
        return removed.chain(after.iter().copied().map(Edit::Added)).collect();
    }
    shortest(before, after)
}

/// By the longest common subsequence of what is left of both from each pair of lines on.
fn shortest<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Edit<'a>> {
    let width = after.len() + 1;
    let mut common = vec![0_u32; (before.len() + 1) * width];
    let at = |common: &[u32], row: usize, column: usize| common.get(row * width + column).copied().unwrap_or(0);
    for (row, old) in before.iter().enumerate().rev() {
        for (column, new) in after.iter().enumerate().rev() {
            let longest = if old == new {
                at(&common, row + 1, column + 1) + 1
            } else {
                at(&common, row + 1, column).max(at(&common, row, column + 1))
            };
            if let Some(cell) = common.get_mut(row * width + column) {
                *cell = longest;
            }
        }
    }
    let (mut row, mut column, mut edits) = (0, 0, Vec::new());
    loop {
        match (before.get(row), after.get(column)) {
            (Some(old), Some(new)) if old == new => (row, column) = (row + 1, column + 1),
            (Some(old), new) if new.is_none() || at(&common, row + 1, column) >= at(&common, row, column + 1) => {
                edits.push(Edit::Removed(old));
                row += 1;
            }
            (_, Some(new)) => {
                edits.push(Edit::Added(new));
                column += 1;
            }
            (_, None) => return edits,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(before: &str, after: &str) -> String {
        let (before, after): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), after.split(' ').collect());
        let edits = edits(&before, &after);
        let shown = edits.iter().map(|edit| match edit {
            Edit::Removed(line) => format!("-{line}"),
            Edit::Added(line) => format!("+{line}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_lines_that_differ_are_edits_and_a_moved_line_is_two() {
        assert_eq!(text("a b c", "a b c"), "");
        assert_eq!(text("a b c", "a x c"), "-b +x");
        assert_eq!(text("a b c", "a c"), "-b");
        assert_eq!(text("a c", "a b c d"), "+b +d");
        assert_eq!(text("a b c d", "d a b c"), "+d -d");
        assert_eq!(text("a", "b"), "-a +b");
    }

    #[test]
    fn texts_too_long_to_compare_are_replaced_between_their_ends() {
        let lines: Vec<String> = (0..1_200).map(|n| n.to_string()).collect();
        let before: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut after = before.clone();
        after.swap(1, 1_100);
        let edits = edits(&before, &after);
        assert_eq!((edits.len(), edits[0]), (2 * 1_100, Edit::Removed("1")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn no_fewer_edits_lead_from_one_text_to_the_other(before in "[a-c]{0,9}", after in "[a-c]{0,9}") {
            fn common(a: &[&str], b: &[&str]) -> usize {
                match (a, b) {
                    ([x, a @ ..], [y, b @ ..]) if x == y => 1 + common(a, b),
                    ([_, short_a @ ..], [_, short_b @ ..]) => common(short_a, b).max(common(a, short_b)),
                    _ => 0,
                }
            }
            let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
            let (before, after) = (lines(&before), lines(&after));
            let refs = |lines: &'static [String]| lines.iter().map(String::as_str).collect::<Vec<_>>();
            let (before, after) = (refs(before.leak()), refs(after.leak()));
            let edits = edits(&before, &after);
            prop_assert_eq!(edits.len(), before.len() + after.len() - 2 * common(&before, &after));
            let mut left = before;
            for edit in edits {
                match edit {
                    Edit::Removed(line) => _ = left.remove(left.iter().position(|old| *old == line).unwrap()),
                    Edit::Added(line) => left.push(line),
                }
            }
            let sorted = |mut lines: Vec<&'static str>| { lines.sort_unstable(); lines };
            prop_assert_eq!(sorted(left), sorted(after));
        }
    }
}
