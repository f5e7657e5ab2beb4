//! The report for a program: one object in one line. Times are in seconds.

use std::time::Duration;

use super::Report;
use super::finding::Difference;
use super::observed::Aspect;
use super::profile::Profile;
use super::times::{Cost, Times};
use crate::printable::json_string;

/// The report as JSON.
pub fn to_json(report: &Report<'_>) -> String {
    let comparison = report.comparison;
    let differences = list(comparison.differences.iter().map(difference_to_json));
    let varying = comparison.varying.iter();
    let varying = list(varying.map(|aspect| json_string(&aspect.to_string())));
    let parts = report.parts.iter();
    let parts = parts.map(|part| format!("{}:{}", json_string(part.name), seconds(part.time)));
    let parts: Vec<String> = parts.collect();
    let failure = report.failure.map_or("null".to_owned(), json_string);
    let profile = report.profile.map_or("null".to_owned(), Profile::to_json);
    let (app, request) = (json_string(report.app), json_string(report.request));
    let (status, stderr) = (json_string(&comparison.status), json_string(report.stderr));
    let (cgi, daemon) = (times_to_json(&report.cgi), times_to_json(&report.daemon));
    format!(
        r#"{{"app":{app},"request":{request},"runs":{},"differs":{},"status":{status},"differences":{differences},"varying":{varying},"times":{{"cgi":{cgi},"daemon":{daemon}}},"parts":{{{}}},"profile":{profile},"failure":{failure},"stderr":{stderr}}}"#,
        comparison.daemon_runs,
        comparison.differs(),
        parts.join(","),
    )
}

fn difference_to_json(difference: &Difference) -> String {
    let aspect = json_string(&difference.aspect.to_string());
    let Difference {
        first,
        runs,
        changes,
        ..
    } = difference;
    let what = match difference.aspect {
        // The text may be long.
        Aspect::Body => format!(r#""diff":{}"#, json_string(&difference.diff)),
        _ => {
            let values = |text: &str| list(text.lines().map(json_string));
            let (cgi, daemon) = (values(&difference.cgi), values(&difference.daemon));
            format!(r#""cgi":{cgi},"daemon":{daemon}"#)
        }
    };
    format!(r#"{{"what":{aspect},"runs":{runs},"first":{first},"changes":{changes},{what}}}"#)
}

fn times_to_json(times: &Times) -> String {
    let others = times.others;
    let of = |time: Option<Duration>| time.map_or("null".to_owned(), seconds);
    format!(
        r#"{{"first":{},"minimum":{},"median":{},"p95":{},"bytes":{},"cost":{}}}"#,
        seconds(times.first),
        of(others.map(|others| others.minimum)),
        of(others.map(|others| others.median)),
        of(others.map(|others| others.p95)),
        times.bytes,
        times.cost.map_or("null".to_owned(), cost_to_json)
    )
}

fn cost_to_json(cost: Cost) -> String {
    let (user, system) = (seconds(cost.user), seconds(cost.system));
    let faults = cost.faults;
    format!(r#"{{"user":{user},"system":{system},"faults":{faults}}}"#)
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
}

/// A report with something in every member.
#[cfg(test)]
pub(crate) fn report_in_json() -> String {
    tests::example()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::{Growth, Observed, Part, Timing, compare};
    use super::*;

    pub(super) fn example() -> String {
        let answer = |text: &str| Rc::new(Observed::of(text.as_bytes()));
        let cgi = [answer("Status: 200 OK\nA: 1\n\na\n"), answer("A: 2\n\na\n")];
        let daemon = [answer("Status: 200 OK\nB: \"\n\nb\n")];
        let comparison = compare(&cgi, &daemon);
        let cost = Some(Cost {
            user: Duration::from_millis(3),
            system: Duration::from_millis(1),
            faults: 9,
        });
        let run = Timing {
            wall: Duration::from_millis(25),
            cost,
            bytes: 17,
        };
        let times = Times::of(&[run]);
        let part = Part {
            name: "import",
            time: Duration::from_millis(2),
        };
        let growth = Growth {
            objects: 2,
            bytes: 80,
            place: "/srv/wiki.py:7".to_owned(),
        };
        let profile = Profile {
            import: "i".to_owned(),
            cgi: "c".to_owned(),
            daemon: "d".to_owned(),
            growth: vec![growth],
        };
        to_json(&Report {
            app: "wiki",
            request: "GET /",
            comparison: &comparison,
            cgi: times,
            daemon: times,
            parts: &[part],
            profile: Some(&profile),
            failure: None,
            stderr: "x\n",
        })
    }

    #[test]
    fn json_is_json() {
        assert_eq!(
            example(),
            r#"{"app":"wiki","request":"GET /","runs":1,"differs":true,"status":"200 OK","differences":[{"what":"header field a","runs":1,"first":1,"changes":false,"cgi":["1"],"daemon":[]},{"what":"header field b","runs":1,"first":1,"changes":false,"cgi":[],"daemon":["\""]},{"what":"body","runs":1,"first":1,"changes":false,"diff":"@@ -1 +1 @@\u000a-a\u000a+b\u000a"}],"varying":["status","header field a"],"times":{"cgi":{"first":0.025000,"minimum":null,"median":null,"p95":null,"bytes":17,"cost":{"user":0.003000,"system":0.001000,"faults":9}},"daemon":{"first":0.025000,"minimum":null,"median":null,"p95":null,"bytes":17,"cost":{"user":0.003000,"system":0.001000,"faults":9}}},"parts":{"import":0.002000},"profile":{"import":"i","cgi":"c","daemon":"d","growth":[{"objects":2,"bytes":80,"place":"/srv/wiki.py:7"}]},"failure":null,"stderr":"x\u000a"}"#
        );
    }
}
