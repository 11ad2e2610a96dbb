//! Read-only globals that the daemon fills in before loading: constants to the verifier, which prunes what they rule out.

use netobs_common::ABI_VERSION;
use netobs_common::knobs::Knobs;
use netobs_common::offsets::Offsets;

/// Tells the daemon which ABI this object speaks.
#[unsafe(no_mangle)]
#[used]
pub static NETOBS_ABI: u16 = ABI_VERSION;

/// Where fields lie in the running kernel's structures.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::ABSENT;

/// What the daemon wants.
#[unsafe(no_mangle)]
pub static KNOBS: Knobs = Knobs::DEFAULT;

/// The value that the daemon gave a global.
#[inline(always)]
pub fn read<T: Copy>(field: &'static T) -> T {
    // SAFETY: a reference to an initialised static that nobody writes while a program runs. Volatile, because the value at
    // run time is not the one that the compiler sees.
    unsafe { core::ptr::read_volatile(field) }
}

/// Reads a field of a global.
macro_rules! global {
    ($global:ident . $field:ident $([$index:expr])?) => {
        $crate::globals::read(&$crate::globals::$global.$field $([$index])?)
    };
}
pub(crate) use global;
