//! A program with an entry point of its own, as ours has: sound, or with one thing that the hot path must not do. It is
//! compiled and disassembled, and never run.
#![no_builtins]
#![allow(unexpected_cfgs)]

use std::arch::{asm, naked_asm};
use std::hint::black_box;

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn express_start() -> ! {
    naked_asm!("mov rdi, rsp", "call {hot}", "jmp _start", hot = sym hot)
}

unsafe extern "C" fn hot(stack: *mut [u8; 300]) {
    let mut sum = 0_u8;
    // SAFETY: this is never run.
    unsafe {
        for &byte in (*stack).iter() {
            sum = sum.wrapping_add(byte);
        }
        #[cfg(plant = "array_copy")]
        stack.add(1).write(black_box(*stack));
        #[cfg(plant = "slice_equals")]
        {
            let (one, other) = (*stack).split_at(sum as usize);
            sum |= u8::from(one == other);
        }
        #[cfg(plant = "function")]
        {
            sum |= elsewhere(sum);
        }
        #[cfg(plant = "pointer")]
        {
            let pointer: fn(u8) -> u8 = black_box(elsewhere);
            sum |= pointer(sum);
        }
        #[cfg(plant = "thread_local")]
        asm!("mov {word}, fs:0", word = out(reg) _);
        asm!("/* {0} */", in(reg_byte) sum);
    }
}

#[inline(never)]
fn elsewhere(number: u8) -> u8 {
    black_box(number)
}

fn main() {
    black_box(elsewhere(1));
}
