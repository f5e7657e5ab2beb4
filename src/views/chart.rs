//! Charts of the last hour, a column for each minute, as SVG. It knows numbers and where they are drawn; what they
//! mean, its caller says.

use std::fmt::Write;

use super::markup::escaped;

/// How many columns there are.
pub(super) const COLUMNS: usize = 60;

// In units of the picture, which is about as wide as a telephone's screen: its letters are never small.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const PITCH: f64 = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
const FLOOR: f64 = HEIGHT - BOTTOM;
const GAP: f64 = 1.0;
/// The most steps of a scale.
const MOST_STEPS: u64 = 5;

/// A chart's words. Titles of columns are shown by a browser where the mouse rests.
pub(super) struct Labels<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What a person who does not see it should know.
    pub(super) summary: &'a str,
    /// What stands there if there is nothing to draw.
    pub(super) nothing: &'a str,
    /// Of each column that has something.
    pub(super) columns: &'a [Option<String>; COLUMNS],
}

/// Parts of each column, one above the other, and a limit. `classes` are those of the parts, from below.
pub(super) fn stacks<const N: usize>(
    labels: &Labels<'_>,
    classes: [&str; N],
    columns: &[[u64; N]; COLUMNS],
    limit: Option<u64>,
) -> String {
    let sum = |column: &[u64; N]| {
        column
            .iter()
            .fold(0_u64, |sum, &part| sum.saturating_add(part))
    };
    let most = columns.iter().map(sum).max().unwrap_or(0);
    let scale = Linear::up_to(most.max(limit.unwrap_or(0)));
    let mut marks = String::new();
    if most > 0 {
        for (nth, column) in columns.iter().enumerate() {
            let mut below = 0_u64;
            let mut parts = String::new();
            for (class, &part) in classes.iter().zip(column) {
                let above = below.saturating_add(part);
                if part > 0 {
                    parts.push_str(&bar(class, nth, scale.y(below), scale.y(above), GAP));
                }
                below = above;
            }
            marks.push_str(&group(labels, nth, &parts));
        }
    }
    if let Some(limit) = limit {
        let (y, end) = (scale.y(limit), WIDTH - RIGHT);
        let _ = writeln!(
            marks,
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    }
    picture(labels, &scale.ticks(), &marks, most == 0)
}

/// Of each column a range, in microseconds on a logarithmic scale: from the first of three numbers to the third, with
/// marks at the first and the second.
pub(super) fn ranges(labels: &Labels<'_>, columns: &[Option<[u64; 3]>; COLUMNS]) -> String {
    let all = columns.iter().flatten().flatten().copied();
    let scale = Decades::of(all);
    let mut marks = String::new();
    for (nth, column) in columns.iter().enumerate() {
        let Some([low, middle, high]) = *column else {
            continue;
        };
        let [low, middle, high] = [low, middle, high].map(|time| scale.y(time));
        let mut parts = bar("far", nth, low, high, GAP + 1.0);
        parts.push_str(&bar("near", nth, low, middle, GAP + 1.0));
        parts.push_str(&bar("median", nth, low + 1.5, low - 1.5, 0.4));
        marks.push_str(&group(labels, nth, &parts));
    }
    let is_empty = columns.iter().all(Option::is_none);
    picture(labels, &scale.ticks(), &marks, is_empty)
}

/// A bar of a column from the lower `y` to the upper one, which is the smaller number. Nothing is too small to be seen.
fn bar(class: &str, nth: usize, from: f64, to: f64, gap: f64) -> String {
    let (x, width) = (LEFT + nth as f64 * PITCH + gap / 2.0, PITCH - gap);
    let height = (from - to).max(1.0);
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{to:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
    )
}

/// A column's marks, and above them what the mouse finds: all of the column's height.
fn group(labels: &Labels<'_>, nth: usize, marks: &str) -> String {
    let Some(title) = labels.columns.get(nth).and_then(Option::as_ref) else {
        return marks.to_owned();
    };
    let (x, height) = (LEFT + nth as f64 * PITCH, FLOOR - TOP);
    let title = escaped(title);
    format!(
        "<g><title>{title}</title>{marks}<rect class=\"hit\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{PITCH:.1}\" \
         height=\"{height}\"/></g>\n"
    )
}

/// The picture with its axes; `ticks` are those of the vertical one.
fn picture(labels: &Labels<'_>, ticks: &[(f64, String)], marks: &str, is_empty: bool) -> String {
    let id = labels.id;
    let [title, summary, nothing] = [labels.title, labels.summary, labels.nothing].map(escaped);
    let mut text = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
         <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{summary}</desc>\n"
    );
    let end = WIDTH - RIGHT;
    for (y, label) in if is_empty { &ticks[..1] } else { ticks } {
        let (at, baseline) = (LEFT - 6.0, y + 4.0);
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{at}\" y=\"{baseline:.1}\" text-anchor=\"end\">{label}</text>"
        );
    }
    for (minutes, label, anchor) in [
        (60, "60 min ago", "start"),
        (30, "30 min ago", "middle"),
        (0, "now", "end"),
    ] {
        let x = LEFT + f64::from(60 - minutes) * PITCH;
        let y = HEIGHT - 6.0;
        let _ = writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>"
        );
    }
    text.push_str(marks);
    if is_empty {
        let (x, y) = ((LEFT + end) / 2.0, (TOP + FLOOR) / 2.0);
        let _ = write!(
            text,
            "<text class=\"nothing\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{nothing}</text>"
        );
    }
    text.push_str("</svg>\n");
    text
}

/// From 0 to a round number.
struct Linear {
    step: u64,
    steps: u64,
}

impl Linear {
    fn up_to(most: u64) -> Linear {
        let most = most.max(1);
        let tens = std::iter::successors(Some(1_u64), |ten| ten.checked_mul(10));
        let mut round = tens.flat_map(|ten| [1, 2, 5].map(|digit| ten.saturating_mul(digit)));
        let step = round.find(|step| most.div_ceil(*step) <= MOST_STEPS);
        let step = step.unwrap_or(most);
        Linear {
            step,
            steps: most.div_ceil(step),
        }
    }

    fn y(&self, value: u64) -> f64 {
        let top = self.step as f64 * self.steps as f64;
        FLOOR - (FLOOR - TOP) * (value as f64 / top).min(1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let values = (0..=self.steps).map(|nth| nth * self.step);
        values.map(|value| (self.y(value), short(value))).collect()
    }
}

/// `1500` as `1.5k`.
fn short(value: u64) -> String {
    let (whole, unit) = match value {
        0..10_000 => return value.to_string(),
        10_000..10_000_000 => (value, "k"),
        _ => (value / 1000, "M"),
    };
    format!("{}{unit}", whole / 1000)
}

/// Times in microseconds, from a power of ten to another.
struct Decades {
    from: u32,
    to: u32,
}

impl Decades {
    /// 100 µs to 1000 s at most, two decades at least.
    fn of(times: impl Iterator<Item = u64> + Clone) -> Decades {
        let least = times.clone().min().unwrap_or(1000).clamp(100, 100_000_000);
        let most = times.max().unwrap_or(1000).clamp(100, 1_000_000_000);
        let from = least.ilog10();
        let to = (most.saturating_sub(1)).checked_ilog10().unwrap_or(0) + 1;
        Decades {
            from,
            to: to.max(from + 2),
        }
    }

    fn y(&self, time: u64) -> f64 {
        let at = (time.max(1) as f64).log10() - f64::from(self.from);
        let part = at / f64::from(self.to - self.from);
        FLOOR - (FLOOR - TOP) * part.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        const NAMES: [&str; 10] = [
            "", "", "0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1000 s",
        ];
        let powers = self.from..=self.to;
        let tick = |power: u32| {
            let name = NAMES.get(power as usize).copied().unwrap_or_default();
            (self.y(10_u64.pow(power)), name.to_owned())
        };
        powers.map(tick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, step, steps) in [
            (0, 1, 1),
            (1, 1, 1),
            (5, 1, 5),
            (6, 2, 3),
            (11, 5, 3),
            (60, 20, 3),
            (1_278, 500, 3),
            (u64::MAX, 5_000_000_000_000_000_000, 4),
        ] {
            let scale = Linear::up_to(most);
            assert_eq!((scale.step, scale.steps), (step, steps), "{most}");
            assert!(scale.y(most) >= TOP && scale.y(0) == FLOOR);
        }
        assert_eq!(
            [900, 1500, 15_000, 20_000_000].map(short),
            ["900", "1500", "15k", "20M"]
        );
    }

    #[test]
    fn times_lie_between_their_decades() {
        for (times, from, to) in [
            (vec![], 3, 5),
            (vec![1_200, 80_000], 3, 5),
            (vec![12_000, 2_100_000], 4, 7),
            (vec![0, u64::MAX], 2, 9),
            (vec![1_000], 3, 5),
        ] {
            let scale = Decades::of(times.iter().copied());
            assert_eq!((scale.from, scale.to), (from, to), "{times:?}");
            for time in times {
                assert!((TOP..=FLOOR).contains(&scale.y(time)));
            }
            assert!(scale.ticks().iter().all(|(_, name)| !name.is_empty()));
        }
    }
}
