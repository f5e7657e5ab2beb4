//! Circles of files: in no room do files import one another in a loop. It reads the paths that a file names and no
//! types, so a call of a method shows it nothing.
//!
//! An arrow leads from a file to the one that defines what it names, and to those that hand the name on (`use`). What
//! a module names of the modules below it draws no arrow: it declares them, and they may use what it defines. Tests
//! draw none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::module_of;
use super::tokens::{Inside, Token, group, is_name, text, tokens};

type Module<'a> = Vec<&'a str>;

/// A source file: its place below src/, its module, and what it names outside its tests.
struct Source<'a> {
    file: &'a str,
    module: Module<'a>,
    names: Vec<Name<'a>>,
}

struct Name<'a> {
    line: usize,
    /// The module where it is named.
    here: Module<'a>,
    /// As it is written.
    path: Vec<&'a str>,
    /// By a `use`: what it is called from then on.
    handed: Option<&'a str>,
}

/// Each circle with what ties it, and each glob that could hide one. `files`: places below src/, and texts.
pub(crate) fn circles(files: &[(String, String)]) -> Vec<String> {
    let (arrows, mut wrong) = arrows(files);
    wrong.extend(ties(&arrows));
    wrong
}

/// The arrows within each room, and what hides one.
pub(crate) fn arrows(files: &[(String, String)]) -> (Arrows<'_>, Vec<String>) {
    let mut house = House::default();
    let mut sources = Vec::new();
    for (file, text) in files {
        let module = module_of(file);
        if !module.is_empty() && !module.contains(&"tests") {
            sources.push(house.read(file, module, text));
        }
    }
    for source in &sources {
        house.hand_on(source);
    }
    let mut wrong = Vec::new();
    let mut arrows = Arrows::new();
    for source in &sources {
        for name in &source.names {
            let Some(path) = house.absolute(name) else {
                continue;
            };
            if path.last() == Some(&"*") && house.files.contains_key(&path[..path.len() - 1]) {
                let (file, line) = (source.file, name.line);
                wrong.push(format!(
                    "{file}:{line}: a glob of a module hides paths from this test"
                ));
            }
            for (module, file) in house.givers(path) {
                if file != source.file
                    && module.first() == source.module.first()
                    && !module.starts_with(&source.module)
                {
                    arrows.entry((source.file, file)).or_insert(name.line);
                }
            }
        }
    }
    (arrows, wrong)
}

/// From a file to a file: the first line that says so.
pub(crate) type Arrows<'a> = BTreeMap<(&'a str, &'a str), usize>;

/// A sentence for each circle of these arrows.
fn ties(arrows: &Arrows<'_>) -> Vec<String> {
    let ahead: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|(from, _)| (*from, reached(from, arrows)))
        .collect();
    let leads = |from: &str, to: &str| ahead.get(from).is_some_and(|ahead| ahead.contains(to));
    let mut sentences = Vec::new();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for file in ahead.keys() {
        let is_in_it = |other: &str| leads(file, other) && leads(other, file);
        if !is_in_it(file) || told.contains(file) {
            continue;
        }
        told.extend(ahead.keys().filter(|other| is_in_it(other)));
        let own = arrows.iter();
        let own = own.filter(|((from, to), _)| is_in_it(from) && is_in_it(to));
        let own = own.map(|((from, to), line)| format!("\n  {from}:{line} names what {to} has"));
        sentences.push(format!("a circle of files:{}", own.collect::<String>()));
    }
    sentences
}

/// The files to which arrows lead from this one, at once or by others.
fn reached<'a>(file: &str, arrows: &Arrows<'a>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![file];
    while let Some(file) = ahead.pop() {
        for (_, to) in arrows.keys().filter(|(from, _)| *from == file) {
            if reached.insert(*to) {
                ahead.push(to);
            }
        }
    }
    reached
}

#[derive(Default)]
struct House<'a> {
    /// Each module, inline ones too, and its file.
    files: HashMap<Module<'a>, &'a str>,
    /// A name, below the module that hands it on, and what it stands for.
    handed: HashMap<Vec<&'a str>, Vec<&'a str>>,
}

impl<'a> House<'a> {
    fn read(&mut self, file: &'a str, module: Module<'a>, source: &'a str) -> Source<'a> {
        let tokens = tokens(source);
        self.files.insert(module.clone(), file);
        let mut names = Vec::new();
        let mut inside = Inside::default();
        let mut index = 0;
        while index < tokens.len() {
            inside.step(&tokens, index);
            let here = inside.module(&module);
            let word = text(&tokens, index);
            let is_use = word == "use" && text(&tokens, index + 1) != "<";
            let begins = matches!(word, "crate" | "polycgi" | "super" | "self")
                && text(&tokens, index + 1) == "::";
            let continues =
                index > 1 && text(&tokens, index - 1) == "::" && is_name(text(&tokens, index - 2));
            if word == "mod" && text(&tokens, index + 2) == "{" {
                self.files.insert(here.clone(), file);
            }
            if inside.is_for_tests() {
            } else if is_use {
                spell(&tokens, index + 1, &[], &mut |line, path, handed| {
                    let (here, handed) = (here.clone(), Some(handed));
                    names.push(Name {
                        line,
                        here,
                        path,
                        handed,
                    });
                });
                // Its braces are no blocks, and its words are read.
                while text(&tokens, index + 1) != ";" && index + 1 < tokens.len() {
                    index += 1;
                }
            } else if begins && !continues {
                spell(&tokens, index, &[], &mut |line, path, _| {
                    let here = here.clone();
                    names.push(Name {
                        line,
                        here,
                        path,
                        handed: None,
                    });
                });
            }
            index += 1;
        }
        Source {
            file,
            module,
            names,
        }
    }

    fn hand_on(&mut self, source: &Source<'a>) {
        for name in &source.names {
            if let (Some(handed), Some(path)) = (name.handed, self.absolute(name)) {
                let known = [&name.here[..], &[handed]].concat();
                if known != path {
                    self.handed.insert(known, path);
                }
            }
        }
    }

    /// The path from the crate's root; none if it leads into another crate.
    fn absolute(&self, name: &Name<'a>) -> Option<Vec<&'a str>> {
        let mut path = name.here.clone();
        for (nth, word) in name.path.iter().enumerate() {
            match *word {
                "crate" | "polycgi" => path.clear(),
                "self" => {}
                "super" => drop(path.pop()),
                word => {
                    path.push(word);
                    if nth == 0 && !self.files.contains_key(&path) {
                        return None;
                    }
                }
            }
        }
        Some(path)
    }

    /// The module that defines what a path names, and before it those that hand the name on; each with its file.
    fn givers(&self, mut path: Vec<&'a str>) -> Vec<(Module<'a>, &'a str)> {
        let mut givers = Vec::new();
        let is_module = |path: &[&str]| self.files.get(path).copied();
        while let Some(depth) = (1..=path.len())
            .rev()
            .find(|depth| is_module(&path[..*depth]).is_some())
        {
            let giver = (path[..depth].to_vec(), self.files[&path[..depth]]);
            // Names can be handed on in a circle.
            if givers.contains(&giver) {
                break;
            }
            givers.push(giver);
            let name = path.get(..=depth);
            let Some(other) = name.and_then(|name| self.handed.get(name)) else {
                break;
            };
            path = [&other[..], &path[depth + 1..]].concat();
        }
        givers
    }
}

/// Each path of what begins at `index`, a path or the tree of a `use`: its line, its words behind `before`, and the
/// name that it has from then on.
fn spell<'a>(
    tokens: &[Token<'a>],
    index: usize,
    before: &[&'a str],
    each: &mut impl FnMut(usize, Vec<&'a str>, &'a str),
) {
    let mut path = before.to_vec();
    let mut index = index;
    loop {
        match text(tokens, index) {
            "{" => {
                for name in group(tokens, index) {
                    spell(tokens, name, &path, each);
                }
                return;
            }
            word if is_name(word) || word == "*" => path.push(word),
            _ => return,
        }
        if text(tokens, index + 1) != "::" {
            break;
        }
        index += 2;
    }
    let line = tokens[index].line;
    let last = path.iter().copied().rfind(|word| *word != "self");
    let handed = match text(tokens, index + 1) {
        "as" => text(tokens, index + 2),
        _ => last.unwrap_or_default(),
    };
    each(line, path, handed);
}
