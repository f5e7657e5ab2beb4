//! Debian's package: lintian's opinion, and its life on a machine with Debian's Apache: installed, used, upgraded under
//! load, removed, purged.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::util::{Deadline, Load};
use super::*;

const APP: &str = "/usr/lib/cgi-bin/wiki.cgi";
/// The files of the host, but for those that running programs write, and dpkg's own.
const LIST: &str = "find /etc /usr /var -xdev -path /var/cache -prune -o -path /var/tmp -prune \
    -o -path /var/lib/apache2 -prune -o -path /var/lib/dpkg -prune -o -path /var/lib/systemd -prune \
    -o -path /var/log/apache2 -prune -o -path /var/log/dpkg.log -o -path /var/log/journal -prune \
    -o -name __pycache__ -prune -o -print | sort";

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
            "a2enmod --quiet cgid; rm -rf /run/polycgi; {LIST} >/root/before"
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
    // Apache is configured as before, and starts.
    machine.run("systemctl restart apache2").success();
    machine.run("dpkg --purge polycgi").success();
    machine.run("systemctl restart apache2").success();
    machine.run(&format!("rm -r {APP} /srv/wiki")).success();
    let left = machine.run(&format!("{LIST} | diff /root/before -; ! ls /run/polycgi"));
    assert_eq!(left.success(), "");
    // A daemon whose place is gone does not stay.
    let ended = format!("timeout 60 tail --pid={daemon} --follow /dev/null");
    machine.run(&ended).success();
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
