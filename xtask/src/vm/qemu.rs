//! qemu's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::vm::kernel::Ready;

/// The emulator.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// What a machine is made of.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Kernel and modules.
    pub kernel: &'a Ready,
    /// The first root.
    pub initrd: PathBuf,
    /// The root file system, shared by all machines.
    pub root: &'a Path,
    /// The programs and the command of this run.
    pub run: PathBuf,
    /// Where the kernel's console is written.
    pub console: PathBuf,
    /// Where the output of the command is written.
    pub output: PathBuf,
    /// Memory in mebibytes.
    pub memory: u32,
    /// Processors.
    pub processors: u32,
}

/// The kernel's own command line.
///
/// An emulated machine beside others is slow in a way that no real one is: the thresholds of the kernel's own watchdogs are
/// raised, so that what they tell is a hang. An oops is the end: what runs after it proves nothing.
const KERNEL: &str = "console=ttyS0 loglevel=5 panic=-1 oops=panic softlockup_panic=1 watchdog_thresh=60 \
                      rcupdate.rcu_cpu_stall_timeout=120 mitigations=off tsc=reliable no_timer_check \
                      random.trust_cpu=on net.ifnames=0 init_on_alloc=0";

/// Arguments of [`PROGRAM`].
pub fn arguments(machine: &Machine) -> Vec<OsString> {
    let mut line: Vec<OsString> = [
        // Emulation: it needs no rights and is the same everywhere. Its buffer of translated code is larger than usual
        // because each process is translated anew when it does not fit.
        "-accel tcg,thread=multi,tb-size=512",
        "-machine q35,hpet=off,smm=off,vmport=off -cpu max",
        "-nodefaults -no-user-config -display none -no-reboot -rtc base=utc",
        "-device virtio-rng-pci",
    ]
    .iter()
    .flat_map(|words| words.split(' '))
    .map(OsString::from)
    .collect();
    let mut option = |name: &str, value: OsString| line.extend([name.into(), value]);
    option("-m", machine.memory.to_string().into());
    option("-smp", machine.processors.to_string().into());
    option("-kernel", machine.kernel.image.clone().into());
    option("-initrd", machine.initrd.clone().into());
    option("-append", KERNEL.into());
    // The order of the disks is that of /dev/vda, vdb, vdc in guest/first.sh.
    for disk in [machine.root, &machine.kernel.modules, &machine.run] {
        option("-drive", with("if=virtio,format=raw,cache=unsafe,read-only=on,file=", disk));
    }
    for serial in [&machine.console, &machine.output] {
        option("-serial", with("file:", serial));
    }
    line
}

/// A comma ends an option's value in qemu's syntax; two stand for one.
fn with(head: &str, path: &Path) -> OsString {
    let path = path.to_string_lossy().replace(',', ",,");
    format!("{head}{path}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_consoles_are_in_the_order_that_the_guest_expects() {
        let kernel = Ready {
            release: "6.1".into(),
            image: "/c/vmlinuz".into(),
            initrd: "/c/initrd".into(),
            modules: "/c/mod,ules".into(),
        };
        let machine = Machine {
            kernel: &kernel,
            initrd: "/t/initrd".into(),
            root: Path::new("/c/root"),
            run: "/t/run".into(),
            console: "/t/console".into(),
            output: "/t/output".into(),
            memory: 1024,
            processors: 2,
        };
        let line: Vec<String> = arguments(&machine).iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let values = |name: &str| {
            let pairs = line.windows(2).filter(|pair| pair[0] == name);
            pairs.map(|pair| pair[1].rsplit(['=', ':']).next().unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(values("-drive"), ["/c/root", "/c/mod,,ules", "/t/run"]);
        assert_eq!(values("-serial"), ["/t/console", "/t/output"]);
        assert_eq!((values("-m"), values("-smp"), values("-initrd")), (vec!["1024"], vec!["2"], vec!["/t/initrd"]));
        assert!(line.contains(&"-no-reboot".to_owned()) && line.iter().any(|word| word.contains("panic=-1")));
    }
}
