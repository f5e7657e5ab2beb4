//! The hot path, from the first instruction of the process: gives the request to a daemon before the C library has
//! started. A request that it can't give away it leaves to the normal front, as if the hot path had not run.
//!
//! # Theory of operation
//! A web server starts us for every request, so the cost of a request is the cost of starting a process. Most of that
//! is page faults, and most of those are the C library's and the Rust runtime's: relocations, thread-local storage, the
//! heap, a look at the CPU. None of it is needed to give a request to a daemon.
//!
//! In a statically linked executable the kernel jumps straight to the entry point, and the Makefile makes that
//! [`express_start`], in the place of the C library's `_start`. At that moment all that a front needs lies on the
//! stack, where the kernel has put it (see [`stack`]). So:
//!
//! 1. Is this a request, and an ordinary one ([`block`])? The environment block, `NAME=value` and NUL for each
//!    variable, is an SCGI header except for the `=`. The first `=` of each becomes a NUL, in place: the block is
//!    *sealed*.
//! 2. The app file's folder and name, and our uid, make the path of the daemon's socket ([`app`]).
//! 3. connect() without waiting; then we ask which user and which app the socket belongs to.
//! 4. One sendmsg(): the opening with CONTENT_LENGTH, the block around it, a comma, and descriptors 0 to 2.
//! 5. One recv() of three bytes: `QTD`, as soon as the daemon needs us no more. Then exit.
//!
//! If a step fails, each `=` is put back, and we jump to `_start` with the registers and the stack as the kernel left
//! them: the normal front starts as usual. Once the request has been sent, its connection is left to the normal front
//! as well ([`polycgi::front::leave`]), since a request that a daemon may have taken must not be sent again.
//!
//! # Rules of this room
//! Nothing is initialised here, and no function outside may be called. The compiler turns loops, copies of arrays and
//! comparisons of slices into calls of memcpy, memset and strlen; in a static glibc these are IFUNCs, pointers that are
//! not set before the C library starts. So: all is inlined into one function; `#![no_builtins]` for this crate keeps
//! loops as they are; no array is copied, no slice is compared by `==`, nothing is indexed that could panic.
//! tests/it/express disassembles the result, and fails if any way leads out but the one to `_start`. System calls are
//! made directly ([`calls`]). A static would be a page fault, and constants are best small enough to be a part of the
//! instructions.
//!
//! x86-64 only: on other processors, and if it is linked dynamically, the program starts in the normal front.

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

/// Does not return if the daemon has taken the request. Lies beside the entry point: one page fault is enough for both.
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
