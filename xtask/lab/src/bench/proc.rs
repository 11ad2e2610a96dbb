//! What `/proc` says of a process: memory by consumer, wake-ups.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Resident memory of a process, bytes (`proc_pid_smaps(5)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident set.
    pub rss: u64,
    /// Proportional set: pages shared with others in part.
    pub pss: u64,
    /// Resident set by what is mapped.
    pub parts: BTreeMap<&'static str, u64>,
}

/// Heap, thread stacks and all else that is anonymous.
pub const HEAP: &str = "heap and other anonymous memory";
/// The program's file.
pub const PROGRAM: &str = "program text and data";
/// Files of shared libraries.
pub const LIBRARIES: &str = "shared libraries";
/// Mappings of BPF maps (the rings), whose memory is the maps'.
pub const MAPPED_MAPS: &str = "BPF maps mapped";

impl Memory {
    /// Reads it.
    pub fn of(pid: u32) -> Result<Self> {
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).context("reading smaps")?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).context("reading exe")?;
        Ok(parse(&smaps, &program.to_string_lossy()))
    }

    /// Resident bytes of a consumer.
    pub fn part(&self, name: &str) -> u64 {
        self.parts.get(name).copied().unwrap_or(0)
    }
}

fn parse(smaps: &str, program: &str) -> Memory {
    let mut memory = Memory::default();
    let mut part = HEAP;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        // A mapping's own line begins with its addresses, START-END; its sixth word is what is mapped.
        if !first.ends_with(':') {
            part = consumer(words.nth(4).unwrap_or_default(), program);
            continue;
        }
        let mut kib = || words.next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024;
        match first {
            "Rss:" => {
                let bytes = kib();
                memory.rss += bytes;
                *memory.parts.entry(part).or_default() += bytes;
            }
            "Pss:" => memory.pss += kib(),
            _ => {}
        }
    }
    memory
}

fn consumer(mapped: &str, program: &str) -> &'static str {
    match mapped {
        "" => HEAP,
        _ if mapped == program => PROGRAM,
        _ if mapped.contains("bpf") => MAPPED_MAPS,
        _ if mapped.starts_with('/') => LIBRARIES,
        _ => HEAP,
    }
}

/// How often the threads of a process have gone to sleep by themselves (which is how often they were woken), by name.
pub fn switches_by_thread(pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("reading the threads")? {
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let (Some(name), Some(count)) = (field("Name:"), field("voluntary_ctxt_switches:")) {
            *threads.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap_or(0);
        }
    }
    Ok(threads)
}

/// Memory charged for the BPF maps that a process holds, bytes by type number of `enum bpf_map_type`
/// (`/proc/PID/fdinfo`, `memlock`).
pub fn map_memory(pid: u32) -> Result<BTreeMap<u32, u64>> {
    let mut maps = BTreeMap::new();
    let mut known = std::collections::BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).context("reading fdinfo")? {
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(kind), Some(bytes), Some(id)) = (field("map_type:"), field("memlock:"), field("map_id:"))
            && known.insert(id)
        {
            *maps.entry(u32::try_from(kind).unwrap_or(u32::MAX)).or_default() += bytes;
        }
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_of_memory() {
        let smaps = "555500000000-555500400000 r-xp 00000000 08:01 42 /opt/netobs\nRss: 400 kB\nPss: 300 kB\n\
                     555501000000-555501400000 rw-p 00000000 00:00 0 [heap]\nRss: 8 kB\nPss: 8 kB\n\
                     7f0000000000-7f0000200000 rw-s 00001000 00:0e 9 anon_inode:bpf-map\nRss: 16 kB\nPss: 16 kB\n\
                     7f1000000000-7f1000200000 rw-p 00000000 00:00 0\nRss: 4 kB\nPss: 4 kB\nVmFlags: rd wr\n";
        let memory = parse(smaps, "/opt/netobs");
        assert_eq!((memory.rss, memory.pss), (428 * 1024, 328 * 1024));
        assert_eq!((memory.part(HEAP), memory.part(PROGRAM)), (12 * 1024, 400 * 1024));
        assert_eq!((memory.part(MAPPED_MAPS), memory.part(LIBRARIES)), (16 * 1024, 0));
    }
}
