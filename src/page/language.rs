//! What a language needs to have all of our words, and its plurals. Which language a client reads is not known here.

/// All that we say to people, in one language. Sentences end with their punctuation, titles have none, and no text has
/// to be escaped in HTML or JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// As in `lang` and Content-Language (RFC 5646).
    pub(super) tag: &'static str,
    pub(super) right_to_left: bool,
    /// What stands between two sentences.
    pub(super) space: &'static str,
    pub(super) plural: Plural,
    /// 'in 5 seconds', by the plural category of the number, which is `{n}`; `other` last.
    pub(super) when: &'static [(Category, &'static str)],

    /// The title of a page that comes again.
    pub(super) one_moment: &'static str,
    /// Why it has to: too many requests, no server, a server that starts.
    pub(super) busy: &'static str,
    pub(super) away: &'static str,
    pub(super) starting: &'static str,
    /// The page asks again without a person.
    pub(super) by_itself: &'static str,
    /// A person is to ask again; with `{when}`.
    pub(super) again: &'static str,
    /// Stands before the time of the next request.
    pub(super) next: &'static str,
    /// In place of `next` and the time, when that has come.
    pub(super) now: &'static str,
    /// The link that asks again at once.
    pub(super) try_now: &'static str,

    /// The app has got nothing of what the client has sent.
    pub(super) unsaved: &'static str,
    /// How what was typed may be kept.
    pub(super) keep: &'static str,
    /// The app may have got what the client has sent.
    pub(super) unknown: &'static str,
    /// After a failure of the app.
    pub(super) again_or_tell: &'static str,

    /// For the other failures, by their names: a title, and what happened.
    pub(super) app_broken: (&'static str, &'static str),
    pub(super) app_failed: (&'static str, &'static str),
    pub(super) bad_gateway: (&'static str, &'static str),
    pub(super) bad_request: (&'static str, &'static str),
    pub(super) body_too_large: (&'static str, &'static str),
    pub(super) header_too_large: (&'static str, &'static str),
    pub(super) misconfigured: (&'static str, &'static str),
    pub(super) not_found: (&'static str, &'static str),
    pub(super) request_timeout: (&'static str, &'static str),
    pub(super) timed_out: (&'static str, &'static str),
}

/// How a language tells numbers apart (Unicode CLDR, cardinal plural rules, for whole numbers from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plural {
    Arabic,
    /// One form for all numbers.
    None,
    /// One form for 1, another for the others.
    One,
    Polish,
    Russian,
}

/// A form of a noun, by a number before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    One,
    Two,
    Few,
    Many,
    Other,
}

impl Plural {
    fn category(self, number: u32) -> Category {
        let (ones, tens) = (number % 10, number % 100);
        let is_few = matches!(ones, 2..=4) && !matches!(tens, 12..=14);
        match self {
            Plural::Arabic => match (number, tens) {
                (1, _) => Category::One,
                (2, _) => Category::Two,
                (_, 3..=10) => Category::Few,
                (_, 11..=99) => Category::Many,
                _ => Category::Other,
            },
            Plural::One if number == 1 => Category::One,
            Plural::None | Plural::One => Category::Other,
            Plural::Polish if number == 1 => Category::One,
            Plural::Russian if ones == 1 && tens != 11 => Category::One,
            Plural::Polish | Plural::Russian if is_few => Category::Few,
            Plural::Polish | Plural::Russian => Category::Many,
        }
    }
}

impl Category {
    /// Its name in CLDR, and in JavaScript's Intl.PluralRules.
    pub(super) fn word(self) -> &'static str {
        match self {
            Category::One => "one",
            Category::Two => "two",
            Category::Few => "few",
            Category::Many => "many",
            Category::Other => "other",
        }
    }
}

impl Language {
    /// 'in 5 seconds', where the number is `{n}`.
    pub(super) fn when(&self, seconds: u32) -> &'static str {
        let category = self.plural.category(seconds);
        let mut forms = self.when.iter().rev();
        let last = forms.clone().next();
        let form = forms.find(|(of, _)| *of == category).or(last);
        form.map_or("{n}", |(_, form)| form)
    }

    /// For `dir`.
    pub(super) fn direction(&self) -> &'static str {
        if self.right_to_left { "rtl" } else { "ltr" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals() {
        use Category::{Few, Many, Other};
        let cases = [
            (Plural::None, Category::One, &[][..]),
            (Plural::One, Category::One, &[1][..]),
            (Plural::Polish, Category::One, &[1]),
            (Plural::Polish, Few, &[2, 3, 4, 22, 24, 33, 102, 104]),
            (
                Plural::Polish,
                Many,
                &[5, 11, 12, 14, 20, 21, 25, 100, 101, 112],
            ),
            (Plural::Russian, Category::One, &[1, 21, 31, 101, 121]),
            (Plural::Russian, Few, &[2, 3, 4, 22, 24, 102]),
            (
                Plural::Russian,
                Many,
                &[5, 10, 11, 12, 14, 20, 100, 111, 112],
            ),
            (Plural::Arabic, Category::One, &[1]),
            (Plural::Arabic, Category::Two, &[2]),
            (Plural::Arabic, Few, &[3, 10, 103, 110]),
            (Plural::Arabic, Many, &[11, 30, 99, 111, 199]),
            (Plural::Arabic, Other, &[100, 101, 102, 200]),
        ];
        for (plural, category, numbers) in cases {
            for &number in numbers {
                assert_eq!(plural.category(number), category, "{plural:?} {number}");
            }
        }
        assert_eq!(Plural::None.category(1), Other);
        assert_eq!(Plural::One.category(2), Other);
    }
}
