//! What ps, top and `pgrep -f` show of an app's processes: /proc/PID/cmdline and comm, as a plain CGI and in the pool.

use super::util::process::Process;
use super::util::{Dir, cgi};

const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    found = []
    for name in 'cmdline', 'comm':
        with open('/proc/self/' + name) as file:
            found.append(file.read())
    return [ascii(found).encode()]
";

fn shown(mode: &str) -> (Dir, String) {
    let dir = Dir::new();
    dir.file("apps/shown.py", APP, 0o644);
    let config = format!("wsgi = shown:application\nmode = {mode}\n");
    let app = dir.app_file("wiki.cgi", &config);
    let seen = cgi::start_front(&app, "/").end().response().ok();
    (dir, seen)
}

#[test]
fn of_a_plain_cgi() {
    let (_dir, seen) = shown("cgi");
    assert_eq!(seen, r"['polycgi: wiki cgi\x00', 'wiki:cgi\n']");
}

#[test]
fn of_the_pool() {
    let (dir, seen) = shown("daemon");
    assert_eq!(seen, r"['polycgi: wiki worker\x00', 'wiki:worker\n']");
    let mut titles: Vec<String> = Process::all_of(dir.path())
        .into_iter()
        .map(|process| process.command_line)
        // A process that ends has none any more: a worker is forked twice.
        .filter(|line| !line.is_empty() && !line.contains("scgi-daemon"))
        .collect();
    titles.sort();
    titles.dedup();
    assert_eq!(titles, ["polycgi: wiki worker", "polycgi: wiki zygote"]);
}
