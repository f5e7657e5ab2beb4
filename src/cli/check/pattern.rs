//! Regular expressions as they stand in configurations of web servers: the part of PCRE that is used there. An expression
//! that has more than that, or takes too long, gives no answer. Knows texts only.

/// Steps after which a match is given up.
const MOST_STEPS: usize = 20_000;

/// A part of an expression, and how often it may stand there.
#[derive(Debug)]
struct Repeated {
    what: Atom,
    least: usize,
    most: usize,
}

#[derive(Debug)]
enum Atom {
    Any,
    Begin,
    Char(char),
    End,
    Group(Vec<Vec<Repeated>>),
    /// Ranges of characters; all others if `true`.
    Set(Vec<(char, char)>, bool),
}

/// Whether the expression is found in the text; `None` if that is not known.
pub(super) fn is_found(expression: &str, text: &str) -> Option<bool> {
    let (expression, is_caseless) = match expression.strip_prefix("(?i)") {
        Some(rest) => (rest.to_lowercase(), true),
        None => (expression.to_owned(), false),
    };
    let text = if is_caseless {
        text.to_lowercase()
    } else {
        text.to_owned()
    };
    let mut chars: Vec<char> = expression.chars().rev().collect();
    let choices = choices(&mut chars)?;
    if !chars.is_empty() {
        return None;
    }
    let text: Vec<char> = text.chars().collect();
    let mut steps = MOST_STEPS;
    for from in 0..=text.len() {
        if fits(&choices, &text, from, &mut steps, &mut |_, _| Some(true))? {
            return Some(true);
        }
    }
    Some(false)
}

/// Reads alternatives, up to the end or a closing parenthesis. The next character is the last.
fn choices(chars: &mut Vec<char>) -> Option<Vec<Vec<Repeated>>> {
    let mut all = vec![Vec::new()];
    while let Some(&next) = chars.last() {
        if next == ')' {
            break;
        }
        chars.pop();
        if next == '|' {
            all.push(Vec::new());
            continue;
        }
        let what = what(next, chars)?;
        let (least, most) = repeats(chars)?;
        all.last_mut()?.push(Repeated { what, least, most });
    }
    Some(all)
}

fn what(first: char, chars: &mut Vec<char>) -> Option<Atom> {
    Some(match first {
        '.' => Atom::Any,
        '^' => Atom::Begin,
        '$' => Atom::End,
        '[' => set(chars)?,
        '\\' => escaped(chars.pop()?)?,
        '(' => {
            if chars.last() == Some(&'?') {
                chars.pop();
                let is_plain = match chars.pop()? {
                    ':' => true,
                    // A name does not change what fits.
                    '<' if chars.last().is_some_and(|c| c.is_alphabetic()) => {
                        while chars.pop()? != '>' {}
                        true
                    }
                    _ => false,
                };
                is_plain.then_some(())?;
            }
            let inner = choices(chars)?;
            (chars.pop() == Some(')')).then_some(Atom::Group(inner))?
        }
        '*' | '+' | '?' => return None,
        other => Atom::Char(other),
    })
}

fn escaped(letter: char) -> Option<Atom> {
    let word = || vec![('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')];
    let blank = || vec![(' ', ' '), ('\t', '\r')];
    Some(match letter {
        'd' => Atom::Set(vec![('0', '9')], false),
        'D' => Atom::Set(vec![('0', '9')], true),
        'w' => Atom::Set(word(), false),
        'W' => Atom::Set(word(), true),
        's' => Atom::Set(blank(), false),
        'S' => Atom::Set(blank(), true),
        other if other.is_alphanumeric() => return None,
        other => Atom::Char(other),
    })
}

/// Behind `[`.
fn set(chars: &mut Vec<char>) -> Option<Atom> {
    let is_not = chars.last() == Some(&'^');
    if is_not {
        chars.pop();
    }
    let mut ranges = Vec::new();
    let mut is_first = true;
    loop {
        let from = match chars.pop()? {
            ']' if !is_first => return Some(Atom::Set(ranges, is_not)),
            '[' if chars.last() == Some(&':') => return None,
            '\\' => match escaped(chars.pop()?)? {
                Atom::Char(c) => c,
                Atom::Set(more, false) => {
                    ranges.extend(more);
                    is_first = false;
                    continue;
                }
                _ => return None,
            },
            c => c,
        };
        is_first = false;
        let is_range = chars.last() == Some(&'-')
            && chars
                .iter()
                .rev()
                .nth(1)
                .is_some_and(|&c| c != ']' && c != '\\');
        let to = if is_range {
            chars.pop();
            chars.pop()?
        } else {
            from
        };
        ranges.push((from, to));
    }
}

/// How often; a lazy one fits as often.
fn repeats(chars: &mut Vec<char>) -> Option<(usize, usize)> {
    let range = match chars.last() {
        Some('*') => (0, usize::MAX),
        Some('+') => (1, usize::MAX),
        Some('?') => (0, 1),
        Some('{') => {
            let end = chars.iter().rposition(|&c| c == '}')?;
            let inner: String = chars[end + 1..chars.len() - 1].iter().rev().collect();
            chars.truncate(end + 1);
            match inner.split_once(',') {
                None => (inner.parse().ok()?, inner.parse().ok()?),
                Some((least, "")) => (least.parse().ok()?, usize::MAX),
                Some((least, most)) => (least.parse().ok()?, most.parse().ok()?),
            }
        }
        _ => return Some((1, 1)),
    };
    chars.pop();
    if chars.last() == Some(&'?') {
        chars.pop();
    }
    // Possessive ones fit otherwise.
    (chars.last() != Some(&'+')).then_some(range)
}

type Then<'a> = &'a mut dyn FnMut(usize, &mut usize) -> Option<bool>;

fn fits(
    choices: &[Vec<Repeated>],
    text: &[char],
    at: usize,
    steps: &mut usize,
    then: Then<'_>,
) -> Option<bool> {
    for choice in choices {
        if parts_fit(choice, text, at, steps, then)? {
            return Some(true);
        }
    }
    Some(false)
}

fn parts_fit(
    parts: &[Repeated],
    text: &[char],
    at: usize,
    steps: &mut usize,
    then: Then<'_>,
) -> Option<bool> {
    match parts.split_first() {
        None => then(at, steps),
        Some((part, rest)) => part_fits(part, 0, rest, text, at, steps, then),
    }
}

/// `part` has stood there `count` times already.
fn part_fits(
    part: &Repeated,
    count: usize,
    rest: &[Repeated],
    text: &[char],
    at: usize,
    steps: &mut usize,
    then: Then<'_>,
) -> Option<bool> {
    *steps = steps.checked_sub(1)?;
    if count < part.most {
        let mut once_more = |next: usize, steps: &mut usize| {
            // An empty one brings nothing on.
            if next == at && count >= part.least {
                return Some(false);
            }
            part_fits(part, count + 1, rest, text, next, steps, then)
        };
        let here = text.get(at).copied();
        let one = match &part.what {
            Atom::Group(choices) => {
                if fits(choices, text, at, steps, &mut once_more)? {
                    return Some(true);
                }
                None
            }
            Atom::Begin => (at == 0).then_some(at),
            Atom::End => (at == text.len()).then_some(at),
            Atom::Any => here.map(|_| at + 1),
            Atom::Char(c) => (here == Some(*c)).then_some(at + 1),
            Atom::Set(ranges, is_not) => here
                .filter(|c| ranges.iter().any(|(from, to)| (from..=to).contains(&c)) != *is_not)
                .map(|_| at + 1),
        };
        if let Some(next) = one
            && once_more(next, steps)?
        {
            return Some(true);
        }
    }
    if count >= part.least {
        return parts_fit(rest, text, at, steps, then);
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_configurations_have() {
        for (expression, text, found) in [
            ("^/cgi-bin/(.*)$", "/cgi-bin/wiki", true),
            ("^/cgi-bin/(.*)$", "/x/cgi-bin/wiki", false),
            ("wiki", "/x/wiki/y", true),
            (r"\.(cgi|pl)$", "a.pl", true),
            (r"\.(cgi|pl)$", "a.plx", false),
            (r"^/srv/[^/]+/www", "/srv/joe/www/a", true),
            (r"^/srv/[^/]+/www", "/srv/joe/x/www", false),
            (r"^/home/([a-z0-9_-]{2,8})/", "/home/joe/", true),
            (r"^/home/([a-z0-9_-]{2,8})/", "/home/j/", false),
            ("(?i)^/WIKI", "/wiki", true),
            ("^(?:a|b)+?c", "ababc", true),
            (r"^\d+\s\w*$", "12 ab_3", true),
            ("^(a*)*b", "aaab", true),
            ("a{2}", "a", false),
            ("^(?<name>x)$", "x", true),
            ("[]x]", "]", true),
            ("", "anything", true),
        ] {
            assert_eq!(
                is_found(expression, text),
                Some(found),
                "{expression} {text}"
            );
        }
    }

    #[test]
    fn what_is_not_known_gives_no_answer() {
        for expression in [
            "(?=x)",
            r"(a)\1",
            "(",
            "[a",
            "*",
            "x++",
            "[[:alpha:]]",
            ")",
            r"\bx",
        ] {
            assert_eq!(is_found(expression, "x"), None, "{expression}");
        }
        let hard = "^(a+)+$";
        assert_eq!(is_found(hard, &format!("{}b", "a".repeat(60))), None);
    }
}
