//! Refusals after which the app can't answer, or could only if the same call were made again; and what the client may
//! get then.

use nix::libc::*;

use super::{Fault, Kind, Role};

/// What there may be instead of the app's own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    Anything,
    /// The answer is the app's, but a dead socket stays.
    Name,
    /// Our page or the adaptor's, with the reason in a log.
    Page,
}

/// Of this kind of app, or of every kind; what a process of this kind calls, or all that it does.
type NoOtherWay = (Option<Kind>, Role, &'static [i64], Instead);

const NO_OTHER_WAY: [NoOtherWay; 10] = [
    // The C library's start needs them, or the app file can't be read.
    (
        None,
        Role::Front,
        &[SYS_arch_prctl, SYS_mprotect],
        Instead::Anything,
    ),
    (
        None,
        Role::Front,
        &[
            SYS_chdir,
            SYS_execve,
            SYS_newfstatat,
            SYS_openat,
            SYS_read,
            SYS_statx,
        ],
        Instead::Page,
    ),
    // The daemon can't remove its socket's name.
    (None, Role::Daemon, &[SYS_unlink], Instead::Name),
    // The C library ends the process.
    (None, Role::Adaptor, &[SYS_futex], Instead::Anything),
    // The request's file, or the app's import, can't be read.
    (
        None,
        Role::Adaptor,
        &[SYS_getdents64, SYS_openat, SYS_read],
        Instead::Page,
    ),
    // The front knows already that its request is taken.
    (
        Some(Kind::Cgi),
        Role::Launcher,
        &[SYS_execve],
        Instead::Page,
    ),
    (
        Some(Kind::Connect),
        Role::Daemon,
        &[SYS_connect, SYS_socket],
        Instead::Page,
    ),
    // No other process could ask the server.
    (
        Some(Kind::ConnectWithoutPlace),
        Role::Front,
        &[SYS_connect, SYS_poll, SYS_sendto, SYS_socket],
        Instead::Page,
    ),
    // Only the daemon can start the server.
    (Some(Kind::Scgi), Role::Daemon, &[], Instead::Page),
    (Some(Kind::Scgi), Role::Launcher, &[], Instead::Page),
];

/// `None`: the answer has to be the app's own.
pub(super) fn instead(kind: Kind, fault: Fault) -> Option<Instead> {
    let is_it = |&&(of, role, numbers, _): &&NoOtherWay| {
        of.is_none_or(|of| of == kind)
            && role == fault.role
            && (numbers.is_empty() || numbers.contains(&fault.number))
    };
    NO_OTHER_WAY.iter().find(is_it).map(|found| found.3)
}
