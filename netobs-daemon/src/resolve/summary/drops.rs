//! A dropped packet.

use std::fmt::Write;

use super::ends;
use crate::event::observation::{DropDetail, Observation};

/// What is added where the reset is told by itself.
pub const ANSWERED: &str = ", answered with a reset";

/// What happened to it.
pub fn dropped(text: &mut String, observation: &Observation, drop: &DropDetail) -> std::fmt::Result {
    ends(text, observation)?;
    if let Some(flags) = drop.tcp_flags.as_ref().filter(|flags| !flags.is_empty()) {
        write!(text, " {flags}")?;
    }
    match (&drop.hook, drop.reason.as_str()) {
        (Some(hook), _) => write!(text, ": dropped by netfilter in {hook}")?,
        (None, "NETFILTER_DROP") => text.push_str(": dropped by netfilter"),
        (None, reason) => write!(text, ": dropped, {reason}")?,
    }
    if let Some(location) = &drop.location {
        write!(text, " ({location})")?;
    }
    if let Some(interface) = &observation.interface {
        write!(text, " on {interface}")?;
    }
    if drop.answered {
        text.push_str(ANSWERED);
    }
    Ok(())
}
