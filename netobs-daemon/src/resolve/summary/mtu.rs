//! A packet that was too big, or whose fragments did not all come.

use std::fmt::Write;

use super::{end, ends, grouped};
use crate::event::observation::{IcmpPath, MtuCause, MtuDetail, Observation};

/// What the ICMP error of a cause is called (RFC 792, RFC 4443).
pub const fn icmp_name(cause: MtuCause) -> &'static str {
    match cause {
        MtuCause::FragmentationNeeded => "ICMP fragmentation needed",
        MtuCause::PacketTooBig => "ICMPv6 packet too big",
        MtuCause::ExceedsMtu => "too big",
        MtuCause::ReassemblyFailed => "ICMP reassembly time exceeded",
    }
}

/// What failed, and who was told.
pub fn failed(text: &mut String, observation: &Observation, mtu: &MtuDetail) -> std::fmt::Result {
    text.push_str("mtu: ");
    ends(text, observation)?;
    if mtu.cause == MtuCause::ReassemblyFailed {
        return reassembly(text, observation, mtu);
    }
    match mtu.packet_length {
        Some(length) => write!(text, ": {length} bytes do not fit")?,
        None => text.push_str(": a packet does not fit"),
    }
    let reporter = end(mtu.reported_by.as_ref(), mtu.reported_by_ip);
    match (mtu.icmp, mtu.next_hop_mtu, &mtu.interface) {
        // A router elsewhere: which of its interfaces, it does not say.
        (Some(IcmpPath::Received | IcmpPath::Forwarded), limit, None) => {
            match limit {
                Some(limit) => write!(text, ", MTU {limit} beyond {reporter}")?,
                None => write!(text, " beyond {reporter}")?,
            }
            let path = if mtu.icmp == Some(IcmpPath::Received) { "received" } else { "forwarded" };
            return write!(text, " ({} {path})", icmp_name(mtu.cause));
        }
        (_, Some(limit), Some(interface)) => write!(text, " the MTU {limit} of {interface}")?,
        (_, Some(limit), None) => write!(text, " an MTU of {limit}")?,
        (_, None, Some(interface)) => write!(text, " the MTU of {interface}")?,
        (_, None, None) => {}
    }
    match mtu.icmp {
        Some(_) => write!(text, ", {reporter} told the sender"),
        None => write!(text, ", dropped silently: no ICMP error was seen"),
    }
}

fn reassembly(text: &mut String, observation: &Observation, mtu: &MtuDetail) -> std::fmt::Result {
    match (&observation.drop, observation.count) {
        (Some(_), 1) => text.push_str(": a fragment was given up before all had come"),
        (Some(_), count) => write!(text, ": {} fragments were given up before all had come", grouped(count))?,
        (None, _) => text.push_str(": fragments were given up before all had come"),
    }
    match mtu.icmp {
        Some(_) => write!(text, ", {} told the sender", end(mtu.reported_by.as_ref(), mtu.reported_by_ip)),
        None => Ok(()),
    }
}
