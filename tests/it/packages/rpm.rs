//! The package for RPM: what it needs and has, and its life on a machine where dpkg's database is not asked.

use super::*;

#[test]
fn it_is_installed_and_removed() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let dir = Dir::new();
    copy(&machine, &made(&dir, "rpm", "made"), "/root/polycgi.rpm");
    let needs = machine
        .run("rpm --query --package --requires /root/polycgi.rpm")
        .success();
    let is_had = |need: &str| need.starts_with("rpmlib(") || need == "/bin/sh";
    assert!(needs.lines().all(is_had), "{needs}");

    machine
        .run("rm -rf /run/polycgi; rpm --install --force-debian --nodeps /root/polycgi.rpm")
        .success();
    // Sizes, digests, modes and owners.
    assert_eq!(machine.run("rpm --verify --nodeps polycgi").success(), "");
    let said = machine
        .run("scgi-daemon --help; polycgi --version; stat --format=%a /run/polycgi")
        .success();
    assert!(said.ends_with("\n1777\n"), "{said}");
    let first = machine
        .run("head -1 /usr/share/polycgi/examples/apps/wiki.cgi")
        .success();
    assert_eq!(first, "#!/usr/bin/polycgi -\n");

    serve_by_units(&machine);
    let files = machine.run("rpm --query --list polycgi").success();
    machine
        .run("rm /etc/polycgi/wiki.conf; rpm --erase polycgi")
        .success();
    let left =
        "systemctl list-units --all --no-legend 'polycgi@*'; find /etc/systemd -name 'polycgi@*'";
    assert_eq!(machine.run(left).success(), "");
    for file in files.lines() {
        assert!(!machine.at(file).exists(), "{file}");
    }
}

/// As the user that the web server of Fedora has, and not as Debian's.
#[track_caller]
fn serve_by_units(machine: &Machine) {
    put_wiki(machine, "/srv/wiki");
    let config =
        "wsgi = wiki:application\ndirectory = /srv/wiki\nlisten = 127.0.0.1:4000\nmount = /wiki\n";
    machine.put("/etc/polycgi/wiki.conf", config, 0o644);
    let users = "useradd --system --user-group apache; userdel www-data
        systemctl enable --now polycgi@wiki.socket
        stat --format=%U /run/polycgi-wiki.sock
        systemctl enable --now polycgi@wiki.service
        until polycgi status --user apache wiki | grep -q ' up '; do systemctl is-active polycgi@wiki >&2; done
        ps -o user= --pid $(systemctl show --property=MainPID --value polycgi@wiki.service)";
    assert_eq!(machine.run(users).success(), "apache\napache\n");
    let page = machine.run("polycgi request --user apache --via scgi wiki /page");
    assert_eq!(page.success(), "/page with nothing\n");
}
