//! Capabilities: which of them each thread keeps. They belong to threads (`capabilities(7)`), so each gives up its own, for
//! good: what is not permitted any more cannot be had back, as the daemon executes nothing.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// What a thread of the daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Answers requests and talks with the API server.
    Worker,
    /// Reads the rings.
    Pipeline,
    /// Attaches programs to interfaces as they come.
    Attacher,
    /// Looks at network namespaces of processes.
    Places,
}

/// What the threads keep on this kernel, with this configuration.
#[derive(Clone, Copy, Debug)]
pub struct Privileges {
    /// Looking into maps takes `CAP_BPF`, see [`crate::bpf::lookups_need_capability`].
    pub maps: bool,
    /// Files are read again when they change that may be other users': names, certificates.
    pub files: bool,
}

impl Privileges {
    /// Gives up what the calling thread does not need. What it never had it does not miss.
    pub fn keep_for(self, duty: Duty) {
        let wanted = self.needs(duty);
        if let Err(error) = keep(wanted) {
            // Cannot be: a thread may always have less (`cap_capset()`, security/commoncap.c).
            tracing::warn!(%error, ?duty, "a thread could not give up its capabilities");
        }
    }

    fn needs(self, duty: Duty) -> CapabilitySet {
        let mut needs = match duty {
            Duty::Worker if self.files => CapabilitySet::DAC_READ_SEARCH,
            Duty::Worker | Duty::Pipeline => CapabilitySet::empty(),
            // tcx links and filters; an interface may come at any time.
            Duty::Attacher => CapabilitySet::NET_ADMIN,
            // `/proc/PID/ns/net` of pods that come later.
            Duty::Places => CapabilitySet::SYS_PTRACE,
        };
        if self.maps && duty != Duty::Places {
            needs |= CapabilitySet::BPF;
        }
        needs
    }
}

fn keep(wanted: CapabilitySet) -> rustix::io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective &= wanted;
    sets.permitted &= wanted;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)
}

/// Calls something with all but these capabilities in effect.
pub fn without<T>(left_out: CapabilitySet, call: impl FnOnce() -> T) -> rustix::io::Result<T> {
    let had = capabilities(None)?;
    let mut less = had;
    less.effective -= left_out;
    set_capabilities(None, less)?;
    let result = call();
    set_capabilities(None, had)?;
    Ok(result)
}

/// Names of the capabilities that some thread of this process is permitted, without their prefix; `None` where `/proc` does
/// not tell.
pub fn of_process() -> Option<Vec<String>> {
    let mut bits = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        // A thread that has ended has none.
        let Ok(status) = std::fs::read_to_string(thread.ok()?.path().join("status")) else { continue };
        bits |= set_in(&status, "CapPrm:")?;
    }
    Some(names(bits))
}

/// A set of `/proc/PID/status` (`proc_pid_status(5)`).
pub fn set_in(status: &str, line: &str) -> Option<u64> {
    let value = status.lines().find_map(|text| text.strip_prefix(line))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

/// Of each bit that is set; a number where the name is not known here.
fn names(bits: u64) -> Vec<String> {
    let name = |bit: u32| {
        let known = CapabilitySet::from_bits_retain(1 << bit).iter_names().next();
        known.map_or_else(|| bit.to_string(), |(name, _)| name.to_owned())
    };
    (0..u64::BITS).filter(|bit| bits >> bit & 1 == 1).map(name).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_thread_keeps_only_its_own() {
        let check = |maps, files, expected: [CapabilitySet; 4]| {
            let roles = [Duty::Worker, Duty::Pipeline, Duty::Attacher, Duty::Places];
            assert_eq!(roles.map(|duty| Privileges { maps, files }.needs(duty)), expected, "{maps} {files}");
        };
        let none = CapabilitySet::empty();
        let (bpf, read) = (CapabilitySet::BPF, CapabilitySet::DAC_READ_SEARCH);
        let (admin, ptrace) = (CapabilitySet::NET_ADMIN, CapabilitySet::SYS_PTRACE);
        check(false, false, [none, none, admin, ptrace]);
        check(true, false, [bpf, bpf, admin | bpf, ptrace]);
        check(false, true, [read, none, admin, ptrace]);
    }

    #[test]
    fn what_is_given_up_is_gone_in_this_thread_only() {
        let before = capabilities(None).unwrap();
        let within = std::thread::spawn(|| {
            Privileges { maps: false, files: false }.keep_for(Duty::Pipeline);
            capabilities(None).unwrap()
        });
        let within = within.join().unwrap();
        assert!(within.effective.is_empty() && within.permitted.is_empty());
        assert_eq!(capabilities(None).unwrap(), before);
        let inside = without(CapabilitySet::all(), || capabilities(None).unwrap().effective).unwrap();
        assert!(inside.is_empty());
        assert_eq!(capabilities(None).unwrap(), before);
    }

    #[test]
    fn sets_have_names() {
        assert_eq!(names(1 << 12 | 1 << 39), ["NET_ADMIN", "BPF"]);
        assert_eq!(names(1 << 63), ["63"]);
        assert_eq!(set_in("Name:\tx\nCapPrm:\t000001ffffffffff\n", "CapPrm:"), Some(0x1ff_ffff_ffff));
        assert_eq!(set_in("CapPrm:\tzz\n", "CapPrm:"), None);
        assert!(of_process().is_some());
    }
}
