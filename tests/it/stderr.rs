//! What is written to standard error: during a request it is in the web server's log, otherwise in the daemon's; once,
//! whole, and without delaying a response.

use super::util::patient::PatientRead;
use super::util::process::{descriptors, kill_at_once};
use super::util::{Deadline, Mpm, Served, Site, Watch, served, under_both};

const NOISES: [&str; 6] = [
    "noise of sys.stderr",
    "noise of wsgi.errors",
    "noise of os.write",
    "noise of C",
    "noise of a child",
    "noise of print",
];

under_both!(of_a_request outside_of_a_request);

fn of_a_request(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    served::app_file(&site.dir, "max-procs = 1\n");
    site.get("/hello").ok();
    for _ in 0..3 {
        assert_eq!(site.get("/noise").ok(), "noisy\n");
    }
    site.get("/hello").ok();
    let (log, own) = (site.log(), site.dir.daemon_log());
    for noise in NOISES {
        assert_eq!(log.matches(noise).count(), 3, "{noise}: {log}");
        assert_eq!(own.matches(noise).count(), 0, "{noise}: {own}");
    }
    // In the order in which they were written.
    let places: Vec<_> = NOISES.iter().map(|noise| log.find(noise)).collect();
    assert!(places.is_sorted(), "{log}");
}

/// Words of a thread that outlives its request, in two pieces, and words at the worker's exit.
fn outside_of_a_request(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    served::app_file(&site.dir, "max-procs = 1\nmin-idle = 0\nmax-requests = 3\n");
    let mut gate = site.dir.gate("gate");
    assert_eq!(site.get("/later?gate=gate").ok(), "later\n");
    let worker = gate.entered();
    let (place, mut watch) = (site.dir.place(), Watch::on(&site.dir.place()));
    gate.open(1);
    let logged = |text: &str| site.dir.daemon_log().contains(text);
    assert!(
        watch.until(Deadline::soon(), || logged("app: words of a thread\n")),
        "not in {}: {}",
        place.display(),
        site.dir.daemon_log()
    );
    for _ in 0..3 {
        site.get("/hello").ok();
    }
    assert!(Deadline::soon().ended(worker), "it was its last");
    assert!(
        watch.until(Deadline::soon(), || logged("app: words at exit\n")),
        "{}",
        site.dir.daemon_log()
    );
    let (log, own) = (site.log(), site.dir.daemon_log());
    assert!(!log.contains("words"), "{log}");
    assert_eq!(own.matches("words of a").count(), 1, "{own}");
    assert_eq!(own.matches("words at exit").count(), 1, "{own}");
}

/// The web server does not read its pipe: up to a limit the words are kept, then counted; the response does not wait.
#[test]
fn a_flood_that_is_not_read() {
    const SIZE: usize = 1_000_000;
    let served = Served::start("max-procs = 1\n");
    let fds = descriptors(served.daemon);
    let mut front = served.front(&format!("/flood?size={SIZE}"));
    front.stdout.response_head();
    assert_eq!(front.stdout.exactly(8), b"flooded\n");
    // The next request is served, and its log has its own words only.
    let (response, words, _) = served.front("/noise").end();
    assert!(response.ends_with(b"\r\n\r\nnoisy\n"));
    assert!(words.starts_with("noise of sys.stderr\n"), "{words}");
    assert_eq!(words.lines().count(), NOISES.len(), "{words}");
    // The flood's own response ends as well.
    assert_eq!(front.stdout.to_the_end(), b"");
    assert!(front.ended().success());
    let words = front.stderr.to_the_end();
    // The daemon does not block on the pipe, in which each small piece takes a page.
    assert!((256..300_000).contains(&words.len()), "{}", words.len());
    let lost = SIZE - words.len();
    let words = String::from_utf8_lossy(&words).into_owned();
    let numbered = words.lines().enumerate();
    let wrong = numbered
        .filter(|(number, line)| *line != format!("{number:015}"))
        .count();
    // The last line may be cut.
    assert!(wrong <= 1, "{}", &words[words.len() - 200..]);
    served.dir.until_logged(&format!(" bytes={lost}\n"));
    let log = served.dir.daemon_log();
    assert!(!log.contains("app: "), "{log}");
    assert!(descriptors(served.daemon) <= fds + 1);
    served.is_well();
}

/// If the pipe is read, all of the words arrive. Much more than this can be written faster than it is read.
#[test]
fn a_flood_that_is_read() {
    const SIZE: usize = 60_000;
    let served = Served::start("max-procs = 1\n");
    let mut front = served.front(&format!("/flood?size={SIZE}"));
    let words = front.stderr.to_the_end();
    let expected: String = (0..SIZE / 16).map(|n| format!("{n:015}\n")).collect();
    assert_eq!(words.len(), SIZE, "some of it is lost");
    assert!(words == expected.as_bytes(), "it is out of order");
    let (response, _, _) = front.end();
    assert!(response.ends_with(b"\r\n\r\nflooded\n"));
    served.is_well();
}

/// The last words of a killed worker are logged, and then that it was killed.
#[test]
fn last_words_of_a_killed_worker() {
    let served = Served::start("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    for _ in 0..10 {
        let front = served.front("/last-words?gate=gate");
        kill_at_once(gate.entered());
        let (response, words, _) = front.end();
        assert!(response.starts_with(b"Status: 502 "));
        assert!(words.starts_with("last words\nand no"), "{words}");
        assert_eq!(words.matches("SIGKILL").count(), 1, "{words}");
    }
    let log = served.dir.daemon_log();
    assert!(!log.contains("last words"), "{log}");
    served.is_well();
}
