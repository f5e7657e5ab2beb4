//! The three charts of the page: which way requests went, how long they took, how many workers were busy.

use super::super::chart::{COLUMNS, Labels, ranges, stacks};
use super::{Page, SHARES, escaped, or_none, shares};
use crate::figures::{Minute, Quantiles};
use crate::printable::took;

impl Page<'_> {
    pub(super) fn charts(&self) -> String {
        let charts = [
            self.chart_of_ways(),
            self.chart_of_times(),
            self.chart_of_workers(),
        ];
        format!(
            "<h2>The last hour</h2>\n<div class=\"charts\">\n{}</div>\n",
            charts.concat()
        )
    }

    fn chart_of_ways(&self) -> String {
        let shares = self
            .columns
            .map(|minute| minute.map_or([0; 5], |minute| shares(&minute.counts)));
        let mut sums = [0_u64; 5];
        for column in &shares {
            for (sum, share) in sums.iter_mut().zip(column) {
                *sum = sum.saturating_add(*share);
            }
        }
        let told = |shares: &[u64; 5]| {
            let some = shares.iter().zip(SHARES).filter(|(count, _)| **count > 0);
            let some: Vec<String> = some
                .map(|(count, (_, name))| format!("{count} {name}"))
                .collect();
            some.join(", ")
        };
        let titles = self.titles(|minute| Some(told(&shares_of(minute))));
        let busiest = shares
            .iter()
            .map(|column| column.iter().sum::<u64>())
            .max()
            .unwrap_or(0);
        let labels = Labels {
            id: "ways",
            title: "Requests in each minute of the last hour, by the way they went",
            summary: &format!(
                "In all: {}. At most {busiest} in a minute.",
                or_none(&told(&sums))
            ),
            nothing: "no request in the last hour",
            columns: &titles,
        };
        let picture = stacks(&labels, SHARES.map(|(class, _)| class), &shares, None);
        let key = SHARES.iter().zip(sums).filter(|(_, sum)| *sum > 0);
        let key = key.map(|((class, name), sum)| (*class, format!("{name}: {sum}")));
        figure("Requests a minute", &picture, key)
    }

    fn chart_of_times(&self) -> String {
        let times = |quantiles: Quantiles| [quantiles.p50, quantiles.p95, quantiles.p99];
        let columns = self.columns.map(|minute| Some(times(minute?.served?)));
        let titles = self.titles(|minute| {
            let [p50, p95, p99] = times(minute.served?).map(took);
            Some(format!("half in {p50}, 95% in {p95}, 99% in {p99}"))
        });
        let slowest = columns.iter().flatten().map(|times| times[2]).max();
        let labels = Labels {
            id: "times",
            title: "How long requests of the daemon were served, for each minute of the last hour",
            summary: &slowest.map_or("None was timed.".to_owned(), |slowest| {
                format!(
                    "In the slowest minute 99% were served in {}.",
                    took(slowest)
                )
            }),
            nothing: "the daemon served no request in the last hour",
            columns: &titles,
        };
        let picture = ranges(&labels, &columns);
        let key = [("median", "half"), ("near", "to 95%"), ("far", "to 99%")];
        let key = key
            .map(|(class, name)| (class, name.to_owned()))
            .into_iter();
        let key = key.filter(|_| slowest.is_some());
        figure("Served in (by the daemon)", &picture, key)
    }

    fn chart_of_workers(&self) -> String {
        let columns = self
            .columns
            .map(|minute| [minute.map_or(0, |minute| minute.busiest)]);
        let most = columns.iter().flatten().max().copied().unwrap_or(0);
        let titles = self.titles(|minute| Some(format!("{} at once", minute.busiest)));
        let limit = self.status.ceilings.as_ref().map(|limits| limits.workers);
        let told = limit.map_or(String::new(), |limit| format!(" max-procs is {limit}."));
        let labels = Labels {
            id: "workers",
            title: "The most workers that were busy at once, in each minute of the last hour",
            summary: &format!("At most {most} at once.{told}"),
            nothing: "no worker was busy in the last hour",
            columns: &titles,
        };
        let limit = limit.filter(|_| most > 0);
        let picture = stacks(&labels, ["daemon"], &columns, limit);
        let busy = (most > 0).then(|| ("daemon", format!("busy at once: {most} at most")));
        let limit = limit.map(|limit| ("limit", format!("max-procs: {limit}")));
        let key = busy.into_iter().chain(limit);
        figure("Workers busy at once", &picture, key)
    }

    /// A title for each column that has a minute: its time, and what there is to say.
    fn titles(&self, say: impl Fn(&Minute) -> Option<String>) -> [Option<String>; COLUMNS] {
        self.columns.map(|minute| {
            let minute = minute?;
            Some(format!(
                "{}: {}",
                self.clock(minute.at),
                or_none(&say(minute)?)
            ))
        })
    }
}

fn shares_of(minute: &Minute) -> [u64; 5] {
    shares(&minute.counts)
}

fn figure(title: &str, picture: &str, key: impl Iterator<Item = (&'static str, String)>) -> String {
    let key =
        key.map(|(class, name)| format!("<li><i class=\"{class}\"></i>{}</li>", escaped(&name)));
    let key: String = key.collect();
    format!(
        "<figure><figcaption>{title}</figcaption>\n{picture}<ul class=\"key\">{key}</ul></figure>\n"
    )
}
