//! A line diff (Myers, 'An O(ND) Difference Algorithm', 1986), bounded in size, and its unified form. It compares
//! whatever the caller compares.

use std::fmt::Write;
use std::ops::Range;

/// The most lines that are deleted and inserted one by one: beyond that the rest is one hunk.
const MOST_EDITS: usize = 1000;
/// Lines around a hunk.
const CONTEXT: usize = 3;
/// The most bytes of a line that are shown.
const LONGEST_LINE: usize = 400;

/// Lines of the old text, and what stands in their place in the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// What differs, in order. `same`: whether a line of the old text and one of the new are the same.
pub(super) fn hunks(old: usize, new: usize, same: impl Fn(usize, usize) -> bool) -> Vec<Hunk> {
    let shorter = old.min(new);
    let before = (0..shorter).take_while(|&at| same(at, at)).count();
    let behind = (1..=shorter - before)
        .take_while(|&at| same(old - at, new - at))
        .count();
    let middle = matches(old - before - behind, new - before - behind, |x, y| {
        same(before + x, before + y)
    });
    let (mut x, mut y) = (before, before);
    let mut hunks = Vec::new();
    let ends = [(old - behind, new - behind, 0)];
    let middle = middle
        .into_iter()
        .map(|(x, y, count)| (before + x, before + y, count));
    for (old, new, count) in middle.chain(ends) {
        if (x, y) != (old, new) {
            hunks.push(Hunk {
                old: x..old,
                new: y..new,
            });
        }
        (x, y) = (old + count, new + count);
    }
    hunks
}

/// Runs of lines that match, in order: where they begin in both, and how many lines they have.
fn matches(
    old: usize,
    new: usize,
    same: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize, usize)> {
    let (n, m) = (old as isize, new as isize);
    let most = (old + new).min(MOST_EDITS) as isize;
    // The furthest x on each diagonal, x - y; and the same after each number of edits.
    let mut furthest = vec![0_isize; 2 * most as usize + 3];
    let at = |diagonal: isize| (diagonal + most + 1) as usize;
    let mut after: Vec<Vec<isize>> = Vec::new();
    let mut edits = None;
    'search: for d in 0..=most {
        for diagonal in (-d..=d).step_by(2) {
            let mut x = step(&|k| furthest[at(k)], d, diagonal).0;
            while x < n && x - diagonal < m && same(x as usize, (x - diagonal) as usize) {
                x += 1;
            }
            furthest[at(diagonal)] = x;
            if x >= n && x - diagonal >= m {
                edits = Some(d);
                break 'search;
            }
        }
        after.push(furthest[at(-d)..=at(d)].to_vec());
    }
    let Some(edits) = edits else {
        return Vec::new();
    };
    let (mut x, mut y) = (n, m);
    let mut found = Vec::new();
    for d in (0..=edits).rev() {
        let diagonal = x - y;
        let (start, from) = match d {
            0 => (0, 0),
            d => {
                let row = &after[d as usize - 1];
                step(&|k| row[(k + d - 1) as usize], d, diagonal)
            }
        };
        if x > start {
            found.push((
                start as usize,
                (start - diagonal) as usize,
                (x - start) as usize,
            ));
        }
        (x, y) = if from > diagonal {
            (start, start - diagonal - 1)
        } else {
            (start - 1, start - diagonal)
        };
    }
    found.reverse();
    found
}

/// Where a path with `d` edits comes to on a diagonal, and from which diagonal.
fn step(furthest: &impl Fn(isize) -> isize, d: isize, diagonal: isize) -> (isize, isize) {
    if d == 0 {
        return (0, 0);
    }
    let is_down =
        diagonal == -d || (diagonal != d && furthest(diagonal - 1) < furthest(diagonal + 1));
    if is_down {
        (furthest(diagonal + 1), diagonal + 1)
    } else {
        (furthest(diagonal - 1) + 1, diagonal - 1)
    }
}

/// The hunks as `diff -u` shows them, with context; at most `most` lines.
pub(super) fn unified(old: &[&str], new: &[&str], hunks: &[Hunk], most: usize) -> String {
    let mut text = String::new();
    let mut rest = hunks;
    while let Some(first) = rest.first() {
        let apart = |pair: &[Hunk]| pair[1].old.start - pair[0].old.end > 2 * CONTEXT;
        let count = rest
            .windows(2)
            .position(apart)
            .map_or(rest.len(), |at| at + 1);
        let (group, behind) = rest.split_at(count);
        rest = behind;
        let last = &group[count - 1];
        let before = CONTEXT.min(first.old.start).min(first.new.start);
        let after = CONTEXT
            .min(old.len() - last.old.end)
            .min(new.len() - last.new.end);
        let range = |range: Range<usize>| match range.len() {
            1 => format!("{}", range.start + 1),
            0 => format!("{},0", range.start),
            length => format!("{},{length}", range.start + 1),
        };
        let of_old = range(first.old.start - before..last.old.end + after);
        let of_new = range(first.new.start - before..last.new.end + after);
        // A String takes all that is written.
        let _ = writeln!(text, "@@ -{of_old} +{of_new} @@");
        let mut at = first.old.start - before;
        for hunk in group {
            let context = old[at..hunk.old.start].iter();
            context.for_each(|line| add(&mut text, ' ', line, 0));
            let (old, new) = (&old[hunk.old.clone()], &new[hunk.new.clone()]);
            let from = |at: usize| match (old.get(at), new.get(at)) {
                (Some(old), Some(new))
                    if old.len() == new.len() || hunk.old.len() == hunk.new.len() =>
                {
                    first_shown(old, new)
                }
                _ => 0,
            };
            for (at, line) in old.iter().enumerate() {
                add(&mut text, '-', line, from(at));
            }
            for (at, line) in new.iter().enumerate() {
                add(&mut text, '+', line, from(at));
            }
            at = hunk.old.end;
        }
        let context = old[at..at + after].iter();
        context.for_each(|line| add(&mut text, ' ', line, 0));
    }
    cut(&text, most)
}

fn cut(text: &str, most: usize) -> String {
    let lines = text.lines().count();
    if lines <= most {
        return text.to_owned();
    }
    let shown: String = text.split_inclusive('\n').take(most).collect();
    format!("{shown}... and {} more lines\n", lines - most)
}

/// From where two long lines are shown: a little before the first character that differs.
fn first_shown(old: &str, new: &str) -> usize {
    if old.len().max(new.len()) <= LONGEST_LINE {
        return 0;
    }
    let same = old.chars().zip(new.chars());
    let same = same.take_while(|(old, new)| old == new).count();
    same.saturating_sub(LONGEST_LINE / 4)
}

fn add(text: &mut String, sign: char, line: &str, from: usize) {
    let whole = line.strip_suffix('\n').unwrap_or(line);
    let dots = if from > 0 { "..." } else { "" };
    let shown: String = whole.chars().skip(from).take(LONGEST_LINE).collect();
    let is_cut = whole.chars().count() > from + LONGEST_LINE;
    let more = if is_cut { "..." } else { "" };
    let _ = writeln!(text, "{sign}{dots}{shown}{more}");
    if whole.len() == line.len() {
        text.push_str("\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn diff(old: &str, new: &str) -> String {
        let old: Vec<&str> = old.split_inclusive('\n').collect();
        let new: Vec<&str> = new.split_inclusive('\n').collect();
        let hunks = hunks(old.len(), new.len(), |x, y| old[x] == new[y]);
        unified(&old, &new, &hunks, 100)
    }

    #[test]
    fn the_unified_form_is_that_of_diff() {
        assert_eq!(diff("a\nb\n", "a\nb\n"), "");
        assert_eq!(
            diff("1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\n4\nx\n6\n7\n"),
            "@@ -2,6 +2,6 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n"
        );
        assert_eq!(
            diff("", "a"),
            "@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"
        );
        assert_eq!(
            diff("a\n", "a"),
            "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n"
        );
        assert_eq!(diff("a\nb\nc\n", "b\nc\n"), "@@ -1,3 +1,2 @@\n-a\n b\n c\n");
    }

    #[test]
    fn hunks_far_apart_have_heads_of_their_own() {
        let lines: String = (0..30).map(|number| format!("{number}\n")).collect();
        let new = lines.replace("\n5\n", "\nx\n").replace("\n25\n", "\ny\n");
        assert_eq!(diff(&lines, &new).matches("@@ -").count(), 2);
    }

    #[test]
    fn what_is_long_is_cut() {
        let old = "a".repeat(5000) + "b\n";
        let new = "a".repeat(5000) + "c\n";
        let text = diff(&old, &new);
        assert!(
            text.len() < 1000 && text.contains("aab") && text.contains("aac"),
            "{text}"
        );
        let old: String = (0..5000).map(|number| format!("o{number}\n")).collect();
        let new: String = (0..5000).map(|number| format!("n{number}\n")).collect();
        assert!(diff(&old, &new).ends_with("more lines\n"));
    }

    proptest! {
        #[test]
        fn hunks_make_the_new_of_the_old(old in "[abc]{0,30}", new in "[abc]{0,30}") {
            let (old, new) = (old.as_bytes(), new.as_bytes());
            let hunks = hunks(old.len(), new.len(), |x, y| old[x] == new[y]);
            let (mut made, mut at) = (Vec::new(), 0);
            for hunk in &hunks {
                made.extend_from_slice(&old[at..hunk.old.start]);
                prop_assert_eq!(made.len(), hunk.new.start);
                made.extend_from_slice(&new[hunk.new.clone()]);
                at = hunk.old.end;
            }
            made.extend_from_slice(&old[at..]);
            prop_assert_eq!(&made[..], new);
        }
    }
}
