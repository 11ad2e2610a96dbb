//! A published event: its bytes, rendered once, and what filters ask about it.

use bytes::Bytes;
use jiff::Timestamp;

use crate::event::observation::{DnsOutcome, Endpoint, Kind, Observation, Severity};

/// An event as every client gets it. The bytes are shared: a server-sent event whose data is the JSON document, so the
/// JSON and the NDJSON line are slices of it.
#[derive(Debug)]
pub struct Frame {
    /// Sequence number.
    pub seq: u64,
    /// Kind.
    pub kind: Kind,
    /// Severity.
    pub severity: Severity,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
    /// Wall time.
    pub time: Timestamp,
    /// What filters ask.
    pub keys: Keys,
    bytes: Bytes,
    /// Where the JSON document begins in `bytes`.
    json: usize,
}

/// What filters ask about an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Namespaces of the pods and Services involved.
    pub namespaces: Vec<Box<str>>,
    /// Pods at both ends, with the backend of a Service: namespace and name.
    pub pods: Vec<(Box<str>, Box<str>)>,
    /// Drop reason, rcode and outcome, cause of an MTU failure or a reset and the kernel's reason for it, phase of a flood and why it
    /// ends.
    pub reasons: Vec<Box<str>>,
}

/// Fixed size of a frame beside its bytes, for memory bounds: the structure, its reference counts and its keys.
const OVERHEAD: usize = size_of::<Frame>() + 256;

impl Frame {
    /// Renders an observation that has its id, in `scratch`, which keeps its room for the next one. Fails only where the
    /// observation cannot be written as JSON.
    pub fn render(
        seq: u64,
        time: Timestamp,
        observation: &Observation,
        scratch: &mut Vec<u8>,
    ) -> Result<Self, serde_json::Error> {
        scratch.clear();
        scratch.extend_from_slice(b"event: ");
        scratch.extend_from_slice(observation.kind.name().as_bytes());
        scratch.extend_from_slice(b"\nid: ");
        scratch.extend_from_slice(observation.id.as_bytes());
        scratch.extend_from_slice(b"\ndata: ");
        let json = scratch.len();
        serde_json::to_writer(&mut *scratch, observation)?;
        scratch.extend_from_slice(b"\n\n");
        Ok(Self {
            seq,
            kind: observation.kind,
            severity: observation.severity,
            boot_ns: observation.boot_ns,
            time,
            keys: Keys::of(observation),
            // Copied to its exact size, since it stays in the history for long.
            bytes: Bytes::copy_from_slice(scratch),
            json,
        })
    }

    /// The JSON document.
    pub fn json(&self) -> &[u8] {
        &self.bytes[self.json..self.bytes.len() - 2]
    }

    /// The JSON document and a line feed.
    pub fn ndjson(&self) -> &[u8] {
        &self.bytes[self.json..self.bytes.len() - 1]
    }

    /// A server-sent event.
    pub fn sse(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory this frame accounts for.
    pub fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Keys {
    fn of(observation: &Observation) -> Self {
        let mut keys = Self::default();
        let backend = observation.nat.as_ref().and_then(|nat| nat.backend.as_ref());
        for end in [observation.source.as_ref(), observation.destination.as_ref(), backend].into_iter().flatten() {
            keys.add_endpoint(end);
        }
        if let Some(service) = observation.nat.as_ref().and_then(|nat| nat.service.as_ref()) {
            add(&mut keys.namespaces, &service.namespace);
        }
        if let Some(drop) = &observation.drop {
            add(&mut keys.reasons, &drop.reason);
        }
        if let Some(dns) = &observation.dns {
            add(&mut keys.reasons, outcome_name(dns.outcome));
            if let Some(rcode) = &dns.rcode {
                add(&mut keys.reasons, rcode);
            }
        }
        if let Some(mtu) = &observation.mtu {
            add(&mut keys.reasons, mtu.cause.name());
        }
        if let Some(reset) = &observation.reset {
            add(&mut keys.reasons, reset.cause.name());
            if let Some(reason) = &reset.reason {
                add(&mut keys.reasons, reason);
            }
        }
        if let Some(flood) = &observation.flood {
            add(&mut keys.reasons, flood.phase.name());
            if let Some(cause) = flood.end_cause {
                add(&mut keys.reasons, cause.name());
            }
        }
        keys
    }

    fn add_endpoint(&mut self, end: &Endpoint) {
        if let Some(pod) = &end.pod {
            add(&mut self.namespaces, &pod.namespace);
            if !self.pods.iter().any(|(namespace, name)| **namespace == pod.namespace && **name == pod.name) {
                self.pods.push((pod.namespace.as_str().into(), pod.name.as_str().into()));
            }
        }
        if let Some(service) = &end.service {
            add(&mut self.namespaces, &service.namespace);
        }
    }
}

fn add(list: &mut Vec<Box<str>>, text: &str) {
    if !list.iter().any(|present| **present == *text) {
        list.push(text.into());
    }
}

/// Name of a severity, as in JSON.
pub const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Problem => "problem",
    }
}

/// Name of an outcome, as in JSON.
pub const fn outcome_name(outcome: DnsOutcome) -> &'static str {
    match outcome {
        DnsOutcome::Answered => "answered",
        DnsOutcome::Empty => "empty",
        DnsOutcome::Failed => "failed",
        DnsOutcome::Truncated => "truncated",
        DnsOutcome::Unanswered => "unanswered",
        DnsOutcome::Unasked => "unasked",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::event::observation::{FloodEnd, FloodPhase, MtuCause, ResetCause};
    use crate::pipeline::samples;

    #[test]
    fn one_rendering_serves_all_forms() {
        let mut observation = samples::drop("shop", "cart", "NETFILTER_DROP");
        observation.id = "node.00000001.1.7".into();
        let frame = Frame::render(7, Timestamp::UNIX_EPOCH, &observation, &mut Vec::new()).unwrap();
        let json = serde_json::to_string(&observation).unwrap();
        assert_eq!(frame.json(), json.as_bytes());
        assert_eq!(frame.ndjson(), format!("{json}\n").as_bytes());
        assert_eq!(frame.sse(), format!("event: drop\nid: node.00000001.1.7\ndata: {json}\n\n").as_bytes());
    }

    #[test]
    fn keys_of_both_ends() {
        let drop = Keys::of(&samples::drop("shop", "cart", "NETFILTER_DROP"));
        assert_eq!(drop.namespaces, ["shop".into(), "data".into()]);
        assert_eq!(drop.pods[0], ("shop".into(), "cart".into()));
        assert_eq!(drop.reasons, ["NETFILTER_DROP".into()]);
        let dns = Keys::of(&samples::dns("shop", "cart", true));
        assert_eq!(dns.reasons, ["failed".into(), "NXDOMAIN".into()]);
    }

    #[test]
    fn names_are_those_of_the_json() {
        for outcome in [
            DnsOutcome::Answered,
            DnsOutcome::Empty,
            DnsOutcome::Failed,
            DnsOutcome::Truncated,
            DnsOutcome::Unanswered,
            DnsOutcome::Unasked,
        ] {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), format!("{:?}", outcome_name(outcome)));
        }
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.name()));
        }
        for cause in MtuCause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("{:?}", cause.name()));
        }
        for cause in ResetCause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("{:?}", cause.name()));
        }
        for phase in FloodPhase::ALL {
            assert_eq!(serde_json::to_string(&phase).unwrap(), format!("{:?}", phase.name()));
        }
        for cause in FloodEnd::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("{:?}", cause.name()));
        }
        for severity in [Severity::Info, Severity::Problem] {
            assert_eq!(serde_json::to_string(&severity).unwrap(), format!("{:?}", severity_name(severity)));
        }
    }
}
