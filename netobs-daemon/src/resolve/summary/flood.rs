//! A flood of resets.

use std::fmt::Write;

use super::{destination, grouped, source};
use crate::event::observation::{FloodDetail, FloodPhase, Observation};

/// That it begins, or how much it was.
pub fn flood(text: &mut String, observation: &Observation, flood: &FloodDetail) -> std::fmt::Result {
    let source = source(observation);
    match flood.phase {
        FloodPhase::Onset => write!(text, "flood: {source} sends {} resets per second", rate(flood.rate_per_second))?,
        FloodPhase::End => {
            let packets = grouped(flood.packets);
            write!(text, "flood: the one from {source} is over: {packets} resets in {:.1} s", flood.duration_seconds)?;
        }
    }
    let mostly = if flood.destinations == 1 { "to" } else { "mostly to" };
    write!(text, ", {mostly} {}", destination(observation))?;
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
