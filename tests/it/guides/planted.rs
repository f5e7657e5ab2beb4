//! Guides that mislead: each rule finds its fault.

use super::page::{Page, Step, Typed, Written, is_shown};
use super::{Reader, doubts, file_command};

fn typed(line: usize, by_root: bool, command: &str, shows: &[&str]) -> Step {
    Step::Type(Typed {
        line,
        by_root,
        command: command.to_owned(),
        shows: shows.iter().map(|line| (*line).to_owned()).collect(),
        exit: 0,
    })
}

fn steps(text: &str) -> Vec<Step> {
    Page::read(text).unwrap().steps
}

fn wrong(text: &str) -> String {
    Page::read(text).unwrap_err()
}

#[test]
fn commands_and_what_they_print() {
    let text = "Type:\n\n```console\n$ one \\\n    two\nshown\n\n# three\n```\n";
    let expected = [
        typed(4, false, "one \\\n    two", &["shown", ""]),
        typed(8, true, "three", &[]),
    ];
    assert_eq!(steps(text), expected);
}

#[test]
fn files_are_named_by_the_sentence_before() {
    let text = "See `x`. Save this as\n`a/b.cgi`, mode 755:\n\n```ini\nc = d\n\n```\nAdd to `~/e`:\n```ini\nf\n```\n";
    let file = |line, path: &str, text: &str, mode: Option<&str>, adds| {
        Step::Write(Written {
            line,
            path: path.to_owned(),
            text: text.to_owned(),
            mode: mode.map(str::to_owned),
            adds,
        })
    };
    let expected = [
        file(4, "a/b.cgi", "c = d\n\n", Some("755"), false),
        file(9, "~/e", "f\n", None, true),
    ];
    assert_eq!(steps(text), expected);
}

#[test]
fn comments_direct_the_test() {
    let text = "<!-- test\n# one\n  shown\nwrite /a\n    b\n      c\n$ two\n-->\n<!-- test: exit 78 -->\n```console\n$ three\n$ four\n```\n";
    let found = steps(text);
    assert_eq!(found[0], typed(2, true, "one", &["  shown"]));
    let Step::Write(file) = &found[1] else {
        panic!("{found:?}");
    };
    assert_eq!((file.path.as_str(), file.text.as_str()), ("/a", "b\n  c\n"));
    assert_eq!(found[2], typed(7, false, "two", &[]));
    assert_eq!(found[3], typed(11, false, "three", &[]));
    let Step::Type(last) = &found[4] else {
        panic!("{found:?}");
    };
    assert_eq!((last.command.as_str(), last.exit), ("four", 78));
}

#[test]
fn a_block_that_no_rule_covers() {
    assert!(wrong("```\na\n```\n").contains("line 1: a block without a kind"));
    assert!(wrong("Thus:\n\n```ini\na = b\n```\n").contains("line 3: the sentence before"));
    assert!(wrong("In `a`\n\n```ini\na = b\n```\n").contains("line 3: the sentence before"));
    assert!(wrong("```console\na\n```\n").contains("no command prints: a"));
    assert!(wrong("`a`:\n```ini\n").contains("a block without an end"));
    assert!(wrong("<!-- test\n$ a\n").contains("a comment without an end"));
    assert!(wrong("<!-- test: sing -->\n").contains("an unknown direction"));
    assert!(wrong("a\n\n    polycgi b\n").contains("a block that is not between"));
    assert!(wrong("- a\n  ```console\n").contains("a block that is not between"));
}

#[test]
fn consoles_that_show_nothing() {
    let error = "`...` alone shows nothing";
    assert!(wrong("```console\n$ a\n...\n```\n").contains(error));
    assert!(wrong("<!-- test\n# a\n...\n\n...\n$ b\n-->\n").contains(error));
    assert_eq!(steps("```console\n$ a\n\n$ b\n...\nc\n```\n").len(), 2);
}

#[test]
fn errors_that_a_guide_shows() {
    let is_shown = |command: &str, line: &str| {
        let Step::Type(typed) = typed(1, true, command, &["", line]) else {
            unreachable!();
        };
        typed.may_be_an_error()
    };
    assert!(is_shown("curl x", "503 Service Unavailable: ..."));
    assert!(is_shown("curl -w '%{http_code}' x", "404"));
    assert!(is_shown("curl x", "<h1>Server Error (500)</h1>"));
    for line in ["...", "200 OK", "50 3", "visit1500", "599x"] {
        assert!(!is_shown("curl x", line), "{line}");
    }
}

#[test]
fn what_is_printed() {
    let shown = |shows: &str, printed: &str| {
        let shows: Vec<String> = shows.lines().map(str::to_owned).collect();
        is_shown(&shows, printed)
    };
    assert!(shown("a  b\n", "a b \n\n"));
    assert!(shown("pid ..., up", "pid 12, up\n"));
    assert!(shown("a\n...\nb ...", "a\n1\n2\nb c\n"));
    assert!(shown("...", ""));
    assert!(!shown("a", "a\nb\n"));
    assert!(!shown("a", ""));
    assert!(!shown("a ... c", "a b\n"));
    assert!(!shown("...\nb", "a\nc\n"));
}

#[test]
fn sentences_that_mislead() {
    let guide = "`mode = cgi`, `cgi` and `polycgi status` and `a2enmod cgid`\n```console\n$ polycgi status wiki.cgi\n# a2enmod cgid\n```\n";
    assert_eq!(doubts(&Page::read(guide).unwrap()), [""; 0]);
    let found = |text: &str| doubts(&Page::read(text).unwrap()).concat();
    assert!(found("`mood = cgi`").contains("line 1: `mood = cgi`"));
    assert!(found("`max-procs = many`").contains("line 1: `max-procs = many`"));
    assert!(found("see\n`polycgi status`").contains("line 2: `polycgi status` is run nowhere"));
    assert!(found("`a2enmod cgi`").contains("is run nowhere"));
    let table = |cell: &str| format!("| theirs | polycgi |\n| --- | --- |\n| `x` | {cell} |\n");
    assert_eq!(found(&table("a `wsgi`, `env.A`, `mode = cgi`")), "");
    assert!(found(&table("`max-procs`, `workers`")).contains("line 3: `workers` is no key"));
    assert_eq!(found(&(table("-") + "\n| a | b |\n| `x` | `y` |")), "");
}

/// As a shell would, but for blanks and quotes in a path, which stay as they are.
#[test]
fn where_a_file_is_written() {
    let file = Written {
        line: 1,
        path: "~/a b'c".to_owned(),
        text: String::new(),
        mode: Some("600".to_owned()),
        adds: false,
    };
    let command = file_command(&file);
    assert!(command.contains(r"~/'a b'\''c'"), "{command}");
    assert!(command.contains("chmod 600 "), "{command}");
}

#[test]
fn a_reader_notices() {
    let Some(reader) = Reader::new() else {
        return;
    };
    reader.machine.install_polycgi();
    let done = |text: &str| reader.does(&Page::read(text).unwrap());
    let console = |text: &str| done(&format!("```console\n{text}\n```\n"));
    assert_eq!(
        console("$ cd /tmp\n# cd /etc\n$ pwd\n/tmp\n# pwd\n/etc"),
        Ok(())
    );
    assert_eq!(console("$ id -un; echo wrong >&2\njane\nwrong"), Ok(()));
    let fails = |text: &str, why: &str| {
        let error = console(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    fails("$ true\n$ false", "line 3: false\nexit status Some(1)");
    fails("$ polycgi no-such-command", "exit status Some(64)");
    fails("$ echo one\ntwo", "printed:\none\n");
    let file = |path: &str| done(&format!("`{path}`, mode 755:\n```sh\n#!/bin/sh\n```\n"));
    assert_eq!(file("~/x"), Ok(()));
    assert_eq!(file("/root/y"), Ok(()));
    assert_eq!(
        console("$ stat -c '%U %a' ~/x\njane 755\n# ls /root/y"),
        Ok(())
    );
    assert_eq!(console("# systemctl start apache2"), Ok(()));
    fails("$ curl http://localhost/none", "exit status Some(22)");
    assert_eq!(
        console("$ curl -o /dev/null -w '%{http_code}' http://localhost/none\n404"),
        Ok(())
    );
    assert_eq!(
        console("$ curl --no-fail-with-body http://localhost/none"),
        Ok(())
    );
    let error = file("/nowhere/z").unwrap_err();
    assert!(error.contains("line 2: `/nowhere/z`"), "{error}");
}
