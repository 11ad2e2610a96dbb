//! Loads the kernel programs and attaches those that need no interface.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use netobs_common::counters::family;
use netobs_common::knobs::{Knobs, NO_REASON, registers};
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::classifier_hooks::TCX;
use crate::bpf::buckets::Buckets;
use crate::bpf::classifiers::Classifiers;
use crate::bpf::counters::CounterMap;
use crate::bpf::load::{Scope, Settings, load as load_object};
use crate::bpf::netfilter::{FirstHooks, Netfilter};
use crate::bpf::rings::{RingProbe, Rings};
use crate::bpf::tracepoint::Tracepoint;
use crate::config::{Config, Feature, ScopeChoice};
use crate::http::status::HookStatus;
use crate::kernel::{facts::Facts, scope};
use crate::pipeline::{KernelCounters, KernelSample};

/// Entries of the table of coalescing buckets.
const BUCKETS: u32 = 8192;

/// How this machine passes arguments.
const REGISTERS: u32 = if cfg!(target_arch = "x86_64") {
    registers::X86_64
} else if cfg!(target_arch = "aarch64") {
    registers::ARM64
} else {
    registers::UNKNOWN
};

/// Programs at tracepoints: name, the tracepoint as users know it, and what is lost without it.
const TRACEPOINTS: [(&str, &str, &str); 4] = [
    ("kfree_skb", "skb:kfree_skb", "drops are not seen"),
    ("tcp_send_reset", "tcp:tcp_send_reset", "resets have no reason, and those in a pod's own loopback are not seen"),
    ("tcp_receive_reset", "tcp:tcp_receive_reset", "resets do not say in which state their receiver was"),
    ("inet_sock_set_state", "sock:inet_sock_set_state", "who opened a connection in a pod's own loopback is not known"),
];

/// Reasons of fragments that were given up (`enum skb_drop_reason`).
const FRAGMENT_REASONS: [&str; 3] = ["FRAG_REASM_TIMEOUT", "DUP_FRAG", "FRAG_TOO_FAR"];

/// Their numbers on the running kernel.
fn fragment_reasons(facts: &Facts) -> [u32; 4] {
    let mut numbers = [NO_REASON; 4];
    for (number, name) in numbers.iter_mut().zip(FRAGMENT_REASONS) {
        *number = facts.reasons.number(name).unwrap_or(NO_REASON);
    }
    numbers
}

/// The programs, and the maps by their users.
pub struct Programs {
    /// For the attacher.
    pub classifiers: Option<Classifiers>,
    /// For the attacher.
    pub scope: Scope,
    /// For the pipeline.
    pub rings: Rings,
    /// For the pipeline.
    pub buckets: Buckets,
    /// Counters, and everything that must live as long as they do.
    pub kernel: Arc<KernelSide>,
    /// Debug lines.
    pub logger: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
    /// What is attached.
    pub hooks: Vec<HookStatus>,
    /// Memory of the maps, bytes.
    pub map_bytes: Option<u64>,
    /// The netfilter hooks in which nothing can drop a packet before our program sees it.
    pub first_hooks: FirstHooks,
}

/// Counters of the programs. Keeps the programs attached.
pub struct KernelSide {
    counters: CounterMap,
    rings: RingProbe,
    hooks: Mutex<Hooks>,
    _object: Ebpf,
}

/// What is attached without an interface.
struct Hooks {
    tracepoints: Vec<Tracepoint>,
    netfilter: Option<Netfilter>,
}

impl KernelSide {
    /// The counters, now.
    pub fn counters(&self) -> Result<netobs_common::counters::Counters, aya::maps::MapError> {
        self.counters.read()
    }

    /// Detaches what is attached without an interface.
    pub fn detach(&self) {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.tracepoints.clear();
        hooks.netfilter = None;
    }
}

impl KernelCounters for KernelSide {
    fn sample(&self) -> Result<KernelSample, String> {
        let counters = self.counters.read().map_err(|error| format!("the counters cannot be read: {error}"))?;
        // After the counters: a record that they do not count yet only makes this unknown.
        let empty = self.rings.empty();
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(KernelSample {
            hooks: counters.hooks,
            families: counters.families,
            in_ring: empty.map(|empty| empty.then_some(0)),
            netfilter_runs: counters.netfilter_runs,
            recursion_misses: hooks.tracepoints.iter().map(Tracepoint::recursion_misses).sum(),
        })
    }
}

/// Loads everything. Only what the daemon is useless without is an error.
pub fn load(config: &Config, facts: &Facts, own_netns: u32) -> Result<Programs> {
    let machine = match config.scope {
        ScopeChoice::Machine => true,
        ScopeChoice::Node => false,
        ScopeChoice::Auto => scope::in_initial_netns().unwrap_or(false),
    };
    let mut burst = Knobs::DEFAULT.burst;
    burst[family::DROP] = config.drop_burst;
    let settings = Settings {
        knobs: Knobs {
            own_netns,
            scope_all: u32::from(machine),
            dns_ports: config.dns_ports,
            drop_reason: u32::from(facts.kfree_skb_has_reason),
            unspecified_reason: facts.reasons.number("NOT_SPECIFIED").unwrap_or(NO_REASON),
            registers: REGISTERS,
            rx_socket: u32::from(facts.kfree_skb_has_socket),
            reset_reason: u32::from(facts.reset_has_reason),
            fragment_reasons: fragment_reasons(facts),
            burst,
            ..Knobs::DEFAULT
        },
        offsets: facts.offsets.offsets,
        ring_bytes: config.ring_bytes,
        buckets: BUCKETS,
        debug: config.debug_programs,
    };
    let mut loaded = load_object(&settings).context("the kernel programs cannot be loaded")?;
    let mut hooks = Vec::new();
    let netfilter = match config.wants(Feature::Netfilter).then(|| Netfilter::attach(&loaded.ebpf)) {
        Some(Ok(netfilter)) => {
            hooks.extend(netfilter.links.iter().map(|link| HookStatus {
                name: format!("netfilter {} {}", link.hook, link.family),
                attached: link.link.is_ok(),
                detail: Some(match &link.link {
                    Ok((priority, _)) => format!("priority {priority}"),
                    Err(error) => format!("{error}: drops in this hook are seen without its name"),
                }),
            }));
            Some(netfilter)
        }
        refused => {
            let why = refused.and_then(Result::err);
            let why = why.map_or_else(|| "switched off by --without netfilter".to_owned(), |error| error.to_string());
            hooks.push(HookStatus {
                name: "netfilter".to_owned(),
                attached: false,
                detail: Some(format!("{why}: drops by netfilter are seen without their hook")),
            });
            None
        }
    };
    let btf = aya::Btf::from_sys_fs().context("the kernel's BTF cannot be read")?;
    let mut tracepoints = Vec::new();
    for (program, name, loss) in TRACEPOINTS {
        tracepoints.extend(hook(&mut hooks, name, loss, Tracepoint::attach(&mut loaded, program, &btf)));
    }
    let classifiers = Classifiers::load(&mut loaded, config.wants(Feature::Tcx));
    let classifiers = hook(&mut hooks, TCX, "DNS, resets and ICMP errors are not seen", classifiers);
    if tracepoints.is_empty() && classifiers.is_none() {
        let reasons: Vec<_> = hooks.iter().filter_map(|hook| hook.detail.as_deref()).collect();
        anyhow::bail!("nothing can be attached on this kernel: {}", reasons.join("; "));
    }
    let logger = if config.debug_programs { Some(loaded.logger()?) } else { None };
    let rings = Rings::take(&mut loaded)?;
    let buckets = Buckets::take(&mut loaded)?;
    let scope = loaded.take_scope()?;
    let counters = CounterMap::take(&mut loaded)?;
    let map_bytes = crate::bpf::memory::map_bytes();
    let first_hooks = netfilter.as_ref().map(Netfilter::first_hooks).unwrap_or_default();
    let kernel = Arc::new(KernelSide {
        counters,
        rings: RingProbe::new(&rings)?,
        hooks: Mutex::new(Hooks { tracepoints, netfilter }),
        _object: loaded.ebpf,
    });
    Ok(Programs { classifiers, scope, rings, buckets, kernel, logger, hooks, map_bytes, first_hooks })
}

/// Notes what became of a hook.
fn hook<T, E: std::fmt::Display>(
    hooks: &mut Vec<HookStatus>,
    name: &str,
    loss: &str,
    result: Result<T, E>,
) -> Option<T> {
    let (value, detail) = match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(format!("{error}: {loss}"))),
    };
    hooks.push(HookStatus { name: name.to_owned(), attached: value.is_some(), detail });
    value
}

/// Passes the programs' debug lines to the log.
pub async fn follow_log(mut logger: AsyncFd<EbpfLogger<&'static dyn log::Log>>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            ready = logger.readable_mut() => {
                let Ok(mut ready) = ready else { return };
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
            () = shutdown.cancelled() => return,
        }
    }
}
