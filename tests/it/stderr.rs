//! What is written to standard error: during a request it is in the web server's log, else in the daemon's; once, and
//! whole; and nobody hangs for it.

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

under_both!(of_a_request of_nobody);

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

/// By a thread that outlives its request, and at the worker's exit. The thread's line comes in two pieces.
fn of_nobody(mpm: Mpm) {
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

/// Nobody reads the web server's pipe: what it does not take is kept, or counted; the response is not kept waiting.
#[test]
fn a_flood_that_nobody_reads() {
    const SIZE: usize = 1_000_000;
    let served = Served::start("max-procs = 1\n");
    let fds = descriptors(served.daemon);
    let mut front = served.front(&format!("/flood?size={SIZE}"));
    front.stdout.response_head();
    assert_eq!(front.stdout.exactly(8), b"flooded\n");
    // The next request is served, and its words are its own.
    let (response, words, _) = served.front("/noise").end();
    assert!(response.ends_with(b"\r\n\r\nnoisy\n"));
    assert!(words.starts_with("noise of sys.stderr\n"), "{words}");
    assert_eq!(words.lines().count(), NOISES.len(), "{words}");
    // And the flood's own end comes though nobody reads.
    assert_eq!(front.stdout.to_the_end(), b"");
    assert!(front.ended().success());
    let words = front.stderr.to_the_end();
    // Nobody may write there and wait, so each small piece takes a page of the pipe.
    assert!((256..300_000).contains(&words.len()), "{}", words.len());
    let lost = SIZE - words.len();
    let words = String::from_utf8_lossy(&words).into_owned();
    let numbered = words.lines().enumerate();
    let wrong = numbered
        .filter(|(number, line)| *line != format!("{number:015}"))
        .count();
    // The last one may be cut.
    assert!(wrong <= 1, "{}", &words[words.len() - 200..]);
    served.dir.until_logged(&format!(" bytes={lost}\n"));
    let log = served.dir.daemon_log();
    assert!(!log.contains("app: "), "{log}");
    assert!(descriptors(served.daemon) <= fds + 1);
    served.is_well();
}

/// Where somebody reads, all of it arrives. More than this may be written faster than anybody can read.
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

/// A worker that is killed has had its say, and then it is said that it was.
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
