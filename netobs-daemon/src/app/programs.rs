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
use super::netfilter::Watch;
use crate::bpf::attached::Attached;
use crate::bpf::buckets::Buckets;
use crate::bpf::classifiers::Classifiers;
use crate::bpf::counters::CounterMap;
use crate::bpf::load::{Scope, Settings, load as load_object};
use crate::bpf::netfilter::FirstHooks;
use crate::bpf::rings::{RingProbe, Rings};
use crate::bpf::tracepoint::{Point, Tracepoint};
use crate::config::{Config, Feature, ScopeChoice};
use crate::http::status::HookStatus;
use crate::kernel::features::{AtTracepoint, Probed};
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

/// Programs at tracepoints: their names, the tracepoint as users know it, and what is lost without it.
const TRACEPOINTS: [(Point, &str, &str); 4] = [
    (Point { name: "kfree_skb", raw: "kfree_skb_raw" }, "skb:kfree_skb", "drops are not seen"),
    (
        Point { name: "tcp_send_reset", raw: "tcp_send_reset_raw" },
        "tcp:tcp_send_reset",
        "resets have no reason, and those in a pod's own loopback are not seen",
    ),
    (
        Point { name: "tcp_receive_reset", raw: "tcp_receive_reset_raw" },
        "tcp:tcp_receive_reset",
        "resets do not say in which state their receiver was",
    ),
    (
        Point { name: "inet_sock_set_state", raw: "inet_sock_set_state_raw" },
        "sock:inet_sock_set_state",
        "who opened a connection in a pod's own loopback is not known",
    ),
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
    /// What was found out about the kernel.
    pub probed: Probed,
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
    netfilter: Watch,
}

impl Hooks {
    /// Those that the kernel may skip.
    fn programs(&self) -> impl Iterator<Item = &Attached> {
        let walk = if let Watch::Walk(walk) = &self.netfilter { Some(&walk.program) } else { None };
        self.tracepoints.iter().map(|tracepoint| &tracepoint.program).chain(walk)
    }
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
        hooks.netfilter = Watch::Nothing;
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
            recursion_misses: hooks.programs().map(Attached::recursion_misses).sum(),
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
    let btf = running_btf(config);
    let btf = btf.as_ref().map_err(String::as_str);
    let (netfilter, by_netfilter) = super::netfilter::attach(&mut loaded, config, btf, &mut hooks);
    let mut tracepoints = Vec::new();
    let mut at = |point, name, loss| {
        let attached = Tracepoint::attach(&mut loaded, point, btf);
        let state = match &attached {
            Ok(Tracepoint { raw_because: None, .. }) => AtTracepoint::Btf,
            Ok(Tracepoint { raw_because: Some(why), .. }) => AtTracepoint::Raw(why.clone()),
            Err(error) => AtTracepoint::Missing(error.to_string()),
        };
        tracepoints.extend(hook(&mut hooks, name, loss, attached));
        if let (AtTracepoint::Raw(why), Some(line)) = (&state, hooks.last_mut()) {
            line.detail = Some(format!("raw tracepoint: {why}"));
        }
        state
    };
    let [kfree_skb, send_reset, receive_reset, set_state] =
        TRACEPOINTS.map(|(point, name, loss)| at(point, name, loss));
    let classifiers = Classifiers::load(&mut loaded, config.wants(Feature::Tcx));
    let no_classifiers = classifiers.as_ref().err().map(ToString::to_string);
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
    let first_hooks = netfilter.first_hooks();
    let probed = Probed {
        kfree_skb,
        send_reset,
        receive_reset,
        set_state,
        netfilter: by_netfilter,
        classifiers: no_classifiers,
        drop_reason: facts.kfree_skb_has_reason,
        receiver: facts.kfree_skb_has_socket,
        too_big: facts.reasons.number("PKT_TOO_BIG").is_some(),
        reassembly: facts.reasons.number(FRAGMENT_REASONS[0]).is_some(),
        reset_reason: facts.reset_has_reason,
        functions: true,
        absent: facts.offsets.absent.clone(),
    };
    let kernel = Arc::new(KernelSide {
        counters,
        rings: RingProbe::new(&rings)?,
        hooks: Mutex::new(Hooks { tracepoints, netfilter }),
        _object: loaded.ebpf,
    });
    for line in hooks.iter().filter(|hook| !hook.attached) {
        tracing::warn!(hook = line.name, reason = line.detail, "not attached");
    }
    Ok(Programs { classifiers, scope, rings, buckets, kernel, logger, hooks, map_bytes, first_hooks, probed })
}

/// The running kernel's BTF, which typed programs need, or why they are not to be tried.
fn running_btf(config: &Config) -> Result<aya::Btf, String> {
    if !config.wants(Feature::BtfTracepoint) {
        return Err("switched off by --without btf-tracepoint".to_owned());
    }
    aya::Btf::from_sys_fs().map_err(|error| format!("the kernel's BTF cannot be read: {error}"))
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
