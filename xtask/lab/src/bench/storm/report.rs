//! The tables of a storm, and what is judged.

use super::arm::Arm;
use super::{Load, Measured};
use crate::bench::stats::Sample;
use crate::bench::table::{self, ns};
use crate::bench::verdict::Verdicts;

/// An arm in figures.
struct Row {
    arm: Arm,
    batches: usize,
    min: f64,
    quarter: f64,
    /// The sender's quarter over that of nobody's.
    ratio: f64,
    /// The sender's additional CPU and the observer's, nanoseconds per reported packet.
    total: f64,
    observer: f64,
    /// Packets sent, and told or counted.
    sent: u64,
    reported: u64,
}

/// Prints them.
pub fn print(load: Load, rate: Option<u64>, arms: &[(Arm, Measured)], verdicts: &mut Verdicts) {
    let at = rate.map_or_else(|| "as fast as it goes".to_owned(), |rate| format!("at {rate} a second"));
    let quarter = |measured: &Measured| Sample::new(measured.sender_ns.iter().copied()).quantile(0.25);
    let find = |wanted| arms.iter().find(|(arm, _)| *arm == wanted).map(|(_, measured)| quarter(measured));
    let alone = find(Arm::Nobody).unwrap_or(f64::NAN);
    let rows: Vec<_> = arms.iter().map(|(arm, measured)| row(*arm, measured, alone)).collect();
    table::print(
        &format!(
            "Sent {at}: CPU of the sender per packet (its own thread, which in the kernel carries the packet to its end)"
        ),
        &["beside", "batches", "packets/s", "min ns", "p25 ns", "p25 / nobody"],
        &rows
            .iter()
            .zip(arms)
            .map(|(row, (_, measured))| {
                vec![
                    row.arm.name().into(),
                    row.batches.to_string(),
                    format!("{:.0}", Sample::new(measured.rates.iter().copied()).quantile(0.5)),
                    ns(row.min),
                    ns(row.quarter),
                    format!("{:.3}", row.ratio),
                ]
            })
            .collect::<Vec<_>>(),
    );
    let observers = || arms.iter().zip(&rows).filter(|((_, measured), _)| measured.counted.reported() > 0);
    table::print(
        &format!(
            "Sent {at}: what became of the packets: an event or line each, counted where it arrives; or in an exact sum; or \
             said to be lost; the rest is unaccounted for"
        ),
        &[
            "observer",
            "sent",
            "one by one",
            "in sums",
            "said lost",
            "unaccounted",
            "observer ns / reported",
            "total ns / reported",
        ],
        &observers()
            .map(|((arm, measured), row)| {
                let counted = measured.counted;
                let rest = i128::from(measured.sent) - i128::from(counted.reported()) - i128::from(counted.lost);
                vec![
                    arm.name().into(),
                    measured.sent.to_string(),
                    counted.delivered.to_string(),
                    counted.summed.to_string(),
                    counted.lost.to_string(),
                    rest.to_string(),
                    ns(row.observer),
                    ns(row.total),
                ]
            })
            .collect::<Vec<_>>(),
    );
    judge(load, rate, &rows, verdicts);
}

fn row(arm: Arm, measured: &Measured, alone: f64) -> Row {
    let sample = Sample::new(measured.sender_ns.iter().copied());
    let quarter = sample.quantile(0.25);
    let reported = measured.counted.reported() as f64;
    let observer = measured.observer.as_nanos() as f64;
    // Below nobody's it would be noise, not a gift.
    let additional = (quarter - alone).max(0.0) * measured.sent as f64;
    Row {
        arm,
        batches: sample.len(),
        min: sample.min(),
        quarter,
        ratio: quarter / alone,
        observer: observer / reported,
        total: (observer + additional) / reported,
        sent: measured.sent,
        reported: measured.counted.reported(),
    }
}

fn judge(load: Load, rate: Option<u64>, rows: &[Row], verdicts: &mut Verdicts) {
    let find = |wanted| rows.iter().find(|row| row.arm == wanted);
    let noise = find(Arm::NobodyAgain).map_or(1.0, |row| row.ratio.max(1.0 / row.ratio));
    let name = format!("{}{}", load.name(), rate.map_or_else(String::new, |rate| format!(" {rate}/s")));
    for (arm, suffix) in [(Arm::Netobs, ""), (Arm::NetobsWhole, "_whole")] {
        let Some(row) = find(arm) else { continue };
        verdicts.at_most_or_noise(format!("{name}.sender{suffix}"), row.ratio, 1.10, noise);
        if let Some(rival) = find(Arm::Bpftrace) {
            verdicts.at_most(format!("{name}.cpu_per_reported{suffix}"), row.total / rival.total, 0.10);
        }
        if load == Load::Resets {
            // Neither one too few nor one too many.
            verdicts.at_most(format!("{name}.miscounted"), row.sent.abs_diff(row.reported) as f64, 0.0);
        }
    }
}
