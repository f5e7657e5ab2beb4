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
