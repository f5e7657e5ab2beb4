//! Which characters a terminal shows, and which it obeys; and times and sizes as people and programs read them.
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

/// Columns of a small terminal, less one.
pub const WIDTH: usize = 79;

/// Adds a sentence to a text whose last line has that many columns: words that find no room go to a next line, behind
/// `indent` blanks.
pub fn wrap(text: &mut String, column: usize, indent: usize, sentence: &str) {
    wrap_to(WIDTH, text, column, indent, sentence);
}

/// The same where a line has that many columns.
pub fn wrap_to(
    columns: usize,
    text: &mut String,
    mut column: usize,
    indent: usize,
    sentence: &str,
) {
    for (nth, word) in sentence.split(' ').enumerate() {
        let length = word.chars().count();
        if nth > 0 && column + 1 + length > columns {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if nth > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
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

/// UTC, as RFC 3339 writes it.
pub fn timestamp(seconds: u64) -> String {
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Civil date from days: years begin in March, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds in the two units that matter.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    for (nth, (size, unit)) in UNITS.into_iter().enumerate() {
        let (whole, rest) = (seconds / size, seconds % size);
        if whole > 0 {
            let next = UNITS.get(nth + 1).filter(|_| whole < 10);
            let part = next.map(|(size, unit)| (rest / size, unit));
            return match part {
                Some((part, unit_of_part)) if part > 0 => {
                    format!("{whole} {unit} {part} {unit_of_part}")
                }
                _ => format!("{whole} {unit}"),
            };
        }
    }
    "0 s".to_owned()
}

/// Microseconds, two digits that matter.
pub fn took(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        _ => span(micros / 1_000_000),
    }
}

/// Bytes, two digits that matter.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.into_iter().find(|&(shift, _)| bytes >> shift > 0);
    match unit {
        Some((shift, unit)) if bytes >> shift < 10 => {
            let tenths = (bytes >> (shift - 10) & 1023) * 10 / 1024;
            match tenths {
                0 => format!("{} {unit}", bytes >> shift),
                _ => format!("{}.{tenths} {unit}", bytes >> shift),
            }
        }
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// A time, in seconds since 1970; without its date if that is `now`'s.
pub fn clock(seconds: u64, now: u64) -> String {
    let (at, today) = (timestamp(seconds), timestamp(now));
    let (date, time) = at.split_once('T').unwrap_or((&at, ""));
    let time = time.trim_end_matches('Z');
    match today.starts_with(date) {
        true => format!("{time} UTC"),
        false => format!("{date} {time} UTC"),
    }
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

    #[test]
    fn dates_of_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(timestamp(4_102_444_800), "2100-01-01T00:00:00Z");
    }

    #[test]
    fn spans_and_sizes_have_two_figures() {
        let spans = [0, 59, 60, 61, 600, 3600, 36_060, 90_000, 10_000_000];
        assert_eq!(
            spans.map(span),
            [
                "0 s",
                "59 s",
                "1 min",
                "1 min 1 s",
                "10 min",
                "1 h",
                "10 h",
                "1 d 1 h",
                "115 d"
            ]
        );
        let times = [0, 640, 9_999, 12_345, 999_999, 1_234_567, 61_000_000];
        assert_eq!(
            times.map(took),
            [
                "0.0 ms",
                "0.6 ms",
                "9.9 ms",
                "12 ms",
                "999 ms",
                "1.2 s",
                "1 min 1 s"
            ]
        );
        let sizes = [0, 1023, 1024, 1536, 45 << 20, 1 << 30, u64::MAX];
        assert_eq!(
            sizes.map(size),
            [
                "0 bytes",
                "1023 bytes",
                "1 KiB",
                "1.5 KiB",
                "45 MiB",
                "1 GiB",
                "17179869183 GiB"
            ]
        );
    }
}
