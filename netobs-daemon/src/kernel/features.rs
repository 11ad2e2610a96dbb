//! What this kernel lets the daemon do, feature by feature: whether it works, what is lost where it does not, why, and what
//! would bring it. Pure: what was found out goes in, sentences come out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// In what state a feature is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All of it works.
    #[default]
    Works,
    /// It works, but something is lost.
    Degraded,
    /// It does not work.
    Missing,
}

/// A feature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Feature {
    /// For example `drops` or `netfilter hooks`.
    pub name: String,
    /// Its state.
    pub state: State,
    /// The kernel's means that it works by, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What is not seen, or not known, because of its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Why it, or the better means, does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What would bring it: a kernel, an option that it is built with, a module, a capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brings: Option<String>,
}

/// What `netobs check` finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Version of netobs.
    pub version: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Why the daemon cannot run here; then nothing else was found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot_run: Option<String>,
    /// As in `/v1/status`.
    pub features: Vec<Feature>,
}

impl Checked {
    /// Whether nothing is lost.
    pub fn all_works(&self) -> bool {
        self.cannot_run.is_none() && self.features.iter().all(|feature| feature.state == State::Works)
    }
}

/// What became of a program at a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtTracepoint {
    /// It is a BTF tracepoint's.
    Btf,
    /// It is a raw one's; why.
    Raw(String),
    /// It is not attached; why.
    Missing(String),
}

/// How the hooks of netfilter that packets pass are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByNetfilter {
    /// Programs in all of them.
    Links,
    /// Programs in some; why not in the others.
    SomeLinks(String),
    /// One where the kernel begins to walk through a hook: by which means, and why not the better one.
    Walk(&'static str, String),
    /// Not; why.
    Missing(String),
}

/// What was found out when the programs were loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is the answer to a question of its own")]
pub struct Probed {
    /// `skb:kfree_skb`.
    pub kfree_skb: AtTracepoint,
    /// `tcp:tcp_send_reset`.
    pub send_reset: AtTracepoint,
    /// `tcp:tcp_receive_reset`.
    pub receive_reset: AtTracepoint,
    /// `sock:inet_sock_set_state`.
    pub set_state: AtTracepoint,
    /// Netfilter's hooks.
    pub netfilter: ByNetfilter,
    /// Why the classifiers could not be loaded.
    pub classifiers: Option<String>,
    /// The kernel tells drop reasons.
    pub drop_reason: bool,
    /// The kernel tells the socket that a dropped packet was for.
    pub receiver: bool,
    /// The kernel has a reason for packets that are too big for their way.
    pub too_big: bool,
    /// The kernel has a reason for fragments that were given up.
    pub reassembly: bool,
    /// The kernel tells reset reasons.
    pub reset_reason: bool,
    /// Kernel addresses have names.
    pub functions: bool,
    /// Structure members that were not found, as `structure.member`.
    pub absent: Vec<String>,
}

/// The features, but for [`interfaces`].
pub fn judge(probed: &Probed) -> Vec<Feature> {
    let drops = tracepoint("drops", &probed.kfree_skb, "drops are not seen");
    let mut features =
        vec![drops, reasons(probed), functions(probed), receiver(probed), sizes(probed), fragments(probed)];
    features.push(netfilter(&probed.netfilter));
    features.push(translation(&probed.absent));
    if let Some(why) = &probed.classifiers {
        features.push(missing("interfaces", "DNS, resets and ICMP errors are not seen", why, VERIFIER));
    }
    features.push(reset_reasons(probed));
    let receivers = "resets do not say in which state their receiver was";
    features.push(tracepoint("reset receivers", &probed.receive_reset, receivers));
    let openers = "who opened a connection in a pod's own loopback is not known";
    features.push(tracepoint("loopback openers", &probed.set_state, openers));
    features.into_iter().map(unless_switched_off).collect()
}

/// What was switched off comes back otherwise than what the kernel lacks.
fn unless_switched_off(mut feature: Feature) -> Feature {
    let switch = feature.why.as_deref().and_then(|why| {
        let (_, rest) = why.split_once(SWITCH)?;
        rest.split([':', ';', ',', ' ']).next()
    });
    if let Some(name) = switch.filter(|_| feature.state != State::Works) {
        feature.brings = Some(format!("leaving out {SWITCH}{name}"));
    }
    feature
}

/// The option that switches a feature off.
const SWITCH: &str = "--without ";

/// How classifiers are attached. `wanted`: tcx is not switched off; `refusal`: why the kernel last refused it.
pub fn interfaces(wanted: bool, tcx: usize, clsact: usize, refusal: Option<&str>) -> Feature {
    let by = match (tcx, clsact) {
        (_, 0) if wanted => "tcx",
        (0, _) => "clsact",
        _ => "tcx and clsact",
    };
    let feature = Feature { by: Some(by.to_owned()), ..works("interfaces") };
    if clsact == 0 {
        return feature;
    }
    unless_switched_off(Feature {
        state: State::Degraded,
        lost: Some(
            "what another program's filter takes before ours, and what a new interface carries in its first 5 s, is not seen"
                .to_owned(),
        ),
        why: Some(refusal.unwrap_or("tcx is switched off by --without tcx").to_owned()),
        brings: Some("Linux 6.6 or later".to_owned()),
        ..feature
    })
}

const BTF: &str = "a kernel built with CONFIG_DEBUG_INFO_BTF and CONFIG_BPF_EVENTS; CAP_BPF and CAP_PERFMON";
const VERIFIER: &str =
    "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; if it has them, a report to netobs's authors with this message";

fn works(name: &str) -> Feature {
    Feature { name: name.to_owned(), ..Feature::default() }
}

fn degraded(name: &str, lost: &str, brings: &str) -> Feature {
    let (lost, brings) = (Some(lost.to_owned()), Some(brings.to_owned()));
    Feature { state: State::Degraded, lost, brings, ..works(name) }
}

fn missing(name: &str, lost: &str, why: &str, brings: &str) -> Feature {
    Feature { state: State::Missing, why: Some(why.to_owned()), ..degraded(name, lost, brings) }
}

fn tracepoint(name: &str, at: &AtTracepoint, lost: &str) -> Feature {
    match at {
        AtTracepoint::Btf => Feature { by: Some("BTF tracepoint".to_owned()), ..works(name) },
        // Slower, nothing more.
        AtTracepoint::Raw(why) => {
            Feature { by: Some("raw tracepoint".to_owned()), why: Some(why.clone()), ..works(name) }
        }
        AtTracepoint::Missing(why) => missing(name, lost, why, BTF),
    }
}

fn reasons(probed: &Probed) -> Feature {
    const NAME: &str = "drop reasons";
    const BRINGS: &str = "Linux 5.17 or later";
    match (probed.drop_reason, probed.functions) {
        (true, _) => works(NAME),
        (false, true) => degraded(
            NAME,
            "reasons are concluded from the function that dropped the packet; one that drops for several is told as NOT_SPECIFIED",
            BRINGS,
        ),
        (false, false) => {
            let why = "the kernel tells none, and the functions that drop packets have no names";
            missing(NAME, "all drops are told as NOT_SPECIFIED", why, "CAP_SYSLOG, or Linux 5.17 or later")
        }
    }
}

fn functions(probed: &Probed) -> Feature {
    const NAME: &str = "kernel functions";
    if probed.functions {
        return works(NAME);
    }
    let why = "/proc/kallsyms shows no addresses";
    missing(NAME, "drops do not say which function dropped them", why, "CAP_SYSLOG, and a kernel with CONFIG_KALLSYMS")
}

fn receiver(probed: &Probed) -> Feature {
    const NAME: &str = "receivers of drops";
    if probed.receiver {
        return works(NAME);
    }
    let lost = "packets that TCP drops after it has taken their interface off have no place and are left out where not the whole \
                machine is observed";
    degraded(NAME, lost, "Linux 6.11 or later")
}

fn sizes(probed: &Probed) -> Feature {
    const NAME: &str = "reason of too big packets";
    if probed.too_big {
        return works(NAME);
    }
    let lost = "of a burst of packets that do not fit, sums count this node's ICMP errors and not the packets";
    degraded(NAME, lost, "Linux 5.18 or later")
}

fn fragments(probed: &Probed) -> Feature {
    const NAME: &str = "reason of lost fragments";
    if probed.reassembly {
        return works(NAME);
    }
    let lost =
        "fragments that are given up are told where their interface is still known, else by the ICMP error about them";
    degraded(NAME, lost, "Linux 6.4 or later")
}

fn netfilter(by: &ByNetfilter) -> Feature {
    const NAME: &str = "netfilter hooks";
    const BRINGS: &str = "Linux 6.4 or later, or one with fentry (CONFIG_FUNCTION_TRACER) or CONFIG_KPROBES";
    let lost = "drops by netfilter are seen without their hook";
    match by {
        ByNetfilter::Links => Feature { by: Some("netfilter links".to_owned()), ..works(NAME) },
        ByNetfilter::SomeLinks(why) => {
            let lost = "drops in some of netfilter's hooks are seen without the hook";
            let by = Some("netfilter links".to_owned());
            Feature { by, why: Some(why.clone()), ..degraded(NAME, lost, "a free priority in each hook") }
        }
        ByNetfilter::Walk(means, why) => {
            let by = Some(format!("{means} at nf_hook_slow"));
            let lost = "hooks where nobody sits are passed unseen: they are missing among a packet's points";
            Feature { by, why: Some(why.clone()), ..degraded(NAME, lost, "Linux 6.4 or later") }
        }
        ByNetfilter::Missing(why) => missing(NAME, lost, why, BRINGS),
    }
}

fn translation(absent: &[String]) -> Feature {
    const NAME: &str = "address translation";
    if !absent.iter().any(|member| member.starts_with("nf_conn.") || member == "sk_buff._nfct") {
        return works(NAME);
    }
    let why = "the kernel's BTF does not describe struct nf_conn";
    let lost = "what a dropped packet's addresses were before translation is not known, nor its Service";
    missing(
        NAME,
        lost,
        why,
        "the module nf_conntrack, loaded before netobs starts, with BTF (CONFIG_DEBUG_INFO_BTF_MODULES)",
    )
}

fn reset_reasons(probed: &Probed) -> Feature {
    let lost = "resets have no reason, and those in a pod's own loopback are not seen";
    let feature = tracepoint("reset reasons", &probed.send_reset, lost);
    if feature.state != State::Works || probed.reset_reason {
        return feature;
    }
    let lost = "resets have no reason of the kernel's; those that no socket sends in a pod's own loopback are told by their receiver";
    Feature { by: feature.by, why: feature.why, ..degraded("reset reasons", lost, "Linux 6.10 or later") }
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
