//! A status as one JSON object (RFC 8259), in one line. Its schema is in the manual: a change here is a change there.

use super::status::{RequestStatus, ServerStatus, Status, WorkerStatus};
use super::words::condition_word;
use crate::figures::{Counted, Counts, Figures, Histogram, Minute, Quantiles, Recent};
use crate::incidents::Incident;
use crate::printable::{json_string, timestamp};

impl Status {
    /// The object. What is not known is null; times are RFC 3339 in UTC, spans of time seconds.
    pub fn to_json(&self) -> String {
        let mut fields = Vec::new();
        let mut field = |name: &str, value: String| fields.push(format!("\"{name}\":{value}"));
        if let Some(user) = &self.user {
            field("user", json_string(user));
        }
        field("app", json_string(&self.app));
        field("kind", text(self.kind.as_deref()));
        field("time", time(Some(self.now).filter(|&now| now > 0)));
        field("state", json_string(self.state.word()));
        field("pid", number(self.pid));
        field("started", time(self.started));
        let routing = self.routing.as_ref();
        field("way", text(routing.map(|routing| &*routing.way)));
        field("rule", text(routing.map(|routing| &*routing.rule)));
        field("reason", text(routing.map(|routing| &*routing.reason)));
        let leave = self.leave.as_ref();
        field("leaves_in", number(leave.map(|leave| leave.within)));
        field("leaves_by", text(leave.map(|leave| &*leave.key)));
        field("workers", array(&self.workers, worker));
        field(
            "server",
            self.server.as_ref().map_or("null".to_owned(), server),
        );
        field("queue", self.queue.to_string());
        field("requests", self.requests.to_string());
        field("overloads", self.overloads.to_string());
        field("rate", self.rate.to_string());
        field("spooled", self.spooled.to_string());
        field("generation", self.generation.to_string());
        let changed = self.changed.as_ref();
        field("changed", text(changed.map(|changed| &*changed.what)));
        field("changed_at", time(changed.map(|changed| changed.at)));
        field("cgis", self.cgis.to_string());
        let ceilings = self.ceilings.as_ref();
        field("max_workers", number(ceilings.map(|c| c.workers)));
        field("max_queue", number(ceilings.map(|c| c.queue)));
        field("max_cgis", number(ceilings.map(|c| c.cgis)));
        field("max_spooled", number(ceilings.map(|c| c.spool)));
        field("memory", number(self.memory()));
        let host = self.memory_of_host;
        let pressure = host.map(|memory| fraction(memory.pressure, 100, 2));
        field("memory_pressure", number(pressure));
        field("memory_short", number(host.map(|memory| memory.is_short)));
        figures(&self.figures, &mut field);
        field("failures", array(&self.failures, incident));
        field("last_failure", text(self.last_failure.as_deref()));
        field("last_words", text(self.last_words.as_deref()));
        field("log", text(self.log.as_deref()));
        format!("{{{}}}", fields.join(","))
    }
}

fn text(value: Option<&str>) -> String {
    value.map_or("null".to_owned(), json_string)
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or("null".to_owned(), |number| number.to_string())
}

fn time(seconds: Option<u64>) -> String {
    text(seconds.map(timestamp).as_deref())
}

fn array<T>(all: &[T], one: impl Fn(&T) -> String) -> String {
    let all: Vec<String> = all.iter().map(one).collect();
    format!("[{}]", all.join(","))
}

/// Microseconds or thousandths as seconds.
fn fraction(number: u64, of: u64, digits: usize) -> String {
    format!("{}.{:0digits$}", number / of, number % of)
}

fn micros(number: u64) -> String {
    fraction(number, 1_000_000, 6)
}

fn worker(worker: &WorkerStatus) -> String {
    let WorkerStatus {
        pid,
        state,
        requests,
        generation,
        memory,
        request,
    } = worker;
    let (pid, memory) = (number(*pid), number(*memory));
    let state = json_string(&state.to_string());
    let request = request.as_ref().map_or("null".to_owned(), |request| {
        let RequestStatus { age, method, path } = request;
        format!(
            r#"{{"age":{},"method":{},"path":{}}}"#,
            fraction(*age, 1000, 3),
            json_string(method),
            json_string(path)
        )
    });
    format!(
        r#"{{"pid":{pid},"state":{state},"requests":{requests},"generation":{generation},"memory":{memory},"request":{request}}}"#
    )
}

fn server(server: &ServerStatus) -> String {
    let (pid, state) = (
        number(server.pid),
        json_string(condition_word(server.state)),
    );
    format!(r#"{{"pid":{pid},"state":{state}}}"#)
}

fn figures(figures: &Figures, field: &mut impl FnMut(&str, String)) {
    field("counted_since", time(figures.since));
    let all = Counted::ALL.map(|what| format!("\"{}\":{}", what.word(), figures.counts.of(what)));
    field("counts", format!("{{{}}}", all.join(",")));
    field("waited", sum(&figures.waited));
    field("served", sum(&figures.served));
    field("pace", fraction(figures.pace, 1000, 3));
    let Recent {
        seconds,
        requests,
        busiest,
        waited,
        served,
        cgi,
    } = &figures.recent;
    let [waited, served, cgi] = [waited, served, cgi].map(|times| quantiles(*times));
    field(
        "recent",
        format!(
            r#"{{"seconds":{seconds},"requests":{requests},"busiest":{busiest},"waited":{waited},"served":{served},"cgi":{cgi}}}"#
        ),
    );
    field("minutes", array(&figures.minutes, minute));
}

fn sum(times: &Histogram) -> String {
    let (count, sum) = (times.count(), micros(times.sum));
    format!(r#"{{"count":{count},"sum":{sum}}}"#)
}

fn quantiles(quantiles: Option<Quantiles>) -> String {
    quantiles.map_or("null".to_owned(), |Quantiles { p50, p95, p99 }| {
        let [p50, p95, p99] = [p50, p95, p99].map(micros);
        format!(r#"{{"p50":{p50},"p95":{p95},"p99":{p99}}}"#)
    })
}

fn minute(minute: &Minute) -> String {
    let (waited, served) = (quantiles(minute.waited), quantiles(minute.served));
    format!(
        r#"{{"time":{},"busiest":{},"counts":{},"waited":{waited},"served":{served}}}"#,
        time(Some(minute.at)),
        minute.busiest,
        counts(&minute.counts)
    )
}

/// Only those that there are.
fn counts(counts: &Counts) -> String {
    let some = counts.some();
    let some = some.map(|(what, count)| format!("\"{}\":{count}", what.word()));
    format!("{{{}}}", some.collect::<Vec<_>>().join(","))
}

fn incident(incident: &Incident) -> String {
    let Incident {
        kind,
        at,
        first,
        count,
        method,
        path,
        reason,
    } = incident;
    let [at, first] = [at, first].map(|&at| time(Some(at)));
    let kind = json_string(kind.word());
    let line = |word: &str| text(Some(word).filter(|word| !word.is_empty()));
    let (method, path, reason) = (line(method), line(path), json_string(reason));
    format!(
        r#"{{"time":{at},"first":{first},"count":{count},"kind":{kind},"method":{method},"path":{path},"reason":{reason}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::super::samples::busy;
    use super::*;

    #[test]
    fn json_is_json() {
        let json = busy().to_json();
        let counts = Counted::ALL.map(|what| {
            let count = match what {
                Counted::Cgi => 3,
                Counted::QueueFull => 2,
                _ => 0,
            };
            format!("\"{}\":{count}", what.word())
        });
        let expected = [
            r#"{"app":"/srv/cgi-bin/wiki.cgi","kind":"wsgi","time":"2023-11-14T22:13:20Z","state":"up","pid":42,"started":"2023-11-14T22:05:00Z","way":"daemon","rule":"daemon-when-busy","reason":"2 of 5 CGIs","leaves_in":840,"leaves_by":"idle-timeout","#,
            r#""workers":[{"pid":43,"state":"busy","requests":7,"generation":2,"memory":47185920,"request":{"age":2.345,"method":"GET","path":"/wiki"}},{"pid":44,"state":"idle","requests":128,"generation":1,"memory":null,"request":null}],"#,
            r#""server":{"pid":45,"state":"up"},"queue":1,"requests":8,"overloads":2,"rate":5,"spooled":65536,"generation":2,"changed":"wiki.page","changed_at":"2023-11-14T22:10:00Z","cgis":3,"#,
            r#""max_workers":4,"max_queue":100,"max_cgis":5,"max_spooled":1073741824,"memory":47185920,"memory_pressure":12.34,"memory_short":true,"counted_since":"2023-11-14T22:00:00Z","counts":{"#,
            &counts.join(","),
            r#"},"waited":{"count":0,"sum":0.000000},"served":{"count":1,"sum":2.500000},"pace":12.300,"recent":{"seconds":270,"requests":5,"busiest":2,"waited":null,"served":{"p50":0.012000,"p95":0.080000,"p99":2.100000},"cgi":{"p50":0.250000,"p95":0.400000,"p99":1.500000}},"#,
            r#""minutes":[{"time":"2023-11-14T22:13:00Z","busiest":2,"counts":{"cgi":3},"waited":null,"served":null}],"#,
            r#""failures":[{"time":"2023-11-14T22:12:00Z","first":"2023-11-14T22:11:00Z","count":4,"kind":"killed","method":"GET","path":"/crash","reason":"killed by SIGSEGV"}],"#,
            r#""last_failure":"ImportError: no module \"x\"","last_words":"  File \"x.py\"\u000aImportError","log":"/run/polycgi/33/wiki-1c9a/log"}"#,
        ];
        assert_eq!(json, expected.concat());
        let down = Status::default().to_json();
        for null in [
            "pid",
            "server",
            "time",
            "way",
            "counted_since",
            "max_queue",
            "log",
        ] {
            assert!(down.contains(&format!("\"{null}\":null")), "{null}: {down}");
        }
    }

    #[test]
    fn what_a_stranger_said_is_only_shown() {
        let status = Status {
            user: Some("nobody".to_owned()),
            app: "\x1b]0;x\x07\u{202e}\u{9b}2J\u{e0041}\n".to_owned(),
            last_failure: Some("a\x1b[31m\"\\".to_owned()),
            ..Status::default()
        };
        let json = status.to_json();
        let begin =
            r#"{"user":"nobody","app":"\u001b]0;x\u0007\u202e\u009b2J\udb40\udc41\u000a","kind""#;
        assert!(json.starts_with(begin), "{json}");
        assert!(
            json.contains(r#""last_failure":"a\u001b[31m\"\\","#),
            "{json}"
        );
    }
}
