//! The kernel's names, as the resolver asks for them.

use crate::bpf::netfilter::FirstHooks;
use crate::kernel::reasons::Reasons;
use crate::kernel::symbols::Symbols;
use crate::resolve::Naming;

/// Drop reasons and functions of the running kernel.
#[derive(Debug)]
pub struct Names {
    reasons: Reasons,
    symbols: Option<Symbols>,
    first_hooks: FirstHooks,
}

impl Names {
    /// With function names where the kernel shows them to us.
    pub fn new(reasons: Reasons, first_hooks: FirstHooks) -> Self {
        let symbols = match Symbols::load() {
            Ok(symbols) => Some(symbols),
            Err(error) => {
                tracing::warn!("the functions that drop packets have no names: {error}");
                None
            }
        };
        Self { reasons, symbols, first_hooks }
    }
}

impl Naming for Names {
    fn drop_reason(&self, number: u32) -> String {
        self.reasons.name(number).into_owned()
    }

    fn is_first_in_hook(&self, ipv6: bool, number: u32) -> bool {
        self.first_hooks[usize::from(ipv6)].get(number as usize).copied().unwrap_or(false)
    }

    fn symbol(&self, address: u64) -> Option<String> {
        self.symbols.as_ref()?.name(address).map(str::to_owned)
    }
}
