//! Repositories of git: cgit, gitweb, and git-http-backend with a real client.

use std::fs;

use super::{Example, WAYS};
use crate::util::{client, run};

/// A git command in a folder of the test's directory, as a person types it.
#[track_caller]
fn git(example: &Example, at: &str, words: &[&str]) -> Result<String, String> {
    let at = example.dir.join(at);
    let mut command = client(&example.dir, &at, "/usr/bin/git");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "tests");
        command.env(format!("GIT_{who}_EMAIL"), "tests@test.example");
    }
    let output = run(command.args(words), b"");
    match output.status.success() {
        true => Ok(output.success()),
        false => Err(output.stderr),
    }
}

/// A bare repository `project.git`, and `work`, a clone of it with a commit that is pushed.
#[track_caller]
fn make_repository(example: &Example) {
    let steps: [(&str, &[&str]); 5] = [
        (
            "srv/git",
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                "project.git",
            ],
        ),
        (
            "home",
            &["clone", "--quiet", "../srv/git/project.git", "work"],
        ),
        ("home/work", &["add", "readme"]),
        (
            "home/work",
            &["commit", "--quiet", "--message", "add readme"],
        ),
        ("home/work", &["push", "--quiet", "origin", "HEAD:main"]),
    ];
    for (at, words) in steps {
        if words[0] == "add" {
            example.dir.file("home/work/readme", "hello <you>\n", 0o644);
        }
        git(example, at, words).expect("git does it");
    }
}

#[test]
fn cgit() {
    let example = Example::of("cgit");
    example.write_files();
    make_repository(&example);
    example.serves("/project.git/plain/readme", "hello <you>\n");
    example.serves("/project.git/log/", "add readme");
    // A path that leads out of the repositories is a page of cgit's.
    for path in [
        "/../../etc/passwd/",
        "/project.git/plain/../../../../etc/passwd",
    ] {
        let shown = example.polycgi(&["request", "-i"], &[path]);
        assert!(!shown.contains("root:"), "{shown}");
    }
}

#[test]
fn gitweb() {
    let example = Example::of("gitweb");
    example.write_files();
    make_repository(&example);
    example.serves("/project.git/blob_plain/main:/readme", "hello <you>\n");
    example.serves("/project.git/shortlog", "add readme");
}

/// All may clone; alice, whose password Apache has checked, may push.
#[test]
fn git_http_backend() {
    let example = Example::of("git-http-backend");
    make_repository(&example);
    example.checked();
    let open = example.behind_apache("AllowEncodedSlashes", "");
    let closed = example.behind_apache("AuthType Basic", "");
    for way in WAYS {
        example.serve_by(way);
        let url = |who: &str, server: &crate::util::Server| {
            format!(
                "http://{who}{}/cgi-bin/git-http-backend.cgi/project.git",
                server.address()
            )
        };
        let clone = ["clone", "--quiet", &url("", &open), way];
        git(&example, "home", &clone).expect("all may clone");
        let at = format!("home/{way}");
        assert_eq!(
            fs::read_to_string(example.dir.join(&at).join("readme")).unwrap(),
            "hello <you>\n"
        );
        let commit = ["commit", "--quiet", "--allow-empty", "--message", way];
        git(&example, &at, &commit).expect("a commit is local");
        let push = ["push", "--quiet", &url("", &open), "HEAD:main"];
        let refused = git(&example, &at, &push).expect_err("nobody has logged in");
        assert!(refused.contains("403"), "{refused}");
        let push = [
            "push",
            "--quiet",
            &url("alice:open%20sesame@", &closed),
            "HEAD:main",
        ];
        git(&example, &at, &push).expect("alice may push");
        let head = git(&example, &at, &["rev-parse", "HEAD"]);
        assert_eq!(
            git(&example, "srv/git/project.git", &["rev-parse", "main"]),
            head
        );
    }
    // The command for pushes by all.
    example.run_commands(&example.dir.join("srv/git/project.git"), b"", str::to_owned);
    let push = [
        "push",
        "--quiet",
        &format!(
            "http://{}/cgi-bin/git-http-backend.cgi/project.git",
            open.address()
        ),
        "HEAD:other",
    ];
    git(&example, "home/cgi", &push).expect("now all may push");
}
