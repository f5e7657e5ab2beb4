//! The daemon's own log: a file of limited size, and the one before it. Knows files and names, not events.
//!
//! # Theory of operation
//! Before each line the log looks whether its path still leads to the open file. If logrotate (or a person) has moved
//! that away, the path is opened anew; until that succeeds, lines go on to the file that was moved. While a `log-file`
//! can't be opened at all, lines go to a second place, and each line tries the path again. Lines that can't be written
//! are counted, and the count is the first thing that is written once that is possible.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::report;
use crate::sys::{files, named};

/// Bytes of the log in the app's place, from which on it is renamed.
const MOST_IN_PLACE: u64 = 1 << 20;
/// Of a `log-file`: logrotate comes first, and where there is none a disk is not filled.
const MOST_ELSEWHERE: u64 = 64 << 20;

/// Where the log is meant to be, and from which size on it is renamed.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    path: PathBuf,
    most: u64,
}

impl Destination {
    pub(super) fn in_place(path: PathBuf) -> Self {
        let most = MOST_IN_PLACE;
        Self { path, most }
    }

    /// A `log-file`.
    pub(super) fn named(path: PathBuf) -> Self {
        let most = MOST_ELSEWHERE;
        Self { path, most }
    }
}

/// Where lines go while the file that they are meant for can't be opened.
#[derive(Clone, Debug)]
pub(super) enum Spare {
    File(PathBuf),
    Stderr,
}

/// The log: the logger writes it, the daemon looks after it.
#[derive(Clone, Debug)]
pub(super) struct Log(Arc<Mutex<LogFile>>);

#[derive(Debug)]
struct LogFile {
    /// Where it is meant to be.
    path: PathBuf,
    /// Bytes from which on it is renamed.
    most: u64,
    is_background: bool,
    /// What is written to; `None` where not even the second place can be opened.
    open: Option<OpenFile>,
    /// Why the path can't be opened; that was logged.
    trouble: Option<String>,
    /// Lines that could not be written, and the reason for the last of them.
    lost: u64,
    reason: String,
    /// The last write ended within a line.
    is_cut: bool,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Device and inode; none of the second place, and of a standard stream.
    identity: Option<(u64, u64)>,
}

impl Log {
    /// Opens it, or says in `spare` why not.
    pub(super) fn open(destination: Destination, spare: &Spare, is_background: bool) -> Log {
        let Destination { path, most } = destination;
        let mut log = LogFile {
            path,
            most,
            is_background,
            open: None,
            trouble: None,
            lost: 0,
            reason: String::new(),
            is_cut: false,
        };
        if let Err(error) = log.open_path() {
            let opened = match spare {
                Spare::File(path) => named::append(path),
                Spare::Stderr => files::duplicate(io::stderr()).map(File::from),
            };
            log.open = opened.ok().map(|file| OpenFile {
                file,
                identity: None,
            });
            let instead = match spare {
                Spare::File(path) if log.open.is_some() => path.display().to_string(),
                Spare::Stderr => "standard error".to_owned(),
                Spare::File(_) => "nowhere".to_owned(),
            };
            log.note_trouble(&error, format_args!("it goes to {instead}"));
        }
        Log(Arc::new(Mutex::new(log)))
    }

    /// Looks whether the path leads to another file by now: without a line to write the log would not find out.
    pub(super) fn look(&self) {
        self.file().look();
    }

    /// Where it is meant to be.
    pub(super) fn path(&self) -> PathBuf {
        self.file().path.clone()
    }

    /// Why lines go elsewhere.
    pub(super) fn trouble(&self) -> Option<String> {
        self.file().trouble.clone()
    }

    fn file(&self) -> MutexGuard<'_, LogFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Log {
    /// Takes a whole line, and never fails: what can't be written is counted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.file();
        file.look();
        file.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile {
    fn look(&mut self) {
        let identity = self.open.as_ref().and_then(|open| open.identity);
        if self.trouble.is_none() && identity.is_none() {
            // A standard stream is no file that could be moved.
            return;
        }
        match fs::metadata(&self.path) {
            Ok(found) if identity == Some((found.dev(), found.ino())) => {
                if found.is_file() && found.len() > self.most {
                    // If that fails, a long log is better than none.
                    let _ = self.turn(found.permissions());
                }
            }
            _ => self.open_anew(),
        }
    }

    fn open_anew(&mut self) {
        match self.open_path() {
            Ok(()) => self.trouble = None,
            Err(error) => self.note_trouble(&error, format_args!("it goes on where it was")),
        }
    }

    fn open_path(&mut self) -> io::Result<()> {
        if let Some(stream) = named::standard_stream(&self.path) {
            if self.is_background {
                return Err(io::Error::other(
                    "a daemon in the background has no such stream",
                ));
            }
            let stream = match stream {
                1 => files::duplicate(io::stdout()),
                _ => files::duplicate(io::stderr()),
            };
            self.set(File::from(stream?), None);
            return Ok(());
        }
        let file = named::append(&self.path)?;
        let found = file.metadata()?;
        self.set(file, Some((found.dev(), found.ino())));
        Ok(())
    }

    fn set(&mut self, file: File, identity: Option<(u64, u64)>) {
        self.open = Some(OpenFile { file, identity });
        self.is_cut = false;
    }

    /// Renames the log to `.old` and opens a new one, for the same readers. Of a symlink the file is renamed, and not
    /// the link.
    fn turn(&mut self, readers: Permissions) -> io::Result<()> {
        let path = fs::canonicalize(&self.path)?;
        let mut old = path.clone().into_os_string();
        old.push(".old");
        fs::rename(&path, old)?;
        self.open_path()?;
        if let Some(open) = &self.open {
            // Another user's file that came in between stays as it is.
            let _ = open.file.set_permissions(readers);
        }
        Ok(())
    }

    /// Says once why the path can't be opened.
    fn note_trouble(&mut self, error: &io::Error, instead: impl fmt::Display) {
        let path = self.path.display();
        let sentence = report::plain(&format!("cannot open the log {path}: {error}"));
        if self.trouble.as_ref() != Some(&sentence) {
            let line = report::log_line(log::Level::Warn, format_args!("{sentence}; {instead}"));
            self.trouble = Some(sentence);
            self.put(line.as_bytes());
        }
    }

    fn put(&mut self, line: &[u8]) {
        if self.lost > 0 {
            let begin = if self.is_cut { "\n" } else { "" };
            let (lost, reason) = (self.lost, &self.reason);
            let words = format!("lines of the log could not be written: lines={lost}: {reason}");
            let line = begin.to_owned() + &report::log_line(log::Level::Warn, words);
            if !self.write_whole(line.as_bytes()) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if !self.write_whole(line) {
            self.lost += 1;
        }
    }

    fn write_whole(&mut self, line: &[u8]) -> bool {
        let Some(open) = &mut self.open else {
            self.reason = self.trouble.clone().unwrap_or_default();
            return false;
        };
        let mut written = 0;
        while written < line.len() {
            match open.file.write(&line[written..]) {
                Ok(count) if count > 0 => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                stopped => {
                    let error = stopped.err().unwrap_or(io::ErrorKind::WriteZero.into());
                    self.reason = report::plain(&error.to_string());
                    self.is_cut |= written > 0;
                    return false;
                }
            }
        }
        self.is_cut = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> Log {
        Log::open(
            Destination::in_place(path.to_owned()),
            &Spare::File(path.with_extension("spare")),
            true,
        )
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn keeps_one_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&path);
        for _ in 0..5 {
            log.write_all(&vec![b'x'; 700_000]).unwrap();
        }
        let sizes: Vec<u64> = ["log", "log.old"]
            .map(|name| fs::metadata(dir.path().join(name)).unwrap().len())
            .to_vec();
        assert_eq!(sizes, [700_000, 1_400_000]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_file_is_left_to_logrotate_up_to_its_limit_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let spare = Spare::File(dir.path().join("spare"));
        let mut log = Log::open(Destination::named(path.clone()), &spare, true);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let old = dir.path().join("log.old");
        for (size, is_renamed) in [(MOST_ELSEWHERE, false), (MOST_ELSEWHERE + 1, true)] {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(size)
                .unwrap();
            log.look();
            assert_eq!(old.exists(), is_renamed, "{size}");
        }
        log.write_all(b"line\n").unwrap();
        assert_eq!(text(&path), "line\n");
        for file in [&path, &old] {
            assert_eq!(
                fs::metadata(file).unwrap().permissions().mode() & 0o777,
                0o640
            );
        }
    }

    #[test]
    fn an_old_one_lies_beside_the_file_that_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let [link, file] = ["link", "file"].map(|name| dir.path().join(name));
        symlink("file", &link).unwrap();
        let mut log = open(&link);
        log.write_all(&vec![b'x'; 1_100_000]).unwrap();
        log.write_all(b"new\n").unwrap();
        assert_eq!(text(&file), "new\n");
        assert_eq!(
            fs::metadata(dir.path().join("file.old")).unwrap().len(),
            1_100_000
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let [path, moved] = ["log", "log.1"].map(|name| dir.path().join(name));
        let mut log = open(&path);
        log.write_all(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(
            (text(&moved), text(&path)),
            ("one\n".into(), "two\n".into())
        );
        // As logrotate's `create` does: another file is there already.
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, "made\n").unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(text(&path), "made\nthree\n");
        // ... and `copytruncate`.
        File::create(&path).unwrap();
        log.write_all(b"four\n").unwrap();
        assert_eq!(text(&path), "four\n");
        fs::remove_file(&path).unwrap();
        log.look();
        assert_eq!(text(&path), "", "without a line, too");
        assert_eq!(log.trouble(), None);
    }

    #[test]
    fn lines_go_on_where_they_went_until_the_path_can_be_had() {
        let dir = tempfile::tempdir().unwrap();
        let [path, moved] = ["log", "log.1"].map(|name| dir.path().join(name));
        let mut log = open(&path);
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        let said = text(&moved);
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines[0].contains("it is a directory and not a file; it goes on"),
            "{said}"
        );
        assert_eq!(lines[1..], ["one", "two"], "said once");
        assert!(log.trouble().unwrap().contains("it is a directory"));
        fs::remove_dir(&path).unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(text(&path), "three\n");
        assert_eq!(log.trouble(), None);
    }

    #[test]
    fn a_path_that_never_could_be_had_leaves_the_lines_to_the_second_place() {
        let dir = tempfile::tempdir().unwrap();
        for (name, reason) in [
            ("no/such/log", "No such file"),
            ("/dev/stderr", "a daemon in the background"),
            ("", "it is a directory"),
        ] {
            let spare = dir.path().join(format!("spare{}", name.len()));
            let path = dir.path().join(name);
            let mut log = Log::open(Destination::named(path), &Spare::File(spare.clone()), true);
            log.write_all(b"line\n").unwrap();
            let said = text(&spare);
            assert!(
                said.contains(reason) && said.ends_with("\nline\n"),
                "{said}"
            );
        }
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        symlink("/dev/full", &path).unwrap();
        let mut log = open(&path);
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.write_all(b"three\n").unwrap();
        let said = text(&path);
        let count =
            "lines of the log could not be written: lines=2: No space left on device\nthree\n";
        assert!(said.ends_with(count), "{said}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
