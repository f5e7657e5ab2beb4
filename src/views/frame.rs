//! A screen of a terminal: as much of a text as it has room for, and what makes it replace the screen before without a
//! flicker.

/// Begins and ends what a terminal shows at once (DEC private mode 2026; others ignore it).
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";
/// Clears the rest of the line.
const REST: &str = "\x1b[K";

/// The frame: the head in bold, then the text. Both must be printable. What has no room in a line's columns goes to the next
/// line; below the last row, the last line says how many there are more.
pub fn frame(head: &str, text: &str, columns: usize, rows: usize) -> String {
    let room = rows.saturating_sub(1);
    let lines: Vec<String> = text
        .lines()
        .flat_map(|line| folded(line, columns))
        .collect();
    let more = match lines.len() > room {
        true => format!("... {} more lines", lines.len() - room.saturating_sub(1)),
        false => String::new(),
    };
    let fit = if more.is_empty() {
        room
    } else {
        room.saturating_sub(1)
    };
    let body = lines.iter().map(String::as_str).take(fit);
    let more = Some(more.as_str()).filter(|more| !more.is_empty() && room > 0);
    let mut frame = format!(
        "{BEGIN}\x1b[1m{}\x1b[m{REST}",
        cut(head, columns.saturating_sub(1))
    );
    for line in body.chain(more) {
        let shown = cut(line, columns);
        frame.push_str("\r\n");
        frame.push_str(&shown);
        // At the last column the terminal would clear that column.
        if width(&shown) < columns {
            frame.push_str(REST);
        }
    }
    frame + END
}

/// The line in pieces that fit.
fn folded(line: &str, columns: usize) -> Vec<String> {
    let mut pieces = vec![cut(line, columns)];
    let mut rest = line.chars();
    loop {
        let shown = pieces.last().map_or(0, |piece| piece.chars().count());
        rest.by_ref().take(shown).for_each(drop);
        // Not even one character may fit.
        if shown == 0 || rest.as_str().is_empty() {
            return pieces;
        }
        pieces.push(cut(rest.as_str(), columns));
    }
}

fn cut(line: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |&c: &char| {
        let needed = columns_of(c);
        let fits = needed <= left;
        left = left.saturating_sub(needed);
        fits
    };
    // A tab may reach beyond the last column.
    line.chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .take_while(fits)
        .collect()
}

fn width(line: &str) -> usize {
    line.chars().map(columns_of).sum()
}

/// Letters of East Asia and pictures take two columns; what is in doubt is counted as wide.
fn columns_of(c: char) -> usize {
    let is_wide = matches!(c,
        '\u{1100}'..='\u{115f}'
        | '\u{2600}'..='\u{27bf}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}');
    if is_wide { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a frame as they are shown.
    fn shown(frame: &str) -> Vec<String> {
        let inner = frame
            .strip_prefix(BEGIN)
            .unwrap()
            .strip_suffix(END)
            .unwrap();
        let lines = inner.split("\r\n").map(|line| {
            line.replace("\x1b[1m", "")
                .replace("\x1b[m", "")
                .replace(REST, "")
        });
        lines.collect()
    }

    #[test]
    fn a_frame_fits_its_terminal() {
        let text = "one\ntwo\tand\n\u{65e5}\u{672c}\u{8a9e}\n123456789\n";
        assert_eq!(
            shown(&frame("head", text, 80, 24)),
            [
                "head",
                "one",
                "two and",
                "\u{65e5}\u{672c}\u{8a9e}",
                "123456789"
            ]
        );
        assert_eq!(
            shown(&frame("head", text, 5, 24)),
            [
                "head",
                "one",
                "two a",
                "nd",
                "\u{65e5}\u{672c}",
                "\u{8a9e}",
                "12345",
                "6789"
            ]
        );
        assert_eq!(
            shown(&frame("head", text, 80, 4)),
            ["head", "one", "two and", "... 2 more lines"]
        );
        assert_eq!(shown(&frame("head", text, 3, 1)), ["he"]);
        for (columns, rows) in [(0, 0), (1, 1), (2, 2), (1, 3)] {
            let lines = shown(&frame("head", text, columns, rows));
            assert!(lines.len() <= rows.max(1), "{lines:?}");
            assert!(lines.iter().all(|line| width(line) <= columns), "{lines:?}");
        }
    }
}
