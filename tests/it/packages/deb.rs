//! Debian's package: lintian's opinion, and its life on a machine with Debian's Apache: installed, used, upgraded under
//! load, removed, purged.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::util::{Deadline, Load};
use super::*;

const APP: &str = "/usr/lib/cgi-bin/wiki.cgi";
/// The files of the host with modes and owners, but for those that running programs write, and dpkg's own; what is in
/// those of /etc, and how long those of /usr are.
const LIST: &str = "find /etc /usr /var -xdev -path /var/cache -prune -o -path /var/tmp -prune \
    -o -path /var/lib/apache2 -prune -o -path /var/lib/dpkg -prune -o -path /var/lib/systemd -prune \
    -o -path /var/log/apache2 -prune -o -path /var/log/dpkg.log -o -path /var/log/journal -prune \
    -o -name __pycache__ -prune -o -printf '%p %M %u %g %l\\n' | sort
    find /usr -xdev -name __pycache__ -prune -o -type f -printf '%p %s\\n' | sort
    find /etc -type f -exec sha256sum {} + | sort";

#[test]
fn lintian_has_nothing_to_say() {
    let dir = Dir::new();
    let package = made(&dir, "deb", "made");
    let mut lintian = Command::new("/usr/bin/lintian");
    lintian.args([
        "--allow-root",
        "--pedantic",
        "--fail-on=error,warning,pedantic",
    ]);
    let said = run(lintian.arg(&package), b"").success();
    assert_eq!(said, "");
    // It looks: without the reasons that the package gives it finds what it has to.
    let mut lintian = Command::new("/usr/bin/lintian");
    let output = run(
        lintian
            .args(["--allow-root", "--no-override"])
            .arg(&package),
        b"",
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("statically-linked-binary"),
        "{said}{}",
        output.stderr
    );
}

#[test]
fn installed_used_upgraded_removed_and_purged() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let dir = Dir::new();
    copy(&machine, &made(&dir, "deb", "made"), "/root/polycgi.deb");
    machine
        .run(&format!(
            "a2enmod --quiet cgid; rm -rf /run/polycgi; ({LIST}) >/root/before"
        ))
        .success();

    machine.run("dpkg --install /root/polycgi.deb").success();
    let folders = machine
        .run("stat --format='%a %U %G' /run/polycgi /var/log/polycgi")
        .success();
    assert_eq!(folders, "1777 root root\n750 www-data adm\n");
    serve_an_app(&machine);
    let daemon = upgrade_under_load(&machine);

    machine.run("dpkg --remove polycgi").success();
    let ended = format!("timeout 60 tail --pid={daemon} --follow /dev/null");
    machine.run(&ended).success();
    // Apache is configured as before, and starts.
    machine.run("systemctl restart apache2").success();
    machine.run("dpkg --purge polycgi").success();
    machine.run("systemctl restart apache2").success();
    machine.run(&format!("rm -r {APP} /srv/wiki")).success();
    let left = machine.run(&format!("({LIST}) | diff /root/before -"));
    assert_eq!(left.success(), "");
}

/// An older folder for logs, a polycgi in /usr/local with a daemon, an edited file of the package; and nothing is left of
/// a unit that was enabled.
#[test]
fn what_an_administrator_has_made_stays() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let dir = Dir::new();
    machine.run("rm -rf /run/polycgi").success();
    machine.install_polycgi();
    put_wiki(&machine, "/srv/wiki");
    let config = "wsgi = wiki:application\ndirectory = /srv/wiki\n";
    let app = format!("#!/usr/local/bin/polycgi -\n{config}");
    machine.put(APP, app, 0o755);
    let logs = "install -d -m 700 /var/log/polycgi; echo line >/var/log/polycgi/old.log
        stat --format='%a %U %G' /var/log/polycgi";
    let made_logs = machine.run(logs).success();
    machine
        .run(&format!(
            "/usr/local/bin/polycgi start --user www-data {APP}"
        ))
        .success();
    let (pid, _) = daemon(&machine);

    copy(&machine, &made(&dir, "deb", "made"), "/root/polycgi.deb");
    machine.run("dpkg --install /root/polycgi.deb").success();
    machine.put("/etc/polycgi/unit.conf", config, 0o644);
    let enable = "systemctl enable --now polycgi@unit.service
        echo '# edited' >>/etc/logrotate.d/polycgi
        dpkg --install /root/polycgi.deb
        tail -n 1 /etc/logrotate.d/polycgi; systemctl is-active polycgi@unit.service";
    let said = machine.run(enable).success();
    assert!(said.ends_with("# edited\nactive\n"), "{said}");

    machine.run("dpkg --remove polycgi").success();
    let units = "systemctl list-units --state=active --no-legend 'polycgi@*'";
    assert_eq!(machine.run(units).success(), "");
    machine.run("dpkg --purge polycgi").success();
    let links = "find /etc/systemd -name 'polycgi*'; ls /etc/logrotate.d | grep polycgi || :";
    assert_eq!(machine.run(links).success(), "");
    let kept = "stat --format='%a %U %G' /var/log/polycgi; cat /var/log/polycgi/old.log";
    assert_eq!(machine.run(kept).success(), format!("{made_logs}line\n"));
    assert_eq!(daemon(&machine).0, pid, "that of /usr/local");
    machine
        .run(&format!(
            "/usr/local/bin/polycgi stop --user www-data {APP}"
        ))
        .success();
}

/// Apache is Debian's service, with PrivateTmp; the app's daemon is seen from outside.
#[track_caller]
fn serve_an_app(machine: &Machine) {
    put_wiki(machine, "/srv/wiki");
    let app =
        "#!/usr/bin/polycgi -\nwsgi = wiki:application\ndirectory = /srv/wiki\nmode = daemon\n";
    machine.put(APP, app, 0o755);
    machine
        .run("a2enconf --quiet polycgi && systemctl start apache2")
        .success();
    let private = machine
        .run("systemctl show --property=PrivateTmp apache2")
        .success();
    assert_eq!(private, "PrivateTmp=yes\n");
    // CGIPassAuth, of conf-available/polycgi.conf.
    let reply = get_with(
        machine,
        "/cgi-bin/wiki.cgi/page",
        "Authorization: Basic eDp5\r\n",
    );
    assert_eq!(reply.ok(), "/page with Basic eDp5\n");
    let status = machine.run(&format!("polycgi status {APP}")).success();
    assert!(status.contains(" up "), "{status}");
    machine.run(&format!("polycgi check {APP}")).success();
}

/// To a version that is the same program with a byte more: its files are others. Each answer is whole and right; the
/// daemon that gave them.
#[track_caller]
fn upgrade_under_load(machine: &Machine) -> String {
    let next = "cp -a /root/polycgi.deb /root/next.deb
        dpkg-deb --raw-extract /root/next.deb /root/next
        sed -i 's/^Version: .*/&+next/' /root/next/DEBIAN/control
        echo >>/root/next/usr/bin/polycgi
        dpkg-deb --root-owner-group --build -Znone /root/next /root/next.deb";
    machine.run(next).success();
    let (pid, old) = daemon(machine);
    let answered = AtomicUsize::new(0);
    let ask = |client: usize, number: usize| {
        let page = format!("/{client}/{number}");
        let answer = get(machine, &format!("/cgi-bin/wiki.cgi{page}")).ok();
        assert_eq!(answer, format!("{page} with nothing\n"));
        answered.fetch_add(1, Ordering::Relaxed);
    };
    let until = |load: &Load, is_so: &dyn Fn() -> bool| {
        let deadline = Deadline::soon();
        while !is_so() {
            load.assert_goes_on();
            assert!(!deadline.left().is_zero(), "it does not come to that");
        }
    };
    let has_answered = |count: usize| answered.load(Ordering::Relaxed) >= count;
    Load::beside(4, ask, |load| {
        until(load, &|| has_answered(100));
        machine.run("dpkg --install /root/next.deb").success();
        until(load, &|| daemon(machine).1 != old);
        let so_far = answered.load(Ordering::Relaxed);
        until(load, &|| has_answered(so_far + 100));
    });
    let (same_pid, new) = daemon(machine);
    assert_eq!(same_pid, pid);
    let installed = machine.run("sha256sum </usr/bin/polycgi").success();
    assert_eq!(new, installed);
    pid
}

/// Of the app's daemon: its process, and the digest of the program that it runs.
#[track_caller]
fn daemon(machine: &Machine) -> (String, String) {
    let pid = format!(
        "polycgi status --json {APP} | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"pid\"])'"
    );
    let pid = machine.run(&pid).success();
    let pid = pid.trim_end().to_owned();
    let digest = machine
        .run(&format!("sha256sum </proc/{pid}/exe"))
        .success();
    (pid, digest)
}
