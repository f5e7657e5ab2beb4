//! The examples for suEXEC, busybox, h2o and Caddy, which are served from folders and by services of the system: on a
//! machine of the test's own they are at their own paths. Only the port is another, since all run at once.

use std::fs;

use super::installed_text;
use crate::util::machine::Machine;
use crate::util::prefix;

/// Header fields by which a client claims what only the web server may say.
const FORGED: &str = "-H 'Remote-User: admin' -H 'Remote_User: admin' -H 'X-Remote-User: admin' \
                      -H 'Auth-Type: Basic' -H 'Proxy: http://evil.example/' -H 'Script-Name: /evil' \
                      -H 'Script_Filename: /bin/sh' -H 'Path-Info: /evil' -H 'Authorization: Basic YWRtaW46eA=='";
/// Names of files in cgi-bin that are none of a client's business, and ways to them and past the app.
const HIDDEN: [&str; 12] = [
    "/cgi-bin/secrets.txt",
    "/cgi-bin/wiki.cgi~",
    "/cgi-bin/wiki.cgi.bak",
    "/cgi-bin/wiki.cgi/../secrets.txt",
    "/cgi-bin/wiki.cgi/%2e%2e/secrets.txt",
    "/cgi-bin/wiki.cgi/..%2fsecrets.txt",
    "/cgi-bin//secrets.txt",
    "/cgi-bin/./secrets.txt",
    "/cgi-bin/secrets.txt%00.cgi",
    "/cgi-bin/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/cgi-bin/..%2f..%2f..%2fbin%2fsh.cgi",
    "/cgi-bin/",
];

/// A web server that has an example.
struct Example {
    name: &'static str,
    /// Where it is to be saved.
    path: &'static str,
    /// What stands for the port, in its text and in the command.
    port: (&'static str, &'static str, u16),
    /// Where its CGIs lie, and whose they are.
    cgi_bin: (&'static str, &'static str),
    start: &'static str,
}

const EXAMPLES: [Example; 4] = [
    Example {
        name: "apache-suexec.conf",
        path: "/etc/apache2/sites-available/wiki.conf",
        port: ("*:80", "*:80", 80),
        cgi_bin: ("/var/www/wiki/cgi-bin", "wiki"),
        start: "a2enmod suexec cgid; a2ensite wiki; systemctl restart apache2",
    },
    Example {
        name: "busybox.conf",
        path: "/etc/busybox.conf",
        port: (":80 ", ":8081 ", 8081),
        cgi_bin: ("/srv/www/cgi-bin", "www-data"),
        start: "busybox httpd -p 0.0.0.0:80 -u www-data -c /etc/busybox.conf </dev/null >/dev/null 2>&1",
    },
    Example {
        name: "h2o.conf",
        path: "/etc/h2o/h2o.conf",
        port: ("listen: 80", "listen: 8082", 8082),
        cgi_bin: ("/usr/lib/cgi-bin", "www-data"),
        start: "systemctl restart h2o",
    },
    Example {
        name: "Caddyfile",
        path: "/etc/caddy/Caddyfile",
        port: (":80 {", ":8083 {", 8083),
        cgi_bin: ("/usr/lib/cgi-bin", "www-data"),
        start: "systemctl restart caddy",
    },
];

#[test]
fn further_servers() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    machine.install_polycgi();
    machine.put(
        "/srv/wiki/wiki.py",
        include_str!("../../apps/names.py"),
        0o644,
    );
    machine
        .run("useradd wiki; systemctl start fcgiwrap.socket")
        .success();
    install_caddy(&machine);
    for example in &EXAMPLES {
        example.put_apps(&machine);
        example.start(&machine);
        for way in ["cgi", "daemon"] {
            example.serves(&machine, way);
        }
        example.keeps_what_is_hidden(&machine);
    }
    log_ins_by_busybox(&machine);
    let owner = machine.run("stat -c %U /run/polycgi/*/wiki-*").success();
    assert!(
        owner.contains("wiki\n") && owner.contains("www-data\n"),
        "{owner}"
    );
    suexec_without_a_module_for_cgis(&machine);
}

/// Its service is not started yet: port 80 is Apache's.
fn install_caddy(machine: &Machine) {
    let package = fs::read(prefix().join("debs/caddy.deb"));
    let package = package.expect("tests/install-deps.sh has downloaded it, and it is copied");
    machine.put("/root/caddy.deb", package, 0o644);
    machine.put("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755);
    machine.run("dpkg -i /root/caddy.deb").success();
}

impl Example {
    /// The app file has the lines that the example names for it.
    fn put_apps(&self, machine: &Machine) {
        let (folder, user) = self.cgi_bin;
        let ours = installed_text(&format!("servers/{}", self.name));
        let lines = ours.lines().filter_map(|line| line.strip_prefix("#   "));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        let text = installed_text("apps/wiki.cgi") + &lines;
        for name in ["wiki.cgi", "wiki.cgi~", "wiki.cgi.bak", "secrets.txt"] {
            let mode = if name == "wiki.cgi" { 0o755 } else { 0o644 };
            let text = match name {
                "wiki.cgi" => text.clone(),
                _ => "#!/nowhere\nSECRET=tiger\n".to_owned(),
            };
            machine.put(&format!("{folder}/{name}"), text, mode);
        }
        machine.run(&format!("chown -R {user}: {folder}")).success();
    }

    fn start(&self, machine: &Machine) {
        let (own, other, port) = self.port;
        let text = installed_text(&format!("servers/{}", self.name));
        assert!(text.contains(own), "{text}");
        machine.put(self.path, text.replace(own, other), 0o644);
        let start = self.start.replace(own, other);
        let up = format!("until curl -so /dev/null localhost:{port}; do :; done");
        machine
            .run(&format!("{start}; timeout 60 bash -c '{up}'"))
            .success();
    }

    #[track_caller]
    fn ask(&self, machine: &Machine, words: &str, target: &str) -> String {
        let url = format!(
            "'http://wiki.example.org:{port}{target}'",
            port = self.port.2
        );
        let to = format!("--resolve wiki.example.org:{}:127.0.0.1", self.port.2);
        let curl =
            format!("curl -s --path-as-is -w '\\nstatus %{{http_code}}\\n' {to} {words} {url}");
        machine.run(&curl).success()
    }

    /// What the app sees, with and without forged fields, by GET and by POST.
    #[track_caller]
    fn serves(&self, machine: &Machine, way: &str) {
        let (folder, user) = self.cgi_bin;
        let add = format!(
            "sed -i '/^mode = /d' {folder}/wiki.cgi; echo 'mode = {way}' >>{folder}/wiki.cgi"
        );
        let check = format!("{add}; polycgi check --as {user} {folder}/wiki.cgi");
        let checked = machine.run(&check).success();
        assert!(!checked.contains("error: "), "{checked}");
        for words in ["", FORGED, "-d x=y"] {
            let shown = self.ask(machine, words, "/cgi-bin/wiki.cgi/a%20b?x=y");
            let name = self.name;
            for line in [
                "SCRIPT_NAME=/cgi-bin/wiki.cgi\n",
                "PATH_INFO=/a b\n",
                "QUERY_STRING=x=y\n",
                "REMOTE_ADDR=127.0.0.1\n",
                "GATEWAY_INTERFACE=CGI/1.1\n",
                "\nstatus 200\n",
            ] {
                assert!(
                    shown.contains(line),
                    "{name} {way} {words}: {line}: {shown}"
                );
            }
            let is_forged = |line: &&str| {
                let own = ["AUTH_TYPE=", "HTTP_PROXY=", "REMOTE_USER="];
                let value = line.ends_with("=/evil") || line.ends_with("=/bin/sh");
                let has_one = own.iter().any(|name| {
                    line.strip_prefix(name)
                        .is_some_and(|value| !value.is_empty())
                });
                has_one || value && !line.starts_with("HTTP_")
            };
            let forged: Vec<&str> = shown.lines().filter(is_forged).collect();
            assert!(forged.is_empty(), "{name} {way}: {forged:?}");
        }
        if way == "daemon" {
            let status = machine.run(&format!("polycgi status {folder}/wiki.cgi --user {user}"));
            assert!(
                status.success().contains(": up (pid "),
                "no daemon has served"
            );
        }
    }

    #[track_caller]
    fn keeps_what_is_hidden(&self, machine: &Machine) {
        for target in HIDDEN {
            let shown = self.ask(machine, "", target);
            let is_leak = ["tiger", "#!", "root:"]
                .iter()
                .any(|sign| shown.contains(sign));
            let is_app = shown.contains("SCRIPT_NAME=/cgi-bin/wiki.cgi\n");
            let is_refused = shown.contains("\nstatus 4") || shown.contains("\nstatus 50");
            assert!(
                !is_leak && (is_app || is_refused),
                "{} {target}: {shown}",
                self.name
            );
        }
    }
}

/// Apache takes the app file for one that it sends, if it may.
fn suexec_without_a_module_for_cgis(machine: &Machine) {
    let example = &EXAMPLES[0];
    let ask = |change: &str| {
        let restart = format!("{change}; systemctl restart apache2");
        machine.run(&restart).success();
        example.ask(machine, "", "/cgi-bin/wiki.cgi")
    };
    let refused = ask("a2dismod -f cgid");
    assert!(refused.contains("status 403"), "{refused}");
    let path = example.path;
    let sent = ask(&format!("sed -i s/denied/granted/ {path}"));
    assert!(sent.contains("#!") && sent.contains("status 200"), "{sent}");
}

/// With the option in force, alice is known by her password, and nobody else gets in.
fn log_ins_by_busybox(machine: &Machine) {
    let example = &EXAMPLES[1];
    let enable = format!(
        "sed -i 's,^#/cgi-bin,/cgi-bin,' {}; pkill -HUP -x busybox",
        example.path
    );
    machine.run(&enable).success();
    let target = "/cgi-bin/wiki.cgi/x";
    // It reads its file when the signal comes.
    while example.ask(machine, "", target).contains("status 200") {}
    for wrong in ["alice:wrong", "admin:x", "alice:"] {
        let shown = example.ask(machine, &format!("-u '{wrong}'"), target);
        assert!(shown.contains("status 401"), "{wrong}: {shown}");
    }
    let shown = example.ask(machine, "-u 'alice:open sesame'", target);
    assert!(shown.contains("REMOTE_USER=alice\n"), "{shown}");
}
