//! Apache with suEXEC, and two users that exist in its mount namespace only: the files of /etc that it reads are in the
//! test's directory, and the system's own files are unchanged. It knows no app.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::{Gid, Uid};

use super::program::is_installed;
use super::{
    Dir, Mpm, Output, PATH, Server, apache, as_other, command, free_address, installed, not_tested,
    run,
};

/// A user with an app and a folder of their own.
pub(crate) struct Owner {
    pub(crate) uid: Uid,
    /// Apache's address for this user.
    pub(crate) address: SocketAddr,
    folder: PathBuf,
}

/// Apache and the two.
pub(crate) struct Suexec {
    // In this order: the web server goes before the directory.
    _server: Server,
    pub(crate) owners: [Owner; 2],
}

/// Mounts the test's files over the system's, and runs the rest of the words. Arguments: passwd, group, suEXEC's
/// configuration, /var/log.
const BECOME: &str = "\
mount --bind \"$1\" /etc/passwd
mount --bind \"$2\" /etc/group
mount --bind \"$3\" \"/etc/apache2/suexec/$(id -un \"$5\")\"
mount --bind \"$4\" /var/log
shift 5
exec \"$@\"";

impl Suexec {
    /// None without root, or if root may not mount.
    #[track_caller]
    pub(crate) fn start(dir: &Dir, mpm: Mpm) -> Option<Self> {
        if !Uid::effective().is_root() {
            not_tested("suEXEC, which needs root");
            return None;
        }
        let may_mount = run(
            Command::new("/usr/bin/unshare").args(["--mount", "true"]),
            b"",
        );
        if !may_mount.status.success() {
            not_tested(&format!(
                "suEXEC, which needs a mount namespace: {}",
                may_mount.stderr
            ));
            return None;
        }
        is_installed("/usr/lib/apache2/suexec-custom", "apache2-suexec-custom");
        // Uids of each test's own, in a range that no account has.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = std::process::id() * 2 + COUNT.fetch_add(1, Ordering::Relaxed);
        let first = 62_000 + count % 1500 * 2;
        let owners = [first, first + 1].map(|uid| Owner::new(dir, uid));
        let server = apache::start_by(
            become_the_system(dir, &owners),
            dir,
            "apache-suexec",
            mpm,
            16,
            &owners
                .iter()
                .fold(apache::load(&["suexec"]), |more, owner| {
                    more + &owner.host()
                }),
        );
        Some(Self {
            _server: server,
            owners,
        })
    }
}

fn become_the_system(dir: &Dir, owners: &[Owner]) -> Command {
    let with = |file: &str, line: fn(&Owner) -> String| {
        let system = fs::read_to_string(file).expect("a file of the system can be read");
        owners
            .iter()
            .fold(system, |text, owner| text + &line(owner))
    };
    let passwd = with("/etc/passwd", |owner| {
        let (name, uid) = (owner.name(), owner.uid);
        format!("{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n")
    });
    let group = with("/etc/group", |owner| {
        format!("{}:x:{}:\n", owner.name(), owner.uid)
    });
    let suexec = format!("{}\npublic_html/cgi-bin\n", dir.path().display());
    // suEXEC needs its log's folder to exist.
    let log = dir.folder("log", 0o755);
    dir.folder("log/apache2", 0o755);
    let (user, _) = command::user();
    let apache = apache::command();
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "--"]);
    command.args(["/bin/sh", "-ec", BECOME, "sh"]);
    command.arg(dir.file("passwd", &passwd, 0o644));
    command.arg(dir.file("group", &group, 0o644));
    command.arg(dir.file("suexec", &suexec, 0o644));
    command.arg(log).arg(user.to_string());
    command.arg(apache.get_program()).args(apache.get_args());
    command
        .env_clear()
        .env("PATH", format!("{PATH}:/usr/sbin:/sbin"));
    command
}

impl Owner {
    /// With a folder for CGIs, which the web server can look at, and one for the rest, which it can't.
    fn new(dir: &Dir, uid: u32) -> Self {
        let owner = Self {
            uid: Uid::from_raw(uid),
            address: free_address(),
            folder: dir.folder(&format!("owner-{uid}"), 0o711),
        };
        owner.own(&owner.folder, 0o711);
        for (name, mode) in [("cgi-bin", 0o755), ("private", 0o700)] {
            let folder = owner.folder.join(name);
            fs::create_dir(&folder).expect("a folder can be made in the test's own directory");
            owner.own(&folder, mode);
        }
        owner
    }

    fn name(&self) -> String {
        format!("polycgi-{}", self.uid)
    }

    fn host(&self) -> String {
        let (name, address) = (self.name(), self.address);
        let cgi_bin = self.folder.join("cgi-bin");
        let cgi_bin = cgi_bin.display();
        format!(
            "Listen {address}\n<VirtualHost {address}>\nServerName {address}\nSuexecUserGroup {name} {name}\n\
             ScriptAlias /cgi-bin/ {cgi_bin}/\n<Directory {cgi_bin}>\nRequire all granted\nAcceptPathInfo On\n\
             </Directory>\n</VirtualHost>\n"
        )
    }

    /// A file of this user's, with that mode.
    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let (path, new) = (
            self.folder.join(name),
            self.folder.join(format!("{name}.new")),
        );
        // By a process of its own: no child of another test has it open for writing (ETXTBSY).
        run(Command::new("tee").arg(&new), text.as_bytes()).success();
        self.own(&new, mode);
        fs::rename(&new, &path).expect("a file can be renamed in the test's own directory");
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The user's default runtime directory.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        let bases = [
            format!("/run/polycgi/{}", self.uid),
            format!("/tmp/polycgi-{}", self.uid),
        ];
        let found = bases.iter().map(PathBuf::from).find(|base| base.exists());
        found.unwrap_or_else(|| panic!("{bases:?}: not there"))
    }

    /// Runs `polycgi` with these words as this user.
    #[track_caller]
    pub(crate) fn polycgi(&self, words: &[&str], app: &Path) -> Output {
        let gid = Gid::from_raw(self.uid.as_raw());
        let mut command = as_other(installed("polycgi"), self.uid, gid);
        run(command.args(words).arg(app), b"")
    }

    fn own(&self, path: &Path, mode: u32) {
        let uid = self.uid.as_raw();
        chown(path, Some(uid), Some(uid)).expect("what a test makes can be given to a user");
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode can be set");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // They exist only if a daemon was started.
        let _ = fs::remove_dir_all(format!("/tmp/polycgi-{}", self.uid));
        let _ = fs::remove_dir_all(format!("/run/polycgi/{}", self.uid));
    }
}
