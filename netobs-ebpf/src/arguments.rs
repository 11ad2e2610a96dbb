//! What kernel code hands to a program that sits on it, by kind of program.

use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, ProbeContext, RawTracePointContext};
use aya_ebpf::{Argument, EbpfContext};
use netobs_common::knobs::registers;

use crate::globals::global;
use crate::kernel::{Memory, Typed, Untyped};

/// A program's context.
pub trait Arguments: EbpfContext {
    /// What pointers among the arguments are.
    type Memory: Memory;

    /// Argument `number`, from 0.
    fn argument<T: Argument>(&self, number: usize) -> T;
}

impl Arguments for BtfTracePointContext {
    type Memory = Typed;

    #[inline(always)]
    fn argument<T: Argument>(&self, number: usize) -> T {
        self.arg(number)
    }
}

impl Arguments for RawTracePointContext {
    type Memory = Untyped;

    #[inline(always)]
    fn argument<T: Argument>(&self, number: usize) -> T {
        self.arg(number)
    }
}

impl Arguments for FEntryContext {
    type Memory = Typed;

    #[inline(always)]
    fn argument<T: Argument>(&self, number: usize) -> T {
        self.arg(number)
    }
}

/// The first two arguments of the function that a kprobe sits on; `None`: on this machine it is not known where they are.
///
/// By fixed offsets for each machine, since the verifier lets nobody add to a pointer to the registers.
#[inline(always)]
pub fn of_function(ctx: &ProbeContext) -> Option<(usize, usize)> {
    let start = ctx.as_ptr().cast::<usize>();
    // SAFETY: fields of the context, `struct pt_regs` in words: on x86-64 `si` and `di` are the 14th and 15th, on arm64
    // `regs` comes first. Volatile, so that each is a load of its own.
    unsafe {
        match global!(KNOBS.registers) {
            registers::X86_64 => Some((start.add(14).read_volatile(), start.add(13).read_volatile())),
            registers::ARM64 => Some((start.read_volatile(), start.add(1).read_volatile())),
            _ => None,
        }
    }
}
