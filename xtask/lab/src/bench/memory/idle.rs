//! What the daemon does when nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Daemon;
use crate::bench::clocks::process_cpu;
use crate::bench::proc::switches_by_thread;
use crate::bench::table;
use crate::bench::verdict::Verdicts;

/// Wake-ups a second of all threads.
const WAKE_UPS: f64 = 10.0;
/// Share of a core.
const CORE: f64 = 0.002;

/// Watches for some seconds, after some for what the start left to do.
pub fn measure(daemon: &Daemon, seconds: u64, verdicts: &mut Verdicts) -> Result<()> {
    std::thread::sleep(Duration::from_secs(3));
    let (start, cpu, before) = (Instant::now(), process_cpu(daemon.pid())?, switches_by_thread(daemon.pid())?);
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu_after, after) = (process_cpu(daemon.pid())?, switches_by_thread(daemon.pid())?);
    let seconds = start.elapsed().as_secs_f64();
    let core = cpu_after.saturating_sub(cpu).as_secs_f64() / seconds;
    let mut rows = Vec::new();
    let mut sum = 0.0;
    for (name, count) in after {
        let rate = count.saturating_sub(before.get(&name).copied().unwrap_or(0)) as f64 / seconds;
        sum += rate;
        rows.push(vec![format!("wake-ups per second, {name}"), format!("{rate:.2}"), String::new()]);
    }
    rows.push(vec!["wake-ups per second, all threads".into(), format!("{sum:.2}"), format!("{WAKE_UPS:.0}")]);
    rows.push(vec!["per cent of a core".into(), format!("{:.3}", core * 100.0), format!("{:.1}", CORE * 100.0)]);
    table::print(&format!("Idle for {seconds:.0} s"), &["", "measured", "goal"], &rows);
    verdicts.at_most("memory.idle.wake_ups", sum / WAKE_UPS, 1.0);
    verdicts.at_most("memory.idle.cpu", core / CORE, 1.0);
    Ok(())
}
