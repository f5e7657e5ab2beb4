//! One page about an app: its figures, three charts of the last hour, what went wrong. Complete in itself: no script,
//! and nothing that is loaded from elsewhere.

mod charts;

use std::fmt::{Display, Write};

use super::chart::COLUMNS;
use super::markup::escaped;
use crate::control::{Activity, Status};
use crate::figures::{Counted, Counts, Minute, Quantiles};
use crate::printable::{self, size, span, timestamp, took};

const STYLE: &str = include_str!("style.css");

/// The page, in HTML.
pub fn page(status: &Status) -> String {
    let page = Page {
        status,
        columns: columns(status),
    };
    let parts = [
        page.head(),
        page.tiles(),
        page.charts(),
        page.processes(),
        page.failures(),
        page.counts(),
        page.minutes(),
        page.foot(),
    ];
    let title = escaped(&format!("{}: {}", page.name(), status.state.word()));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{}</body>\n</html>\n",
        parts.concat()
    )
}

/// A document response (RFC 3875 6.2.1) with the page, which no cache may keep.
pub fn response(status: &Status, head_only: bool) -> Vec<u8> {
    let page = page(status);
    let mut response = format!(
        "Status: 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n",
        page.len()
    );
    if !head_only {
        response.push_str(&page);
    }
    response.into_bytes()
}

struct Page<'a> {
    status: &'a Status,
    /// The minutes of the last hour, each in its column.
    columns: [Option<&'a Minute>; COLUMNS],
}

fn columns(status: &Status) -> [Option<&Minute>; COLUMNS] {
    let mut columns = [None; COLUMNS];
    for minute in &status.figures.minutes {
        let age = status.now.saturating_sub(minute.at) / 60;
        let age = usize::try_from(age).unwrap_or(COLUMNS);
        if let Some(column) = COLUMNS
            .checked_sub(age + 1)
            .and_then(|nth| columns.get_mut(nth))
        {
            *column = Some(minute);
        }
    }
    columns
}

/// What became of a minute's requests, as the first chart has it, from below.
const SHARES: [(&str, &str); 5] = [
    ("daemon", "by the daemon"),
    ("cgi", "as a plain CGI"),
    ("client", "turned down (4xx)"),
    ("refused", "refused (503)"),
    ("failed", "failed (500, 502, 504)"),
];

fn shares(counts: &Counts) -> [u64; 5] {
    let mut shares = [0; 5];
    for (what, count) in counts.some() {
        let nth = match (what, what.status()) {
            (Counted::Cgi, _) => 1,
            (Counted::Cut | Counted::Exception, _) => 4,
            (_, None) => 0,
            (_, Some(400..=499)) => 2,
            (_, Some(503)) => 3,
            (_, Some(_)) => 4,
        };
        let share: &mut u64 = &mut shares[nth];
        *share = share.saturating_add(count);
    }
    shares
}

impl Page<'_> {
    /// The app's file, without its folder.
    fn name(&self) -> &str {
        let app = &self.status.app;
        app.rsplit('/').next().unwrap_or(app)
    }

    fn head(&self) -> String {
        let status = self.status;
        let (name, state) = (escaped(self.name()), status.state.word());
        let mut text = format!(
            "<header>\n<div class=\"head\"><h1>{name}</h1><span class=\"state {state}\">{state}</span></div>\n\
             <p class=\"soft\">{}</p>\n",
            escaped(&status.app)
        );
        if let Some(sentence) = status.served_by() {
            let _ = writeln!(text, "<p>Served by {}.</p>", escaped(&sentence));
        }
        let mut facts = Vec::new();
        if let (Some(pid), Some(started)) = (status.pid, status.started) {
            let age = span(status.now.saturating_sub(started));
            facts.push(format!("Daemon {pid}, for {age}."));
        }
        if let Some(leave) = &status.leave {
            let within = span(leave.within);
            facts.push(format!(
                "It leaves in {within} if no request comes ({}).",
                leave.key
            ));
        }
        if let Some(sentence) = status.memory_pressure() {
            facts.push(format!("M{}.", sentence.trim_start_matches('m')));
        }
        if let Some(changed) = &status.changed {
            let (generation, what, at) = (status.generation, &changed.what, self.clock(changed.at));
            facts.push(format!(
                "Code: generation {generation}, since {at}: {what} changed."
            ));
        }
        if !facts.is_empty() {
            let _ = writeln!(text, "<p class=\"soft\">{}</p>", escaped(&facts.join(" ")));
        }
        if let Some(failure) = &status.last_failure {
            let _ = writeln!(
                text,
                "<p class=\"trouble\"><b>Trouble:</b> {}</p>",
                escaped(failure)
            );
        }
        text + "</header>\n"
    }

    fn tiles(&self) -> String {
        let status = self.status;
        let (figures, limits) = (&status.figures, status.ceilings.as_ref());
        let pace = format!("{}.{}/s", figures.pace / 1000, figures.pace % 1000 / 100);
        let mut tiles = tile(
            "Requests",
            &pace,
            &format!("{} in the last minute", status.last_minute()),
        );
        let recent = &figures.recent;
        if let Some(Quantiles { p50, p95, p99 }) = recent.served {
            let [p50, p95, p99] = [p50, p95, p99].map(took);
            let more = format!("95% {p95}, 99% {p99}");
            tiles.push_str(&tile("Half of them served in", &p50, &more));
        }
        if let Some(Quantiles { p50, p95, p99 }) = recent.waited {
            let [p50, p95, p99] = [p50, p95, p99].map(took);
            let more = format!("half {p50}, 99% {p99}");
            tiles.push_str(&tile("95% waited at most", &p95, &more));
        }
        if status.pid.is_some() {
            let busy = status.busy() as u64;
            let memory = status
                .memory()
                .map(|bytes| format!("memory {}", size(bytes)));
            let memory = memory.unwrap_or_default();
            tiles.push_str(&meter(
                "Workers busy",
                busy,
                limits.map(|l| l.workers),
                &memory,
            ));
            let spooled = match status.spooled {
                0 => String::new(),
                bytes => format!("{} wait in files", size(bytes)),
            };
            tiles.push_str(&meter(
                "Waiting",
                status.queue,
                limits.map(|l| l.queue),
                &spooled,
            ));
        }
        tiles.push_str(&meter(
            "Plain CGIs running",
            status.cgis,
            limits.map(|l| l.cgis),
            "",
        ));
        format!("<dl class=\"tiles\">\n{tiles}</dl>\n")
    }

    /// The workers that have a request, the oldest first, and the server of the app's own.
    fn processes(&self) -> String {
        let mut busy: Vec<_> = self
            .status
            .workers
            .iter()
            .filter(|w| w.request.is_some())
            .collect();
        if busy.is_empty() {
            return String::new();
        }
        busy.sort_by_key(|worker| {
            std::cmp::Reverse(worker.request.as_ref().map(|request| request.age))
        });
        let rows = busy.into_iter().map(|worker| {
            let request = worker.request.clone().unwrap_or_default();
            let is_stuck = if worker.state == Activity::Stuck {
                " (stuck)"
            } else {
                ""
            };
            [
                cell("nowrap", took(request.age.saturating_mul(1000))),
                cell(
                    "text",
                    escaped(&format!("{} {}", request.method, request.path)),
                ),
                cell("n", format!("{}{is_stuck}", worker.pid.unwrap_or(0))),
                cell("n", worker.memory.map_or(String::new(), size)),
                cell("n", worker.requests),
            ]
            .concat()
        });
        let heads = [
            ("", "For"),
            ("", "Request"),
            ("n", "Worker"),
            ("n", "Memory"),
            ("n", "Requests so far"),
        ];
        section("Requests that are being served", &heads, rows)
    }

    fn failures(&self) -> String {
        let failures = &self.status.failures;
        if failures.is_empty() {
            return String::new();
        }
        let rows = failures.iter().rev().map(|incident| {
            let times = match incident.count {
                1 => String::new(),
                count => format!("{count} since {}", self.clock(incident.first)),
            };
            [
                cell("nowrap", self.clock(incident.at)),
                cell("nowrap", incident.kind.word()),
                cell("text", escaped(&incident.reason)),
                cell(
                    "text",
                    escaped(format!("{} {}", incident.method, incident.path).trim()),
                ),
                cell("nowrap", times),
            ]
            .concat()
        });
        let heads = [
            ("", "Last"),
            ("", "Kind"),
            ("", "Reason"),
            ("", "Request"),
            ("", "Times"),
        ];
        section("What went wrong last", &heads, rows)
    }

    fn counts(&self) -> String {
        let figures = &self.status.figures;
        let Some(since) = figures.since else {
            return String::new();
        };
        let rows = figures.counts.some().map(|(what, count)| {
            let code = what.status().map_or(String::new(), |code| code.to_string());
            let name = match what {
                Counted::Cgi => "handed to a plain CGI",
                Counted::Daemon => "answered by the daemon's app",
                other => other.word(),
            };
            [cell("", name), cell("", code), cell("n", count)].concat()
        });
        let heads = [("", "What became of it"), ("", "Status"), ("n", "Requests")];
        let title = format!("All requests since {}", self.clock(since));
        section(&title, &heads, rows)
    }

    /// The charts in words.
    fn minutes(&self) -> String {
        let minutes = self.columns.iter().rev().flatten();
        let rows = minutes.map(|minute| {
            let shares = shares(&minute.counts).map(|count| cell("n", count));
            let quantile = |of: fn(&Quantiles) -> u64| {
                let time = minute.served.as_ref().map(|quantiles| took(of(quantiles)));
                cell("n", time.unwrap_or_default())
            };
            let times = [
                quantile(|q| q.p50),
                quantile(|q| q.p95),
                quantile(|q| q.p99),
            ];
            let (at, busiest) = (
                cell("nowrap", self.clock(minute.at)),
                cell("n", minute.busiest),
            );
            [at, shares.concat(), times.concat(), busiest].concat()
        });
        let rows: Vec<String> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        let heads = [
            ("", "Minute from"),
            ("n", "Daemon"),
            ("n", "CGI"),
            ("n", "4xx"),
            ("n", "503"),
            ("n", "Failed"),
            ("n", "Half in"),
            ("n", "95% in"),
            ("n", "99% in"),
            ("n", "Workers"),
        ];
        let title = "The last hour as a table";
        let table = table(title, &heads, rows.into_iter());
        format!("<details><summary>{title}</summary>\n{table}</details>\n")
    }

    fn foot(&self) -> String {
        let (at, version) = (timestamp(self.status.now), env!("CARGO_PKG_VERSION"));
        let log = self.status.log.as_ref();
        let log = log.map_or(String::new(), |log| format!(" The log: {}.", escaped(log)));
        format!(
            "<footer>As of <time datetime=\"{at}\">{}</time>, by polycgi {version}.{log}</footer>\n",
            at.replace('T', " ").replace('Z', " UTC")
        )
    }

    /// A time of today without its date.
    fn clock(&self, seconds: u64) -> String {
        printable::clock(seconds, self.status.now)
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn tile(title: &str, value: &str, more: &str) -> String {
    let [title, value, more] = [title, value, more].map(escaped);
    format!("<div><dt>{title}</dt><dd><b>{value}</b><span>{more}</span></dd></div>\n")
}

/// A figure and its limit.
fn meter(title: &str, value: u64, limit: Option<u64>, more: &str) -> String {
    let Some(limit) = limit else {
        return tile(title, &value.to_string(), more);
    };
    let [title, more] = [title, more].map(escaped);
    let part = (value.min(limit) * 100).checked_div(limit).unwrap_or(0);
    let class = if value >= limit && value > 0 {
        "meter full"
    } else {
        "meter"
    };
    format!(
        "<div><dt>{title}</dt><dd><b>{value} of {limit}</b><div class=\"{class}\"><i style=\"width:{part}%\"></i></div>\
         <span>{more}</span></dd></div>\n"
    )
}

fn cell(class: &str, text: impl Display) -> String {
    match class {
        "" => format!("<td>{text}</td>"),
        class => format!("<td class=\"{class}\">{text}</td>"),
    }
}

fn section(title: &str, heads: &[(&str, &str)], rows: impl Iterator<Item = String>) -> String {
    format!("<h2>{}</h2>\n{}", escaped(title), table(title, heads, rows))
}

/// A table of so few columns is not as wide as the page.
const FEW: usize = 3;

fn table(title: &str, heads: &[(&str, &str)], rows: impl Iterator<Item = String>) -> String {
    let class = if heads.len() <= FEW {
        "wide few"
    } else {
        "wide"
    };
    let heads = heads.iter().map(|(class, name)| match *class {
        "" => format!("<th scope=\"col\">{name}</th>"),
        class => format!("<th scope=\"col\" class=\"{class}\">{name}</th>"),
    });
    let heads: String = heads.collect();
    let name = escaped(title);
    let rows: String = rows.map(|row| format!("<tr>{row}</tr>\n")).collect();
    format!(
        "<div class=\"{class}\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n"
    )
}

#[cfg(test)]
mod tests;
