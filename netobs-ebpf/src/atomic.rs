//! Atomic addition, which `core` does not offer for a target without compare-and-swap.

/// Adds `value` to `*target`, atomically, relaxed.
///
/// # Safety
/// `target` points to a map value or another live, aligned `u64`.
#[inline(always)]
pub unsafe fn add(target: *mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: by the caller. BPF_XADD without fetch: every kernel with BPF has it, fetching forms came with 5.12.
    unsafe {
        core::arch::asm!("lock *(u64 *)({target} + 0) += {value}", target = in(reg) target, value = in(reg) value);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: by the caller.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(target).fetch_add(value, core::sync::atomic::Ordering::Relaxed);
    }
}
