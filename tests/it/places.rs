//! Files and folders that are not as they should be: the app runs all the same where it can, and where it can't, the
//! client has a page and the operator the reason.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid};

use super::util::process::kill_at_once;
use super::util::{
    Conversation, Dir, Mpm, Output, Running, Site, as_other, cgi, daemon, installed, run,
    under_both,
};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";

under_both!(
    a_wrong_line_is_named
    a_missing_interpreter_is_named
    a_missing_directory_is_named
    the_binary_itself
    no_nph
    a_runtime_dir_that_is_a_file
    a_runtime_dir_that_others_can_write
    a_runtime_dir_of_another_user
);

/// A page of ours with this status and no reason in it, and exactly one line in the log, with all these words.
#[track_caller]
fn refused(mut site: Site, words: &[&str]) {
    site.is_a_500_without(words);
    let log = site.log();
    let said = |line: &&str| words.iter().all(|word| line.contains(word));
    assert_eq!(
        log.lines().filter(said).count(),
        log.lines().count(),
        "{words:?} in:\n{log}"
    );
    assert!((1..=2).contains(&log.lines().count()), "{log}");
}

fn a_wrong_line_is_named(mpm: Mpm) {
    let site = Site::configured(mpm, 16, "wsgi = testapp:application\n  max-porcs = 3\n");
    let path = site.dir.join("cgi-bin/app");
    // Four lines are in every test's app file.
    let place = format!("{}:6:3: ", path.display());
    refused(site, &["polycgi: cgi-front: ", &place, "max-procs"]);
}

fn a_missing_interpreter_is_named(mpm: Mpm) {
    for mode in ["cgi", "daemon"] {
        let config =
            format!("wsgi = testapp:application\nmode = {mode}\npython = /no/such/python\n");
        let site = Site::configured(mpm, 16, &config);
        refused(
            site,
            &["polycgi: ", "/no/such/python", "No such file or directory"],
        );
    }
}

fn a_missing_directory_is_named(mpm: Mpm) {
    for mode in ["cgi", "daemon"] {
        let site = Site::bare(mpm, 16);
        let at = site.dir.path().display();
        let text = format!(
            "#!{} -\nwsgi = testapp:application\nmode = {mode}\ndirectory = {at}/nowhere\nruntime-dir = {at}/run\n",
            installed("polycgi").display()
        );
        site.dir.file("cgi-bin/app", &text, 0o755);
        let directory = site.dir.join("nowhere").display().to_string();
        refused(
            site,
            &["polycgi: ", &directory, "No such file or directory"],
        );
    }
}

fn the_binary_itself(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    let copy = site.dir.join("cgi-bin/app");
    run(Command::new("cp").arg(installed("polycgi")).arg(&copy), b"").success();
    let reply = site.send("GET", "/", &[("Accept", "text/html")], None);
    assert_eq!(reply.status(), 500);
    let page = reply.text();
    assert!(
        reply
            .field("Content-Type")
            .is_some_and(|t| t.starts_with("text/plain"))
    );
    assert!(page.contains("polycgi runs here"), "{page}");
    assert!(page.contains("env -u GATEWAY_INTERFACE"), "{page}");
    let log = site.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(&copy.display().to_string()), "{log}");
}

/// A name with `nph-` tells the web server that the script sends the whole HTTP response (RFC 3875 5); so
/// the page is such a response.
fn no_nph(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    let path = site.dir.app_file("nph-app", CONFIG);
    let get = |accept| {
        let fields = [("Accept", accept)];
        Conversation::new(
            site.server.address(),
            "GET",
            "/cgi-bin/nph-app/hello",
            &fields,
            None,
        )
        .reply()
    };
    for (accept, media_type) in [("text/html", "text/html"), ("*/*", "text/plain")] {
        let reply = get(accept);
        assert_eq!(reply.status(), 500, "{}", reply.text());
        assert!(
            reply
                .field("Content-Type")
                .is_some_and(|t| t.starts_with(media_type))
        );
    }
    let log = site.log();
    assert_eq!(log.lines().count(), 2, "{log}");
    let said = |line: &str| line.contains(&path.display().to_string()) && line.contains("'nph-'");
    assert!(log.lines().all(said), "{log}");
}

/// The app runs as a CGI; a line in the log names the folder.
#[track_caller]
fn runs_as_a_cgi(mut site: Site) {
    let run = site.dir.join("run").display().to_string();
    assert_eq!(site.get("/mark?name=x").ok(), "x cgi\n");
    assert!(site.dir.all_daemons().is_empty());
    let log = site.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("polycgi: cgi-front: ") && log.contains(&run),
        "{log}"
    );
}

fn a_runtime_dir_that_is_a_file(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let run = site.dir.join("run");
    fs::remove_dir(&run).expect("it is empty");
    File::create(&run).expect("a file can be made");
    runs_as_a_cgi(site);
}

fn a_runtime_dir_that_others_can_write(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let mode = Permissions::from_mode(0o777);
    fs::set_permissions(site.dir.join("run"), mode).expect("a mode can be set");
    runs_as_a_cgi(site);
}

fn a_runtime_dir_of_another_user(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let run = site.dir.join("run");
    if Uid::effective().is_root() {
        chown(&run, Some(65_533), Some(65_533)).expect("root can give folders away");
    } else {
        fs::remove_dir(&run).expect("it is empty");
        symlink("/usr", &run).expect("a link can be made");
    }
    runs_as_a_cgi(site);
}

/// A uid of this test alone, and so default places of its own.
struct Stranger {
    uid: Uid,
    home: PathBuf,
}

impl Stranger {
    /// None unless root runs the tests: only root can become another user.
    fn new() -> Option<Self> {
        let uid = Uid::from_raw(1_000_000_000 + std::process::id());
        Uid::effective().is_root().then(|| Self {
            uid,
            home: PathBuf::from(format!("/tmp/polycgi-{uid}")),
        })
    }

    #[track_caller]
    fn get(&self, app: &Path, target: &str) -> Output {
        let mut command = as_other(app, self.uid, Gid::from_raw(self.uid.as_raw()));
        command.envs(cgi::meta("GET", target, &[]));
        Running::start(&mut command, b"").end()
    }

    fn clear(&self) {
        // A file or a folder, or nothing.
        let _ = fs::remove_file(&self.home);
        let _ = fs::remove_dir_all(&self.home);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.clear();
    }
}

#[test]
fn a_squatted_default_place() {
    let Some(stranger) = Stranger::new() else {
        return;
    };
    let dir = Dir::new();
    let text = format!(
        "#!{} -\nwsgi = testapp:application\nmode = daemon\ndirectory = {}\n",
        installed("polycgi").display(),
        dir.join("apps").display()
    );
    let app = dir.file("cgi-bin/app", &text, 0o755);
    let uid = Some(stranger.uid.as_raw());
    let folder = |owner: Option<u32>, mode| {
        fs::create_dir(&stranger.home).expect("a folder can be made");
        chown(&stranger.home, owner, owner).expect("root can give folders away");
        fs::set_permissions(&stranger.home, Permissions::from_mode(mode))
            .expect("a mode can be set");
    };
    let squats: [&dyn Fn(); 4] = [
        &|| drop(File::create(&stranger.home).expect("a file can be made")),
        &|| folder(Some(65_533), 0o777),
        &|| folder(uid, 0o777),
        &|| symlink(dir.join("run"), &stranger.home).expect("a link can be made"),
    ];
    chown(dir.join("run"), uid, uid).expect("root can give folders away");
    for (number, squat) in squats.iter().enumerate() {
        squat();
        let output = stranger.get(&app, "/dump");
        assert_eq!(
            output.stderr.lines().count(),
            1,
            "{number}: {}",
            output.stderr
        );
        assert!(
            output.stderr.contains(&stranger.home.display().to_string()),
            "{number}: {}",
            output.stderr
        );
        let dump = cgi::reply(&output.stdout).ok();
        assert!(
            dump.contains(r#"["wsgi.run_once", true]"#),
            "{number}: {dump}"
        );
        stranger.clear();
    }
    // Without the squats all is right.
    let dump = stranger.get(&app, "/dump").response().ok();
    assert!(dump.contains(r#"["wsgi.run_once", false]"#), "{dump}");
    let serving = dir.daemon();
    daemon::with_its_children(serving, || kill_at_once(serving));
}

/// sysexits.h: EX_USAGE. Under env(1) the kernel names polycgi and not the script.
#[test]
fn env_hides_the_script() {
    let dir = Dir::new();
    let text = format!(
        "#!/usr/bin/env {}\n{CONFIG}",
        installed("polycgi").display()
    );
    let app = dir.file("cgi-bin/app", &text, 0o755);
    let output = cgi::start_front(&app, "/hello").end();
    assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
    assert!(output.stderr.contains("env"), "{}", output.stderr);
    let reply = cgi::reply(&output.stdout);
    assert_eq!(reply.status(), 500);
    assert!(
        reply.text().contains("polycgi runs here"),
        "{}",
        reply.text()
    );
}
