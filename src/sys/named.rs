//! Files that a person names in a configuration. Whatever is at such a path, opening it never waits, and an error says
//! in words why it is no file. Knows kinds of files, not what is in them.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{AccessFlags, eaccess};

use super::files;

/// Does not wait for the other end of a FIFO, and takes no terminal as ours.
const AT_ONCE: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;
/// The most symlinks in a row that we follow.
const MOST_LINKS: usize = 16;

/// The content of a file, of at most `most` bytes. A device may stand for a file: /dev/null is an empty one.
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    // Checked before it is opened: the other end of a FIFO would notice the open.
    let to_be_read = |found: &Metadata| match found.file_type() {
        kind if kind.is_file() || kind.is_char_device() => Ok(()),
        kind => Err(not_a_file(kind)),
    };
    to_be_read(&fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(AT_ONCE).open(path)?;
    let found = file.metadata()?;
    to_be_read(&found)?;
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0).min(most));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// The same for text.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    let not_text = |_| io::Error::other("it is not UTF-8");
    String::from_utf8(read(path, most)?).map_err(not_text)
}

/// The first two bytes of a file; an error if there are fewer. A FIFO is not waited for.
pub fn start(path: &Path) -> io::Result<[u8; 2]> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).custom_flags(AT_ONCE).open(path)?;
    let mut start = [0; 2];
    file.read_exact(&mut start)?;
    Ok(start)
}

/// The first bytes of a regular file, at most `most`; fewer if it is shorter.
pub fn beginning(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(AT_ONCE).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        return Err(not_a_file(kind));
    }
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file to append to. If it is missing it is made, with mode 0600 whatever the umask is; if it is there, its
/// mode stays. A write to it never waits.
pub fn append(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(found) => takes_lines(found.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(AT_ONCE);
    let opened = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Also through a symlink, whose target may have been moved away.
            files::privately(|| options.create(true).mode(0o600).open(path))
        }
        opened => opened,
    };
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("it is a FIFO that no process reads"),
        _ => error,
    })?;
    takes_lines(file.metadata()?.file_type())?;
    Ok(file)
}

/// Whether [`append`] would succeed, as far as that can be seen without opening the file.
pub fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) => {
            takes_lines(found.file_type())?;
            Ok(eaccess(path, AccessFlags::W_OK)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let target = last_link(path);
            let folder = target.parent().unwrap_or(Path::new("/"));
            Ok(eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// Which standard stream of the process that opens it a path leads to, as /dev/stderr does: 1 or 2.
pub fn standard_stream(path: &Path) -> Option<u8> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let name = path.file_name()?.to_str()?;
        let number = match path.parent()?.to_str()? {
            "/dev" if name == "stdout" => 1,
            "/dev" if name == "stderr" => 2,
            "/dev/fd" | "/proc/self/fd" | "/proc/thread-self/fd" => name.parse().ok()?,
            _ => match next_link(&path) {
                Some(next) => {
                    path = next;
                    continue;
                }
                None => return None,
            },
        };
        return (number == 1 || number == 2).then_some(number);
    }
    None
}

/// Where the last of a row of symlinks leads, whether or not that exists.
fn last_link(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match next_link(&path) {
            Some(next) => path = next,
            None => break,
        }
    }
    path
}

fn next_link(path: &Path) -> Option<PathBuf> {
    let to = fs::read_link(path).ok()?;
    Some(path.parent()?.join(to))
}

/// Whether this kind of file can be written to line by line: also a FIFO, if a process reads it.
fn takes_lines(kind: FileType) -> io::Result<()> {
    if kind.is_file() || kind.is_char_device() || kind.is_fifo() {
        Ok(())
    } else {
        Err(not_a_file(kind))
    }
}

fn not_a_file(kind: FileType) -> io::Error {
    io::Error::other(if kind.is_dir() {
        "it is a directory and not a file"
    } else if kind.is_fifo() {
        "it is a FIFO and not a file"
    } else if kind.is_socket() {
        "it is a socket and not a file"
    } else {
        "it is a device and not a file"
    })
}

/// Who beside its owner and root can do what with a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Access {
    pub owner: u32,
    /// Permission bits, with the sticky bit.
    pub mode: u32,
}

/// Asks the kernel. `None`: there is no file, or it can't be seen.
pub fn access(path: &Path) -> Option<Access> {
    fs::metadata(path).ok().map(|found| Access {
        owner: found.uid(),
        mode: found.mode() & 0o1777,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;

    use super::*;

    fn said<T>(result: io::Result<T>) -> String {
        match result {
            Ok(_) => "well".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_file_is_said_and_nothing_waits() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let cases = [
            ("file", "well", "well"),
            ("missing", "No such file", "well"),
            ("dangling", "No such file", "well"),
            (
                "fifo",
                "it is a FIFO and not a file",
                "that no process reads",
            ),
            ("", "it is a directory", "it is a directory"),
            ("socket", "it is a socket", "it is a socket"),
            ("loop", "Too many levels", "Too many levels"),
            ("file/x", "Not a directory", "Not a directory"),
            ("no/file", "No such file", "No such file"),
        ];
        for (name, to_read, to_append) in cases {
            let read = said(read(&at(name), 100));
            assert!(read.contains(to_read), "{name}: {read}");
            if name != "fifo" {
                let looked = said(can_append(&at(name)));
                assert!(looked.contains(to_append), "{name}: {looked}");
            }
            let opened = said(append(&at(name)));
            assert!(opened.contains(to_append), "{name}: {opened}");
        }
        assert!(at("nowhere").exists(), "made through the link");
        assert_eq!(read(Path::new("/dev/null"), 9).unwrap(), b"");
        assert!(said(read(Path::new("/dev/zero"), 9)).contains("more than 9 bytes"));
        append(Path::new("/dev/null"))
            .unwrap()
            .write_all(b"x")
            .unwrap();
        assert!(said(read(&at("file"), 3)).contains("more than 3 bytes"));
        assert_eq!(read_text(&at("file"), 4).unwrap(), "text");
    }

    #[test]
    fn a_fifo_that_is_read_takes_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut both = OpenOptions::new();
        let mut reader = both.read(true).write(true).open(&path).unwrap();
        append(&path).unwrap().write_all(b"line").unwrap();
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"line");
    }

    #[test]
    fn a_new_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path).unwrap();
        assert_eq!(access(&path).unwrap().mode, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        append(&path).unwrap();
        assert_eq!(access(&path).unwrap().mode, 0o640, "left as it is");
    }

    #[test]
    fn standard_streams_are_known_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("log");
        symlink("/dev/stderr", &link).unwrap();
        for (path, number) in [
            ("/dev/stderr", Some(2)),
            ("/dev/stdout", Some(1)),
            ("/dev/fd/2", Some(2)),
            ("/proc/self/fd/1", Some(1)),
            ("/dev/fd/7", None),
            ("/dev/null", None),
            ("/proc/1/fd/2", None),
            (link.to_str().unwrap(), Some(2)),
        ] {
            assert_eq!(standard_stream(Path::new(path)), number, "{path}");
        }
    }
}
