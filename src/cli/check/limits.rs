//! The limits that the app's processes have: of processes and of descriptors. A web server's processes show theirs;
//! without one, those of this process are looked at.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Findings, Severity};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::config;
use crate::config::Mode;
use crate::sys::named;

/// Names of web servers' processes.
const WEB_SERVERS: [&str; 4] = ["apache2", "httpd", "lighttpd", "nginx"];
/// Descriptors that a client of the daemon takes: its connection, its process, and the three that it passes.
const OF_A_CLIENT: u64 = 5;
/// Descriptors that the daemon has besides.
const BESIDE: u64 = 64;
/// Processes beside the workers: the daemon, and what imports the app, of two generations.
const OF_A_DAEMON: u64 = 3;

pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) {
    if subject.config.mode == Mode::Cgi {
        return;
    }
    let servers = web_servers(subject.user.uid);
    let (limits, whose) = match servers.first() {
        // It is not known which of them runs the app: only what all of them lack is told.
        Some((_, name)) => {
            let limits = servers.iter().map(|(folder, _)| read(folder));
            (limits.collect(), format!("{name}'s processes"))
        }
        None => (
            vec![read(Path::new("/proc/self"))],
            "this process".to_owned(),
        ),
    };
    let most = |name, column| {
        let found = limits.iter().map(|text| limit(text, name, column));
        found.collect::<Option<Vec<u64>>>()?.into_iter().max()
    };
    let procs = subject.config.pool.max_procs.max(subject.config.cgi_max);
    let needed = u64::from(procs) + OF_A_DAEMON;
    if let Some(limit) = most("Max processes", 0)
        && limit < needed
        && subject.user.uid != 0
    {
        let message = format!(
            "{} processes of the app need {needed} with the daemon, and {whose} may have {limit} (RLIMIT_NPROC)",
            procs
        );
        findings.add(
            subject
                .find(Severity::Warning, FindingKind::Limit, "max-procs", &message)
                .advise("set a smaller 'max-procs', or raise the limit: 'RLimitNPROC' of Apache, 'LimitNPROC=' of its unit, limits.conf(5)"),
        );
    }
    let clients = u64::from(subject.config.queue.size) + u64::from(procs);
    let needed = clients * OF_A_CLIENT + BESIDE;
    // The daemon raises its soft limit to the hard one.
    if let Some(limit) = most("Max open files", 1)
        && limit < needed
    {
        let message = format!(
            "a full queue needs {needed} descriptors, and {whose} may have {limit} (RLIMIT_NOFILE)"
        );
        findings.add(
            subject
                .find(Severity::Warning, FindingKind::Limit, "queue-size", &message)
                .advise("set a smaller 'queue-size', or raise the limit: 'LimitNOFILE=' of the web server's unit, limits.conf(5)"),
        );
    }
}

/// A number of proc_pid_limits(5): the soft limit is column 0, the hard one column 1; `None`: there is no limit.
fn limit(text: &str, name: &str, column: usize) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(column)?.parse().ok()
}

fn read(folder: &Path) -> String {
    named::read_text(&folder.join("limits"), config::LONGEST_FILE).unwrap_or_default()
}

/// The processes of web servers that are that user's: their folders in /proc, and their names.
fn web_servers(uid: u32) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let folder = entry.path();
        let is_pid = entry.file_name().to_string_lossy().parse::<i32>().is_ok();
        if !is_pid || fs::metadata(&folder).ok()?.uid() != uid {
            return None;
        }
        let name = named::read_text(&folder.join("comm"), 64).ok()?;
        let name = name.trim_end();
        WEB_SERVERS
            .contains(&name)
            .then(|| (folder, name.to_owned()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_the_kernel_shows_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             10                   unlimited            processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(limit(text, "Max processes", 0), Some(10));
        assert_eq!(limit(text, "Max processes", 1), None);
        assert_eq!(limit(text, "Max open files", 1), Some(524_288));
    }
}
