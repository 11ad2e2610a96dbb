//! Who had an IP address when: claims with a beginning and an end, both of them ranges, since the API server's news
//! arrive later than the packets.
//!
//! A change that is seen at `at` happened some time in `[earliest, at]` ([`Seen`]). So a claim is *possible* from the
//! earliest beginning to the latest end. The owner of an address at a time is the one whose claim is possible then; two
//! of them make it ambiguous, none unknown. For a pod deleted at 10.0 s whose address another pod reports at 10.5 s, with
//! news up to 2 s late: at 8.2 s the old pod, at 9 s ambiguous, from 10.0 s on the new pod.
//! Without a successor the old pod keeps its name up to the news of its end, and nobody has the address after it.
//! Before its news a new pod may be named from the earliest beginning on, if nobody else can have had the address; asked
//! before the news, the address is unknown. Nothing stops a caller from asking again later about the same time, as long
//! as the history reaches ([`HISTORY_NS`]).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::cow::CowMap;
use crate::event::observation::Pod;
use crate::resolve::IpOwner;

/// How long an ended claim is kept after its end, nanoseconds.
pub const HISTORY_NS: u64 = 60_000_000_000;
/// Ended claims kept at most, over all addresses.
pub(super) const HISTORY_ENTRIES: usize = 65_536;
/// Claims of one layer that one address can have at most, live and ended. More means an address that all of a node's
/// hostNetwork pods share.
const CLAIMS_PER_IP: usize = 16;

/// When a change was seen and since when it may have been so, both `CLOCK_BOOTTIME` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It cannot have happened before.
    pub earliest: u64,
    /// The news arrived.
    pub at: u64,
}

/// What a claim rests on. The order is that of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A node's addresses, or a hostNetwork pod's.
    Node,
    /// A pod's status.
    Pod,
    /// An endpoint of an `EndpointSlice`.
    Slice,
}

/// Whom a claim names.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Pod { id: Arc<str>, pod: Arc<Pod> },
    Node(Arc<str>),
}

impl Who {
    /// The pod's UID (or namespace/name where there is none), the node's name.
    pub(super) fn id(&self) -> &Arc<str> {
        match self {
            Self::Pod { id, .. } | Self::Node(id) => id,
        }
    }

    /// Whether the description is the very same.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pod { pod, .. }, Self::Pod { pod: that, .. }) => Arc::ptr_eq(pod, that),
            (Self::Node(name), Self::Node(that)) => name == that,
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
struct Claim {
    who: Who,
    layer: Layer,
    /// Objects that make it: several slices may name the same pod.
    holders: u32,
    start: Seen,
    end: Option<Seen>,
}

impl Claim {
    fn is(&self, layer: Layer, id: &str) -> bool {
        self.layer == layer && **self.who.id() == *id
    }

    fn possible(&self, boot_ns: u64) -> bool {
        self.start.earliest <= boot_ns && self.end.is_none_or(|end| boot_ns < end.at)
    }
}

/// All claims to all addresses. A clone is a cheap, immutable copy for readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(CowMap<IpAddr, Arc<Vec<Claim>>>);

impl Claims {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The owner of an address in its canonical form.
    pub(super) fn owner(&self, ip: IpAddr, boot_ns: u64) -> IpOwner {
        let Some(claims) = self.0.get(&ip) else { return IpOwner::Unknown };
        let mut found: Option<(&Who, Layer, u64)> = None;
        for claim in claims.iter().filter(|claim| claim.possible(boot_ns)) {
            // A slice says nothing about a node's address (it cannot tell that a pod is on the host's network), nor about
            // a pod whose own status says when it had the address.
            if claim.layer == Layer::Slice
                && claims.iter().any(|other| {
                    (other.layer == Layer::Node && other.possible(boot_ns)) || other.is(Layer::Pod, claim.who.id())
                })
            {
                continue;
            }
            match found {
                None => found = Some((&claim.who, claim.layer, claim.start.at)),
                Some((who, layer, since))
                    if who.id() == claim.who.id() && (layer == Layer::Node) == (claim.layer == Layer::Node) =>
                {
                    found = Some((who, layer, since.min(claim.start.at)));
                }
                Some(_) => return IpOwner::Ambiguous,
            }
        }
        match found {
            Some((Who::Pod { pod, .. }, _, since)) => IpOwner::Pod(pod.clone(), since),
            Some((Who::Node(name), ..)) => IpOwner::Node(name.clone()),
            None => IpOwner::Unknown,
        }
    }

    /// Whether the address is a node's now.
    pub(super) fn is_node(&self, ip: IpAddr) -> bool {
        self.0.get(&ip).is_some_and(|claims| claims.iter().any(|it| it.layer == Layer::Node && it.end.is_none()))
    }
}

/// The claims and what it takes to keep them bounded.
#[derive(Debug, Default)]
pub(super) struct ClaimTable {
    pub(super) claims: Claims,
    ended: VecDeque<(u64, IpAddr)>,
    /// Claims that did not fit beside others to the same address.
    pub(super) over_limit: u64,
    /// Ended claims that were forgotten before their time.
    pub(super) history_evicted: u64,
}

impl ClaimTable {
    /// Somebody claims an address. Each `begin` that is answered by true needs an `end`.
    pub(super) fn begin(&mut self, ip: IpAddr, layer: Layer, who: &Who, seen: Seen) -> bool {
        let claims = Arc::make_mut(self.claims.0.entry(ip));
        if let Some(claim) = claims.iter_mut().find(|claim| claim.end.is_none() && claim.is(layer, who.id())) {
            claim.holders += 1;
            claim.who = who.clone();
            return true;
        }
        if claims.iter().filter(|claim| claim.layer == layer).count() >= CLAIMS_PER_IP {
            let Some(oldest) = claims.iter().position(|claim| claim.layer == layer && claim.end.is_some()) else {
                self.over_limit += 1;
                return false;
            };
            claims.remove(oldest);
            self.history_evicted += 1;
        }
        // Nearly every address has one claim at a time: no room for more until there are more.
        claims.reserve_exact(1);
        claims.push(Claim { who: who.clone(), layer, holders: 1, start: seen, end: None });
        true
    }

    /// One who claimed an address no longer does.
    pub(super) fn end(&mut self, ip: IpAddr, layer: Layer, id: &str, seen: Seen) {
        let Some(claims) = self.claims.0.get_mut(&ip) else { return };
        let claims = Arc::make_mut(claims);
        let Some(claim) = claims.iter_mut().find(|claim| claim.end.is_none() && claim.is(layer, id)) else { return };
        claim.holders -= 1;
        if claim.holders > 0 {
            return;
        }
        claim.end = Some(seen);
        self.ended.push_back((seen.at, ip));
        if self.ended.len() > HISTORY_ENTRIES
            && let Some((until, ip)) = self.ended.pop_front()
        {
            self.history_evicted += 1;
            self.forget(ip, until);
        }
    }

    /// The pod of a claim is described anew (its workload became known).
    pub(super) fn describe(&mut self, ip: IpAddr, layer: Layer, who: &Who) {
        // Most often it is described so already: nothing is copied then.
        let stale = |claim: &Claim| claim.is(layer, who.id()) && !claim.who.same(who);
        if self.claims.0.get(&ip).is_some_and(|claims| claims.iter().any(stale))
            && let Some(claims) = self.claims.0.get_mut(&ip)
        {
            for claim in Arc::make_mut(claims).iter_mut().filter(|claim| stale(claim)) {
                claim.who = who.clone();
            }
        }
    }

    /// Forgets what ended more than [`HISTORY_NS`] ago.
    pub(super) fn expire(&mut self, now: u64) {
        while let Some(&(until, ip)) = self.ended.front().filter(|(until, _)| until.saturating_add(HISTORY_NS) <= now) {
            self.ended.pop_front();
            self.forget(ip, until);
        }
    }

    fn forget(&mut self, ip: IpAddr, until: u64) {
        let Some(claims) = self.claims.0.get_mut(&ip) else { return };
        let claims = Arc::make_mut(claims);
        claims.retain(|claim| claim.end.is_none_or(|end| end.at > until));
        if claims.is_empty() {
            self.claims.0.remove(&ip);
        }
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
