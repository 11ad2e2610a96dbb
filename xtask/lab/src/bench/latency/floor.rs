//! How late a sleeping thread gets a byte: what the machine itself adds to any latency measured on it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use anyhow::{Result, bail};

use super::probes::gap;
use crate::bench::stats::Sample;

/// Milliseconds from a `write` to the return of another thread's `read` on a unix socket.
pub fn measure(count: u16) -> Result<Sample> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let reader = std::thread::spawn(move || {
        let mut arrivals = Vec::new();
        let mut byte = [0];
        while theirs.read_exact(&mut byte).is_ok() {
            arrivals.push(Instant::now());
        }
        arrivals
    });
    let mut sent = Vec::new();
    for number in 0..count {
        std::thread::sleep(gap(number));
        sent.push(Instant::now());
        ours.write_all(&[1])?;
    }
    drop(ours);
    let Ok(arrivals) = reader.join() else { bail!("the reader panicked") };
    Ok(Sample::new(std::iter::zip(sent, arrivals).map(|(sent, at)| (at - sent).as_secs_f64() * 1e3)))
}
