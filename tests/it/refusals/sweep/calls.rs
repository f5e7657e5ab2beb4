//! The system calls that are swept: the words that name each in a line, and the errors that its manual page lists
//! beside those that any call may get. Errors that are no refusal are left out: ordinary events (EINTR, EPIPE, a socket
//! that is not ready), and what is wrong with a path (EACCES of chdir(2) or execve(2)), which the operator has to mend.

use nix::errno::Errno;
use nix::libc;

/// The errors of an old kernel, a filter, a limit and a shortage.
const OF_ANY: [Errno; 4] = [Errno::ENOSYS, Errno::EPERM, Errno::EMFILE, Errno::ENOMEM];

/// A call's number, its name, phrases of our lines that stand for it, and the errors of its page.
struct Known(i64, &'static str, &'static [&'static str], &'static [Errno]);

const KNOWN: [Known; 46] = [
    Known(
        libc::SYS_accept4,
        "accept",
        &[],
        &[Errno::ENFILE, Errno::ENOBUFS],
    ),
    Known(libc::SYS_access, "access", &["cannot run"], &[Errno::EIO]),
    Known(
        libc::SYS_bind,
        "bind",
        &["cannot listen on"],
        &[Errno::EACCES, Errno::EADDRINUSE],
    ),
    Known(
        libc::SYS_chdir,
        "chdir",
        &["cannot change to"],
        &[Errno::EIO],
    ),
    Known(
        libc::SYS_clone,
        "fork",
        &[],
        &[Errno::EAGAIN, Errno::ENOSPC],
    ),
    Known(libc::SYS_clone3, "clone3", &[], &[Errno::EAGAIN]),
    Known(
        libc::SYS_connect,
        "connect",
        &[],
        &[Errno::EACCES, Errno::ECONNREFUSED],
    ),
    Known(libc::SYS_dup2, "dup2", &[], &[Errno::EBUSY]),
    Known(
        libc::SYS_epoll_create1,
        "epoll_create1",
        &[],
        &[Errno::ENFILE],
    ),
    Known(
        libc::SYS_epoll_ctl,
        "epoll_ctl",
        &["ask for a worker"],
        &[Errno::ENOSPC],
    ),
    Known(libc::SYS_epoll_wait, "epoll_wait", &[], &[]),
    Known(
        libc::SYS_execve,
        "execve",
        &["cannot run"],
        &[Errno::EAGAIN, Errno::EIO],
    ),
    Known(
        libc::SYS_fallocate,
        "fallocate",
        &["slots"],
        &[Errno::ENOSPC, Errno::EOPNOTSUPP],
    ),
    Known(
        libc::SYS_fcntl,
        "fcntl",
        &["a slot", "cannot lock", "ask for a worker"],
        &[Errno::EACCES, Errno::ENOLCK],
    ),
    Known(libc::SYS_flock, "flock", &[], &[Errno::ENOLCK]),
    Known(
        libc::SYS_ftruncate,
        "ftruncate",
        &[],
        &[Errno::EFBIG, Errno::EIO],
    ),
    Known(libc::SYS_getdents64, "getdents64", &[], &[]),
    Known(libc::SYS_listen, "listen", &[], &[Errno::EADDRINUSE]),
    Known(
        libc::SYS_memfd_create,
        "memfd_create",
        &[],
        &[Errno::ENFILE],
    ),
    Known(
        libc::SYS_mkdir,
        "mkdir",
        &["cannot make"],
        &[Errno::EACCES, Errno::ENOSPC, Errno::EROFS],
    ),
    Known(
        libc::SYS_mmap,
        "mmap",
        &["slots"],
        &[Errno::EACCES, Errno::EAGAIN, Errno::ENFILE],
    ),
    Known(
        libc::SYS_mprotect,
        "mprotect",
        &["loading shared libraries", "memory protection"],
        &[Errno::EACCES],
    ),
    Known(
        libc::SYS_newfstatat,
        "stat",
        &["cannot read"],
        &[Errno::EACCES],
    ),
    Known(
        libc::SYS_openat,
        "open",
        &["cannot read", "cannot make", "cannot write"],
        &[Errno::EACCES, Errno::ENFILE, Errno::ENOSPC, Errno::EROFS],
    ),
    Known(
        libc::SYS_pipe2,
        "pipe2",
        &["ask for a worker"],
        &[Errno::ENFILE],
    ),
    Known(libc::SYS_poll, "poll", &["relay"], &[]),
    Known(libc::SYS_prctl, "prctl", &[], &[Errno::EINVAL]),
    Known(libc::SYS_pread64, "read", &[], &[Errno::EIO]),
    Known(libc::SYS_read, "read", &["relay"], &[Errno::EIO]),
    Known(libc::SYS_recvmsg, "recvmsg", &[], &[Errno::ENOBUFS]),
    Known(
        libc::SYS_rename,
        "rename",
        &["cannot write"],
        &[Errno::EACCES, Errno::ENOSPC, Errno::EROFS],
    ),
    Known(libc::SYS_rt_sigaction, "sigaction", &["cannot lock"], &[]),
    Known(
        libc::SYS_sendmsg,
        "sendmsg",
        &["ask for a worker"],
        &[Errno::ENOBUFS],
    ),
    Known(libc::SYS_sendto, "send", &[], &[Errno::ENOBUFS]),
    Known(libc::SYS_setitimer, "setitimer", &["cannot lock"], &[]),
    Known(libc::SYS_setsid, "setsid", &[], &[]),
    Known(libc::SYS_shutdown, "shut", &[], &[]),
    Known(
        libc::SYS_socket,
        "socket",
        &["cannot connect", "cannot listen"],
        &[
            Errno::EACCES,
            Errno::EAFNOSUPPORT,
            Errno::ENFILE,
            Errno::ENOBUFS,
        ],
    ),
    Known(
        libc::SYS_socketpair,
        "socketpair",
        &["ask for a worker"],
        &[Errno::EAFNOSUPPORT, Errno::ENFILE],
    ),
    Known(
        libc::SYS_splice,
        "splice",
        &["response is cut"],
        &[Errno::EINVAL],
    ),
    Known(
        libc::SYS_statx,
        "stat",
        &["cannot read", "cannot open"],
        &[Errno::EACCES],
    ),
    Known(
        libc::SYS_symlink,
        "symlink",
        &[],
        &[Errno::EACCES, Errno::ENOSPC, Errno::EROFS],
    ),
    Known(
        libc::SYS_unlink,
        "unlink",
        &["cannot remove"],
        &[Errno::EACCES, Errno::EBUSY, Errno::EROFS],
    ),
    Known(libc::SYS_wait4, "wait", &["cannot fork"], &[]),
    Known(libc::SYS_waitid, "waitid", &[], &[]),
    Known(
        libc::SYS_write,
        "write",
        &["written", "relay"],
        &[Errno::EIO, Errno::ENOSPC],
    ),
];

fn known(number: i64) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.0 == number)
}

/// The errors that are tried of a call, one after the other.
pub(super) fn errnos(number: i64) -> Vec<Errno> {
    let listed = known(number).map_or(&[][..], |known| known.3);
    OF_ANY.iter().chain(listed).copied().collect()
}

/// The call is named in the line.
pub(super) fn is_named(line: &str, number: i64) -> bool {
    known(number).is_some_and(|Known(_, name, verbs, _)| {
        line.contains(name) || verbs.iter().any(|verb| line.contains(verb))
    })
}

/// The call's name, or its number.
pub(super) fn name(number: i64) -> String {
    known(number).map_or_else(|| format!("call {number}"), |known| known.1.to_owned())
}
