//! SpeedyCGI, the front and the daemon of Perl's CGI programs: speedy/t. Its front is a program that is run as a CGI and
//! hands the request to a backend, as ours is.

use std::fs::File;
use std::process::Stdio;

use super::{Case, Shown, Suite};
use crate::util::{Deadline, Dir, Watch, as_user, cgi, run};
use Shown::{By, Otherwise};

pub(super) const SUITE: Suite = Suite {
    name: "SpeedyCGI's speedy/t",
    cases: &[
        Case(
            "killfe",
            "a front that is killed does not hurt the next request",
            By(&[
                "handoff::a_killed_front_s_request_is_dropped",
                "gone::a_killed_front_is_a_gone_client",
            ]),
        ),
        Case(
            "initial_eof 1",
            "an input that has ended already holds up nothing",
            By(&["ported::speedycgi::an_input_that_has_ended_already"]),
        ),
        Case(
            "initial_eof 2",
            "nor does an output that is no pipe, /dev/null",
            By(&["ported::speedycgi::an_output_that_is_no_pipe"]),
        ),
        Case(
            "maxbackend",
            "no more processes than configured; the next request waits for one",
            By(&[
                "cgi_limits::so_many_at_once_and_so_many_wait",
                "connect::at_most_max_procs_at_once",
            ]),
        ),
        Case(
            "maxruns",
            "a backend is replaced after so many requests",
            By(&[
                "keys::max_requests",
                "limits::max_requests_with_many_workers",
            ]),
        ),
        Case(
            "timeout",
            "a backend that is idle exits, and the next request starts one",
            By(&[
                "daemon::an_idle_daemon_leaves_nothing",
                "limits::worker_idle_timeout",
            ]),
        ),
        Case(
            "touch",
            "what was edited is run by the next request; the one that runs is finished by the old code",
            By(&[
                "edit::next::the_next_request_runs_the_new_code",
                "begun::a_request_that_goes_on_over_an_edit",
            ]),
        ),
        Case(
            "signal",
            "an app that ignores SIGTERM does not keep its process when it is to end",
            By(&[
                "cgi_limits::a_program_that_does_not_hear_is_killed",
                "limits::a_worker_that_cannot_be_told_is_killed",
            ]),
        ),
        Case(
            "hold_stdio 1",
            "a process that the app has left behind, and that holds its output, holds up no response",
            By(&[
                "cgi_daemon::a_helper_delays_no_response",
                "cgi_daemon::a_helper_of_a_post_delays_no_response",
            ]),
        ),
        Case(
            "hold_stdio 2",
            "what that process writes later arrives too",
            Otherwise(
                "the response ends with the program, or it could never be said to have ended",
                &["ported::speedycgi::what_is_written_after_the_end"],
            ),
        ),
        Case(
            "mungefds",
            "an app that closes the standard descriptors does not harm the next request",
            By(&[
                "adaptor: test_application_closes_what_it_prints_to",
                "adaptor: test_application_closes_stderr",
            ]),
        ),
        Case(
            "stdin, stdio, stdio2",
            "large inputs and outputs are whole",
            By(&[
                "cgi_slow::large_bodies_both_ways",
                "slow::large_bodies_both_ways",
            ]),
        ),
        Case(
            "exit",
            "an app that exits ends its request only",
            By(&["adaptor: sys.exit()", "killed::a_killed_worker_is_a_502"]),
        ),
        Case(
            "sh_bang",
            "the app is named by the #! line",
            By(&["forms::a_script_saved_with_crlf_runs"]),
        ),
        Case(
            "argv",
            "words behind the script are the program's arguments",
            Otherwise(
                "under a web server they would be a client's",
                &["forms::the_words_of_a_client_are_not_read"],
            ),
        ),
    ],
};

const MODES: [&str; 2] = ["mode = cgi\n", "mode = daemon\n"];
const APPS: [&str; 2] = ["wsgi = testapp:application\n", "cgi = ./all.sh\n"];

fn served(app: &str, mode: &str) -> Dir {
    let dir = Dir::new();
    let all = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nsha256sum\n";
    dir.file("apps/all.sh", all, 0o755);
    dir.app_file("app", &format!("{app}{mode}"));
    dir
}

#[test]
fn an_input_that_has_ended_already() {
    for app in APPS {
        for mode in MODES {
            let dir = served(app, mode);
            let app = dir.join("cgi-bin/app");
            let digest = crate::util::digest(b"");
            // A pipe without a writer, and /dev/null.
            let by_pipe = run(&mut cgi::front(&app, "GET", "/digest", &[]), b"");
            assert!(by_pipe.response().ok().starts_with(&digest));
            let mut command = cgi::front(&app, "GET", "/digest", &[]);
            let output = command
                .stdin(Stdio::null())
                .output()
                .expect("a front can be run");
            assert!(output.status.success(), "{:?}", output.status);
            assert!(cgi::reply(&output.stdout).ok().starts_with(&digest));
        }
    }
}

#[test]
fn an_output_that_is_no_pipe() {
    for app in APPS {
        for mode in MODES {
            let dir = served(app, mode);
            let app = dir.join("cgi-bin/app");
            let out = dir.file("out", "", 0o600);
            let file = File::options()
                .append(true)
                .open(&out)
                .expect("it can be opened");
            for output in [Stdio::null(), Stdio::from(file)] {
                let mut command = cgi::front(&app, "GET", "/digest", &[]);
                let status = command.stdin(Stdio::null()).stdout(output).status();
                assert!(status.expect("a front can be run").success());
            }
            let written = run(as_user("/bin/cat").arg(&out), b"").success();
            let digest = crate::util::digest(b"");
            assert!(
                cgi::reply(written.as_bytes()).ok().starts_with(&digest),
                "{written}"
            );
        }
    }
}

/// A process that the program has left behind writes when its gate opens, which is after the response's end.
#[test]
fn what_is_written_after_the_end() {
    let program = "#!/bin/sh\n(trap '' PIPE; echo $$ >gate.entered; read line <gate.go\n\
        echo late 2>/dev/null; echo it wrote >wrote) &\n\
        printf 'Content-Type: text/plain\\r\\n\\r\\nin time\\n'\n";
    let dir = Dir::new();
    dir.file("apps/leaves.sh", program, 0o755);
    let app = dir.app_file("app", "cgi = ./leaves.sh\nmode = daemon\n");
    let mut gate = dir.gate("gate");
    let reply = cgi::start_front(&app, "/").end().response();
    assert_eq!(reply.ok(), "in time\n");
    gate.entered();
    let mut watch = Watch::on(&dir.join("apps"));
    gate.open(1);
    let wrote = || dir.join("apps/wrote").exists();
    assert!(watch.until(Deadline::soon(), wrote));
}
