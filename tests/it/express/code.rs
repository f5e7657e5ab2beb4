//! The instructions of a program from its entry point on, as objdump(1) shows them, and which of them lead away.

use std::path::Path;
use std::process::Command;

use super::super::util::run;

/// A function: where it begins, where it ends, its name.
struct Function {
    start: u64,
    end: u64,
    name: String,
}

struct Instruction {
    at: u64,
    verb: String,
    object: String,
}

/// A program that has kept its symbols.
pub(super) struct Code {
    entry: u64,
    functions: Vec<Function>,
    instructions: Vec<Instruction>,
}

impl Code {
    pub(super) fn of(program: &Path) -> Code {
        let head = listing("objdump", &["-f"], program);
        let entry = after(&head, "start address 0x").expect("an entry point");
        let symbols = listing("nm", &["--defined-only", "--print-size"], program);
        let functions: Vec<Function> = symbols.lines().filter_map(function).collect();
        let code = listing("objdump", &["-d", "--no-show-raw-insn"], program);
        Code {
            entry,
            functions,
            instructions: code.lines().filter_map(instruction).collect(),
        }
    }

    /// What leads out of the function at the entry point and out of the one that it calls: a sentence for each. The
    /// last jump, to `_start`, is allowed.
    pub(super) fn ways_out(&self) -> Vec<String> {
        let entry = self.function(self.entry);
        let mut ways = Vec::new();
        let mut called = Vec::new();
        for one in self.body(entry) {
            match one.target() {
                Some(target) if one.verb == "call" => called.push(self.function(target)),
                Some(target) if one.verb == "jmp" && self.name(target) == "_start" => {}
                _ => ways.extend(self.way(entry, one)),
            }
        }
        assert_eq!(called.len(), 1, "the entry point calls the hot path");
        for function in called {
            let ends = self.body(function).filter(|one| one.verb == "ret").count();
            assert!(ends > 0, "{} returns where it gives up", function.name);
            ways.extend(
                self.body(function)
                    .filter_map(|one| self.way(function, one)),
            );
        }
        ways
    }

    /// How this instruction leads out of its function, if it does.
    fn way(&self, function: &Function, one: &Instruction) -> Option<String> {
        let is_branch =
            one.verb.starts_with('j') || one.verb.contains("call") || one.verb.starts_with("loop");
        let inside = |target: &u64| (function.start..function.end).contains(target);
        let what = match one.target() {
            _ if one.object.contains("%fs:") => "thread-local storage".to_owned(),
            _ if !is_branch || one.verb == "syscall" => return None,
            None => "indirect".to_owned(),
            // A call to a place within would be a recursion, and is reported.
            Some(target) if inside(&target) && one.verb.starts_with('j') => return None,
            Some(target) => format!("to {}", self.name(target)),
        };
        let Instruction { at, verb, object } = one;
        Some(format!(
            "{}: {at:x}: {verb} {object}: {what}",
            function.name
        ))
    }

    fn body<'a>(&'a self, function: &'a Function) -> impl Iterator<Item = &'a Instruction> {
        let inside = |one: &&Instruction| (function.start..function.end).contains(&one.at);
        self.instructions.iter().filter(inside)
    }

    fn function(&self, start: u64) -> &Function {
        let found = self
            .functions
            .iter()
            .find(|function| function.start == start);
        found.unwrap_or_else(|| panic!("no function begins at {start:x}"))
    }

    fn name(&self, at: u64) -> &str {
        let inside = |function: &&Function| {
            at == function.start || (function.start..function.end).contains(&at)
        };
        self.functions
            .iter()
            .find(inside)
            .map_or("nowhere", |function| &function.name)
    }
}

impl Instruction {
    /// Where a branch goes, if that is a part of it: `280360 <name>`, and not `*0x8(%rax)`.
    fn target(&self) -> Option<u64> {
        u64::from_str_radix(self.object.split_whitespace().next()?, 16).ok()
    }
}

/// `000000000027da68 0000000000000019 T express_start`; assembler leaves some without a size.
fn function(line: &str) -> Option<Function> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (start, size, kind, name) = match words[..] {
        [start, size, kind, name] => (start, size, kind, name),
        [start, kind, name] => (start, "0", kind, name),
        _ => return None,
    };
    let number = |text| u64::from_str_radix(text, 16).ok();
    let start = number(start)?;
    matches!(kind, "T" | "t" | "W" | "w" | "i").then_some(Function {
        start,
        end: start + number(size)?,
        name: name.to_owned(),
    })
}

/// What objdump shows before the verb of a branch, if it is there.
const PREFIXES: [&str; 4] = ["bnd ", "notrack ", "data16 ", "cs "];

/// `27da72:`, a tab, `call   280360 <name>`
fn instruction(line: &str) -> Option<Instruction> {
    let (at, what) = line.split_once(":\t")?;
    let what = what.split('#').next().unwrap_or_default();
    // `notrack jmp *%rax` is a branch as well.
    let what = PREFIXES.iter().fold(what.trim(), |what, prefix| {
        what.strip_prefix(prefix).unwrap_or(what)
    });
    let (verb, object) = what.trim().split_once(' ').unwrap_or((what.trim(), ""));
    Some(Instruction {
        at: u64::from_str_radix(at.trim(), 16).ok()?,
        verb: verb.to_owned(),
        object: object.trim().to_owned(),
    })
}

fn after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    u64::from_str_radix(rest.split_whitespace().next()?, 16).ok()
}

fn listing(tool: &str, options: &[&str], program: &Path) -> String {
    run(Command::new(tool).args(options).arg(program), b"").success()
}
