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

    let files = machine.run("rpm --query --list polycgi").success();
    machine.run("rpm --erase polycgi").success();
    for file in files.lines() {
        assert!(!machine.at(file).exists(), "{file}");
    }
}
