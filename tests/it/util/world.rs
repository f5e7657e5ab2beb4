//! A mount namespace with a `/tmp` and a `/run` of its own: there root asks all users' daemons, and other users squat
//! what they like, without an effect on other tests. Needs root, which can unshare mounts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::unistd::{Gid, Uid};

use super::patient::PatientRead;
use super::process::Process;
use super::{Dir, Output, PATH, command, installed, not_tested, prefix, run};

/// The uid and gid of the user `nobody`, who has no app.
pub(crate) const NOBODY: u32 = 65_534;

/// Its `/tmp` holds the test's directory and the PREFIX, at their own paths, and nothing else; its `/run` nothing.
pub(crate) struct World {
    // Dropped first: its command line names the directory.
    holder: Held,
    pub(crate) dir: Dir,
}

/// A process that ends when its input does.
struct Held(Child);

impl Held {
    /// A program in its namespace, as that user, with a clean environment.
    fn command(&self, uid: u32, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.0.id()));
        command.arg("--");
        if uid != 0 {
            let gid = Gid::from_raw(uid);
            command.args(["/usr/bin/setpriv", "--clear-groups"]);
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.arg("--");
        }
        command.arg(program.as_ref());
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
        command
    }

    #[track_caller]
    fn polycgi(&self, uid: u32, words: &[&str]) -> Output {
        run(
            self.command(uid, installed("polycgi"))
                .env("HOME", "/root")
                .args(words),
            b"",
        )
    }
}

impl PrivateTmp {
    /// Root must be able to make it: a test that can't fails.
    #[track_caller]
    fn new(mut unshare: Command, dir: &Dir) -> Self {
        Self(
            hold(&mut unshare, PRIVATE, dir)
                .expect("a mount namespace with a /tmp of its own can be made"),
        )
    }

    /// A program in this view, as that user, with a clean environment.
    pub(crate) fn command(&self, uid: u32, program: impl AsRef<Path>) -> Command {
        self.0.command(uid, program)
    }

    /// `polycgi` with these words, as that user.
    #[track_caller]
    pub(crate) fn polycgi(&self, uid: u32, words: &[&str]) -> Output {
        self.0.polycgi(uid, words)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends at once; a test that fails must not hang here.
        let _ = command::wait(&mut self.0, super::Deadline::soon());
    }
}

const HOLDER: &str = r#"set -e
world=$1/world
mkdir "$world" "$world/tmp" "$world/run"
for folder in "$1" "$2"; do
    case $folder in
    /tmp/*) mkdir -p "$world$folder"; mount --bind "$folder" "$world$folder" ;;
    esac
done
chmod 755 "$world" "$world/run"
chmod 1777 "$world/tmp"
mount --bind "$world/run" /run
mount --rbind "$world/tmp" /tmp
echo
exec cat
"#;

/// A view of a web server whose service has `PrivateTmp=true`: as the world, but for an own /tmp, a tmpfs, in which the
/// test's directory and the PREFIX are at their paths.
pub(crate) struct PrivateTmp(Held);

const PRIVATE: &str = r#"set -e
private=$1/private
mkdir "$private"
mount -t tmpfs -o mode=1777 tmpfs "$private"
for folder in "$1" "$2"; do
    case $folder in
    /tmp/*) mkdir -p "$private${folder#/tmp}"; mount --bind "$folder" "$private${folder#/tmp}" ;;
    esac
done
mount --rbind "$private" /tmp
echo
exec cat
"#;

/// A process that holds a mount namespace in which the script has run with the test's directory and the PREFIX; `None`:
/// it could not be made.
fn hold(command: &mut Command, script: &str, dir: &Dir) -> Option<Held> {
    command
        .args(["--mount", "--", "/bin/sh", "-c", script, "holder"])
        .args([dir.path(), &prefix()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut holder = Held(command.spawn().expect("unshare can be run"));
    let mut line = String::new();
    let said = holder.0.stdout.take().expect("stdout is piped");
    BufReader::new(said)
        .read_line(&mut line)
        .expect("a pipe can be read");
    (!line.is_empty()).then_some(holder)
}

impl World {
    /// None without root, or if root may not unshare.
    pub(crate) fn new() -> Option<Self> {
        if !Uid::effective().is_root() {
            not_tested("what root's commands do, which takes root");
            return None;
        }
        let dir = Dir::new();
        let Some(holder) = hold(&mut Command::new("unshare"), HOLDER, &dir) else {
            not_tested("what root's commands do, which takes a mount namespace");
            return None;
        };
        let world = Self { holder, dir };
        let who = "import os
def application(environ, start_response):
    way = 'cgi' if environ['wsgi.run_once'] else 'daemon'
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{os.getuid()} {os.getgid()} {way}\\n'.encode()]
";
        world.dir.file("apps/who.py", who, 0o644);
        Some(world)
    }

    /// Makes `/run/polycgi`, as an operator may: from now on it is the first base for places.
    pub(crate) fn make_run(&self) {
        let run = self.at("/run/polycgi");
        fs::create_dir(&run).expect("a folder can be made");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o1777)).expect("a mode can be set");
    }

    /// The path by which the test reaches that path of this world.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.join("world").join(path.trim_start_matches('/'))
    }

    /// An app file of root's, in a folder of root's; with these lines and nothing that leads to the test's directory
    /// but `directory`.
    pub(crate) fn app(&self, name: &str, config: &str) -> PathBuf {
        let folder = self.dir.join("site");
        let text = format!(
            "#!{} -\ndirectory = {}\n{config}\n",
            installed("polycgi").display(),
            self.dir.join("apps").display()
        );
        if !folder.exists() {
            fs::create_dir(&folder).expect("a folder can be made");
        }
        let path = self.dir.file(&format!("site/{name}"), &text, 0o755);
        chown(&path, Some(0), Some(0)).expect("root can take a file");
        path
    }

    /// A web server's view with a private /tmp, as seen from this world.
    #[track_caller]
    pub(crate) fn private_tmp(&self) -> PrivateTmp {
        PrivateTmp::new(self.command(0, "/usr/bin/unshare"), &self.dir)
    }

    /// A program in this world, as that user, with a clean environment.
    pub(crate) fn command(&self, uid: u32, program: impl AsRef<Path>) -> Command {
        self.holder.command(uid, program)
    }

    /// `polycgi` with these words, as that user.
    #[track_caller]
    pub(crate) fn polycgi(&self, uid: u32, words: &[&str]) -> Output {
        self.holder.polycgi(uid, words)
    }

    /// The same as root.
    #[track_caller]
    pub(crate) fn root(&self, words: &[&str]) -> Output {
        self.polycgi(0, words)
    }

    /// All files of this world and of the test's directory, with modes and times; without Python's `__pycache__`.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.dir.path(), &mut found);
        found.sort();
        found
    }

    /// The users of the processes that name the test's directory, without the holder and the squatters.
    pub(crate) fn users_of_apps(&self) -> Vec<u32> {
        let processes = Process::all_of(self.dir.path()).into_iter();
        let of_apps = processes.filter(|process| {
            let line = &process.command_line;
            !line.contains("holder") && line != "cat" && !line.contains(SQUATTER)
        });
        let mut users: Vec<u32> = of_apps
            .filter_map(|process| fs::metadata(format!("/proc/{}", process.pid)).ok())
            .map(|metadata| metadata.uid())
            .collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Makes these things as that user, each a path and a form (see the script). Sockets among them are served until
    /// the result is dropped.
    #[track_caller]
    pub(crate) fn squat(&self, uid: u32, things: &[(String, &str)]) -> Squatter {
        let mut command = self.command(uid, "/usr/bin/python3");
        command.args(["-c", SCRIPT, SQUATTER]);
        command.args(things.iter().flat_map(|(path, form)| [path.as_str(), form]));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a squatter can be started");
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut said = child.stdout.take().expect("stdout is piped");
        let deadline = super::Deadline::soon();
        assert!(deadline.readable(&said), "no squat");
        let mut line = Vec::new();
        said.more(deadline, &mut line);
        assert_eq!(line, b"ready\n", "the squats could be made");
        Squatter {
            _stdin: stdin,
            child,
        }
    }

    /// Removes the file or folder at that path.
    pub(crate) fn clear(&self, path: &str) {
        let path = self.at(path);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                fs::remove_dir_all(&path).expect("root can remove a folder");
            }
            Ok(_) => fs::remove_file(&path).expect("root can remove a file"),
            Err(_) => {}
        }
    }
}

/// Serves what it has squatted until it is dropped.
pub(crate) struct Squatter {
    _stdin: ChildStdin,
    child: Child,
}

impl Drop for Squatter {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A word of a squatter's command line, by which it is known.
const SQUATTER: &str = "a squatter of the tests";

/// Words: a path and a form, and so on. Forms: `dir MODE`, `fifo`, `link TARGET`, `sparse`, `text TEXT`, and `sock
/// HOW`: endless, drip, silent, liar, escapes, closing.
const SCRIPT: &str = r#"
import os, socket, sys, threading, time
os.umask(0)
FAKE = b'app=%s\nstate=%s\npid=%d\nlast_failure=%s\n'
def serve(how, connection):
    connection.recv(65536)
    try:
        if how == 'endless':
            connection.sendall(b'app=endless')
            while True:
                connection.sendall(b'x' * 65536)
        if how == 'drip':
            for byte in b'app=' + b'drip' * 1000000:
                connection.sendall(bytes([byte]))
                time.sleep(0.5)
        if how == 'silent':
            time.sleep(1000000)
        if how == 'liar':
            connection.sendall(FAKE % (b'/fake', b'draining', 1, b''))
        if how == 'escapes':
            bad = b'\x1b]0;x\x07\x1b[2J\xc2\x9b31m\xe2\x80\xae\r'
            connection.sendall(FAKE % (bad, b'up', 1, bad))
    except OSError:
        pass
    connection.close()
def accept(how, listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(how, connection), daemon=True).start()
for path, form in zip(sys.argv[2::2], sys.argv[3::2]):
    form, _, more = form.partition(' ')
    if form == 'dir':
        os.makedirs(path, exist_ok=True)
        os.chmod(path, int(more, 8))
    elif form == 'fifo':
        os.mkfifo(path, 0o666)
    elif form == 'link':
        os.symlink(more, path)
    elif form == 'sparse':
        os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666), 1 << 40)
    elif form == 'text':
        with open(path, 'wb') as file:
            file.write(more.encode().decode('unicode_escape').encode())
    elif form == 'sock':
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(64)
        threading.Thread(target=accept, args=(more, listener), daemon=True).start()
print('ready', flush=True)
sys.stdin.read()
"#;

fn list(folder: &Path, found: &mut Vec<String>) {
    let entries = fs::read_dir(folder).expect("root can read a folder");
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.ends_with("__pycache__") {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = metadata.file_type();
        let kind = [kind.is_dir(), kind.is_symlink(), kind.is_socket()];
        // A folder's times show that a name came and went.
        found.push(format!(
            "{} {kind:?} {} {:o} {} {}.{}",
            path.display(),
            metadata.uid(),
            metadata.permissions().mode(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ));
        if metadata.is_dir() {
            list(&path, found);
        }
    }
}

/// Fails with the lines that came and went.
#[track_caller]
pub(crate) fn assert_same(before: &[String], after: &[String], what: &str) {
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    // An error here does not matter.
    let _ = std::io::stderr().flush();
    assert!(
        new.is_empty() && gone.is_empty(),
        "{what}: new {new:#?}, gone {gone:#?}"
    );
}
