//! A front under ptrace(2): from where the C library has started until its end, every system call, and every call of
//! the allocator.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{fs, thread};

use nix::libc;
use nix::sys::ptrace::{self, AddressType, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::util::{Deadline, run};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This function of the allocator was called.
    Allocates(String),
    /// The number of a system call, and whether it succeeded.
    Call(i64, bool),
    /// The end, with this status.
    Exit(i32),
}

/// The functions of malloc(3) and its neighbours, through which all memory is had.
const ALLOCATORS: [&str; 6] = [
    "aligned_alloc",
    "calloc",
    "malloc",
    "memalign",
    "posix_memalign",
    "realloc",
];

/// Where the program's functions are; it is linked to lie at fixed addresses and has kept its symbols.
fn functions(program: &Path) -> BTreeMap<String, u64> {
    let shown = run(Command::new("nm").arg("--defined-only").arg(program), b"").success();
    let functions = shown.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let at = u64::from_str_radix(words.next()?, 16).ok()?;
        let name = words.nth(1)?;
        Some((name.to_owned(), at))
    });
    functions.collect()
}

/// Runs a command that becomes `program`, and follows that from its `main` on. What it prints goes nowhere.
pub(super) fn follow(command: &mut Command, program: &Path) -> Vec<Event> {
    let functions = functions(program);
    let program = fs::canonicalize(program).expect("the program is there");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: between fork and exec only a system call is made.
    unsafe {
        command.pre_exec(|| Ok(ptrace::traceme()?));
    }
    #[allow(
        clippy::zombie_processes,
        reason = "it is waited for by its number, as it stops and as it ends"
    )]
    let child = command.spawn().expect("the front can be started");
    let traced = Traced(Pid::from_raw(child.id().cast_signed()));
    // wait(2) has no time limit: a process that does not end in time is killed.
    let (over, is_over) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if is_over.recv_timeout(Deadline::soon().left()) == Err(mpsc::RecvTimeoutError::Timeout) {
            // It may have ended in this very moment.
            let _ = kill(traced.0, Signal::SIGKILL);
        }
    });
    let events = traced.events(&functions, &program);
    drop(over);
    watch.join().expect("nothing in it panics");
    events
}

#[derive(Clone, Copy)]
struct Traced(Pid);

impl Traced {
    fn events(self, functions: &BTreeMap<String, u64>, program: &Path) -> Vec<Event> {
        let Traced(pid) = self;
        assert!(matches!(
            self.wait(),
            WaitStatus::Stopped(_, Signal::SIGTRAP)
        ));
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(pid, options).expect("the front is traced");
        while self.program() != program {
            ptrace::cont(pid, None).expect("it has stopped");
            let stop = self.wait();
            assert!(matches!(stop, WaitStatus::PtraceEvent(..)), "{stop:?}");
        }
        let main = functions["main"];
        let before = self.plant(main);
        ptrace::cont(pid, None).expect("it has stopped");
        assert_eq!(self.reached(self.wait()), Some(main));
        self.write(main, before);
        let mut registers = ptrace::getregs(pid).expect("it has stopped");
        registers.rip = main;
        ptrace::setregs(pid, registers).expect("it has stopped");

        let allocators: BTreeMap<u64, &str> = ALLOCATORS
            .into_iter()
            .filter_map(|name| Some((*functions.get(name)?, name)))
            .collect();
        assert!(allocators.values().any(|name| *name == "malloc"));
        let planted: Vec<(u64, i64)> = allocators.keys().map(|&at| (at, self.plant(at))).collect();
        let mut events = Vec::new();
        let mut entered = None;
        loop {
            ptrace::syscall(pid, None).expect("it has stopped");
            let stop = self.wait();
            match stop {
                WaitStatus::Exited(_, status) => {
                    // exit_group(2) does not return.
                    events.extend(entered.map(|number| Event::Call(number, true)));
                    events.push(Event::Exit(status));
                    return events;
                }
                WaitStatus::PtraceSyscall(_) => {
                    let registers = ptrace::getregs(pid).expect("it has stopped");
                    match entered.take() {
                        None => entered = Some(registers.orig_rax.cast_signed()),
                        Some(number) => {
                            events.push(Event::Call(number, registers.rax.cast_signed() >= 0));
                        }
                    }
                }
                _ => {
                    let at = self.reached(stop);
                    let name = at.and_then(|at| allocators.get(&at));
                    let name = name.unwrap_or_else(|| panic!("{stop:?} at {at:x?}"));
                    events.push(Event::Allocates((*name).to_owned()));
                    // The first call is enough: the breakpoint goes.
                    for &(at, before) in &planted {
                        self.write(at, before);
                    }
                    let mut registers = ptrace::getregs(pid).expect("it has stopped");
                    registers.rip -= 1;
                    ptrace::setregs(pid, registers).expect("it has stopped");
                }
            }
        }
    }

    fn wait(self) -> WaitStatus {
        waitpid(self.0, None).expect("it is our child")
    }

    fn program(self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.0)).expect("it has stopped")
    }

    /// Puts the instruction that stops (int3) there; what was there before.
    fn plant(self, at: u64) -> i64 {
        let before = ptrace::read(self.0, at as AddressType).expect("code can be read");
        self.write(at, (before & !0xff) | 0xcc);
        before
    }

    fn write(self, at: u64, word: libc::c_long) {
        ptrace::write(self.0, at as AddressType, word).expect("a tracer may write there");
    }

    /// Where a planted instruction has stopped it.
    fn reached(self, stop: WaitStatus) -> Option<u64> {
        if stop != WaitStatus::Stopped(self.0, Signal::SIGTRAP) {
            return None;
        }
        let registers = ptrace::getregs(self.0).expect("it has stopped");
        Some(registers.rip - 1)
    }
}
