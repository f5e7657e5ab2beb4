//! That each comparison can fail, in both directions: pages of ours with one thing changed, and what is said of each.

use super::{ManualPages, OURS, complaints};

#[derive(Clone, Copy)]
enum OnPage {
    Commands,
    File,
    Front,
    Daemon,
}

fn changed(on: OnPage, from: &str, to: &str) -> Vec<String> {
    let ours = match on {
        OnPage::Commands => OURS.commands,
        OnPage::File => OURS.file,
        OnPage::Front => OURS.front,
        OnPage::Daemon => OURS.daemon,
    };
    assert!(ours.contains(from), "{from}");
    let text = &ours.replacen(from, to, 1);
    complaints(match on {
        OnPage::Commands => ManualPages {
            commands: text,
            ..OURS
        },
        OnPage::File => ManualPages { file: text, ..OURS },
        OnPage::Front => ManualPages {
            front: text,
            ..OURS
        },
        OnPage::Daemon => ManualPages {
            daemon: text,
            ..OURS
        },
    })
}

#[test]
fn what_is_missing_and_what_is_invented_is_found() {
    use OnPage::{Commands, Daemon, File, Front};
    for (on, from, to, said) in [
        (
            File,
            ".It Ic queue-size No",
            ".It Ic queue-length No",
            "keys: the manual has no queue-size",
        ),
        (
            File,
            ".It Ic queue-size No",
            ".It Ic queue-length No",
            "keys: the code has no queue-length",
        ),
        (
            File,
            "Range: 1s to 8760h.",
            "Range: 2s to 8760h.",
            "ranges: the manual has no start-timeout: 1s to 8760h.",
        ),
        (
            File,
            "Range: 1s to 8760h.",
            "Range: 2s to 8760h.",
            "ranges: the code has no start-timeout: 2s to 8760h.",
        ),
        (
            File,
            "Default: 10s.",
            "Default: 11s.",
            "queue-timeout: the default is not 11s",
        ),
        (
            File,
            "Default: 10s.",
            "Default: 10.",
            "queue-timeout: the default can't be typed: ",
        ),
        (
            File,
            "Default: 10s.",
            "",
            "queue-timeout: the manual names no default",
        ),
        (
            File,
            "Cm auto | cgi | daemon",
            "Cm auto | cgi",
            "mode: the manual has no daemon",
        ),
        (
            File,
            "Cm auto | cgi | daemon",
            "Cm auto | cgi | daemon | both",
            "mode: the code has no both",
        ),
        (
            File,
            "size | Cm none",
            "size",
            "max-rss: the manual has no none",
        ),
        (
            File,
            "queue-size No = Ar number",
            "queue-size No = Ar number | Cm none",
            "queue-size: the code has no none",
        ),
        (
            File,
            "queue-size No = Ar number",
            "queue-size No = Ar size",
            "queue-size: the manual has no number",
        ),
        (
            File,
            "max-procs = 4\n.Ed",
            "max-proc = 4\n.Ed",
            "unknown key 'max-proc'",
        ),
        (
            Commands,
            ".Op Fl -hold\n",
            "",
            "SYNOPSIS of stop: the manual has no --hold",
        ),
        (
            Commands,
            ".Op Fl -hold\n",
            ".Op Fl -hold\n.Op Fl -now\n",
            "SYNOPSIS of stop: the code has no --now",
        ),
        (
            Commands,
            ".Op Ar path\n",
            ".Ar path\n",
            "SYNOPSIS of request: the manual has no [path]",
        ),
        (
            Commands,
            ".It Fl -hold\n",
            ".It Fl -keep\n",
            "options of stop: the manual has no --hold",
        ),
        (
            Commands,
            ".It Fl -hold\n",
            ".It Fl -keep\n",
            "options of stop: the code has no --keep",
        ),
        (
            Commands,
            ".Cm applets\n",
            ".Cm kinds\n",
            "commands: the manual has no applets",
        ),
        (
            Commands,
            ".Cm applets\n",
            ".Cm kinds\n",
            "commands: the code has no kinds",
        ),
        (
            Commands,
            ".It 76\n",
            ".It 79\n",
            "exit status: the manual has no 76",
        ),
        (
            Commands,
            ".It 76\n",
            ".It 79\n",
            "exit status: the code has no 79",
        ),
        (
            Commands,
            ".It Li age\n",
            ".It Li old\n",
            "status --json: the manual has no workers.request.age",
        ),
        (
            Commands,
            ".It Li age\n",
            ".It Li old\n",
            "status --json: the code has no workers.request.old",
        ),
        (
            Commands,
            ".It Li advice\n",
            ".It Li hint\n",
            "check --json: the manual has no advice",
        ),
        (
            Commands,
            ".It Li varying\n",
            ".It Li vary\n",
            "compare --json: the code has no vary",
        ),
        (
            Commands,
            ", venv-version",
            "",
            "kind of a finding: the manual has no venv-version",
        ),
        (
            Commands,
            ", venv-version",
            ", venv-age",
            "kind of a finding: the code has no venv-age",
        ),
        (
            Commands,
            ".Li held\n",
            ".Li kept\n",
            "state: the manual has no held",
        ),
        (
            Commands,
            "polycgi_cgis ,",
            "polycgi_cgi ,",
            "metrics: the code has no polycgi_cgi",
        ),
        (
            Front,
            ".It Li just-left\n",
            ".It Li gone\n",
            "rules: the manual has no just-left",
        ),
        (
            Front,
            ".It Li just-left\n",
            ".It Li gone\n",
            "rules: the code has no gone",
        ),
        (
            Front,
            ".It Li queue-slow\n",
            ".It Li queue-old\n",
            "what becomes of a request: the manual has no 503 queue-slow",
        ),
        (
            Front,
            ".It 504 ",
            ".It 502 ",
            "what becomes of a request: the code has no 502 timed-out",
        ),
        (
            Front,
            ".Nm app-cgi ,",
            ".Nm app-scgi ,",
            "applets: the manual has no app-cgi",
        ),
        (
            Daemon,
            ".Op Fl -user",
            ".Op Fl -name",
            "SYNOPSIS of scgi-daemon: the code has no --name",
        ),
        (
            Daemon,
            ".It 75\n",
            ".It 72\n",
            "exit status: the code has no 72",
        ),
    ] {
        let wrong = changed(on, from, to);
        assert!(
            wrong.iter().any(|line| line.contains(said)),
            "{from}: {wrong:#?}"
        );
    }
}
