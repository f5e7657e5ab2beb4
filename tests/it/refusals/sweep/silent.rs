//! Refused calls that no line has to name. The refusal has cost nothing, since the app was served in its usual way, and
//! an operator could not do anything about it. A new call that is refused needs either a line or an entry here.

use nix::libc::*;

use super::Role;

/// For a process of this kind, these calls.
type Silent = (Role, &'static [i64]);

const SILENT: [Silent; 24] = [
    // It asks for information; without it a default serves: one core, a local file system, no link from the default
    // place, unchanged flags, the next folder of PATH.
    (
        Role::Daemon,
        &[
            SYS_access,
            SYS_fstatfs,
            SYS_getdents64,
            SYS_getsid,
            SYS_getsockopt,
            SYS_ioctl,
            SYS_newfstatat,
            SYS_openat,
            SYS_readlink,
            SYS_sched_getaffinity,
            SYS_statx,
            SYS_symlink,
        ],
    ),
    (
        Role::Front,
        &[
            SYS_access,
            SYS_fstatfs,
            SYS_newfstatat,
            SYS_openat,
            SYS_read,
            SYS_readlink,
            SYS_sched_getaffinity,
            SYS_statx,
            SYS_sysinfo,
        ],
    ),
    (
        Role::Adaptor,
        &[
            SYS_fcntl,
            SYS_ioctl,
            SYS_lseek,
            SYS_newfstatat,
            SYS_openat,
            SYS_statx,
        ],
    ),
    (
        Role::Worker,
        &[
            SYS_fcntl,
            SYS_getdents64,
            SYS_getsockname,
            SYS_getsockopt,
            SYS_ioctl,
            SYS_lseek,
            SYS_newfstatat,
            SYS_openat,
            SYS_read,
            SYS_statx,
        ],
    ),
    (
        Role::Zygote,
        &[
            SYS_access,
            SYS_fcntl,
            SYS_getdents64,
            SYS_getppid,
            SYS_ioctl,
            SYS_lseek,
            SYS_newfstatat,
            SYS_openat,
            SYS_pread64,
            SYS_read,
            SYS_readlink,
            SYS_statx,
            SYS_sysinfo,
        ],
    ),
    // Another call does the same: a write instead of a reservation, a file or pipe instead of one in memory, a copy
    // instead of splice(2), a look in every turn instead of a watch, a wait of a second instead of a pidfd.
    (
        Role::Daemon,
        &[
            SYS_epoll_ctl,
            SYS_fallocate,
            SYS_fcntl,
            SYS_flock,
            SYS_ftruncate,
            SYS_memfd_create,
            SYS_mkdir,
            SYS_pidfd_open,
            SYS_splice,
        ],
    ),
    (
        Role::Front,
        &[
            SYS_fallocate,
            SYS_fcntl,
            SYS_lseek,
            SYS_memfd_create,
            SYS_pipe2,
            SYS_splice,
        ],
    ),
    (Role::Launcher, &[SYS_close_range]),
    (Role::Starter, &[SYS_close_range]),
    (
        // Python does without a folder or a file for the bytecode of a module.
        Role::Adaptor,
        &[SYS_dup2, SYS_mkdir, SYS_rename, SYS_unlink, SYS_write],
    ),
    (Role::Worker, &[SYS_pipe2, SYS_poll, SYS_write]),
    // The hot path leaves the request to the normal front, which has a line if it can't serve it either.
    (
        Role::Front,
        &[
            SYS_connect,
            SYS_getpeername,
            SYS_getsockopt,
            SYS_recvfrom,
            SYS_sendmsg,
            SYS_setsockopt,
            SYS_socket,
            SYS_write,
        ],
    ),
    // It gives the process a name for ps, on which nothing depends.
    (Role::Adaptor, &[SYS_pread64, SYS_pwrite64, SYS_read]),
    (Role::Worker, &[SYS_pread64, SYS_pwrite64]),
    (Role::Zygote, &[SYS_pwrite64, SYS_write]),
    // The same process, in this turn or the next, or the front makes the call again.
    (Role::Launcher, &[SYS_read]),
    (
        Role::Daemon,
        &[
            SYS_accept4,
            SYS_poll,
            SYS_read,
            SYS_recvmsg,
            SYS_sendmsg,
            SYS_sendto,
            SYS_wait4,
            SYS_waitid,
            SYS_write,
        ],
    ),
    (Role::Worker, &[SYS_recvmsg, SYS_sendto]),
    (Role::Zygote, &[SYS_recvmsg, SYS_sendto]),
    // It ends or removes something that ends with the process anyway.
    (Role::Daemon, &[SYS_kill, SYS_unlink]),
    (Role::Front, &[SYS_unlink, SYS_wait4]),
    // It sets what is usually set already, or guards against what does not happen here: signals, alarms, limits,
    // process groups, oom_score_adj.
    (
        Role::Daemon,
        &[SYS_prlimit64, SYS_rt_sigaction, SYS_rt_sigprocmask],
    ),
    (
        Role::Front,
        &[
            SYS_prlimit64,
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_setitimer,
        ],
    ),
    (
        Role::Launcher,
        &[
            SYS_openat,
            SYS_prctl,
            SYS_prlimit64,
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_setpgid,
            SYS_write,
        ],
    ),
];

/// The same for calls of the C library or the interpreter, which have ways of their own: memory, random numbers,
/// threads.
const OF_LIBRARIES: [Silent; 6] = [
    (
        Role::Adaptor,
        &[
            SYS_alarm,
            SYS_clone3,
            SYS_getdents64,
            SYS_getitimer,
            SYS_mmap,
            SYS_mprotect,
            SYS_munmap,
            SYS_rt_sigaction,
            SYS_rt_sigprocmask,
            SYS_sigaltstack,
        ],
    ),
    (Role::Daemon, &[SYS_getrandom, SYS_mmap, SYS_munmap]),
    (Role::Front, &[SYS_getrandom, SYS_munmap]),
    (Role::Starter, &[SYS_rt_sigaction, SYS_rt_sigprocmask]),
    (
        Role::Worker,
        &[
            SYS_alarm,
            SYS_mmap,
            SYS_munmap,
            SYS_prlimit64,
            SYS_rt_sigaction,
            SYS_sigaltstack,
        ],
    ),
    (
        Role::Zygote,
        &[
            SYS_connect,
            SYS_getrandom,
            SYS_mmap,
            SYS_munmap,
            SYS_pipe2,
            SYS_prlimit64,
            SYS_rt_sigaction,
            SYS_setpgid,
            SYS_socket,
        ],
    ),
];

/// The app was not served in its usual way, and the line does not name the call: it is the C library's, the
/// interpreter's, or follows the hot path, which can't tell a receive that was refused from one that waited too long.
/// An empty list stands for all calls.
const IN_OTHER_WORDS: [(Role, &[i64], &str); 3] = [
    (
        Role::Daemon,
        &[SYS_arch_prctl],
        "has ended, or does not answer, and has taken no request",
    ),
    (
        Role::Front,
        &[SYS_fcntl, SYS_recvfrom, SYS_setsockopt],
        "did not answer in time",
    ),
    // Whatever the interpreter misses at its start.
    (Role::Zygote, &[], "cannot start "),
];

/// No line has to name the call if its refusal has cost nothing.
pub(super) fn is_right(role: Role, number: i64) -> bool {
    let mut all = SILENT.iter().chain(&OF_LIBRARIES);
    all.any(|(of, numbers)| *of == role && numbers.contains(&number))
}

/// The line tells of it in other words.
pub(super) fn is_told(role: Role, number: i64, line: &str) -> bool {
    let mut all = IN_OTHER_WORDS.iter();
    all.any(|(of, numbers, words)| {
        *of == role && (numbers.is_empty() || numbers.contains(&number)) && line.contains(words)
    })
}
