//! How busy the host is, and how much of it is ours to use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// The 1-minute load average; 0 if the system does not say.
pub fn average() -> f64 {
    let mut loads = [0.0];
    // SAFETY: room for one sample, and one is asked for.
    let count = unsafe { libc::getloadavg(loads.as_mut_ptr(), 1) };
    if count == 1 { loads[0] } else { 0.0 }
}

/// Cores that this process may use: by affinity and by the cgroup's quota, which may be a fraction.
pub fn usable_cores() -> f64 {
    let affinity = sched_getaffinity(Pid::from_raw(0)).map_or(1, |set| {
        let count = (0..CpuSet::count())
            .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
            .count();
        count.max(1)
    }) as f64;
    cgroup_quota().map_or(affinity, |quota| affinity.min(quota))
}

/// `cpu.max` of our cgroup (version 2) and of those above it.
fn cgroup_quota() -> Option<f64> {
    let mut least: Option<f64> = None;
    for above in own_cgroup()?.ancestors() {
        let file = Path::new("/sys/fs/cgroup").join(above).join("cpu.max");
        let quota = fs::read_to_string(file)
            .ok()
            .and_then(|text| parse_quota(&text));
        least = [least, quota].into_iter().flatten().reduce(f64::min);
    }
    least
}

/// The path of our cgroup (version 2) below the root of all.
pub(super) fn own_cgroup() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.trim_start_matches('/').into())
}

/// `max 100000` or `150000 100000`: microseconds of time in a period.
fn parse_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// RLIMIT_NPROC; `None` if there is no limit.
pub fn process_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    (soft != libc::RLIM_INFINITY).then_some(soft)
}

/// net.core.somaxconn: the kernel cuts longer backlogs silently.
pub fn longest_backlog() -> i32 {
    fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(128)
}

/// Raises the soft limits of descriptors and of processor time to the hard ones. Returns the limits of descriptors as
/// they were, for the programs that are started.
pub fn raise_limits() -> Option<(u64, u64)> {
    raise(Resource::RLIMIT_CPU);
    raise(Resource::RLIMIT_NOFILE)
}

/// Undoes what [`raise_limits`] did to the limit of descriptors, for the program that this process becomes.
pub fn restore_descriptors((soft, hard): (u64, u64)) {
    // A limit can be lowered.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
}

/// Runs `run` with the soft limit of descriptors at the hard one. After that the limit is what it was: an app that this
/// process becomes may rely on it.
pub fn with_most_descriptors<T>(run: impl FnOnce() -> T) -> T {
    let before = raise(Resource::RLIMIT_NOFILE);
    let result = run();
    if let Some(before) = before {
        restore_descriptors(before);
    }
    result
}

fn raise(resource: Resource) -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(resource).ok()?;
    // If it can't be raised, fewer descriptors can be had.
    let _ = setrlimit(resource, hard, hard);
    Some((soft, hard))
}

/// The most processor time that this process may use (RLIMIT_CPU); `None` if there is no limit.
pub fn processor_limit() -> Option<Duration> {
    let (soft, _) = getrlimit(Resource::RLIMIT_CPU).ok()?;
    (soft != libc::RLIM_INFINITY).then(|| Duration::from_secs(soft))
}

/// The processor time that this process has used, as RLIMIT_CPU counts it: by ticks, which on a busy host are a sixth
/// more than CLOCK_PROCESS_CPUTIME_ID.
pub fn processor_time() -> Duration {
    // MAKE_PROCESS_CPUCLOCK(0, CPUCLOCK_PROF) in the kernel's words.
    const AS_LIMITED: libc::clockid_t = -8;
    clock_gettime(ClockId::from_raw(AS_LIMITED)).map_or(Duration::ZERO, Duration::from)
}

/// Which boot this is: notes of another boot do not count. `None` if the system does not say.
pub fn boot_id() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    u64::from_str_radix(&digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_is_a_fraction_of_a_core() {
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota("150000 100000\n"), Some(1.5));
        assert_eq!(parse_quota(""), None);
        assert_eq!(parse_quota("0 100000"), None);
    }

    #[test]
    fn the_host_has_something() {
        assert!(usable_cores() > 0.0);
        assert!(longest_backlog() > 0);
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().is_some());
    }

    #[test]
    fn processor_time_passes() {
        let before = processor_time();
        // A tick is 10 ms at the most.
        while processor_time() == before {}
    }
}
