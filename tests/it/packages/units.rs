//! The package's units of systemd, its logrotate file and the folder for logs: an app whose daemon is hardened.

use super::*;

#[test]
fn a_hardened_daemon_serves_and_logs() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let dir = Dir::new();
    copy(&machine, &made(&dir, "deb", "made"), "/root/polycgi.deb");
    machine.run("dpkg --install /root/polycgi.deb").success();
    put_wiki(&machine, "/srv/wiki");
    let config = "wsgi = wiki:application\ndirectory = /srv/wiki\nmount = /wiki\nlog-file = /var/log/polycgi/wiki.log\n";
    machine.put("/etc/polycgi/wiki.conf", config, 0o644);
    let none = machine
        .run("systemctl list-units --all 'polycgi@*' --no-legend")
        .success();
    assert_eq!(none, "", "no unit is enabled by the package");

    wrong_key_mended(&machine, config);
    let exposure = "systemd-analyze verify polycgi@wiki.service polycgi@wiki.socket
        systemd-analyze security --threshold=30 polycgi@wiki.service >&2";
    machine.run(exposure).success();
    machine
        .run("systemctl enable --now polycgi@wiki.socket")
        .success();
    let proxy = "ProxyPass /wiki unix:/run/polycgi-wiki.sock|scgi://localhost/wiki\n";
    machine.put("/etc/apache2/conf-enabled/wiki.conf", proxy, 0o644);
    machine
        .run("a2enmod --quiet proxy_scgi; systemctl start apache2")
        .success();
    assert_eq!(get(&machine, "/wiki/page").ok(), "/page with nothing\n");

    let status = "polycgi status wiki; systemctl is-active polycgi@wiki.service";
    let status = machine.run_as("www-data", status).success();
    assert!(
        status.contains(" up ") && status.ends_with("\nactive\n"),
        "{status}"
    );
    machine
        .run("systemctl reload polycgi@wiki.service")
        .success();

    let rotated = "logrotate --force /etc/logrotate.d/polycgi
        stat --format='%a %U %G' /var/log/polycgi/wiki.log /var/log/polycgi/wiki.log.1";
    let rotated = machine.run(rotated).success();
    assert_eq!(rotated, "640 www-data adm\n600 www-data www-data\n");
    machine
        .run("systemctl stop polycgi@wiki.socket polycgi@wiki.service")
        .success();
}

/// A client that waits at the socket gets its page when the file has been mended.
#[track_caller]
fn wrong_key_mended(machine: &Machine, config: &str) {
    let file = "/etc/polycgi/wiki.conf";
    machine.put(file, format!("{config}max-porcs = 2\n"), 0o644);
    machine.run("systemctl start polycgi@wiki.socket").success();
    let ask = "python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.connect(\"/run/polycgi-wiki.sock\")
head = b\"CONTENT_LENGTH\\x000\\x00SCGI\\x001\\x00REQUEST_METHOD\\x00GET\\x00REQUEST_URI\\x00/wiki/page\\x00\"
s.sendall(b\"%d:%s,\" % (len(head), head))
print(s.makefile().read())' >/tmp/answer 2>&1 &
    # More often than systemd would by default.
    until [ $(systemctl show --property=NRestarts --value polycgi@wiki.service) -gt 5 ]; do
        systemctl is-active polycgi@wiki.socket
    done
    journalctl --unit=polycgi@wiki.service --output=cat | grep max-porcs >&2";
    machine.run(ask).success();
    machine.put(file, config, 0o644);
    let served = "until grep '/page with nothing' /tmp/answer; do systemctl is-active polycgi@wiki.socket >&2; done
        systemctl stop polycgi@wiki.socket polycgi@wiki.service";
    assert_eq!(machine.run(served).success(), "/page with nothing\n");
}
