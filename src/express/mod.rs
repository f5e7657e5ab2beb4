//! The hot path, from the first instruction of the process: a request that a daemon takes is given to it before the C
//! library has started. What it can't do, it leaves to the normal front as if it had never run.
//!
//! # Theory of operation
//! A web server starts us for every request, so the cost of a request is the cost of starting a process. Most of that is
//! page faults, and most of those are the C library's and the Rust runtime's: relocations, thread-local storage, the
//! heap, a look at the CPU. None of it is needed to say 'here, you do it' to a daemon.
//!
//! In a statically linked executable the kernel jumps straight to the entry point, and the Makefile makes that
//! [`express_start`], in the place of the C library's `_start`. At that moment all that a front needs lies on the stack,
//! where the kernel has put it (see [`stack`]). So:
//!
//! 1. Is this a request, and one without anything peculiar ([`block`])? The environment block, `NAME=value` and NUL for
//!    each variable, is an SCGI header but for the `=`. Each first `=` becomes a NUL, in place: the block is *sealed*.
//! 2. The app file's folder and name, and our uid, make the path of the daemon's socket ([`app`]).
//! 3. connect() without waiting, and a look at whose the socket is, and which app's.
//! 4. One sendmsg(): the opening with CONTENT_LENGTH, the block around it, a comma, and descriptors 0 to 2.
//! 5. One recv() of three bytes: `QTD`, as soon as the daemon needs us no more. Then exit.
//!
//! Whenever a step can't be done, the seals are broken, the `=` put back, and we jump to `_start` with the registers and
//! the stack as the kernel left them; the normal front finds the world as it would have been. Once the request has been
//! sent, its connection is left to the normal front as well ([`polycgi::front::leave`]), since a request that a daemon
//! may have taken is not sent again.
//!
//! # Rules of this room
//! Nothing is initialised here. No call may leave it: memcpy, memset and strlen, to which the compiler turns loops,
//! copies of arrays and comparisons of slices, are IFUNCs in a static glibc, pointers that its start has yet to fill in.
//! So: all is inlined into one function; `#![no_builtins]` for this crate keeps loops what they are; no array is copied,
//! no slice compared by `==`, nothing indexed that could panic. tests/it/express disassembles the result and fails on
//! any way out but the one to `_start`. System calls are made directly ([`calls`]). Statics would be a page fault each,
//! and constants are best small enough to be a part of the instructions.
//!
//! x86-64 only: other processors start in the normal front, and so does a program that is linked dynamically.

mod app;
mod block;
mod calls;
mod handover;
mod stack;

use std::arch::naked_asm;

use block::Block;
use stack::Stack;

/// The entry point. Calls [`hot`] with the stack as the kernel left it; when that returns, goes on in the C library's
/// own entry point, with the stack and `rdx` (where the kernel may leave a function to be called at exit) as they were.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.express")]
unsafe extern "C" fn express_start() -> ! {
    naked_asm!(
        "push rdx",
        "lea rdi, [rsp + 8]",
        // A call wants the stack at a multiple of 16, as it was before the push.
        "sub rsp, 8",
        "call {hot}",
        "add rsp, 8",
        "pop rdx",
        "jmp _start",
        hot = sym hot,
    )
}

/// Does not return where the request was given away. Beside the entry point, so that one page fault is enough for both.
#[unsafe(link_section = ".text.express")]
unsafe extern "C" fn hot(stack: *const usize) {
    // SAFETY: the entry point passes the stack as it was when the kernel started this process.
    let Some(stack) = (unsafe { Stack::read(stack) }) else {
        return;
    };
    if !stack.is_front() {
        return;
    }
    let Some(mut block) = Block::seal(&stack) else {
        return;
    };
    if let Some(app) = app::id(&stack, &block) {
        handover::hand_over(&mut block, &app, stack.uid);
    }
    block.unseal();
}
