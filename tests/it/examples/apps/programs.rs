//! CGI programs: Fossil, and one in Perl.

use super::Example;
use crate::util::{client, run};

#[test]
fn fossil() {
    let example = Example::of("fossil");
    example.write_files();
    example.dir.folder("srv/fossil/repos", 0o755);
    // The second switches off work in the background, which this test does not wait for.
    for words in [
        &["new", "project.fossil"][..],
        &[
            "settings",
            "backoffice-disable",
            "1",
            "-R",
            "project.fossil",
        ],
    ] {
        let repos = example.dir.join("srv/fossil/repos");
        let mut command = client(&example.dir, &repos, "/usr/bin/fossil");
        run(command.env("USER", "alice").args(words), b"").success();
    }
    example.serves("/project/timeline", "initial empty check-in");
    for path in ["/../site/timeline", "/..%2fsite", "/nothing/timeline"] {
        let shown = example.polycgi(&["request", "-i"], &[path]);
        assert!(shown.starts_with("Status: 40"), "{path}: {shown}");
    }
}

#[test]
fn perl() {
    let example = Example::of("perl");
    example.dir.folder("srv/perl/lib", 0o755);
    let module = "package Greeting;\nsub of { \"hello $_[0]\\n\" }\n1;\n";
    example.dir.file("srv/perl/lib/Greeting.pm", module, 0o644);
    let script = "#!/usr/bin/perl\nuse strict;\nuse CGI;\nuse Greeting;\nmy $query = CGI->new;\n\
                  print $query->header('text/plain'), Greeting::of(scalar $query->param('name'));\n";
    example.dir.file("srv/perl/index.pl", script, 0o755);
    example.serves("/?name=Alice", "hello Alice\n");
}
