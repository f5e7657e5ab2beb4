//! What the app's processes make or need: addresses, logs, the spool, limits; and that nothing is waited for.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, mkfifo};

use super::super::util::{
    Deadline, SilentDisk, as_other, command, free_address, not_tested, process,
};
use super::file::user_name;
use super::*;

const DAEMON: &str = "wsgi = testapp:application\nmode = daemon";

#[test]
fn addresses_that_cannot_be_had() {
    let dir = Dir::new();
    // An address that no other test has: another's connection could take a port of 127.0.0.1 as soon as it is free.
    let tcp = free_address();
    let taken = TcpListener::bind(tcp).expect("its port is free");
    let (at, user) = (text_of(dir.path()), user_name());
    dir.file("run/file", "", 0o600);
    let closed = dir.folder("closed", 0o555);
    for (address, said) in [
        (tcp.to_string(), "another process listens there".to_owned()),
        (
            format!("{at}/gone/sock"),
            format!("No such file or directory: {at}/gone does not exist"),
        ),
        (
            format!("{at}/run/file"),
            "there is a file that is not a socket".to_owned(),
        ),
        (
            format!("{}/sock", text_of(&closed)),
            format!(
                "Permission denied: {user} can't make files in {at}/closed (mode 0555, owner {user})"
            ),
        ),
    ] {
        let app = dir.app_file("app", &format!("{DAEMON}\nlisten = {address}"));
        Checked::of(&app).finds(&[
            &said,
            &address,
            "see 'listen', 'socket-mode' and 'socket-group'",
        ]);
    }
    drop(taken);
    let app = dir.app_file("app", &format!("{DAEMON}\nlisten = {tcp}"));
    Checked::of(&app).is_well();
    TcpListener::bind(tcp).expect("it is not left bound");
}

/// FIFOs in place of files: the other end would have to be waited for.
#[test]
fn nothing_is_waited_for() {
    let dir = Dir::new();
    let fifo = dir.join("apps/fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o644)).expect("a FIFO can be made");
    let (uid, gid) = command::user();
    nix::unistd::chown(&fifo, Some(uid), Some(gid)).expect("it can be given to the tests' user");
    for (key, said) in [
        ("env-file", "it is a FIFO and not a file"),
        ("overload-page", "it is a FIFO and not a file"),
        ("directory", "it is not a directory"),
        ("python", "fifo is not a file"),
    ] {
        let app = dir.app_file("app", DAEMON);
        let text = fs::read_to_string(&app).expect("it can be read");
        let lines = text.lines().filter(|line| !line.starts_with(key));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let text = format!("{text}{key} = {}\n", text_of(&fifo));
        let app = dir.file("cgi-bin/app", &text, 0o755);
        Checked::of(&app).finds(&[said]);
    }
    for key in ["cgi", "scgi"] {
        let app = dir.app_file("app", &format!("{key} = ./fifo"));
        Checked::of(&app).finds(&["fifo is not a file"]);
    }
    // A FIFO may be a log, if a process reads it: here none does, and it is not opened to see.
    let app = dir.app_file("app", &format!("{DAEMON}\nlog-file = fifo"));
    Checked::of(&app).says(0, &[]);
    Checked::of(&fifo).says(66, &["polycgi: check: "]);
}

/// A symlink that leads to a file system whose server is away: `check` says so, and does not wait with it.
#[test]
fn a_file_system_that_does_not_answer() {
    let dir = Dir::new();
    let disk = dir.folder("disk", 0o755);
    let link = |name: &str, to: &str| {
        let link = dir.join(name);
        symlink(dir.join(to), &link).expect("a symlink can be made");
        text_of(&link)
    };
    let silent = link("apps/silent", "disk");
    // A link to a link, and up again.
    let twice = link("apps/twice", "apps/silent/../disk/deeper");
    let linked = link("cgi-bin/linked", "disk/app");
    let app =
        |nth: usize, more: &str| dir.app_file(&format!("app{nth}"), &format!("{DAEMON}\n{more}"));
    let lines = [
        format!("env-file = {silent}/env"),
        format!("log-file = {twice}/log"),
        format!("listen = {silent}/sock"),
        format!("spool-dir = {twice}"),
        format!("overload-page = {silent}/page.html"),
    ];
    let mut apps: Vec<PathBuf> = lines
        .iter()
        .enumerate()
        .map(|(nth, line)| app(nth, line))
        .collect();
    apps.push(linked.into());
    let Some(mounted) = SilentDisk::on(&disk) else {
        return;
    };
    let mut waits = as_user("/usr/bin/stat");
    let mut waits = waits
        .arg(&disk)
        .stderr(Stdio::null())
        .spawn()
        .expect("stat can be run");
    let said = format!(
        "the file system at {} (fuse) does not answer",
        disk.display()
    );
    std::thread::scope(|scope| {
        for app in &apps {
            scope.spawn(|| Checked::of(app).finds(&[&said, "see to its server"]));
        }
    });
    let pid = waits.id().cast_signed();
    assert!(process::is_alive(pid), "it does answer");
    drop(mounted);
    assert!(Deadline::soon().ended(pid), "it waits for ever");
    assert_eq!(waits.wait().expect("a child").code(), Some(1));
}

/// What an access control list grants, or takes away, counts for `--as` as for the user.
#[test]
fn access_control_lists() {
    if !Uid::effective().is_root() {
        return not_tested("`check --as` another user, which takes root");
    }
    let dir = Dir::new();
    let app = dir.app_file("app", DAEMON);
    let closed = dir.folder("apps/closed", 0o700);
    std::os::unix::fs::chown(&closed, Some(0), Some(0)).expect("root can take a folder");
    dir.file("apps/closed/who.py", "", 0o644);
    let text = fs::read_to_string(&app)
        .expect("it can be read")
        .replace("/apps\n", "/apps/closed\n");
    let app = dir.file("cgi-bin/app", &text.replace("testapp", "who"), 0o755);
    let (uid, _) = command::user();
    let check = || {
        let mut check = std::process::Command::new(installed("polycgi"));
        Checked::new(run(
            check.args(["check", "--as", "www-data"]).arg(&app),
            b"",
        ))
    };
    check().finds(&[
        "www-data can't enter ",
        "apps/closed (mode 0700, owner root)",
    ]);
    // acl(5), as setfacl(1) writes it: version 2, and an entry for the user between owner, group, mask and others.
    let grant = "import os, struct, sys\n\
                 entries = (1, 7, -1), (2, 5, int(sys.argv[2])), (4, 0, -1), (16, 5, -1), (32, 0, -1)\n\
                 acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *entry) for entry in entries)\n\
                 os.setxattr(sys.argv[1], 'system.posix_acl_access', acl)\n";
    let mut python = std::process::Command::new("/usr/bin/python3");
    let granted = run(
        python.args(["-c", grant]).arg(&closed).arg(uid.to_string()),
        b"",
    );
    if granted.stderr.contains("Operation not supported") {
        return not_tested("access control lists, which the file system of /tmp does not have");
    }
    granted.success();
    let checked = check();
    assert!(!checked.text.contains("can't enter"), "{}", checked.text);
}

#[test]
fn a_spool_in_memory() {
    let dir = Dir::new();
    let spool = dir.folder("spool", 0o700);
    let app = dir.app_file("app", &format!("{DAEMON}\nspool-dir = {}", text_of(&spool)));
    Checked::of(&app).is_well();
    let (uid, gid) = command::user();
    let script = r#"mount -t tmpfs -o mode=777 none "$1" && exec setpriv --reuid="$3" --regid="$4" --clear-groups "$2" check "$5""#;
    let mut unshare = std::process::Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&spool)
        .arg(installed("polycgi"));
    unshare.args([uid.to_string(), gid.to_string()]).arg(&app);
    let output = run(&mut unshare, b"");
    if output.stderr.contains("unshare:") || output.stderr.contains("mount:") {
        return not_tested("a spool in memory, which takes root to mount");
    }
    Checked::new(output).warns(&[
        "is in memory, so what waits there counts as memory (tmpfs)",
        "'spool-dir'",
    ]);
}

/// By a user who has no web server whose limits would count.
#[test]
fn limits_that_are_too_small() {
    if !Uid::effective().is_root() {
        return not_tested("limits of a user without a web server, which takes root");
    }
    let dir = Dir::new();
    let folder = dir.folder("other", 0o700);
    let uid = 54_321;
    std::os::unix::fs::chown(&folder, Some(uid), Some(uid)).expect("root can give a folder");
    let text = format!(
        "#!{} -\ndirectory = {}\nruntime-dir = {}\n{DAEMON}\nmax-procs = 200\n",
        text_of(&installed("polycgi")),
        text_of(&dir.join("apps")),
        text_of(&folder)
    );
    let app = dir.file("cgi-bin/app", &text, 0o755);
    let check = |limits: &[&str]| {
        let mut prlimit = as_other("prlimit", Uid::from_raw(uid), Gid::from_raw(uid));
        prlimit
            .args(limits)
            .arg(installed("polycgi"))
            .arg("check")
            .arg(&app);
        Checked::new(run(&mut prlimit, b""))
    };
    check(&["--nofile=4096:4096", "--nproc=1000"]).is_well();
    check(&["--nofile=4096:4096", "--nproc=150"]).warns(&[
        "200 processes of the app need 203 with the daemon, and this process may have 150 (RLIMIT_NPROC)",
        "a smaller 'max-procs'",
    ]);
    check(&["--nofile=1000:1000", "--nproc=1000"]).warns(&[
        "a full queue needs 1564 descriptors, and this process may have 1000 (RLIMIT_NOFILE)",
        "a smaller 'queue-size'",
    ]);
}
