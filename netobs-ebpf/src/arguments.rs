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
/// By fixed offsets for each machine: the verifier lets nobody add to a pointer to the registers, as the compiler would to
/// make one load of two.
#[inline(always)]
pub fn of_function(ctx: &ProbeContext) -> Option<(usize, usize)> {
    let start = ctx.as_ptr() as usize;
    match global!(KNOBS.registers) {
        registers::X86_64 => Some((word::<112>(start), word::<104>(start))),
        registers::ARM64 => Some((word::<0>(start), word::<8>(start))),
        _ => None,
    }
}

/// The word at an offset of the context.
#[inline(always)]
fn word<const OFFSET: usize>(start: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let value: usize;
        // SAFETY: a field of the context: `struct pt_regs` is longer on the machines that this is used on.
        unsafe {
            core::arch::asm!("{value} = *(u64 *)({start} + {offset})", value = out(reg) value, start = in(reg) start,
                offset = const OFFSET, options(readonly, nostack, preserves_flags));
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        start + OFFSET
    }
}
