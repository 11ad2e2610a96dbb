//! `process_*`, as Prometheus's own client libraries give them, from `/proc/self` (`proc(5)`).

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use crate::http::memory;
use crate::http::metrics::write::{gauge, real};

/// What `/proc/self/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// CPU time in user and kernel mode, clock ticks.
    cpu: u64,
    threads: u64,
    /// After boot, clock ticks.
    started: u64,
    virtual_bytes: u64,
}

/// What can be read; the rest is absent.
pub(super) fn encode(out: &mut DescriptorEncoder) -> fmt::Result {
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
    if let Some(stat) = read("/proc/self/stat").as_deref().and_then(stat) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let help = "User and system CPU time spent";
        let cpu = out.encode_descriptor("process_cpu", help, seconds, MetricType::Counter)?;
        ConstCounter::new(stat.cpu as f64 / ticks).encode(cpu)?;
        let help = "Number of OS threads in the process";
        gauge(out.encode_descriptor("process_threads", help, None, MetricType::Gauge)?, stat.threads)?;
        let help = "Virtual memory size";
        gauge(out.encode_descriptor("process_virtual_memory", help, bytes, MetricType::Gauge)?, stat.virtual_bytes)?;
        if let Some(boot) = read("/proc/stat").as_deref().and_then(boot_time) {
            let help = "Start time of the process since the Unix epoch";
            let start = out.encode_descriptor("process_start_time", help, seconds, MetricType::Gauge)?;
            real(start, boot as f64 + stat.started as f64 / ticks)?;
        }
    }
    if let Some(resident) = memory::resident_bytes() {
        let help = "Resident memory size";
        gauge(out.encode_descriptor("process_resident_memory", help, bytes, MetricType::Gauge)?, resident)?;
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself, open for this.
        let open = entries.count().saturating_sub(1) as u64;
        let help = "Number of open file descriptors";
        gauge(out.encode_descriptor("process_open_fds", help, None, MetricType::Gauge)?, open)?;
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        let help = "Maximum number of open file descriptors";
        gauge(out.encode_descriptor("process_max_fds", help, None, MetricType::Gauge)?, most)?;
    }
    Ok(())
}

/// `proc_pid_stat(5)`; the program's name, in parentheses, may hold anything, so fields count from its end.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    // Field (3) is the first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu: field(14)?.checked_add(field(15)?)?,
        threads: field(20)?,
        started: field(22)?,
        virtual_bytes: field(23)?,
    })
}

/// `btime` of `proc_stat(5)`: seconds since the Unix epoch.
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_count_from_the_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 5 0 4711 1048576 300 18446744073709551615";
        assert_eq!(stat(line), Some(Stat { cpu: 46, threads: 5, started: 4711, virtual_bytes: 1 << 20 }));
        assert_eq!(stat("7 (a) S 1"), None);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\nx 1\n"), Some(1_700_000_000));
        assert_eq!(boot_time("btime soon\n"), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(text in ".{0,200}") {
            let _ = (stat(&text), boot_time(&text));
            let _ = stat(&format!("1 (x) {text}"));
        }
    }
}
