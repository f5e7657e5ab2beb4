//! A page of the manual, or a part of it: sections, items of lists, and words by their macro. It knows as much of mdoc(7)
//! as our pages use.

/// Macros that may stand within a line. A word behind one belongs to it until the next.
const MACROS: [&str; 25] = [
    "Ar", "Cm", "Dv", "Em", "Ev", "Fl", "Fn", "Ic", "In", "Li", "Nm", "No", "Ns", "Op", "Pa", "Pc",
    "Pf", "Po", "Pq", "Ql", "Sq", "Sx", "Xo", "Xr", "It",
];

/// What stands between words, and is none.
const DELIMITERS: &str = ".,:;()|?!";

/// Lines of a page.
#[derive(Clone, Debug)]
pub(super) struct ManualPage<'a> {
    lines: Vec<&'a str>,
}

/// An item of a list.
#[derive(Debug)]
pub(super) struct ListItem<'a> {
    /// Its `.It` line.
    pub(super) head: ManualPage<'a>,
    /// The lines behind it, with the lists in it.
    pub(super) body: ManualPage<'a>,
}

impl<'a> ManualPage<'a> {
    pub(super) fn of(text: &'a str) -> ManualPage<'a> {
        let lines = text.lines().collect();
        ManualPage { lines }
    }

    pub(super) fn of_lines(lines: &[&'a str]) -> ManualPage<'a> {
        let lines = lines.to_vec();
        ManualPage { lines }
    }

    pub(super) fn lines(&self) -> &[&'a str] {
        &self.lines
    }

    /// The section or subsection of this title, without it.
    pub(super) fn section(&self, title: &str) -> ManualPage<'a> {
        let heading = |line: &str| -> Option<(bool, String)> {
            let is_main = line.starts_with(".Sh ");
            let title = line
                .strip_prefix(".Sh ")
                .or_else(|| line.strip_prefix(".Ss "))?;
            Some((is_main, title.to_owned()))
        };
        let at = self
            .lines
            .iter()
            .position(|line| heading(line).is_some_and(|(_, found)| found == title));
        let at = at.unwrap_or_else(|| panic!("a page has lost its section {title}"));
        let is_main = self.lines[at].starts_with(".Sh ");
        let rest = &self.lines[at + 1..];
        let ends = |line: &&str| heading(line).is_some_and(|(other, _)| other || !is_main);
        let end = rest.iter().position(ends).unwrap_or(rest.len());
        ManualPage {
            lines: rest[..end].to_vec(),
        }
    }

    /// The items of its lists, without those of lists within items.
    pub(super) fn items(&self) -> Vec<ListItem<'a>> {
        let mut items: Vec<ListItem<'a>> = Vec::new();
        let mut depth = 0;
        for line in &self.lines {
            if line.starts_with(".El") {
                depth -= 1;
            }
            if depth == 1 && line.starts_with(".It") {
                items.push(ListItem {
                    head: ManualPage { lines: vec![line] },
                    body: ManualPage { lines: Vec::new() },
                });
            } else if depth > 0
                && let Some(item) = items.last_mut()
            {
                item.body.lines.push(line);
            }
            if line.starts_with(".Bl") {
                depth += 1;
            }
        }
        items
    }

    /// The same lines without its lists.
    pub(super) fn without_lists(&self) -> ManualPage<'a> {
        let mut depth = 0;
        let mut lines = Vec::new();
        for line in &self.lines {
            if line.starts_with(".Bl") {
                depth += 1;
            }
            if depth == 0 {
                lines.push(*line);
            }
            if line.starts_with(".El") {
                depth -= 1;
            }
        }
        ManualPage { lines }
    }

    /// The words of this macro.
    pub(super) fn marked(&self, wanted: &str) -> Vec<&'a str> {
        let lines = self.lines.iter();
        lines.flat_map(|line| marked(line, wanted)).collect()
    }

    /// The words behind this beginning of a line, in the first line that has it.
    pub(super) fn behind(&self, beginning: &str) -> Option<&'a str> {
        let mut lines = self.lines.iter();
        let rest = lines.find_map(|line| line.strip_prefix(beginning))?;
        Some(rest.trim().trim_end_matches('.'))
    }
}

fn marked<'a>(line: &'a str, wanted: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut macro_name = "";
    for word in line
        .strip_prefix('.')
        .unwrap_or_default()
        .split_whitespace()
    {
        if MACROS.contains(&word) {
            macro_name = word;
        } else if macro_name == wanted && !word.chars().all(|c| DELIMITERS.contains(c)) {
            found.push(word);
        }
    }
    found
}

#[test]
fn a_page_is_read() {
    let text = ".Sh ONE\n.Bl -tag\n.It Ic a No = Ar b | Cm none\ntext\n.Bl -bullet\n.It Li x\n.El\nDefault: 1.\n\
                .It Fl c , -dd Ar e\n.El\n.Ss Two\n.Pq Li f , g No and Ic h\n.Sh THREE\n.Li i\n";
    let page = ManualPage::of(text);
    let items = page.section("ONE").items();
    let heads: Vec<_> = items.iter().map(|item| item.head.lines()[0]).collect();
    assert_eq!(
        heads,
        [".It Ic a No = Ar b | Cm none", ".It Fl c , -dd Ar e"]
    );
    let head = &items[0].head;
    assert_eq!(head.marked("Ic"), ["a"]);
    assert_eq!(
        (head.marked("Ar"), head.marked("Cm")),
        (vec!["b"], vec!["none"])
    );
    assert_eq!(items[0].body.behind("Default:"), Some("1"));
    assert_eq!(items[0].body.items().len(), 1);
    assert_eq!(
        items[0].body.without_lists().lines(),
        ["text", "Default: 1."]
    );
    assert_eq!(items[1].head.marked("Fl"), ["c", "-dd"]);
    assert_eq!(page.section("Two").marked("Li"), ["f", "g"]);
    assert_eq!(page.section("THREE").marked("Li"), ["i"]);
    assert_eq!(page.section("ONE").marked("Li"), ["x", "f", "g"]);
}
