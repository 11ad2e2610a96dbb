//! Everything that is taken from BTF, in one reading of it.

use std::path::Path;
use std::sync::Arc;

use super::btf::{Btf, BtfError};
use super::offsets;
use super::reasons::{EnumNames, Reasons};

/// What the kernel's BTF says, as far as the daemon needs it.
#[derive(Debug)]
pub struct Facts {
    /// Where the fields lie that the programs read.
    pub offsets: offsets::Found,
    /// Names of drop reasons.
    pub reasons: Reasons,
    /// Names of reset reasons.
    pub reset_reasons: EnumNames,
    /// Whether `skb:kfree_skb` tells a reason (a third argument, since 5.17).
    pub kfree_skb_has_reason: bool,
    /// Whether `skb:kfree_skb` tells the receiving socket (a fourth argument, since 6.11).
    pub kfree_skb_has_socket: bool,
    /// Whether `tcp:tcp_send_reset` tells a reason (a third argument, since 6.10).
    pub reset_has_reason: bool,
}

impl Facts {
    /// Reads the running kernel's BTF, or what `file` says it to be; its 5 to 10 MB are freed before this returns.
    pub fn read(file: Option<&Path>) -> Result<Self, BtfError> {
        let base = Arc::new(file.map_or_else(Btf::running, Btf::from_file)?);
        let reasons = Reasons::from_btf(&base);
        // Its arguments come after one that is not the tracepoint's.
        let kfree_skb = base.parameters("btf_trace_kfree_skb").unwrap_or_default();
        let (kfree_skb_has_reason, kfree_skb_has_socket) = (kfree_skb >= 4, kfree_skb >= 5);
        let reset_reasons = EnumNames::reset_reasons(&base);
        let reset_has_reason = base.parameters("btf_trace_tcp_send_reset").is_some_and(|count| count >= 4);
        Ok(Self {
            offsets: offsets::with_conntrack(&base)?,
            reasons,
            reset_reasons,
            kfree_skb_has_reason,
            kfree_skb_has_socket,
            reset_has_reason,
        })
    }
}
