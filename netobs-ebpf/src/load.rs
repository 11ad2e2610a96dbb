//! Loads and stores of words at addresses that need not be aligned.

/// Loads the 32-bit word at `address`.
///
/// # Safety
/// The verifier accepts a load of four bytes there.
#[inline(always)]
pub unsafe fn word(address: usize) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let value: u64;
        // SAFETY: by the caller. One instruction: kernels with BPF JITs load unaligned words, or the verifier refuses it.
        unsafe {
            core::arch::asm!("{value} = *(u32 *)({address} + 0)", value = out(reg) value, address = in(reg) address,
                options(pure, readonly, nostack, preserves_flags));
        }
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: by the caller.
    unsafe {
        core::ptr::read_unaligned(address as *const u32)
    }
}

/// `length`, which is not 0, or `MOST` if it is more: in a form in which every verifier sees that it is neither 0 nor above
/// `MOST`. Before 6.8 a comparison with 0 told it nothing.
#[inline(always)]
pub fn at_most<const MOST: usize>(length: u32) -> u32 {
    let mut less_one = opaque(length.wrapping_sub(1) as usize) & 0xffff;
    if less_one > MOST - 1 {
        less_one = MOST - 1;
    }
    opaque(less_one) as u32 + 1
}

/// Hides from the compiler where a value comes from.
#[inline(always)]
pub fn opaque(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: moves a register onto itself. An empty template would leave two source lines on one instruction, which
        // the verifier refuses.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(value)
}

/// The low half of a kernel pointer as a number. The verifier refuses arithmetic on pointers, but what a 32-bit move makes
/// of one it takes for an unknown scalar (`check_alu_op`, `kernel/bpf/verifier.c`; needs `CAP_PERFMON`).
#[inline(always)]
pub fn low(pointer: u64) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let number: u64;
        // SAFETY: a move between registers. They are named because rustc has no class for their low halves.
        unsafe {
            core::arch::asm!("w0 = w1", lateout("r0") number, in("r1") pointer,
                options(pure, nomem, nostack, preserves_flags));
        }
        number as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        pointer as u32
    }
}
