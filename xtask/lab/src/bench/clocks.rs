//! CPU time of a thread and of another process, in nanoseconds of the scheduler's accounting (not in ticks).

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread. On a kernel without `CONFIG_IRQ_TIME_ACCOUNTING` it includes the soft interrupts that
/// its system calls run into: the way of its packets up to where they are dropped.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// CPU time of a process and all threads it has had, as `/proc/PID/stat` shows it in ticks.
pub fn process_cpu(pid: u32) -> Result<Duration> {
    let pid = libc::pid_t::try_from(pid).context("a pid")?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for the result.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).with_context(|| format!("the CPU clock of process {pid}"));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("reading the CPU clock of process {pid}"));
    }
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_clocks_run_while_we_do() {
        let (thread, process) = (thread_cpu(), process_cpu(std::process::id()).unwrap());
        let mut sum = 0_u64;
        for number in 0..2_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!(thread_cpu() > thread);
        assert!(process_cpu(std::process::id()).unwrap() > process);
    }
}
