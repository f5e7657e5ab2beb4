//! The paths that a source file names, followed as far as a room. It knows the rules, and no file.

use super::Floor::{Calls, Step, Words};
use super::tokens::{Inside, Token, group, is_name, text};
use super::{Floor, IMPURE, floor_of, may_import};

/// Reads one file.
pub(crate) struct Reader<'a> {
    /// The file's module.
    pub(crate) module: Vec<&'a str>,
    pub(crate) tokens: &'a [Token<'a>],
    /// The line, and what is wrong there.
    pub(crate) wrong: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    fn text(&self, index: usize) -> &'a str {
        text(self.tokens, index)
    }

    fn complain(&mut self, index: usize, complaint: impl Into<String>) {
        self.wrong.push((self.tokens[index].line, complaint.into()));
    }

    /// Where the C library is to find our `main`: that its name is not altered.
    fn is_c_main(&self, index: usize) -> bool {
        let attribute = ["#", "[", "unsafe", "(", "no_mangle", ")", "]"];
        let function = ["pub", "extern", "\"C\"", "fn", "main", "("];
        let expected = attribute.iter().chain(&function);
        let here = (index.saturating_sub(2)..).map(|at| self.text(at));
        self.module.is_empty() && expected.zip(here).all(|(one, other)| *one == other)
    }

    /// Reads it all; `floor` is that of its room.
    pub(crate) fn read(&mut self, floor: Floor) {
        let mut inside = Inside::default();
        let has_calls = matches!(floor, Calls | Step);
        for index in 0..self.tokens.len() {
            inside.step(self.tokens, index);
            let before = if index == 0 { "" } else { self.text(index - 1) };
            // In the middle of a path nothing begins, except where the `::` itself is its beginning.
            let continues = before == "::" && index > 1 && is_name(self.text(index - 2));
            match self.text(index) {
                "unsafe" if !has_calls && !self.is_c_main(index) => {
                    self.complain(index, "`unsafe` outside sys")
                }
                "nix" | "libc"
                    if !has_calls
                        && !continues
                        && (self.text(index + 1) == "::"
                            || matches!(before, "use" | "crate" | "::")) =>
                {
                    self.complain(index, "nix outside sys");
                }
                "include" if self.text(index + 1) == "!" => {
                    self.complain(index, "include! hides paths from this test")
                }
                "path"
                    if before == "["
                        && self.text(index + 1) == "="
                        && !is_tests(self.text(index + 2)) =>
                {
                    self.complain(index, "#[path] hides paths from this test");
                }
                "self" if before == "crate" => self.complain(index, "a second name for the crate"),
                "crate" | "super" | "self" if !continues => {
                    self.path(index, inside.module(&self.module));
                }
                "polycgi" if !continues && self.text(index + 1) == "::" => {
                    self.path(index, Vec::new())
                }
                word if floor == Words
                    && !continues
                    && is_name(word)
                    && self.module.last() != Some(&"tests")
                    && !inside.is_for_tests()
                    && IMPURE.iter().any(|path| self.begins(index, path)) =>
                {
                    self.complain(
                        index,
                        "a pure room has no clock, no log and no system calls",
                    );
                }
                _ => {}
            }
        }
    }

    /// Whether a path that begins at `index` begins with these names, or can by one of its groups.
    fn begins(&self, index: usize, path: &[&str]) -> bool {
        let [name, rest @ ..] = path else {
            return true;
        };
        self.text(index) == *name
            && (rest.is_empty()
                || self.text(index + 1) == "::"
                    && group(self.tokens, index + 2)
                        .iter()
                        .any(|next| self.begins(*next, rest)))
    }

    /// Follows a path that begins at `index` with crate, super, self or the crate's name, as far as a room.
    fn path(&mut self, index: usize, here: Vec<&'a str>) {
        let mut at = here;
        let mut index = index;
        loop {
            match self.text(index) {
                "crate" | "polycgi" => at.clear(),
                "super" => {
                    at.pop();
                }
                _ => {}
            }
            if self.text(index + 1) != "::" {
                // `self.field`, `pub(crate)`, `pub(super)` and the like name nothing; another name for a module may.
                if at.is_empty() && self.text(index + 1) == "as" {
                    self.complain(
                        index,
                        "another name for the crate's root hides paths from this test",
                    );
                }
                return;
            }
            index += 2;
            if self.text(index) != "super" {
                break;
            }
        }
        if !at.is_empty() {
            // In a room, and so in its own: what is below is its own affair. A group may still climb.
            for name in group(self.tokens, index) {
                if self.text(name) == "super" {
                    self.path(name, at.clone());
                }
            }
            return;
        }
        for name in group(self.tokens, index) {
            match self.text(name) {
                "super" | "self" => self.complain(
                    name,
                    "the crate's root as a whole hides paths from this test",
                ),
                "*" => self.complain(
                    name,
                    "a glob of the crate's root hides paths from this test",
                ),
                room => self.import(name, room),
            }
        }
    }

    fn import(&mut self, index: usize, to: &'a str) {
        let Some(from) = self.module.first().copied() else {
            return;
        };
        if floor_of(to).is_none() {
            self.complain(index, format!("crate::{to} is no room of the house"));
        } else if !may_import(from, to) {
            self.complain(index, format!("{from} may not import {to}"));
        }
    }
}

/// Whether a quoted file name is that of a file's own tests beside it, `NAME_tests.rs`.
fn is_tests(file: &str) -> bool {
    file.ends_with("_tests.rs\"") && !file.contains('/')
}
