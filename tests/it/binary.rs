//! The installed program: what kind of file it is, what lies beside it, and how it answers to words that need no app.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::util::{PATH, installed, run};

const APPLETS: [&str; 4] = ["cgi-front", "app-cgi", "scgi-daemon", "overload-page"];
const SUBCOMMANDS: [&str; 9] = [
    "request", "status", "start", "stop", "reload", "check", "new", "links", "applets",
];

/// Runs the installed program of that name, away from a web server.
fn program(name: &str, words: &[&str]) -> super::util::Output {
    run(
        Command::new(installed(name))
            .args(words)
            .env_clear()
            .env("PATH", PATH),
        b"",
    )
}

fn u16_at(file: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(
        file[at..at + 2].try_into().expect("two bytes"),
    ))
}

fn u64_at(file: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(
        file[at..at + 8].try_into().expect("eight bytes"),
    ))
    .expect("fits")
}

/// The program headers, each its type and where it lies in the file. elf(5) has the offsets.
fn segments(file: &[u8]) -> Vec<(u32, usize)> {
    let (table, size, count) = (u64_at(file, 32), u16_at(file, 54), u16_at(file, 56));
    (0..count)
        .map(|index| table + index * size)
        .map(|at| (u32::from_le_bytes(file[at..at + 4].try_into().unwrap()), at))
        .collect()
}

/// Static and not relocated: a front then starts in half the time.
#[test]
fn is_elf_exec_without_an_interpreter() {
    const ET_EXEC: usize = 2;
    const PT_INTERP: u32 = 3;
    let file = fs::read(installed("polycgi")).unwrap();
    assert_eq!(file[..6], *b"\x7fELF\x02\x01", "64 bits, little-endian");
    assert_eq!(
        u16_at(&file, 16),
        ET_EXEC,
        "position-independent: see the Makefile's build"
    );
    let segments = segments(&file);
    let is_dynamic = segments.iter().any(|(kind, _)| *kind == PT_INTERP);
    assert!(!is_dynamic, "{segments:?}");
}

/// What the kernel does at each exec of a front: it maps two segments, and has no page whose end it must clear.
#[test]
fn is_laid_out_for_few_page_faults() {
    const PT_LOAD: u32 = 1;
    const PT_GNU_RELRO: u32 = 0x6474_e552;
    const PAGE: usize = 4096;
    let file = fs::read(installed("polycgi")).unwrap();
    let segments = segments(&file);
    let loaded = segments.iter().filter(|(kind, _)| *kind == PT_LOAD);
    let loaded: Vec<usize> = loaded.map(|(_, at)| *at).collect();
    let [_, data] = loaded[..] else {
        panic!("{segments:?}");
    };
    let (address, in_file) = (u64_at(&file, data + 16), u64_at(&file, data + 32));
    assert_eq!((address + in_file) % PAGE, 0, "see src/layout.ld");
    // That costs nothing.
    assert!(segments.iter().any(|(kind, _)| *kind == PT_GNU_RELRO));
}

/// src/layout.ld names functions, and the linker says nothing of a name that it does not find: after a rename.
#[cfg(target_arch = "x86_64")]
#[test]
fn what_a_front_runs_through_lies_in_one_place() {
    let listing = |tool, option| {
        let done = run(
            Command::new(tool).arg(option).arg(installed("polycgi")),
            b"",
        );
        done.success()
    };
    let hex = |word| u64::from_str_radix(word, 16).expect("a number");
    let sections = listing("objdump", "-h");
    let found = sections.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != ".front");
        Some((hex(words.nth(1)?), hex(words.next()?)))
    });
    let (size, begin) = found.expect("a section of its own");
    assert!(size <= 65_536, "{size} bytes");
    let symbols = listing("nm", "--defined-only");
    let in_place: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(at, _)| (begin..begin + size).contains(&hex(at)))
        .filter_map(|(_, rest)| rest.split_once(' '))
        .map(|(_, name)| name)
        .collect();
    let mut named = 0;
    for line in include_str!("../../src/layout.ld").lines() {
        let pattern = line.trim().strip_prefix("*(.text.");
        let Some(pattern) = pattern.filter(|pattern| pattern.starts_with("_ZN")) else {
            continue;
        };
        named += 1;
        let pattern = pattern.trim_end_matches("*)");
        let has_all = |name: &&&str| {
            let (first, rest) = pattern.split_once('*').unwrap_or((pattern, ""));
            name.strip_prefix(first)
                .is_some_and(|behind| behind.contains(rest))
        };
        assert!(in_place.iter().find(has_all).is_some(), "{pattern}");
    }
    assert!(named > 0);
}

#[test]
fn is_executable_and_has_its_links_beside_it() {
    assert_eq!(
        fs::metadata(installed("polycgi"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o755
    );
    for applet in APPLETS {
        assert_eq!(
            fs::read_link(installed(applet)).unwrap(),
            Path::new("polycgi"),
            "{applet}"
        );
    }
}

#[test]
fn tells_its_version() {
    let expected = format!("polycgi {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(program("polycgi", &["--version"]).success(), expected);
}

#[test]
fn everything_answers_to_help() {
    for word in APPLETS.iter().chain(&SUBCOMMANDS) {
        for help in ["--help", "-h"] {
            let said = program("polycgi", &[word, help]).success();
            assert!(said.contains(word), "polycgi {word} {help}: {said}");
        }
    }
    for applet in APPLETS {
        let said = program(applet, &["--help"]).success();
        assert!(said.contains(applet), "{applet} --help: {said}");
    }
    let said = program("polycgi", &["--help"]).success();
    for word in APPLETS.iter().chain(&SUBCOMMANDS) {
        assert!(
            said.contains(word),
            "polycgi --help does not name {word}: {said}"
        );
    }
}

/// sysexits.h: EX_USAGE. What is wrong is said on stderr, and nothing on stdout.
#[test]
fn usage_errors_exit_64() {
    for words in [
        &[][..],
        &["no-such-subcommand"],
        &["--no-such-option"],
        &["request"],
        &["request", "--no-such-option", "x", "/"],
        &["status", "--no-such-option"],
        &["links"],
        &["check"],
    ] {
        let output = program("polycgi", words);
        assert_eq!(
            output.status.code(),
            Some(64),
            "polycgi {words:?}: {}",
            output.stderr
        );
        assert_eq!(
            (output.stdout.len(), output.stderr.is_empty()),
            (0, false),
            "polycgi {words:?}"
        );
    }
}
