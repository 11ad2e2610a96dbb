//! What must be there before programs can be loaded, and what is merely missed: one sentence each.

use super::btf::VMLINUX;
use super::privileges::set_in;

/// Bits of `CapEff` (include/uapi/linux/capability.h).
mod bit {
    pub const NET_ADMIN: u32 = 12;
    pub const SYS_PTRACE: u32 = 19;
    pub const SYS_ADMIN: u32 = 21;
    pub const SYSLOG: u32 = 34;
    pub const PERFMON: u32 = 38;
    pub const BPF: u32 = 39;
}

/// Something that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Without it the daemon cannot start; otherwise it sees or names less.
    pub fatal: bool,
    /// What is missing and how to get it: one sentence.
    pub sentence: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Kernel release, as `uname -r` says it.
    pub release: String,
    /// What is missing, fatal first.
    pub missing: Vec<Missing>,
}

impl Preflight {
    /// Looks at this process and this kernel. `btf_given`: the kernel's own BTF is not needed.
    pub fn run(btf_given: bool) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let btf = if btf_given { None } else { std::fs::File::open(VMLINUX).err() };
        let missing = judge(set_in(&status, "CapEff:"), btf.map(|error| error.kind()), &release);
        Self { release, missing }
    }

    /// Whether programs can be loaded.
    pub fn can_load(&self) -> bool {
        self.missing.iter().all(|missing| !missing.fatal)
    }
}

fn judge(capabilities: Option<u64>, btf: Option<std::io::ErrorKind>, release: &str) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |fatal, sentence: String| missing.push(Missing { fatal, sentence });
    if let Some(kind) = btf {
        add(
            true,
            match kind {
                std::io::ErrorKind::NotFound => format!(
                    "The kernel {release} has no BTF at {VMLINUX}: use a kernel built with CONFIG_DEBUG_INFO_BTF=y, and mount /sys; or give this kernel's BTF with --btf FILE (`pahole --btf_encode_detached FILE vmlinux` makes it from the kernel's debug symbols)."
                ),
                _ => format!("{VMLINUX} cannot be read ({kind}): run netobs as root."),
            },
        );
    }
    let Some(capabilities) = capabilities else {
        add(true, "The capabilities of this process cannot be read: mount /proc.".to_owned());
        return missing;
    };
    let has = |bit: u32| capabilities >> bit & 1 == 1;
    let admin = has(bit::SYS_ADMIN);
    // CAP_SYS_ADMIN stands in for the two (bpf_capable, perfmon_capable in include/linux/capability.h), not for the third.
    let lacking: Vec<&str> = [
        ("CAP_BPF", has(bit::BPF) || admin),
        ("CAP_PERFMON", has(bit::PERFMON) || admin),
        ("CAP_NET_ADMIN", has(bit::NET_ADMIN)),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect();
    if !lacking.is_empty() {
        let names = lacking.join(", ");
        add(
            true,
            format!("{names} missing: run netobs as root, or add it to the container's securityContext.capabilities."),
        );
    }
    if !has(bit::SYSLOG) {
        add(
            false,
            "CAP_SYSLOG missing: kernel functions in drop events stay without a name until it is added.".to_owned(),
        );
    }
    if !has(bit::SYS_PTRACE) {
        add(
            false,
            "CAP_SYS_PTRACE missing: network namespaces of pods cannot be looked at, so that pods are found by cgroup \
             and address only until it is added (with hostPID)."
                .to_owned(),
        );
    }
    missing
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(capabilities: Option<u64>, btf: Option<std::io::ErrorKind>, expected: &[(bool, &str)]) {
        let missing = judge(capabilities, btf, "6.1.0");
        let starts: Vec<(bool, &str)> = missing
            .iter()
            .map(|missing| (missing.fatal, missing.sentence.split([':', '(']).next().unwrap().trim()))
            .collect();
        assert_eq!(starts, expected);
        assert!(missing.iter().all(|missing| missing.sentence.ends_with('.') && !missing.sentence.contains('\n')));
    }

    #[test]
    fn each_lack_is_one_sentence() {
        let all = u64::MAX;
        let without = |bits: &[u32]| Some(bits.iter().fold(all, |set, bit| set & !(1 << bit)));
        check(Some(all), None, &[]);
        check(without(&[bit::BPF, bit::PERFMON]), None, &[]);
        check(without(&[bit::BPF, bit::SYS_ADMIN]), None, &[(true, "CAP_BPF missing")]);
        check(
            without(&[bit::NET_ADMIN, bit::SYSLOG]),
            None,
            &[(true, "CAP_NET_ADMIN missing"), (false, "CAP_SYSLOG missing")],
        );
        check(
            Some(0),
            Some(std::io::ErrorKind::NotFound),
            &[
                (true, "The kernel 6.1.0 has no BTF at /sys/kernel/btf/vmlinux"),
                (true, "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN missing"),
                (false, "CAP_SYSLOG missing"),
                (false, "CAP_SYS_PTRACE missing"),
            ],
        );
        check(
            Some(all),
            Some(std::io::ErrorKind::PermissionDenied),
            &[(true, "/sys/kernel/btf/vmlinux cannot be read")],
        );
        check(None, None, &[(true, "The capabilities of this process cannot be read")]);
    }

    #[test]
    fn this_kernel_has_a_name() {
        assert!(!Preflight::run(false).release.is_empty());
    }
}
