//! Apps that are no WSGI applications: a CGI program, and a server that mends what it writes.

use super::super::util::{Dir, as_user, installed, run};
use super::{command, compare, text};

#[test]
fn a_cgi_program_is_the_same_in_both() {
    let dir = Dir::new();
    let script = "#!/bin/sh\necho complaint >&2\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";
    let script = dir.file("apps/hello", script, 0o755);
    let app = dir.app_file("app", &format!("cgi = {}\nmode = daemon", script.display()));
    let output = compare(&["-n", "3", "--profile", &app.display().to_string()]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for said in [
        "status none, which means 200",
        "wrote to standard error:\n  complaint\n",
    ] {
        assert!(text.contains(said), "no {said} in {text}");
    }
    assert!(!text.contains("fastest runs"), "{text}");
    let rows = text.lines().filter(|line| line.ends_with(" 32"));
    for row in rows.collect::<Vec<_>>() {
        assert!(!row.contains(" - "), "{row}");
    }
}

#[test]
fn a_variable_that_one_way_lacks() {
    let dir = Dir::new();
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\necho \"zone ${TZ-none}\"\n";
    let script = dir.file("apps/zone", script, 0o755);
    let app = dir.app_file("app", &format!("cgi = {}\nmode = daemon", script.display()));
    let app = app.display().to_string();
    let mut start = as_user(installed("polycgi"));
    run(start.args(["start", &app]), b"").success();
    let mut command = command(&["-n", "2", &app]);
    command.env("TZ", "Europe/Zurich");
    let output = run(&mut command, b"");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("-zone Europe/Zurich\n+zone none\n"), "{text}");
}

/// The program of `cgi` prints before its head; its server of `scgi` does not pass that on, and adds a Status.
#[test]
fn print_in_a_cgi_and_a_head_that_the_server_mends() {
    let dir = Dir::new();
    let printing = "#!/bin/sh\necho debugging\nprintf 'Content-Type: text/plain\\n\\npage\\n'\n";
    let printing = dir.file("apps/printing", printing, 0o755);
    let server = dir.file("apps/mending.py", MENDING, 0o644);
    let config = format!(
        "cgi = {}\nscgi = /usr/bin/python3 {}\nmode = daemon",
        printing.display(),
        server.display()
    );
    let app = dir.app_file("app", &config).display().to_string();
    let output = compare(&["-n", "2", &app]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for said in [
        "response: differs\n  plain CGI  Apache would refuse the head: ",
        "status: differs\n  plain CGI  none, which means 200\n  daemon     200 OK\n",
        "header field (no name): differs\n  plain CGI  debugging\n  daemon     (none)\n",
    ] {
        assert!(text.contains(said), "no {said} in {text}");
    }
    assert!(!text.contains("\nbody: "), "{text}");
}

const MENDING: &str = "
import socket
listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    data = b''
    while b':' not in data:
        data += connection.recv(65536)
    size, _, rest = data.partition(b':')
    while len(rest) < int(size) + 1:
        rest += connection.recv(65536)
    connection.sendall(b'Status: 200 OK\\nContent-Type: text/plain\\n\\npage\\n')
    connection.close()
";
