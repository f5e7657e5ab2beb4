//! Which characters a terminal shows, and which it obeys.
#![forbid(unsafe_code)]

use std::fmt::Write;

/// Whether a terminal only shows the character. It obeys control characters (C0, DEL, C1). Characters that change the
/// direction of text, end a line or can't be seen would make a line look like another.
pub fn is_shown(c: char) -> bool {
    let misleads = matches!(
        c,
        '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !misleads
}

/// The text as one line: any character that is not shown, except a tab, becomes `?`.
pub fn line(text: &str) -> String {
    let shown = |c| if is_shown(c) || c == '\t' { c } else { '?' };
    text.chars().map(shown).collect()
}

/// The same for a text that may have several lines.
pub fn lines(text: &str) -> String {
    let is_kept = |c| is_shown(c) || c == '\t' || c == '\n';
    let shown = |c| if is_kept(c) { c } else { '?' };
    text.chars().map(shown).collect()
}

/// The text as a JSON string: characters that are not shown are escaped.
pub fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if !is_shown(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing() {
        for (text, shown) in [
            ("/srv/w\u{ef}ki \u{65e5}", "/srv/w\u{ef}ki \u{65e5}"),
            ("a\x1b[2J\x07b\x7f", "a?[2J?b?"),
            ("\u{9b}31m\u{85}", "?31m?"),
            ("x\u{202e}fdp.exe\u{2066}\u{2069}", "x?fdp.exe??"),
            ("a\u{200b}\u{2028}\u{feff}\u{e0041}", "a????"),
            ("a\r\n\tb", "a??\tb"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\r\nb\x1b"), "a?\nb?");
    }
}
