//! The environment block as an SCGI header: sealed, it is one except for its beginning and its end. Knows names, and
//! which of them are not for the hot path; not what they mean.

use std::mem::MaybeUninit;

use polycgi::bounded::Word;
use polycgi::cgi::meta::HTTP_PROXY;
use polycgi::handoff::{self, LONGEST_LENGTH};

use super::stack::{Stack, text};

const CONTENT_LENGTH: Word = Word::new("CONTENT_LENGTH");
const HOME: Word = Word::new("HOME");
const GATEWAY_INTERFACE: Word = Word::new("GATEWAY_INTERFACE");
/// A block with one of these is for the normal front: HTTP_PROXY must be dropped, and the others may not come twice.
const NOT_HERE: [Word; 3] = [HTTP_PROXY, Word::new("SCGI"), Word::new(handoff::VARIABLE)];

/// The most variables. A web server sends 20 to 50, and takes some 100 fields from a client. More are for the normal
/// front.
const MOST: usize = 256;
/// The longest block: the default of `header-limit`, and less than a socket's buffer, so that it goes in one piece.
/// Longer ones are for the normal front.
const LONGEST: usize = 64 << 10;

/// The block, sealed: for each variable its name, NUL, its value, NUL.
pub(super) struct Block {
    environ: *const *mut u8,
    /// How many variables are sealed: the first ones.
    sealed: usize,
    /// The value of the last of them.
    last: *const u8,
    /// The value of HOME, if it is among them.
    home: Option<*const u8>,
    /// CONTENT_LENGTH, if it is among them.
    length: Option<Sealed>,
    is_request: bool,
}

/// A variable that was sealed.
#[derive(Clone, Copy)]
struct Sealed {
    start: *const u8,
    value: *const u8,
}

/// The names that came before, by their hashes (FNV-1a). Two names with the same hash are taken for the same, and the
/// block is left to the normal front.
struct Seen([MaybeUninit<u32>; MOST]);

impl Block {
    /// Seals the block if this is a request for the hot path.
    #[inline(always)]
    pub(super) fn seal(stack: &Stack) -> Option<Block> {
        let mut block = Block {
            environ: stack.environ,
            sealed: 0,
            last: std::ptr::null(),
            home: None,
            length: None,
            is_request: false,
        };
        let mut seen = Seen([const { MaybeUninit::uninit() }; MOST]);
        loop {
            // SAFETY: the pointers end with a NULL, behind which we do not look.
            let variable = unsafe { *block.environ.add(block.sealed) };
            if variable.is_null() {
                break;
            }
            // SAFETY: each of them leads to a string of ours.
            if !unsafe { block.seal_next(variable, &mut seen) } {
                block.unseal();
                return None;
            }
        }
        if !block.is_request || !block.is_short() {
            block.unseal();
            return None;
        }
        Some(block)
    }

    /// Seals one more variable. `false`: it is not for the hot path, and is left as it is.
    ///
    /// # Safety
    /// `variable` is a string that ends in NUL, and nothing else reads or writes it meanwhile.
    #[inline(always)]
    unsafe fn seal_next(&mut self, variable: *mut u8, seen: &mut Seen) -> bool {
        if self.sealed > 0 {
            // SAFETY: the value before ends in a NUL at least.
            let follows = variable.cast_const() > self.last && unsafe { *variable.sub(1) } == 0;
            // No kernel of today lays them out otherwise.
            if !follows {
                return false;
            }
        }
        let mut equals = variable;
        let mut hash = 0x811c_9dc5_u32;
        // SAFETY: this stops at the NUL at the latest. All of it is in the string.
        let name = unsafe {
            while *equals != b'=' && *equals != 0 {
                hash = (hash ^ u32::from(*equals)).wrapping_mul(0x0100_0193);
                equals = equals.add(1);
            }
            if *equals == 0 {
                return false;
            }
            std::slice::from_raw_parts(variable, equals.offset_from_unsigned(variable))
        };
        if name.is_empty() || !seen.add(self.sealed, hash) {
            return false;
        }
        let (mut is_home, mut is_length) = (false, false);
        // The names that matter here are short.
        if let Some(name) = Word::read(name) {
            if NOT_HERE.iter().any(|word| name.is(word)) {
                return false;
            }
            self.is_request |= name.is(&GATEWAY_INTERFACE);
            is_home = name.is(&HOME);
            is_length = name.is(&CONTENT_LENGTH);
        }
        // SAFETY: the stack is ours to write, and `name` is not looked at any more. Behind the `=` is a value or a NUL.
        let value = unsafe {
            *equals = 0;
            equals.add(1).cast_const()
        };
        if is_home {
            self.home = Some(value);
        }
        if is_length {
            let start = variable.cast_const();
            self.length = Some(Sealed { start, value });
        }
        self.last = value;
        self.sealed += 1;
        true
    }

    /// Whether the block is short, and CONTENT_LENGTH a number that the hot path takes.
    #[inline(always)]
    fn is_short(&self) -> bool {
        let Parts { length, around } = self.parts();
        length.iter().all(u8::is_ascii_digit)
            && length.len() < LONGEST_LENGTH
            && around[0].len() + around[1].len() <= LONGEST
    }

    /// The parts of a block that has a variable in it.
    #[inline(always)]
    pub(super) fn parts(&self) -> Parts<'_> {
        // SAFETY: the variables lie one behind the other, from the first to the NUL of the last. They are not written
        // to as long as this is borrowed.
        unsafe {
            let start = (*self.environ).cast_const();
            let end = behind(text(self.last));
            let (length, before, after) = match self.length {
                Some(pair) => (text(pair.value), pair.start, behind(text(pair.value))),
                None => (&[][..], end, end),
            };
            Parts {
                length,
                around: [between(start, before), between(after, end)],
            }
        }
    }

    /// The value of HOME, if it has one.
    #[inline(always)]
    pub(super) fn home(&self) -> Option<&[u8]> {
        // SAFETY: a value ends in NUL, and is not written to as long as this is borrowed.
        let home = unsafe { text(self.home?) };
        (!home.is_empty()).then_some(home)
    }

    /// Puts the `=` back.
    #[inline(always)]
    pub(super) fn unseal(&mut self) {
        while self.sealed > 0 {
            self.sealed -= 1;
            // SAFETY: as in `seal`; the first NUL of a sealed variable is where its `=` was.
            unsafe {
                let mut equals = *self.environ.add(self.sealed);
                while *equals != 0 {
                    equals = equals.add(1);
                }
                *equals = b'=';
            }
        }
    }
}

/// A sealed block, divided as a header needs it.
pub(super) struct Parts<'a> {
    /// The value of CONTENT_LENGTH, empty where there is none.
    pub(super) length: &'a [u8],
    /// What lies before and behind this variable.
    pub(super) around: [&'a [u8]; 2],
}

impl Seen {
    /// Adds the hash at `count`, unless it is one of those before it. `false`: it is, or there is no room.
    #[inline(always)]
    fn add(&mut self, count: usize, hash: u32) -> bool {
        for before in self.0.iter().take(count) {
            // SAFETY: they were written, one with each call that came before.
            if unsafe { before.assume_init() } == hash {
                return false;
            }
        }
        match self.0.get_mut(count) {
            Some(next) => {
                next.write(hash);
                true
            }
            None => false,
        }
    }
}

/// The address behind the NUL of a string.
///
/// # Safety
/// The string has one.
#[inline(always)]
unsafe fn behind(string: &[u8]) -> *const u8 {
    // SAFETY: so the caller says.
    unsafe { string.as_ptr().add(string.len() + 1) }
}

/// # Safety
/// All from `start` to `end` may be read, and is not written while it is borrowed.
#[inline(always)]
unsafe fn between<'a>(start: *const u8, end: *const u8) -> &'a [u8] {
    // SAFETY: so the caller says.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
