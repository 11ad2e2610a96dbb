//! Names of reasons, from the running kernel: the numbers of `enum skb_drop_reason` and `enum sk_rst_reason` are not ABI.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::btf::Btf;

/// Most names kept. The kernel has some 120 core reasons and 4 subsystems.
const MAX_NAMES: usize = 4096;
/// The subsystem lies in the high 16 bits (`SKB_DROP_REASON_SUBSYS_SHIFT`, include/net/dropreason.h).
const SUBSYSTEM_SHIFT: u32 = 16;

/// Names of an enum of the running kernel, without their common prefix, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnumNames(BTreeMap<u32, Box<str>>);

impl EnumNames {
    /// Reads `enum sk_rst_reason` (include/net/rstreason.h, since 6.10): why the kernel sends a reset.
    pub fn reset_reasons(btf: &Btf) -> Self {
        Self::from_values(btf.enum_values("sk_rst_reason").unwrap_or_default(), "SK_RST_REASON_")
    }

    fn from_values(values: Vec<(String, i64)>, prefix: &str) -> Self {
        let mut names = BTreeMap::new();
        for (name, value) in values.into_iter().take(MAX_NAMES) {
            let short = name.strip_prefix(prefix).unwrap_or(&name);
            // Bounds and masks of the enum are not reasons.
            if matches!(short, "MAX" | "SUBSYS_MASK" | "NUM") {
                continue;
            }
            // On kernels where the enum is signed, a number above i32::MAX reads as negative.
            let Ok(value) = u32::try_from(value & 0xffff_ffff) else { continue };
            names.entry(value).or_insert_with(|| short.into());
        }
        Self(names)
    }

    /// Name of a number.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.0.get(&number).map(|name| &**name)
    }

    /// Whether the kernel has no such enum.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The running kernel's drop reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    names: EnumNames,
    subsystems: EnumNames,
}

impl Reasons {
    /// Reads the names. Without `enum skb_drop_reason` (before 5.17) there are none.
    pub fn from_btf(btf: &Btf) -> Self {
        let enum_values = |name| btf.enum_values(name).unwrap_or_default();
        Self::from_values(enum_values("skb_drop_reason"), enum_values("skb_drop_reason_subsys"))
    }

    fn from_values(reasons: Vec<(String, i64)>, subsystems: Vec<(String, i64)>) -> Self {
        Self {
            names: EnumNames::from_values(reasons, "SKB_DROP_REASON_"),
            subsystems: EnumNames::from_values(subsystems, "SKB_DROP_REASON_SUBSYS_"),
        }
    }

    /// Name of a reason without its prefix, such as `NETFILTER_DROP`.
    ///
    /// A number without a name is shown as `REASON_n`; a subsystem's, whose names are in no core enum, as
    /// `OPENVSWITCH_REASON_n` or `SUBSYS_n_REASON_m`.
    pub fn name(&self, reason: u32) -> Cow<'_, str> {
        if let Some(name) = self.names.name(reason) {
            return Cow::Borrowed(name);
        }
        let (subsystem, number) = (reason >> SUBSYSTEM_SHIFT, reason & 0xffff);
        if subsystem == 0 {
            return Cow::Owned(format!("REASON_{number}"));
        }
        Cow::Owned(match self.subsystems.name(subsystem) {
            Some(name) => format!("{name}_REASON_{number}"),
            None => format!("SUBSYS_{subsystem}_REASON_{number}"),
        })
    }

    /// Number of a reason by its name without prefix.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names.0.iter().find(|(_, known)| &***known == name).map(|(&number, _)| number)
    }

    /// Gives a name to a number that this kernel does not use.
    pub(super) fn name_it(&mut self, number: u32, name: &str) {
        self.names.0.entry(number).or_insert_with(|| name.into());
    }

    /// These and no others, without prefix.
    #[cfg(test)]
    pub(super) fn named(values: &[(&str, i64)]) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self::from_values(values, Vec::new())
    }

    /// Number of the reason that netfilter's drops carry.
    pub fn netfilter_drop(&self) -> Option<u32> {
        self.number("NETFILTER_DROP")
    }

    /// Whether this kernel names its drop reasons.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All named reasons, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.0.iter().map(|(&number, name)| (number, &**name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_fallbacks() {
        let pair = |name: &str, value| (name.to_owned(), value);
        let reasons = Reasons::from_values(
            vec![
                pair("SKB_NOT_DROPPED_YET", 0),
                pair("SKB_DROP_REASON_NO_SOCKET", 3),
                pair("SKB_DROP_REASON_NETFILTER_DROP", 8),
                pair("SKB_DROP_REASON_MAX", 120),
                pair("SKB_DROP_REASON_SUBSYS_MASK", -65536),
            ],
            vec![pair("SKB_DROP_REASON_SUBSYS_CORE", 0), pair("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 3)],
        );
        for (number, name) in [
            (0, "SKB_NOT_DROPPED_YET"),
            (3, "NO_SOCKET"),
            (8, "NETFILTER_DROP"),
            (120, "REASON_120"),
            (0x3_0002, "OPENVSWITCH_REASON_2"),
            (0x9_0001, "SUBSYS_9_REASON_1"),
            (u32::MAX, "SUBSYS_65535_REASON_65535"),
        ] {
            assert_eq!(reasons.name(number), name);
        }
        assert_eq!(reasons.netfilter_drop(), Some(8));
        assert_eq!(reasons.number("NONE"), None);
        assert_eq!(Reasons::default().name(3), "REASON_3");
    }

    #[test]
    fn reset_reasons_have_their_own_prefix() {
        let pair = |name: &str, value| (name.to_owned(), value);
        let values = vec![
            pair("SK_RST_REASON_NOT_SPECIFIED", 0),
            pair("SK_RST_REASON_TCP_ABORT_ON_CLOSE", 30),
            pair("SK_RST_REASON_MAX", 40),
        ];
        let names = EnumNames::from_values(values, "SK_RST_REASON_");
        let found = [0, 30, 40, u32::MAX].map(|number| names.name(number));
        assert_eq!(found, [Some("NOT_SPECIFIED"), Some("TCP_ABORT_ON_CLOSE"), None, None]);
        assert!(EnumNames::default().is_empty() && !names.is_empty());
    }

    #[test]
    fn the_running_kernel_names_its_reasons() {
        let Ok(btf) = Btf::running() else {
            eprintln!("skipped: this kernel has no BTF");
            return;
        };
        let reasons = Reasons::from_btf(&btf);
        if reasons.is_empty() {
            eprintln!("skipped: this kernel has no enum skb_drop_reason");
            return;
        }
        let number = reasons.netfilter_drop().unwrap();
        assert_eq!(reasons.name(number), "NETFILTER_DROP");
        assert!(reasons.number("NO_SOCKET").is_some());
        assert!(reasons.iter().all(|(_, name)| name != "MAX"));
    }
}
