//! The storeys of the daemon's own house: what stands on the ground, what on that, and that rooms side by side never
//! import each other. And who conducts them: `impl Daemon` stands in the loop, in setup and in life.

use super::circles::arrows;
use super::tokens::{contains, tokens};

/// From the ground up.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Storey {
    Ground,
    Clients,
    /// Side by side: none of them imports another.
    Beside,
    /// Which kind of app this is, and what life remembers.
    Carrier,
    /// The daemon's fields.
    House,
    Life,
    Loop,
    Setup,
}

const GROUND: &[&str] = &[
    "failures.rs",
    "framed.rs",
    "ground.rs",
    "guest.rs",
    "ledger.rs",
    "limited.rs",
    "limits.rs",
    "log.rs",
    "notices.rs",
    "outcome.rs",
    "token.rs",
    "turn.rs",
    "watch.rs",
    "words.rs",
];

/// The storey of a file of the daemon, and the room it is in.
fn storey_of(file: &str) -> Option<(Storey, &str)> {
    let storey = match file.split_once('/').unwrap_or(("", file)) {
        ("clients", _) => Storey::Clients,
        ("door" | "foreign" | "wires" | "workers", _) => Storey::Beside,
        ("life", "leaving.rs" | "reloads.rs" | "states.rs") => Storey::Carrier,
        ("life", _) => Storey::Life,
        ("", "carrier.rs") => Storey::Carrier,
        ("", "house.rs") => Storey::House,
        ("", "mod.rs") => Storey::Loop,
        ("", "setup.rs") => Storey::Setup,
        ("", name) if GROUND.contains(&name) => Storey::Ground,
        _ => return None,
    };
    let room = file.split_once('/').map_or("", |(room, _)| room);
    Some((storey, room))
}

/// What stands on the wrong storey. `files`: places below src/, and texts.
pub(crate) fn storeys(files: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in files {
        let Some(own) = file.strip_prefix("daemon/") else {
            continue;
        };
        match storey_of(own) {
            None => wrong.push(format!(
                "{file}: it is on no storey of the daemon: give it one in tests/rooms/storeys.rs"
            )),
            Some((Storey::Life | Storey::Loop | Storey::Setup, _)) => {}
            Some(_) if contains(&tokens(text), &["impl", "Daemon"]) => wrong.push(format!(
                "{file}: only the loop, setup and life have an impl of Daemon"
            )),
            Some(_) => {}
        }
    }
    let (arrows, _) = arrows(files);
    for ((from, to), line) in arrows {
        let ends = from.strip_prefix("daemon/").zip(to.strip_prefix("daemon/"));
        let storeys = ends.and_then(|(from, to)| storey_of(from).zip(storey_of(to)));
        let Some(((from_storey, from_room), (to_storey, to_room))) = storeys else {
            continue;
        };
        let is_below = to_storey < from_storey;
        let is_same_room = to_storey == from_storey && from_room == to_room;
        if !is_below && !is_same_room {
            wrong.push(format!("{from}:{line}: {to} is not below it"));
        }
    }
    wrong
}
