//! Observations for tests.

use std::sync::Arc;

use netobs_common::counters::family;

use crate::event::joined::StandsFor;
use crate::event::observation::{DnsDetail, DnsOutcome, DropDetail, Endpoint, Flow, Kind, Observation, Pod, Severity};
use crate::pipeline::{HistoryLimits, Ledger, Origin, Publisher, Store};

/// What [`drop`] stands for.
pub(crate) const DROP: StandsFor = StandsFor::Record(family::DROP);
/// What [`dns`] stands for.
pub(crate) const DNS: StandsFor = StandsFor::Record(family::DNS);

pub(crate) fn pod(namespace: &str, name: &str) -> Endpoint {
    Endpoint {
        pod: Some(Pod { namespace: namespace.into(), name: name.into(), uid: None, node: None, workload: None }),
        ..Endpoint::default()
    }
}

fn base(kind: Kind, severity: Severity, summary: String) -> Observation {
    Observation {
        id: String::new(),
        time: String::new(),
        boot_ns: crate::pipeline::clock::boot_now(),
        kind,
        severity,
        node: String::new(),
        summary,
        count: 1,
        coalesced: false,
        flow: Some(Flow {
            protocol: "tcp".into(),
            source_ip: Some([10, 244, 0, 5].into()),
            source_port: Some(40_000),
            destination_ip: Some([10, 244, 0, 6].into()),
            destination_port: Some(5432),
        }),
        source: None,
        destination: None,
        nat: None,
        netns: Some(4_026_531_840),
        ifindex: Some(7),
        interface: Some("veth0".into()),
        cgroup: None,
        points: Vec::new(),
        drop: None,
        dns: None,
        mtu: None,
        reset: None,
        flood: None,
        evidence: Vec::new(),
    }
}

/// A dropped packet from the pod to `data/db-0`.
pub(crate) fn drop(namespace: &str, name: &str, reason: &str) -> Observation {
    Observation {
        source: Some(pod(namespace, name)),
        destination: Some(pod("data", "db-0")),
        drop: Some(DropDetail {
            reason: reason.into(),
            location: None,
            hook: Some("FORWARD".into()),
            length: Some(60),
            mtu: Some(1500),
            tcp_flags: Some("SYN".into()),
            answered: false,
        }),
        ..base(Kind::Drop, Severity::Problem, format!("{namespace}/{name} -> data/db-0: {reason}"))
    }
}

/// A DNS question of the pod; answered, or NXDOMAIN.
pub(crate) fn dns(namespace: &str, name: &str, failed: bool) -> Observation {
    let (severity, outcome, rcode) = if failed {
        (Severity::Problem, DnsOutcome::Failed, "NXDOMAIN")
    } else {
        (Severity::Info, DnsOutcome::Answered, "NOERROR")
    };
    Observation {
        source: Some(pod(namespace, name)),
        dns: Some(DnsDetail {
            id: 1,
            name: Some("db.data.svc.cluster.local.".into()),
            qtype: Some("A".into()),
            outcome,
            rcode: Some(rcode.into()),
            answers: Some(0),
            latency_ms: Some(1.5),
            waited_ms: None,
            attempts: None,
        }),
        ..base(Kind::Dns, severity, format!("{namespace}/{name} asked for db.data: {rcode}"))
    }
}

/// A publisher of node `node-a.test` with its own store.
pub(crate) fn publisher(epoch: u64, limits: HistoryLimits) -> Arc<Publisher> {
    let origin = Origin { node: "node-a.test".into(), boot: 0xb007_1d00, epoch };
    Arc::new(Publisher::new(origin, Arc::new(Store::new(limits)), Arc::new(Ledger::new())))
}
