//! System calls that the host refuses: a filter of seccomp(2) notifies the test of each of them, and the test lets it
//! be made or makes it fail. Children have the same filter, so a whole tree is covered, from a front to the workers of
//! its daemon.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::libc;

use super::Deadline;
use super::deadline::pidfd;

/// The kind of process that makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// A plain CGI: the interpreter with our adaptor.
    Adaptor,
    Daemon,
    Front,
    /// A child of a daemon before its exec.
    Launcher,
    Other,
    /// A child of a front before its exec.
    Starter,
    Worker,
    Zygote,
}

/// A call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) pid: i32,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    pub(crate) fn role(&self) -> Role {
        let proc = format!("/proc/{}", self.pid);
        let words = fs::read(format!("{proc}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).take(4).collect();
        let has_forked = || {
            // PF_FORKNOEXEC: forked, and no exec since.
            let stat = fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let flags = rest.split_whitespace().nth(6);
            flags.and_then(|flags| flags.parse().ok()).unwrap_or(0) & 0x40_u32 != 0
        };
        // By `name_process` of the adaptor.
        let is_titled =
            |title: &[u8], role: &[u8]| title.starts_with(b"polycgi: ") && title.ends_with(role);
        match words[..] {
            [b"scgi-daemon", ..] if has_forked() => Role::Launcher,
            [b"scgi-daemon", ..] => Role::Daemon,
            [_, b"-c", _, b"cgi"] => Role::Adaptor,
            [_, b"-c", _, b"pool"] => Role::Zygote,
            [title, ..] if is_titled(title, b" cgi") => Role::Adaptor,
            [title, ..]
                if is_titled(title, b" worker") || is_titled(title, b" zygote") && has_forked() =>
            {
                Role::Worker
            }
            [title, ..] if is_titled(title, b" zygote") => Role::Zygote,
            [program, b"-", ..] if program.ends_with(b"/polycgi") && has_forked() => Role::Starter,
            [program, b"-", ..] if program.ends_with(b"/polycgi") => Role::Front,
            _ => Role::Other,
        }
    }

    /// The call's descriptor is the one from which the adaptor of a plain CGI reads its request (its seventh argument).
    pub(crate) fn is_of_request(&self) -> bool {
        let words = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let fd = words.split(|byte| *byte == 0).nth(7);
        fd.is_some_and(|fd| fd == self.arguments[0].to_string().as_bytes())
    }

    /// The string at which an argument points.
    pub(crate) fn text(&self, nth: usize) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid));
        let at = self.arguments[nth];
        let read = memory
            .and_then(|memory| std::os::unix::fs::FileExt::read_at(&memory, &mut bytes, at))
            .unwrap_or(0);
        bytes.truncate(read);
        bytes
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or(b"")
            .to_vec()
    }
}

type Decide = dyn FnMut(&Call) -> Option<Errno> + Send;

/// A host that refuses the calls that the test names.
#[derive(Clone)]
pub(crate) struct Host {
    calls: Vec<i64>,
    decide: Arc<Mutex<Box<Decide>>>,
}

impl Host {
    /// `decide` says for each of these calls (for all, if none is named) whether and how it fails.
    pub(crate) fn new(
        calls: &[i64],
        decide: impl FnMut(&Call) -> Option<Errno> + Send + 'static,
    ) -> Host {
        Host {
            calls: calls.to_vec(),
            decide: Arc::new(Mutex::new(Box::new(decide))),
        }
    }

    /// Each of these calls fails, in every process that runs polycgi or Python.
    pub(crate) fn without(calls: &[i64], errno: Errno) -> Host {
        Host::new(calls, move |call| {
            (call.role() != Role::Other).then_some(errno)
        })
    }

    /// Runs the command, and all that it starts, on this host.
    pub(crate) fn around<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let listener = Arc::new(Listener::new());
        let program = filter(&self.calls);
        let told = Arc::clone(&listener);
        // SAFETY: between fork and exec, system calls and a store only.
        unsafe {
            command.pre_exec(move || {
                let pid = libc::getpid();
                told.tell(pid, install(&program)?);
                Ok(())
            });
        }
        let decide = Arc::clone(&self.decide);
        thread::spawn(move || {
            if let Some(notify) = listener.wait() {
                supervise(&notify, &decide);
            }
        });
        command
    }
}

/// Memory in which a child writes the number of its filter's descriptor: a system call would wait for the test.
struct Listener(NonNull<[AtomicI32; 3]>);

// SAFETY: the memory is atomic, and never unmapped.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

impl Listener {
    fn new() -> Self {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new map, of zeros, at a place of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "a page can be mapped");
        Self(NonNull::new(at.cast()).expect("a map is not at 0"))
    }

    fn words(&self) -> &[AtomicI32; 3] {
        // SAFETY: it is mapped for good, and only zeros and what was stored is in it.
        unsafe { self.0.as_ref() }
    }

    /// In the child, once it has its filter: waits until the test has the descriptor, which the exec closes.
    fn tell(&self, pid: i32, fd: RawFd) {
        let [of_pid, of_fd, is_fetched] = self.words();
        of_pid.store(pid, Ordering::SeqCst);
        of_fd.store(fd + 1, Ordering::SeqCst);
        while is_fetched.load(Ordering::SeqCst) == 0 {
            // If sched_yield is filtered, it returns when the test answers.
            thread::yield_now();
        }
    }

    /// The descriptor, as one of ours.
    fn wait(&self) -> Option<OwnedFd> {
        let deadline = Deadline::soon();
        // 0 is none yet; numbers are stored with 1 added, since 0 may be one.
        while self.words()[1].load(Ordering::SeqCst) == 0 {
            if deadline.left().is_zero() {
                return None;
            }
            thread::yield_now();
        }
        let [pid, fd, _] = self
            .words()
            .each_ref()
            .map(|word| word.load(Ordering::SeqCst));
        let process = pidfd(pid)?;
        // SAFETY: it takes numbers only.
        let ours = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd - 1, 0) };
        self.words()[2].store(1, Ordering::SeqCst);
        let ours = RawFd::try_from(ours).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just given us this descriptor, and no other code has it.
        Some(unsafe { OwnedFd::from_raw_fd(ours) })
    }
}

/// A filter that notifies of these calls, or of all.
fn filter(calls: &[i64]) -> Vec<libc::sock_filter> {
    let (load, is, end) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let code = |code: u32, k: u32, jt: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    // The number is what seccomp_data begins with.
    let mut program = vec![code(load, 0, 0)];
    for (nth, &call) in calls.iter().enumerate() {
        // A jump to the last line, which notifies.
        program.push(code(is, call as u32, (calls.len() - nth) as u8));
    }
    if !calls.is_empty() {
        program.push(code(end, libc::SECCOMP_RET_ALLOW, 0));
    }
    program.push(code(end, libc::SECCOMP_RET_USER_NOTIF, 0));
    program
}

/// In the child: its calls are filtered from here on.
fn install(program: &[libc::sock_filter]) -> io::Result<RawFd> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: they take numbers, and a program that lives until the call is over.
    let fd = unsafe {
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program)
    };
    Ok(Errno::result(fd)? as RawFd)
}

/// Answers until no process has the filter any more.
fn supervise(notify: &OwnedFd, decide: &Mutex<Box<Decide>>) {
    let notify = notify.as_raw_fd();
    loop {
        let mut polled = libc::pollfd {
            fd: notify,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, as is said.
        if unsafe { libc::poll(&raw mut polled, 1, -1) } < 0 && Errno::last() != Errno::EINTR {
            return;
        }
        if polled.revents & libc::POLLIN == 0 {
            if polled.revents != 0 {
                return;
            }
            continue;
        }
        // SAFETY: all zeros are one, as the kernel wants it to be.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the call writes one of these.
        if unsafe { libc::ioctl(notify, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } < 0 {
            // The process has died.
            continue;
        }
        let call = Call {
            pid: asked.pid.cast_signed(),
            number: asked.data.nr.into(),
            arguments: asked.data.args,
        };
        let errno = decide.lock().unwrap_or_else(PoisonError::into_inner)(&call);
        let answer = libc::seccomp_notif_resp {
            id: asked.id,
            val: 0,
            error: errno.map_or(0, |errno| -(errno as i32)),
            flags: if errno.is_none() {
                libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32
            } else {
                0
            },
        };
        // SAFETY: the call reads one of these. The process may have died meanwhile.
        unsafe { libc::ioctl(notify, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
}
