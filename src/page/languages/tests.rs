//! Which language is chosen; that each has all words, in its own script.

use proptest::prelude::*;

use super::*;
use crate::page::{Answer, Cookies, Failure, Form, Posted, Visitor, words};

#[test]
fn a_language_is_chosen() {
    let cases = [
        ("", "en"),
        ("*", "en"),
        ("tlh", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de-AT-1996-x-private", "de"),
        // Firefox, Chromium, Safari, git
        ("de,en-US;q=0.7,en;q=0.3", "de"),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"),
        ("ar-EG,ar;q=0.9", "ar"),
        ("ja, en-US;q=0.9, *;q=0.8", "ja"),
        // the highest weight, of equal ones the first
        ("en;q=0.5, es;q=0.9, fr;q=0.8", "es"),
        ("it, nl", "it"),
        ("it;q=0.5, nl;q=0.5", "it"),
        ("sv, pl;q=0.1", "pl"),
        ("de;q=0, ru;q=0.001", "ru"),
        ("de;q=0", "en"),
        ("*, pt-BR;q=0.5", "pt"),
        ("de ; q=0.2 , es ; q=0.3", "es"),
        ("de;q=high, es;q=0.9", "de"),
        // scripts and places of Chinese
        ("zh", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh-SG", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-HK,zh;q=0.9", "zh-Hant"),
        ("zh-Hant-MY", "zh-Hant"),
        ("zh-Hans-HK", "zh-Hans"),
        ("zh-hant-x-a", "zh-Hant"),
        // what is no language of ours, though it begins like one
        ("deu, en", "en"),
        ("d, de-", "de"),
        ("-de, x-de", "en"),
        (",;,;q=,", "en"),
    ];
    for (field, tag) in cases {
        assert_eq!(from_accept(field.as_bytes()).tag, tag, "{field}");
    }
}

/// What is looked at has limits: a long range, and many of them.
#[test]
fn a_hostile_field_costs_little() {
    let long = format!("de{}", "-a".repeat(20_000));
    assert_eq!(from_accept(long.as_bytes()).tag, "en");
    let at_the_limit = format!("de-{}", "a".repeat(LONGEST_RANGE - 3));
    assert_eq!(from_accept(at_the_limit.as_bytes()).tag, "de");
    let many = |before: usize| "x,".repeat(before) + "de";
    assert_eq!(from_accept(many(MOST_RANGES - 1).as_bytes()).tag, "de");
    assert_eq!(from_accept(many(MOST_RANGES).as_bytes()).tag, "en");
}

#[test]
fn each_language_is_found_by_its_tag() {
    for language in ALL {
        assert_eq!(from_accept(language.tag.as_bytes()), language);
    }
}

/// Everything that is said in a language.
fn all_words(language: &'static Language) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for failure in Failure::all(5) {
        if failure == Failure::NotAnApp {
            continue;
        }
        let (title, what) = words::of(failure, language);
        said.extend([title, what].map(str::to_owned));
        for posted in [Posted::Elsewhere, Posted::Here, Posted::Nothing] {
            for is_page in [false, true] {
                let visitor = Visitor {
                    language,
                    posted,
                    ..Visitor::unknown()
                };
                let sentences = words::advice(failure, visitor, is_page);
                let sentences = sentences.iter().filter(|sentence| !sentence.is_empty());
                said.extend(sentences.map(|&sentence| sentence.to_owned()));
            }
        }
    }
    said.extend([language.next, language.now, language.try_now].map(str::to_owned));
    said.extend(language.when.iter().map(|(_, form)| form.to_string()));
    said
}

/// Nothing is left in English, or has to be escaped in HTML, JSON or a script.
#[test]
fn each_language_has_words_of_its_own() {
    let english = all_words(DEFAULT);
    for language in ALL {
        let said = all_words(language);
        assert_eq!(
            said.len() - language.when.len(),
            english.len() - DEFAULT.when.len()
        );
        for words in &said {
            assert!(!words.is_empty() && words.trim() == words, "{words:?}");
            assert!(!words.contains(['<', '>', '&', '"', '\\', '\n']), "{words}");
            assert!(!words.contains("  "), "{words}");
            let is_own = language == DEFAULT || !english.contains(words);
            assert!(is_own, "{}: {words}", language.tag);
            assert!(
                is_in_script(words, language.tag),
                "{}: {words}",
                language.tag
            );
        }
    }
}

/// Whether all letters are of the script of that language, but for names of placeholders and of cookies.
fn is_in_script(words: &str, tag: &str) -> bool {
    let mut rest = words.to_owned();
    for name in ["{when}", "{n}", "Cookie", "cookie"] {
        rest = rest.replace(name, "");
    }
    rest.chars()
        .filter(|char| char.is_alphabetic())
        .all(|char| match tag {
            "ar" => matches!(char, '\u{600}'..='\u{6ff}'),
            "ru" => matches!(char, '\u{400}'..='\u{4ff}'),
            "ja" => matches!(char, '々' | '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}'),
            "zh-Hans" | "zh-Hant" => matches!(char, '\u{4e00}'..='\u{9fff}'),
            _ => matches!(char, 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{17f}'),
        })
}

#[test]
fn sentences_end_and_titles_do_not() {
    for language in ALL {
        let ends = |words: &str| words.ends_with(['.', '。']);
        for failure in Failure::all(5) {
            if failure == Failure::NotAnApp {
                continue;
            }
            let (title, what) = words::of(failure, language);
            assert!(!ends(title) && ends(what), "{title}: {what}");
        }
        for sentence in [
            language.by_itself,
            language.again,
            language.unsaved,
            language.keep,
            language.unknown,
            language.again_or_tell,
        ] {
            assert!(ends(sentence), "{sentence}");
        }
        assert!(language.next.ends_with([':', '：']), "{}", language.next);
        assert_eq!(language.again.matches("{when}").count(), 1);
    }
}

/// A number is in each form that is for more than one number.
#[test]
fn times_say_their_number() {
    for language in ALL {
        for seconds in 3..=130 {
            let form = language.when(seconds);
            assert_eq!(form.matches("{n}").count(), 1, "{form}");
        }
    }
    let told = |tag: &str, retry_after| {
        let answer = Answer {
            failure: Failure::Overloaded { retry_after },
            visitor: Visitor {
                form: Form::Text,
                language: from_accept(tag.as_bytes()),
                head_only: false,
                posted: Posted::Nothing,
            },
            reason: None,
            own_page: None,
            cookies: Cookies::Unread,
        };
        let response = String::from_utf8(answer.to_cgi_response()).unwrap();
        let (_, text) = response.split_once(": ").unwrap();
        text.rsplit("\r\n").next().unwrap().to_owned()
    };
    for (tag, seconds, expected) in [
        ("en", 1, "Please try again in 1 second.\n"),
        ("en", 30, "Please try again in 30 seconds.\n"),
        (
            "de",
            2,
            "Bitte versuchen Sie es in 2 Sekunden noch einmal.\n",
        ),
        ("ru", 21, "повторите попытку через 21 секунду.\n"),
        ("pl", 22, "spróbować ponownie za 22 sekundy.\n"),
        ("ar", 2, "المحاولة مرة أخرى بعد ثانيتين.\n"),
        (
            "ja",
            5,
            "混み合っています。5 秒後にもう一度お試しください。\n",
        ),
    ] {
        let text = told(tag, seconds);
        assert!(text.ends_with(expected), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes(field in prop::collection::vec(any::<u8>(), 0..200)) {
        from_accept(&field);
    }

    #[test]
    fn near_misses(field in "((de|zh-TW|\\*)?[-;,= ]{0,2}q?=?[0-9.]{0,5},?){0,4}") {
        from_accept(field.as_bytes());
    }
}
