//! The daemon's own log: a file of at most 1 MB, and the one before it. Knows sizes and names, not events.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MOST: u64 = 1 << 20;

pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let size = file.metadata()?.len();
        Ok(LogFile {
            path: path.to_path_buf(),
            file,
            size,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        fs::rename(&self.path, old)?;
        *self = LogFile::open(&self.path)?;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > MOST {
            // If it can't be turned, a long log is better than none.
            let _ = self.turn();
        }
        let count = self.file.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path).unwrap();
        for _ in 0..5 {
            log.write_all(&vec![b'x'; 700_000]).unwrap();
        }
        let sizes: Vec<u64> = ["log", "log.old"]
            .map(|name| fs::metadata(dir.path().join(name)).unwrap().len())
            .to_vec();
        assert_eq!(sizes, [700_000, 1_400_000]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
