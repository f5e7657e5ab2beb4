//! What systemd's units of web servers say of their processes: which of them have a /tmp of their own.

use std::path::{Path, PathBuf};

use crate::sys::named;

/// The most bytes of a unit, and the most drop-ins, that are read.
const MOST_BYTES: usize = 64 << 10;
const MOST_FILES: usize = 64;
/// Where units are, those that count first.
const FOLDERS: [&str; 4] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const SERVERS: [&str; 4] = ["apache2", "httpd", "lighttpd", "nginx"];

/// Whether the unit of that name is Apache's.
pub(super) fn is_apache(server: &str) -> bool {
    ["apache2", "httpd"].contains(&server)
}

/// A web server whose /tmp and /var/tmp are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PrivateTmp {
    pub(super) server: &'static str,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// The web servers of the host that have one.
pub(super) fn with_private_tmp(root: &Path) -> Vec<PrivateTmp> {
    let servers = SERVERS.into_iter();
    servers
        .filter_map(|server| private_tmp(root, server))
        .collect()
}

fn private_tmp(root: &Path, server: &'static str) -> Option<PrivateTmp> {
    let name = format!("{server}.service");
    let units = FOLDERS.iter().map(|folder| root.join(folder).join(&name));
    let unit = units.into_iter().find(|unit| unit.is_file())?;
    // Those of folders that count more are read later.
    let mut files = vec![unit];
    for folder in FOLDERS.iter().rev() {
        let folder = root.join(folder).join(format!("{name}.d"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).take(MOST_FILES).collect();
        found.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        });
        found.sort();
        files.extend(found);
    }
    let mut last = None;
    for file in files {
        let Ok(bytes) = named::read(&file, MOST_BYTES) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        for (index, line) in text.lines().enumerate() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            if key.trim() == "PrivateTmp" {
                let is_on = ["yes", "true", "on", "1", "disconnected"].contains(&value.trim());
                last = is_on.then(|| PrivateTmp {
                    server,
                    file: file.clone(),
                    line: index + 1,
                });
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_word_counts() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(with_private_tmp(dir.path()).is_empty());
        fs::create_dir_all(at("lib/systemd/system")).unwrap();
        let unit = at("lib/systemd/system/apache2.service");
        fs::write(&unit, "[Service]\nType=forking\nPrivateTmp=true\n").unwrap();
        let found = with_private_tmp(dir.path());
        let expected = PrivateTmp {
            server: "apache2",
            file: unit,
            line: 3,
        };
        assert_eq!(found, [expected]);
        let drop_ins = at("etc/systemd/system/apache2.service.d");
        fs::create_dir_all(&drop_ins).unwrap();
        fs::write(drop_ins.join("tmp.conf"), "[Service]\nPrivateTmp = no\n").unwrap();
        assert!(with_private_tmp(dir.path()).is_empty());
    }
}
