//! Which packages of the distribution each purpose needs. Names are those of Debian and Ubuntu.

use clap::ValueEnum;

/// What the machine is to be able to do. Each includes building.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Build the kernel object and the daemon.
    Build,
    /// Run the lab (tests, demo): real rules, real DNS servers, real clients.
    Lab,
    /// Run the benches: the lab, and the tools netobs is compared with.
    Bench,
    /// Run the lab on other kernels, in emulated machines: their tools are in the machines.
    Vm,
    /// Run the gate: the lab, and the tools that check the sources.
    Check,
}

/// A package and the program in it that is used; a program in `PATH` counts, whoever put it there.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Name for apt.
    pub name: &'static str,
    /// Program that shows that it is there.
    pub program: &'static str,
}

const LAB: &[Package] = &[
    Package { name: "iproute2", program: "ip" },
    Package { name: "nftables", program: "nft" },
    Package { name: "iptables", program: "iptables" },
    Package { name: "iputils-ping", program: "ping" },
    Package { name: "knot", program: "knotd" },
    Package { name: "bind9-dnsutils", program: "dig" },
    Package { name: "bpftool", program: "bpftool" },
    Package { name: "socat", program: "socat" },
];

/// Reads the systemd unit. (What else the checks of `deploy/` need is no package of the distribution.)
pub const CHECK: &[Package] = &[Package { name: "systemd", program: "systemd-analyze" }];

const BENCH: &[Package] = &[
    Package { name: "bpftrace", program: "bpftrace" },
    Package { name: "tcpdump", program: "tcpdump" },
    Package { name: "linux-perf", program: "perf" },
];

const VM: &[Package] = &[
    Package { name: "qemu-system-x86", program: "qemu-system-x86_64" },
    Package { name: "e2fsprogs", program: "mkfs.ext4" },
    Package { name: "kmod", program: "depmod" },
    Package { name: "xz-utils", program: "xz" },
    Package { name: "zstd", program: "zstd" },
    Package { name: "tar", program: "tar" },
];

/// Packages for a purpose, without those of the kernel-side toolchain, which are chosen by probing.
pub fn for_purpose(purpose: Purpose) -> Vec<Package> {
    match purpose {
        Purpose::Build => Vec::new(),
        Purpose::Lab => LAB.to_vec(),
        Purpose::Vm => VM.to_vec(),
        Purpose::Check => [LAB, CHECK].concat(),
        Purpose::Bench => [LAB, BENCH].concat(),
    }
}
