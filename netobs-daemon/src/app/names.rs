//! The kernel's names, as the resolver asks for them.

use crate::bpf::netfilter::FirstHooks;
use crate::kernel::reasons::{EnumNames, Reasons};
use crate::kernel::symbols::Symbols;
use crate::resolve::Naming;

/// Reasons and functions of the running kernel.
#[derive(Debug)]
pub struct Names {
    reasons: Reasons,
    reset_reasons: EnumNames,
    symbols: Option<Symbols>,
    first_hooks: FirstHooks,
}

impl Names {
    /// With function names where the kernel shows them to us.
    pub fn new(reasons: Reasons, reset_reasons: EnumNames, first_hooks: FirstHooks) -> Self {
        let symbols = match Symbols::load() {
            Ok(symbols) => Some(symbols),
            Err(error) => {
                tracing::warn!("the functions that drop packets have no names: {error}");
                None
            }
        };
        Self { reasons, reset_reasons, symbols, first_hooks }
    }
}

impl Naming for Names {
    fn drop_reason(&self, number: u32) -> String {
        self.reasons.name(number).into_owned()
    }

    fn has_drop_reason(&self, name: &str) -> bool {
        self.reasons.number(name).is_some()
    }

    fn reset_reason(&self, number: u32) -> Option<String> {
        self.reset_reasons.name(number).map(str::to_owned)
    }

    fn is_first_in_hook(&self, ipv6: bool, number: u32) -> bool {
        self.first_hooks[usize::from(ipv6)].get(number as usize).copied().unwrap_or(false)
    }

    fn symbol(&self, address: u64) -> Option<String> {
        self.symbols.as_ref()?.name(address).map(str::to_owned)
    }
}
