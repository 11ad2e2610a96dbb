//! A flood of resets.

use std::fmt::Write;

use super::{destination, grouped, source};
use crate::event::observation::{FloodDetail, FloodEnd, FloodPhase, Observation};

/// That it begins, or how much it was.
pub fn flood(text: &mut String, observation: &Observation, flood: &FloodDetail) -> std::fmt::Result {
    let source = source(observation);
    match flood.phase {
        FloodPhase::Onset => write!(text, "flood: {source} sends {} resets per second", rate(flood.rate_per_second))?,
        FloodPhase::End => {
            let packets = grouped(flood.packets);
            match flood.end_cause {
                Some(FloodEnd::ObserverStops) => {
                    write!(text, "flood: netobs stops during the one from {source}, of which it saw {packets} resets")?;
                }
                Some(FloodEnd::Calm) | None => {
                    write!(text, "flood: the one from {source} is over: {packets} resets")?;
                }
            }
            write!(text, " in {:.1} s", flood.duration_seconds)?;
        }
    }
    if let Some(to_main) = flood.packets_to_destination {
        // Where most were counted for many destinations together, no more than this is known.
        let mostly = match to_main {
            all if all == flood.packets => "to",
            most if most > flood.packets / 2 => "mostly to",
            _ => "among others to",
        };
        write!(text, ", {mostly} {}", destination(observation))?;
    }
    match flood.phase {
        FloodPhase::Onset => write!(text, " (before: {} per second)", rate(flood.baseline_per_second)),
        FloodPhase::End => Ok(()),
    }
}

/// A rate, to one place where that matters.
fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        return format!("{per_second:.1}");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is at least 10 here, and finite"
    )]
    let whole = per_second.round() as u64;
    grouped(whole)
}
