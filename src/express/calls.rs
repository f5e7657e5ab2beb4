//! The system calls of the hot path, made directly as syscall(2) describes. Knows numbers and registers, and nothing of
//! requests.

use std::arch::asm;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::RawFd;

use nix::libc;

use polycgi::naming::{self, SocketPath};

use super::stack::text;

/// Makes the system call of this number, with up to six arguments; its result, where -4095 to -1 are errno, negated.
///
/// # Safety
/// As for the call.
#[inline(always)]
unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [one, two, three, four, five, six] = arguments;
    let result;
    // SAFETY: syscall changes rcx, r11 and rax, and of memory what the caller answers for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") one,
            in("rsi") two,
            in("rdx") three,
            in("r10") four,
            in("r8") five,
            in("r9") six,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// What a file is.
#[derive(Clone, Copy)]
pub(super) enum FileKind {
    File,
    Link,
    Other,
}

/// What the hot path needs to know of a file. Not all of stat(2): a copy of that would be a call of memcpy.
#[derive(Clone, Copy)]
pub(super) struct FileStatus {
    pub(super) kind: FileKind,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// stat(2), or with AT_SYMLINK_NOFOLLOW lstat(2).
///
/// # Safety
/// `path` ends in NUL.
#[inline(always)]
pub(super) unsafe fn status(path: *const u8, flags: libc::c_int) -> Option<FileStatus> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let folder = libc::AT_FDCWD as usize;
    let into = status.as_mut_ptr() as usize;
    let arguments = [folder, path as usize, into, flags as usize, 0, 0];
    // SAFETY: the path ends, and there is room for the answer, which is there when the kernel says so.
    unsafe {
        if call(libc::SYS_newfstatat, arguments) != 0 {
            return None;
        }
        let status = status.assume_init_ref();
        Some(FileStatus {
            kind: match status.st_mode & libc::S_IFMT {
                libc::S_IFREG => FileKind::File,
                libc::S_IFLNK => FileKind::Link,
                _ => FileKind::Other,
            },
            device: status.st_dev,
            inode: status.st_ino,
        })
    }
}

/// A new socket that does not wait, for streams between processes of this host.
#[inline(always)]
pub(super) fn socket() -> RawFd {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let arguments = [libc::AF_UNIX as usize, kind as usize, 0, 0, 0, 0];
    // SAFETY: it takes numbers only.
    (unsafe { call(libc::SYS_socket, arguments) }) as RawFd
}

/// Connects to a socket. `false`: no process listens there, or its backlog is full.
#[inline(always)]
pub(super) fn connect(socket: RawFd, path: &SocketPath) -> bool {
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; 108],
    };
    for (to, &from) in address.sun_path.iter_mut().zip(path.as_slice()) {
        *to = from as libc::c_char;
    }
    let (at, size) = (&raw const address, size_of::<libc::sockaddr_un>());
    let arguments = [socket as usize, at as usize, size, 0, 0, 0];
    // SAFETY: the address lives until the call is over, and ends in a NUL.
    unsafe { call(libc::SYS_connect, arguments) == 0 }
}

/// The uid of the process at the other end.
#[inline(always)]
pub(super) fn peer_uid(socket: RawFd) -> Option<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    let arguments = [
        socket as usize,
        libc::SOL_SOCKET as usize,
        libc::SO_PEERCRED as usize,
        &raw mut peer as usize,
        &raw mut size as usize,
        0,
    ];
    // SAFETY: there is room for as much as `size` says.
    let done = unsafe { call(libc::SYS_getsockopt, arguments) };
    (done == 0).then_some(peer.uid)
}

/// Whether the listener at the other end was bound to a path of this app: see [`naming::of_app`].
#[inline(always)]
pub(super) fn is_bound_to(socket: RawFd, of_app: &[u8]) -> bool {
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNSPEC as libc::sa_family_t,
        sun_path: [0; 108],
    };
    // One byte less, so that there is a NUL behind any path.
    let mut size = (size_of::<libc::sockaddr_un>() - 1) as libc::socklen_t;
    let (at, into) = (&raw mut size as usize, &raw mut address as usize);
    // SAFETY: there is room for as much as `size` says, and a NUL at the end of the path.
    unsafe {
        if call(libc::SYS_getpeername, [socket as usize, into, at, 0, 0, 0]) != 0 {
            return false;
        }
        let path = text((&raw const address.sun_path).cast());
        naming::of_app(path).iter().eq(of_app)
    }
}

/// Sends these parts, and descriptors 0 to 2 with the first byte, without waiting; how many bytes went.
#[inline(always)]
pub(super) fn send(socket: RawFd, parts: [&[u8]; 4]) -> isize {
    /// A message of one kind of control data, as cmsg(3) lays it out.
    #[repr(C)]
    struct Rights {
        header: libc::cmsghdr,
        fds: [RawFd; 3],
    }
    let mut rights = Rights {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<[RawFd; 3]>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fds: [0; 3],
    };
    for (number, fd) in rights.fds.iter_mut().enumerate() {
        // SAFETY: it is ours to write. Volatile: four constants in a row would be read from a page of their own.
        unsafe { std::ptr::from_mut(fd).write_volatile(number as RawFd) };
    }
    let mut slices = [const { MaybeUninit::<libc::iovec>::uninit() }; 4];
    for (slice, part) in slices.iter_mut().zip(parts) {
        slice.write(libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
    }
    let mut message = MaybeUninit::<libc::msghdr>::uninit();
    // SAFETY: each field is written before the kernel reads it; it writes nothing to any of this.
    unsafe {
        let fields = message.as_mut_ptr();
        (&raw mut (*fields).msg_name).write(std::ptr::null_mut());
        (&raw mut (*fields).msg_namelen).write(0);
        (&raw mut (*fields).msg_iov).write((&raw const slices).cast_mut().cast());
        (&raw mut (*fields).msg_iovlen).write(slices.len());
        (&raw mut (*fields).msg_control).write((&raw const rights).cast_mut().cast());
        (&raw mut (*fields).msg_controllen).write(size_of::<Rights>());
        (&raw mut (*fields).msg_flags).write(0);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        call(
            libc::SYS_sendmsg,
            [socket as usize, fields as usize, flags as usize, 0, 0, 0],
        )
    }
}

/// Unblocks all signals.
#[inline(always)]
pub(super) fn unblock_signals() {
    let none = 0_u64;
    let set = &raw const none as usize;
    let arguments = [libc::SIG_SETMASK as usize, set, 0, size_of::<u64>(), 0, 0];
    // SAFETY: the set is one of the kernel's size; no old one is asked for.
    unsafe { call(libc::SYS_rt_sigprocmask, arguments) };
}

/// Calls on this socket wait from now on.
#[inline(always)]
pub(super) fn set_blocking(socket: RawFd) {
    let arguments = [socket as usize, libc::F_SETFL as usize, 0, 0, 0, 0];
    // SAFETY: it takes numbers only.
    unsafe { call(libc::SYS_fcntl, arguments) };
}

/// A receive() that waits longer than this ends with what it has by then; 0 is for ever. `false`: that can't be set.
#[inline(always)]
pub(super) fn set_patience(socket: RawFd, seconds: u64) -> bool {
    let patience = libc::timeval {
        tv_sec: seconds as libc::time_t,
        tv_usec: 0,
    };
    let arguments = [
        socket as usize,
        libc::SOL_SOCKET as usize,
        libc::SO_RCVTIMEO as usize,
        &raw const patience as usize,
        size_of::<libc::timeval>(),
        0,
    ];
    // SAFETY: the kernel reads the time, and no more.
    unsafe { call(libc::SYS_setsockopt, arguments) == 0 }
}

/// Receives until `buffer` is full, the connection ends or the patience is over; how many bytes came, or errno,
/// negated.
#[inline(always)]
pub(super) fn receive(socket: RawFd, buffer: &mut [u8]) -> isize {
    let into = buffer.as_mut_ptr() as usize;
    let flags = libc::MSG_WAITALL as usize;
    let arguments = [socket as usize, into, buffer.len(), flags, 0, 0];
    // SAFETY: the buffer has room for as many bytes as it says.
    unsafe { call(libc::SYS_recvfrom, arguments) }
}

/// Closes a descriptor, if it is one.
#[inline(always)]
pub(super) fn close(fd: RawFd) {
    // SAFETY: only this room knows the descriptor.
    unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Ends this process with status 0.
#[inline(always)]
pub(super) fn exit() -> ! {
    // SAFETY: it takes a number, and does not return.
    unsafe {
        asm!(
            "syscall",
            in("rax") libc::SYS_exit_group,
            in("rdi") 0,
            options(noreturn, nostack),
        )
    }
}
