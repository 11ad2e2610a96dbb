//! Floods of resets: a source that sends far more of them than it used to.
//!
//! It is fed with every reset that is told and every count of those that were not, and is asked once a second. The kernel's
//! counts are read just before, so a flood is told within a second of its first full window: 2 s after it begins at the
//! latest. Its packets are counted exactly: from the window in which it rose above the usual, until it has been low for some
//! windows.

use std::collections::HashMap;
use std::net::IpAddr;

use super::source::{Change, Source, Thresholds};
use crate::event::headers::protocol::TCP;
use crate::event::joined::{Coalesced, Half, Joined, JoinedKind, StandsFor};
use crate::event::raw::{Side, Tuple};

/// Sources that are silent for as long are forgotten: 5 minutes, several times what their usual rate takes to fade.
const FORGET_NS: u64 = 300_000_000_000;
/// A tick that comes sooner after the one before does not end a window: a rate over less says little.
const SHORTEST_NS: u64 = 100_000_000;

/// Settings and bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloodLimits {
    /// Resets per second below which nothing is a flood.
    pub floor: f64,
    /// How many times its usual rate a source has to reach.
    pub factor: f64,
    /// Sources that are watched.
    pub sources: usize,
    /// Destinations of each that are told apart.
    pub destinations: usize,
}

impl Default for FloodLimits {
    fn default() -> Self {
        Self { floor: 100.0, factor: 10.0, sources: 1024, destinations: 64 }
    }
}

/// Counts of the detector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloodStats {
    /// Sources that are watched now.
    pub sources: u64,
    /// Those of them that are in a flood.
    pub flooding: u64,
    /// Floods that were told.
    pub floods: u64,
    /// Sources that were given up for others that send more.
    pub replaced: u64,
    /// Resets that were not watched, because there was no room for their source, or it is unknown.
    pub unwatched_packets: u64,
}

/// Who sends: the address, and the network namespace where every namespace has that address.
type SourceKey = (Option<u32>, IpAddr);

/// The detector.
#[derive(Debug)]
pub struct FloodDetector {
    limits: FloodLimits,
    sources: HashMap<SourceKey, Source, foldhash::fast::RandomState>,
    window_start_ns: Option<u64>,
    /// No source weighs less, since the last tick: they only gain in a window.
    lightest: u64,
    stats: FloodStats,
    /// Packets that turned out to be no part of a flood.
    pub(super) usual: u64,
}

impl FloodDetector {
    /// Knows no source yet.
    pub fn new(limits: FloodLimits) -> Self {
        Self {
            limits,
            sources: HashMap::default(),
            window_start_ns: None,
            lightest: 0,
            stats: FloodStats::default(),
            usual: 0,
        }
    }

    /// Takes an event; those of other kinds are of no interest.
    pub fn observe(&mut self, joined: &Joined) {
        if !matches!(joined.kind, JoinedKind::Reset(_) | JoinedKind::Coalesced(Coalesced::Resets { .. })) {
            return;
        }
        self.window_start_ns.get_or_insert(joined.boot_ns);
        let Some(ip) = joined.source() else {
            self.stats.unwatched_packets += joined.count;
            return;
        };
        let key = (joined.netns.filter(|_| ip.is_loopback()), ip);
        if !self.sources.contains_key(&key) && !self.make_room(joined.count) {
            self.stats.unwatched_packets += joined.count;
            return;
        }
        let thresholds = self.thresholds();
        let source = self.sources.entry(key).or_default();
        (source.netns, source.ifindex) = (joined.netns, joined.ifindex);
        source.add(joined.boot_ns, joined.destination(), joined.count, &thresholds);
    }

    /// Ends a window at that time (`CLOCK_BOOTTIME`, nanoseconds); floods that begin or are over are appended to `out`. Their
    /// `reference` is 0: no other event names them.
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<Joined>) {
        let elapsed = now_ns.saturating_sub(*self.window_start_ns.get_or_insert(now_ns));
        if elapsed < SHORTEST_NS {
            return;
        }
        self.window_start_ns = Some(now_ns);
        // A few resets in a moment are no rate: a window counts as a second at least.
        let (seconds, thresholds) = ((elapsed as f64 / 1e9).max(1.0), self.thresholds());
        let before = out.len();
        self.sources.retain(|(_, ip), source| {
            let (change, usual) = source.end_window(now_ns, seconds, &thresholds);
            self.usual += usual;
            if let Some(change) = change {
                self.stats.floods += u64::from(source.is_flooding());
                out.push(joined(*ip, source, change, now_ns));
            }
            source.is_flooding() || source.weight() > 0 || now_ns.saturating_sub(source.last_ns) < FORGET_NS
        });
        in_order(&mut out[before..]);
        self.lightest = 0;
    }

    /// Tells the total of each flood that goes on, at that time (`CLOCK_BOOTTIME`, nanoseconds), because nothing more will be
    /// observed. Call [`Self::tick`] before: what came since the last one may be a flood's beginning.
    pub fn finish(&mut self, now_ns: u64, out: &mut Vec<Joined>) {
        let before = out.len();
        for ((_, ip), source) in &mut self.sources {
            if let Some(change) = source.finish() {
                out.push(joined(*ip, source, change, now_ns));
            }
        }
        in_order(&mut out[before..]);
    }

    /// Counts.
    pub fn stats(&self) -> FloodStats {
        FloodStats {
            sources: self.sources.len() as u64,
            flooding: self.sources.values().filter(|source| source.is_flooding()).count() as u64,
            ..self.stats
        }
    }

    fn thresholds(&self) -> Thresholds {
        let FloodLimits { floor, factor, destinations, .. } = self.limits;
        Thresholds { floor, factor, destinations: destinations.max(1) }
    }

    /// Makes room for a source with that many packets: of those that are in no flood, the one with the fewest goes, if it has
    /// fewer.
    fn make_room(&mut self, packets: u64) -> bool {
        if self.sources.len() < self.limits.sources {
            return true;
        }
        if packets <= self.lightest {
            return false;
        }
        let calm = self.sources.iter().filter(|(_, source)| !source.is_flooding());
        let Some((key, weight)) = calm.map(|(key, source)| (*key, source.weight())).min_by_key(|(key, w)| (*w, *key))
        else {
            return false;
        };
        self.lightest = weight;
        if packets <= weight {
            return false;
        }
        self.sources.remove(&key);
        self.stats.replaced += 1;
        self.stats.unwatched_packets += weight;
        true
    }

    /// Packets of sources that are watched, in no flood that was told as over.
    #[cfg(test)]
    pub(super) fn untold(&self) -> u64 {
        self.sources.values().map(Source::untold).sum()
    }
}

/// The map of sources has no order; events do.
fn in_order(floods: &mut [Joined]) {
    floods.sort_by_key(|joined| (joined.source(), joined.destination()));
}

fn joined(ip: IpAddr, source: &Source, change: Change, now_ns: u64) -> Joined {
    let half = Half { side: Side::Source, ip, port: None, protocol: TCP };
    let tuple = change.destination.map(|destination| Tuple {
        protocol: TCP,
        source: ip,
        destination,
        source_port: None,
        destination_port: None,
    });
    Joined {
        netns: source.netns,
        ifindex: source.ifindex,
        tuple,
        half: tuple.is_none().then_some(half),
        // Its packets are told by other events: it stands for none.
        ..Joined::new(StandsFor::Others, now_ns, JoinedKind::Flood(Box::new(change.flood)))
    }
}
