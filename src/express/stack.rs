//! What the kernel leaves on the stack of a new process. Knows the layout, and nothing of requests.
//!
//! At the stack pointer, each a word: argc; argc pointers to the arguments, NULL; pointers to the variables of the
//! environment, NULL; the auxiliary vector, pairs of a type and a value, up to AT_NULL. The strings lie above, those of
//! the environment one behind the other in the order of their pointers (Linux, fs/binfmt_elf.c, create_elf_tables;
//! System V ABI for AMD64, 3.4.1).

use polycgi::naming::Applet;

/// getauxval(3)
const AT_NULL: usize = 0;
const AT_EUID: usize = 12;
const AT_EXECFN: usize = 31;

/// What the hot path takes from the stack.
pub(super) struct Stack {
    argv0: *const u8,
    /// The pointers to the variables, up to a NULL.
    pub(super) environ: *const *mut u8,
    /// The path that was given to execve(2).
    pub(super) exec_name: *mut u8,
    /// The effective uid.
    pub(super) uid: u32,
}

impl Stack {
    /// # Safety
    /// `stack` is the stack pointer that the kernel started this process with.
    #[inline(always)]
    pub(super) unsafe fn read(stack: *const usize) -> Option<Stack> {
        // SAFETY: all words up to AT_NULL are there, as the layout above says.
        unsafe {
            let argc = *stack;
            let argv = stack.add(1);
            let environ = argv.add(argc + 1);
            let mut word = environ;
            while *word != 0 {
                word = word.add(1);
            }
            let mut pair = word.add(1);
            let (mut exec_name, mut uid) = (0, None);
            while *pair != AT_NULL {
                match *pair {
                    AT_EUID => uid = Some(*pair.add(1) as u32),
                    AT_EXECFN => exec_name = *pair.add(1),
                    _ => {}
                }
                pair = pair.add(2);
            }
            if argc == 0 || exec_name == 0 {
                return None;
            }
            Some(Stack {
                argv0: *argv as *const u8,
                environ: environ.cast(),
                exec_name: exec_name as *mut u8,
                uid: uid?,
            })
        }
    }

    /// Whether the applet that a web server means is the front.
    #[inline(always)]
    pub(super) fn is_front(&self) -> bool {
        // SAFETY: an argument ends in NUL, and is not written to.
        let argv0 = unsafe { text(self.argv0) };
        matches!(Applet::under_web_server(argv0), Applet::CgiFront)
    }
}

/// The bytes up to the NUL.
///
/// # Safety
/// There is a NUL, and these bytes are not written to as long as they are borrowed.
#[inline(always)]
pub(super) unsafe fn text<'a>(start: *const u8) -> &'a [u8] {
    // SAFETY: up to the NUL all bytes belong to the string.
    unsafe {
        let mut end = start;
        while *end != 0 {
            end = end.add(1);
        }
        std::slice::from_raw_parts(start, end.offset_from_unsigned(start))
    }
}
