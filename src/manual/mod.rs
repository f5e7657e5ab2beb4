//! The pages of the manual, held to the code: what a page names is there, and what is there a page names. It knows the
//! pages as texts, and of the code lists of words; it is built for the tests only.
#![forbid(unsafe_code)]

mod commands;
mod keys;
mod members;
mod page;
mod planted;
mod words;

use std::collections::BTreeSet;

use self::page::ManualPage;

/// The texts of all pages.
#[derive(Clone, Copy)]
struct ManualPages<'a> {
    /// polycgi(1)
    commands: &'a str,
    /// polycgi.conf(5)
    file: &'a str,
    /// cgi-front(8)
    front: &'a str,
    /// scgi-daemon(8)
    daemon: &'a str,
}

const OURS: ManualPages<'static> = ManualPages {
    commands: include_str!("../../packaging/man/polycgi.1"),
    file: include_str!("../../packaging/man/polycgi.conf.5"),
    front: include_str!("../../packaging/man/cgi-front.8"),
    daemon: include_str!("../../packaging/man/scgi-daemon.8"),
};

/// Everything that is compared.
fn complaints(pages: ManualPages<'_>) -> Vec<String> {
    let [commands, file, front, daemon] =
        [pages.commands, pages.file, pages.front, pages.daemon].map(ManualPage::of);
    let mut wrong = keys::complaints(&file);
    wrong.extend(commands::complaints(&commands, &front, &daemon));
    wrong.extend(words::complaints(&commands, &front, &daemon));
    wrong
}

/// What only one of the two sets has, as complaints. `told`: by the manual; `known`: by the code.
fn differences<T: Into<String>, K: Into<String>>(
    what: &str,
    told: impl IntoIterator<Item = T>,
    known: impl IntoIterator<Item = K>,
) -> Vec<String> {
    let told: BTreeSet<String> = told.into_iter().map(Into::into).collect();
    let known: BTreeSet<String> = known.into_iter().map(Into::into).collect();
    let missing = known.difference(&told);
    let missing = missing.map(|word| format!("{what}: the manual has no {word}"));
    let unknown = told.difference(&known);
    let unknown = unknown.map(|word| format!("{what}: the code has no {word}"));
    missing.chain(unknown).collect()
}

#[test]
fn the_manual_says_what_the_code_does() {
    let wrong = complaints(OURS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
