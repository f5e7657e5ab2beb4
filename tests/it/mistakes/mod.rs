//! The newcomer's mistakes: for each, what the browser gets, what the web server's log says, and what `check` says. All
//! apps are behind one Apache, with `show-errors`: the reason is on the page, and in the line of the log.

mod table;

use std::path::PathBuf;

use self::table::{MISTAKES, Mistake, Page, Seen};
use crate::util::{
    Conversation, Dir, Mpm, Piped, Reply, Site, as_user, cgi, installed, joined, run,
};

#[test]
fn what_browser_log_and_check_say() {
    let mut site = Site::bare(Mpm::Prefork, 16);
    let dir = &site.dir;
    let ok = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n";
    dir.file("apps/ok.py", ok, 0o644);
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        let mut app = PathBuf::new();
        for (way, seen) in mistake.ways() {
            app = mistake.put(dir, way);
            let target = format!("/cgi-bin/{}/x?secret=1", mistake.in_way(way));
            let accept = [("Accept", "text/html")];
            let asked = Conversation::new(site.server.address(), "GET", &target, &accept, None);
            if let Err(what) = compare(&asked.reply(), seen) {
                wrong.push(format!("{}: {what}", mistake.in_way(way)));
            }
        }
        let check = run(as_user(installed("polycgi")).arg("check").arg(&app), b"");
        let said = String::from_utf8_lossy(&check.stdout).into_owned() + &check.stderr;
        if !joined(&said).contains(mistake.check)
            || check.status.success() != mistake.passes_check()
        {
            wrong.push(format!("{}: check: {said}", mistake.name));
        }
    }
    let log = site.log();
    for mistake in MISTAKES {
        for (way, (_, page)) in mistake.ways() {
            let (name, said) = (mistake.in_way(way), page.in_log());
            let begin = match page {
                Page::Ours(_) => format!(": {name}: GET /cgi-bin/{name}/x: "),
                Page::App | Page::Theirs(_) => name.clone(),
            };
            let of_it = log.lines().filter(|line| line.contains(&begin));
            let of_it: Vec<&str> = of_it.collect();
            if !said.is_empty() && !of_it.iter().any(|line| line.contains(said)) {
                wrong.push(format!("{name}: not in the log: {said}: {of_it:#?}"));
            }
        }
    }
    assert!(!log.contains("secret=1"), "{log}");
    assert!(wrong.is_empty(), "{}\n{log}", wrong.join("\n"));
}

fn compare(reply: &Reply, (status, page): &Seen) -> Result<(), String> {
    let text = reply.text();
    let is_ours = text.contains("<small>") && reply.field("Cache-Control") == Some("no-store");
    let is_right = match page {
        Page::App => !is_ours && text == "ok",
        Page::Ours(reason) => is_ours && text.contains("<pre ") && text.contains(&html(reason)),
        Page::Theirs(_) => !is_ours,
    };
    if reply.status() == *status && is_right {
        return Ok(());
    }
    Err(format!("{} {}: {text:.5000}", reply.status(), is_ours))
}

fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

impl Mistake {
    /// The name of its app file.
    fn in_way(&self, way: &str) -> String {
        format!("{}-{way}", self.name)
    }

    fn ways(&self) -> impl Iterator<Item = (&'static str, &Seen)> {
        let ways = [("cgi", &self.cgi), ("daemon", &self.daemon)];
        ways.into_iter()
            .filter_map(|(way, seen)| Some((way, seen.as_ref()?)))
    }

    /// Makes its app file for that way, and the app itself.
    fn put(&self, dir: &Dir, way: &str) -> PathBuf {
        let fill = |text: &str| {
            let at = dir.path().display().to_string();
            let polycgi = installed("polycgi").display().to_string();
            text.replace("POLYCGI", &polycgi)
                .replace("AT/", &format!("{at}/"))
                .replace("NAME", self.name)
        };
        if self.code.starts_with("#!") {
            let mode = if self.name == "not_executable" {
                0o644
            } else {
                0o755
            };
            dir.file(&format!("apps/{}.sh", self.name), &fill(self.code), mode);
        } else if !self.code.is_empty() {
            dir.file(
                &format!("apps/{}_app.py", self.name),
                &fill(self.code),
                0o644,
            );
        }
        let mode = if self.config.contains("mode =") {
            String::new()
        } else {
            format!("mode = {way}\n")
        };
        let text = fill(self.head) + &fill(self.config) + &mode;
        let executable = if self.name == "file_mode" {
            0o644
        } else {
            0o755
        };
        dir.file(&format!("cgi-bin/{}", self.in_way(way)), &text, executable)
    }
}

/// One reason, in each form of the page: as a plain CGI the adaptor makes it, else the daemon. Only for the networks that
/// may see it.
#[test]
fn the_page_is_the_same_in_both_ways() {
    let mut site = Site::bare(Mpm::Prefork, 16);
    let code = "def application(environ, start_response):\n    raise ValueError('<b>&\\x1b\\x9b\\\\\"\\u20ac\\'' * 900)\n";
    site.dir.file("apps/fails.py", code, 0o644);
    for shown in ["on", "127.0.0.0/8 ::1", "192.0.2.0/24", "off"] {
        for way in ["cgi", "daemon"] {
            let lines = format!("wsgi = fails:application\nmode = {way}\nshow-errors = {shown}\n");
            site.dir.app_file(way, &lines);
        }
        for accept in ["text/html", "application/json", "*/*"] {
            for method in ["GET", "HEAD"] {
                let ask = |way: &str| {
                    let target = format!("/cgi-bin/{way}/x");
                    let accept = [("Accept", accept), ("Accept-Language", "de-AT, en;q=0.5")];
                    let address = site.server.address();
                    Conversation::new(address, method, &target, &accept, None).reply()
                };
                let replies = ["cgi", "daemon"].map(ask);
                let what = format!("{shown} {accept} {method}: {}", replies[0].text());
                assert_eq!(replies[0].status(), 500, "{what}");
                assert_eq!(replies[0].text(), replies[1].text(), "{what}");
                for field in ["Content-Type", "Cache-Control", "Content-Language", "Vary"] {
                    assert!(replies[0].field(field).is_some(), "{what}");
                    assert_eq!(replies[0].field(field), replies[1].field(field), "{what}");
                }
                assert!(!replies[0].text().contains("<b>&\x1b"), "{what}");
                let is_shown = matches!(shown, "on" | "127.0.0.0/8 ::1") && method == "GET";
                assert_eq!(
                    replies[0].text().contains("ValueError: "),
                    is_shown,
                    "{what}"
                );
                assert!(replies[0].body.len() < 64_000, "{what}");
            }
        }
        let app = site.dir.join("cgi-bin/daemon");
        run(as_user(installed("polycgi")).arg("stop").arg(app), b"").success();
    }
    site.log();
}

/// The table is as large as it is said to be, and no mistake is in it twice.
#[test]
fn there_are_thirty_and_more() {
    let mut names: Vec<&str> = MISTAKES.iter().map(|mistake| mistake.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), MISTAKES.len());
    assert!(names.len() >= 30);
}

/// Errors that are hard to tell, raised once the app has spoilt what it was told of the request.
const HOSTILE: &str = "
class Mute(Exception):
    def __str__(self):
        raise SystemExit

class Fixed(Exception):
    def __setattr__(self, name, value):
        raise RuntimeError(name)

class Broken(Exception):
    @property
    def __traceback__(self):
        raise RuntimeError

ERRORS = {
    'Mute': Mute(), 'Fixed': Fixed(), 'Broken': Broken(), 'KeyError': KeyError('\\udcff\\ud800\\0'),
    'ValueError': ValueError('\\u20ac' * 12000), 'OSError': OSError('plain'),
}

def application(environ, start_response):
    error = ERRORS[environ['QUERY_STRING']]
    environ.update(REQUEST_URI=None, REQUEST_METHOD='GET', SCRIPT_NAME=5)
    raise error
";

#[test]
fn no_error_goes_without_a_page() {
    let dir = Dir::new();
    dir.file("apps/hostile.py", HOSTILE, 0o644);
    dir.file("apps/unready.py", "raise OSError('plain')\n", 0o644);
    for way in ["cgi", "daemon"] {
        let lines = format!("mode = {way}\nshow-errors = on\n");
        let app = dir.app_file(way, &format!("wsgi = hostile:application\n{lines}"));
        for name in [
            "Mute",
            "Fixed",
            "Broken",
            "KeyError",
            "ValueError",
            "OSError",
        ] {
            for method in ["GET", "HEAD"] {
                let target = format!("/x?{name}");
                let mut front = cgi::front(&app, method, &target, &[]);
                let (response, words) = Piped::start(&mut front).answer();
                let what = format!("{way} {method} {name}: {response:.3000}{words:.3000}");
                assert!(response.starts_with("Status: 500 "), "{what}");
                assert_eq!(response.matches("Status: ").count(), 1, "{what}");
                let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                assert_eq!(body.contains(name), method == "GET", "{what}");
                assert_eq!(body.is_empty(), method == "HEAD", "{what}");
                let line = format!("{method} /cgi-bin/app/x: {name}");
                assert!(words.contains(&line), "{what}");
                let times = body.matches("OSError: plain").count();
                assert_eq!(
                    times,
                    usize::from(name == "OSError" && method == "GET"),
                    "{what}"
                );
            }
        }
        let app = dir.app_file("unready", &format!("wsgi = unready:application\n{lines}"));
        let mut front = cgi::front(&app, "GET", "/", &[]);
        let (response, _) = Piped::start(&mut front).answer();
        assert_eq!(
            response.matches("OSError: plain").count(),
            1,
            "{way}: {response}"
        );
        assert!(response.contains("Traceback"), "{way}: {response}");
    }
}
