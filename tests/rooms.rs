//! The house's floors, and a reader of src/ that finds what breaks them: which room may import which, where `unsafe`
//! and nix may stand, which rooms are pure, that no files of a room import one another in a circle, the storeys of
//! the daemon, and that each type has a name of its own. It reads words and not types; what hides a path from it is refused.

#[path = "rooms/circles.rs"]
mod circles;
#[path = "rooms/guide.rs"]
mod guide;
#[path = "rooms/names.rs"]
mod names;
#[path = "rooms/planted.rs"]
mod planted;
#[path = "rooms/reader.rs"]
mod reader;
#[path = "rooms/storeys.rs"]
mod storeys;
#[path = "rooms/tokens.rs"]
mod tokens;
#[path = "rooms/walks.rs"]
mod walks;

use std::fs;
use std::path::{Path, PathBuf};

use self::Floor::{Calls, Joins, Modes, Roof, Step, Words};
use self::circles::circles;
use self::reader::Reader;
use self::storeys::storeys;
use self::tokens::{contains, tokens};
use self::walks::astray;

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Floor {
    /// Pure: no clock, no system call, no log.
    Words,
    /// The only room with `unsafe` and nix. It stands on the ground as the words do, and they never meet.
    Calls,
    Joins,
    Modes,
    Roof,
    /// Outside, where a process arrives before the house is open: calls of its own, words, and what it leaves at the
    /// front's door.
    Step,
}

/// From the ground up. A room may import from the floors below its own; among words, and among joins, also from
/// the rooms that are listed before it.
const HOUSE: &[(&str, Floor)] = &[
    ("bounded", Words),
    ("printable", Words),
    ("cgi", Words),
    ("fastcgi", Words),
    ("scgi", Words),
    ("ticket", Words),
    ("spelling", Words),
    ("policy", Words),
    ("config", Words),
    ("page", Words),
    ("figures", Words),
    ("incidents", Words),
    ("control", Words),
    ("views", Words),
    ("naming", Words),
    ("handoff", Words),
    ("compare", Words),
    ("sys", Calls),
    ("report", Joins),
    ("answer", Joins),
    ("args", Joins),
    ("app_file", Joins),
    ("place", Joins),
    ("keyring", Joins),
    ("logbook", Joins),
    ("elsewhere", Joins),
    ("slots", Joins),
    ("facts", Joins),
    ("spool", Joins),
    ("start", Joins),
    ("sweep", Joins),
    ("listen", Joins),
    ("relay", Joins),
    ("app", Joins),
    ("known", Joins),
    ("acting", Joins),
    ("front", Modes),
    ("app_cgi", Modes),
    ("overload_page", Modes),
    ("daemon", Modes),
    ("cli", Modes),
    ("applet", Roof),
    ("completions", Roof),
    ("manual", Roof),
    ("express", Step),
];

/// What a pure room may not name outside its tests.
const IMPURE: &[&[&str]] = &[
    &["log", "debug"],
    &["log", "error"],
    &["log", "info"],
    &["log", "trace"],
    &["log", "warn"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "SystemTime"],
    &["Instant", "now"],
    &["SystemTime", "now"],
];

#[test]
fn the_house_holds() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find(&src, &mut files);
    assert!(!files.is_empty(), "no source in {}", src.display());
    files.sort();
    let sources = files.iter().map(|path| {
        let text = fs::read_to_string(path).expect("a source file is UTF-8");
        let file = path.strip_prefix(&src).expect("it was found there");
        let file = file.to_str().expect("a source file's name is UTF-8");
        (file.to_owned(), text)
    });
    let sources: Vec<(String, String)> = sources.collect();
    let each = sources.iter();
    let mut wrong: Vec<String> = each
        .flat_map(|(file, text)| complaints(file, text))
        .collect();
    wrong.extend(circles(&sources));
    wrong.extend(storeys(&sources));
    let page = fs::read_to_string(src.join("daemon/walks.md")).expect("the walks are there");
    let named = |name: &str| {
        let place = format!("daemon/{name}");
        let mut sources = sources.iter();
        sources
            .find(|(file, _)| *file == place)
            .map(|(_, text)| text.as_str())
    };
    wrong.extend(astray(&page, named));
    assert!(
        wrong.is_empty(),
        "the house does not hold:\n{}",
        wrong.join("\n")
    );
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What is wrong in a file of src/, each with file and line.
fn complaints(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    let room = module.first().copied();
    let mut wrong = Vec::new();
    let tokens = tokens(text);
    let floor = match room.map(floor_of) {
        // lib.rs and main.rs: the architecture page and the hand-over to the roof.
        None => Roof,
        Some(Some((_, floor))) => floor,
        Some(None) => {
            return vec![format!(
                "{file}: it is in no room of the house: give it a floor in tests/rooms.rs"
            )];
        }
    };
    if floor == Words
        && module.len() == 1
        && !contains(
            &tokens,
            &["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"],
        )
    {
        wrong.push(format!(
            "{file}: a pure room begins with #![forbid(unsafe_code)]"
        ));
    }
    let mut reader = Reader {
        module,
        tokens: &tokens,
        wrong: Vec::new(),
    };
    reader.read(floor);
    wrong.extend(
        reader
            .wrong
            .iter()
            .map(|(line, complaint)| format!("{file}:{line}: {complaint}")),
    );
    wrong
}

/// The path of the module that a file is: `daemon/client.rs` is daemon::client, `lib.rs` the root, and
/// `policy/pool_tests.rs` policy::pool::tests.
fn module_of(file: &str) -> Vec<&str> {
    let mut module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if module.last() == Some(&"mod") || matches!(module[..], ["lib" | "main"]) {
        module.pop();
    }
    if let Some(name) = module.last().and_then(|name| name.strip_suffix("_tests")) {
        module.pop();
        module.extend([name, "tests"]);
    }
    module
}

fn floor_of(room: &str) -> Option<(usize, Floor)> {
    HOUSE
        .iter()
        .position(|(name, _)| *name == room)
        .map(|place| (place, HOUSE[place].1))
}

/// Whether `from` may import `to`; both are rooms.
fn may_import(from: &str, to: &str) -> bool {
    let (Some((from_place, from_floor)), Some((to_place, to_floor))) =
        (floor_of(from), floor_of(to))
    else {
        return false;
    };
    match (from_floor, to_floor) {
        _ if from == to => true,
        (Calls, Words) | (Words, Calls) => false,
        (Step, Words) => true,
        (Step, _) => to == "front",
        (Words, Words) | (Joins, Joins) => to_place < from_place,
        (from, to) => to < from,
    }
}
