//! Which of a few words a misspelt one may have meant. It knows letters, and not what the words are for.
#![forbid(unsafe_code)]

/// A typed word longer than this is not compared; the longest word of ours has 20 bytes.
const LONGEST: usize = 40;

/// The only word that begins so, if that is three letters or more.
pub fn begun<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut words = words.filter(|word| typed.len() >= 3 && word.starts_with(typed));
    let word = words.next()?;
    words.next().is_none().then_some(word)
}

/// The word with the fewest typing errors: at most a third of its letters, and of the typed letters.
pub fn nearest<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if typed.len() > LONGEST {
        return None;
    }
    let typed = typed.to_lowercase();
    let far = |word: &str| distance(&typed, word);
    let word = words.min_by_key(|word| far(word))?;
    (far(word) <= word.len().min(typed.len()) / 3).then_some(word)
}

/// How many letters to insert, delete, change, or swap with the next (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut older = Vec::new();
    let mut old: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut new = vec![i];
        for j in 1..=b.len() {
            let changed = old[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(old[j] + 1).min(new[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(older[j - 2] + 1);
            }
            new.push(best);
        }
        (older, old) = (old, new);
    }
    old[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_a_few() {
        let of = |typed| nearest(typed, ["auto", "cgi", "scgi", "--via"].into_iter());
        assert_eq!(of("sgci"), Some("scgi"));
        assert_eq!(of("CGI"), Some("cgi"));
        assert_eq!(of("--vai"), Some("--via"));
        for typed in ["", "x", "proxy", &"a".repeat(100)] {
            assert_eq!(of(typed), None, "{typed}");
        }
    }

    #[test]
    fn the_only_one_that_begins_so() {
        let of = |typed| begun(typed, ["--profile", "--prometheus", "stop"].into_iter());
        assert_eq!(of("--prom"), Some("--prometheus"));
        assert_eq!(of("sto"), Some("stop"));
        for typed in ["", "st", "--pro", "--prom3"] {
            assert_eq!(of(typed), None, "{typed}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("wgsi", "wsgi"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
