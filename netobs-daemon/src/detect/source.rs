//! One source of resets: its windows, its own usual rate, and the flood that it may be in.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::event::joined::Flood;
use crate::event::observation::{FloodEnd, FloodPhase};

/// Time constant of the usual rate, seconds: a rate that is new to a source becomes half of its usual one in some 40 s.
const SETTLING_SECONDS: f64 = 60.0;
/// Windows in a row that a flood has to be low for to be over.
const CALM_WINDOWS: u8 = 5;

/// Resets by destination, bounded.
#[derive(Debug, Default)]
struct Destinations {
    counts: HashMap<IpAddr, u64, foldhash::fast::RandomState>,
}

impl Destinations {
    /// Adds some; those to a destination for which there is no room are told apart no more.
    fn add(&mut self, destination: IpAddr, count: u64, limit: usize) {
        if let Some(known) = self.counts.get_mut(&destination) {
            *known = known.saturating_add(count);
        } else if self.counts.len() < limit {
            self.counts.insert(destination, count);
        }
    }

    /// The one with the most, and how many; of equals the lowest, so that the answer does not depend on the order in the map.
    fn top(&self) -> Option<(IpAddr, u64)> {
        self.counts.iter().max_by_key(|(ip, count)| (**count, std::cmp::Reverse(**ip))).map(|(ip, count)| (*ip, *count))
    }
}

/// Resets between two ticks.
#[derive(Debug, Default)]
struct Window {
    packets: u64,
    seconds: f64,
    first_ns: Option<u64>,
    destinations: Destinations,
}

/// A flood that goes on.
#[derive(Debug)]
struct Running {
    since_ns: u64,
    packets: u64,
    last_ns: u64,
    threshold: f64,
    calm: u8,
    destinations: Destinations,
}

/// Limits that all sources share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Resets per second below which nothing is a flood.
    pub floor: f64,
    /// How many times its usual rate a source has to reach.
    pub factor: f64,
    /// Destinations of a source that are told apart.
    pub destinations: usize,
}

/// What a window of a source ended with.
pub struct Change {
    /// What is to be told.
    pub flood: Flood,
    /// The destination with the most resets; `None`: none is known, all were counted for many.
    pub destination: Option<IpAddr>,
}

/// A source.
#[derive(Debug, Default)]
pub struct Source {
    current: Window,
    /// The window before, if it was calm. It counts for the usual rate only when the one after it is calm too: else it may
    /// hold the first packets of a flood.
    previous: Option<Window>,
    /// Its usual rate, resets per second.
    usual: f64,
    running: Option<Running>,
    /// When its last reset was, `CLOCK_BOOTTIME` nanoseconds.
    pub last_ns: u64,
    /// Inode of the network namespace of its last reset.
    pub netns: Option<u32>,
    /// Interface of its last reset.
    pub ifindex: Option<u32>,
}

impl Source {
    /// Adds resets; `None`: to an unknown destination.
    pub fn add(&mut self, boot_ns: u64, destination: Option<IpAddr>, count: u64, thresholds: &Thresholds) {
        self.last_ns = self.last_ns.max(boot_ns);
        let destinations = match &mut self.running {
            Some(running) => {
                running.last_ns = running.last_ns.max(boot_ns);
                &mut running.destinations
            }
            None => &mut self.current.destinations,
        };
        if let Some(destination) = destination {
            destinations.add(destination, count, thresholds.destinations);
        }
        self.current.first_ns = Some(self.current.first_ns.map_or(boot_ns, |first| first.min(boot_ns)));
        self.current.packets = self.current.packets.saturating_add(count);
    }

    /// Whether it is in a flood.
    pub fn is_flooding(&self) -> bool {
        self.running.is_some()
    }

    /// Resets of the last one or two windows: how much there is to lose.
    pub fn weight(&self) -> u64 {
        self.current.packets.saturating_add(self.previous.as_ref().map_or(0, |window| window.packets))
    }

    /// Packets that were seen and are in no flood that was told as over.
    #[cfg(test)]
    pub fn untold(&self) -> u64 {
        self.weight() + self.running.as_ref().map_or(0, |running| running.packets)
    }

    /// Ends a window. Says what changed, and how many packets have turned out to be usual.
    pub fn end_window(&mut self, now_ns: u64, seconds: f64, thresholds: &Thresholds) -> (Option<Change>, u64) {
        let mut window = std::mem::take(&mut self.current);
        window.seconds = seconds;
        let rate = window.packets as f64 / seconds;
        if let Some(running) = &mut self.running {
            running.packets = running.packets.saturating_add(window.packets);
            // Half of what made it a flood, but not less than what would be no flood of this source.
            let low = (running.threshold / 2.0).max(2.0 * self.usual).min(running.threshold);
            running.calm = if rate < low { running.calm + 1 } else { 0 };
            let over = running.calm >= CALM_WINDOWS;
            return (if over { self.over(FloodEnd::Calm) } else { None }, 0);
        }
        let threshold = thresholds.floor.max(thresholds.factor * self.usual);
        if rate >= threshold {
            return self.onset(window, now_ns, rate, threshold, thresholds);
        }
        let settled = self.previous.replace(window);
        let usual = settled.map_or(0, |settled| {
            self.settle(&settled);
            settled.packets
        });
        (None, usual)
    }

    fn onset(
        &mut self,
        window: Window,
        now_ns: u64,
        rate: f64,
        threshold: f64,
        thresholds: &Thresholds,
    ) -> (Option<Change>, u64) {
        let mut usual = 0;
        let (mut packets, mut first_ns, mut destinations) = (window.packets, window.first_ns, window.destinations);
        if let Some(previous) = self.previous.take() {
            if previous.packets as f64 / previous.seconds > 2.0 * self.usual {
                // More than usual: the flood began in it.
                packets = packets.saturating_add(previous.packets);
                first_ns = previous.first_ns.or(first_ns);
                for (destination, count) in previous.destinations.counts {
                    destinations.add(destination, count, thresholds.destinations);
                }
            } else {
                self.settle(&previous);
                usual = previous.packets;
            }
        }
        let since_ns = first_ns.unwrap_or(now_ns);
        let running = Running { since_ns, packets, last_ns: self.last_ns, threshold, calm: 0, destinations };
        let duration_ns = now_ns.saturating_sub(since_ns);
        let change = change(&running, FloodPhase::Onset, duration_ns, rate, self.usual);
        self.running = Some(running);
        (Some(change), usual)
    }

    /// Ends the window and what is known of a flood, because nothing more will be seen.
    pub fn finish(&mut self) -> Option<Change> {
        let running = self.running.as_mut()?;
        running.packets = running.packets.saturating_add(std::mem::take(&mut self.current).packets);
        self.over(FloodEnd::ObserverStops)
    }

    fn over(&mut self, cause: FloodEnd) -> Option<Change> {
        let running = self.running.take()?;
        let duration_ns = running.last_ns.saturating_sub(running.since_ns);
        // All within one moment: no less than a millisecond of it is meant.
        let rate = running.packets as f64 / (duration_ns as f64 / 1e9).max(1e-3);
        let mut change = change(&running, FloodPhase::End, duration_ns, rate, self.usual);
        change.flood.end_cause = Some(cause);
        Some(change)
    }

    /// Takes a calm window into the usual rate: an average that forgets.
    fn settle(&mut self, window: &Window) {
        let share = 1.0 - (-window.seconds / SETTLING_SECONDS).exp();
        self.usual += share * (window.packets as f64 / window.seconds - self.usual);
    }
}

fn change(running: &Running, phase: FloodPhase, duration_ns: u64, rate: f64, baseline: f64) -> Change {
    let top = running.destinations.top();
    let flood = Flood {
        phase,
        end_cause: None,
        since_ns: running.since_ns,
        duration_ns,
        packets: running.packets,
        rate,
        baseline,
        threshold: running.threshold,
        destinations: running.destinations.counts.len() as u64,
        to_main: top.map(|(_, count)| count),
    };
    Change { flood, destination: top.map(|(ip, _)| ip) }
}
