//! Figures as KEY=VALUE lines, for the daemon's answer and for root's errand. What there is none of is left out.

use super::{Counted, Counts, Figures, Histogram, MINUTES, Minute, Quantiles, Recent};

impl Figures {
    /// Each line's key and value, for [`Figures::take_line`].
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let Some(since) = self.since else {
            return Vec::new();
        };
        let recent = &self.recent;
        let mut lines = vec![
            ("counted", format!("{since} {}", counts(&self.counts))),
            ("waited", histogram(&self.waited)),
            ("served", histogram(&self.served)),
            ("pace", self.pace.to_string()),
            (
                "recent",
                format!(
                    "{} {} {} {} {} {}",
                    recent.seconds,
                    recent.requests,
                    recent.busiest,
                    quantiles(recent.waited),
                    quantiles(recent.served),
                    quantiles(recent.cgi)
                ),
            ),
        ];
        for minute in &self.minutes {
            let text = format!(
                "{} {} {} {} {}",
                minute.at,
                minute.busiest,
                quantiles(minute.waited),
                quantiles(minute.served),
                counts(&minute.counts)
            );
            lines.push(("minute", text));
        }
        lines
    }

    /// Takes such a line in; `false` if its key is not one of these. A value that makes no sense is left out.
    pub fn take_line(&mut self, key: &str, value: &str) -> bool {
        match key {
            "counted" => {
                let (since, rest) = value.split_once(' ').unwrap_or((value, ""));
                self.since = since.parse().ok();
                self.counts = counts_of(rest.split(' '));
            }
            "waited" => self.waited = histogram_of(value),
            "served" => self.served = histogram_of(value),
            "pace" => self.pace = value.parse().unwrap_or_default(),
            "recent" => self.recent = recent_of(value).unwrap_or_default(),
            "minute" if self.minutes.len() < MINUTES => self.minutes.extend(minute_of(value)),
            "minute" => {}
            _ => return false,
        }
        true
    }
}

/// `cgi:3 daemon:17`
fn counts(counts: &Counts) -> String {
    let words = counts
        .some()
        .map(|(what, count)| format!("{}:{count}", what.word()));
    words.collect::<Vec<_>>().join(" ")
}

fn counts_of<'a>(words: impl Iterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::default();
    for (word, count) in words.filter_map(|word| word.split_once(':')) {
        if let (Some(what), Ok(count)) = (Counted::from_word(word), count.parse()) {
            counts.add(what, count);
        }
    }
    counts
}

/// The sum, then each bin with its count: `5300 12:1 30:2`
fn histogram(times: &Histogram) -> String {
    let bins = times.some().map(|(bin, count)| format!(" {bin}:{count}"));
    format!("{}{}", times.sum, bins.collect::<String>())
}

fn histogram_of(value: &str) -> Histogram {
    let mut words = value.split(' ');
    let mut times = Histogram::default();
    times.sum = words.next().map_or(0, |sum| sum.parse().unwrap_or(0));
    for (bin, count) in words.filter_map(|word| word.split_once(':')) {
        if let (Ok(bin), Ok(count)) = (bin.parse(), count.parse()) {
            times.add(bin, count);
        }
    }
    times
}

/// `120/900/1500`, or `-` for none.
fn quantiles(quantiles: Option<Quantiles>) -> String {
    quantiles.map_or("-".to_owned(), |Quantiles { p50, p95, p99 }| {
        format!("{p50}/{p95}/{p99}")
    })
}

fn quantiles_of(word: &str) -> Option<Quantiles> {
    let mut numbers = word.split('/').map(|number| number.parse().ok());
    Some(Quantiles {
        p50: numbers.next()??,
        p95: numbers.next()??,
        p99: numbers.next()??,
    })
}

fn recent_of(value: &str) -> Option<Recent> {
    let mut words = value.split(' ');
    Some(Recent {
        seconds: words.next()?.parse().ok()?,
        requests: words.next()?.parse().ok()?,
        busiest: words.next()?.parse().ok()?,
        waited: quantiles_of(words.next()?),
        served: quantiles_of(words.next()?),
        // Older versions do not send it.
        cgi: words.next().and_then(quantiles_of),
    })
}

fn minute_of(value: &str) -> Option<Minute> {
    let mut words = value.split(' ');
    Some(Minute {
        at: words.next()?.parse().ok()?,
        busiest: words.next()?.parse().ok()?,
        waited: quantiles_of(words.next()?),
        served: quantiles_of(words.next()?),
        counts: counts_of(words),
    })
}

#[cfg(test)]
mod tests {
    use super::super::BINS;
    use super::*;

    fn counted(each: u64) -> Counts {
        let mut counts = Counts::default();
        for what in Counted::ALL {
            counts.add(what, each);
        }
        counts
    }

    fn there_and_back(figures: &Figures) -> Figures {
        let mut back = Figures::default();
        for (key, value) in figures.lines() {
            assert!(back.take_line(key, &value), "{key}");
        }
        back
    }

    #[test]
    fn figures_go_over_the_wire_and_back() {
        assert_eq!(there_and_back(&Figures::default()), Figures::default());
        let quantiles = Some(Quantiles {
            p50: 1,
            p95: 20,
            p99: 300,
        });
        let mut times = Histogram::default();
        times.sum = 77;
        (0..BINS).for_each(|bin| times.add(bin, bin as u64));
        let figures = Figures {
            since: Some(1_700_000_000),
            counts: counted(7),
            waited: times,
            served: Histogram::default(),
            pace: 1234,
            recent: Recent {
                seconds: 270,
                requests: 9,
                busiest: 4,
                waited: quantiles,
                served: None,
                cgi: quantiles,
            },
            minutes: vec![Minute {
                at: 1_700_000_060,
                busiest: 3,
                counts: counted(1),
                waited: None,
                served: quantiles,
            }],
        };
        assert_eq!(there_and_back(&figures), figures);
    }

    #[test]
    fn nonsense_is_left_out_and_an_answer_is_bounded() {
        let mut figures = Figures::default();
        for (key, value) in [
            ("counted", "x y:z cgi:-1 daemon: unknown:3"),
            ("waited", "99999999999999999999 1:2:3 500:1"),
            ("recent", "1 2"),
            ("minute", "1 2 3"),
            ("minute", ""),
            ("pace", "fast"),
        ] {
            assert!(figures.take_line(key, value));
        }
        assert_eq!(figures, Figures::default());
        assert!(!figures.take_line("queue", "1"));
        for _ in 0..1000 {
            figures.take_line("minute", "1 2 - - cgi:1");
        }
        assert_eq!(figures.minutes.len(), MINUTES);
    }
}
