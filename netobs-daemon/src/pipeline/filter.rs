//! Which events a reader asked for.

use jiff::Timestamp;

use crate::event::observation::{Kind, Severity};
use crate::pipeline::frame::Frame;
use crate::pipeline::history::{CLASSES, class_of};

/// A conjunction: each part that is given has to hold. Within a list any entry will do; an empty list asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Severity.
    pub severity: Option<Severity>,
    /// Namespaces of a pod or Service at either end.
    pub namespaces: Vec<String>,
    /// Pods at either end. One without a namespace has to be in [`Filter::namespaces`], where those are given.
    pub pods: Vec<PodFilter>,
    /// Drop reasons, rcodes and DNS outcomes; case does not matter.
    pub reasons: Vec<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// A pod by name, or by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFilter {
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Filter {
    /// Which classes of the history can hold a match.
    pub fn classes(&self) -> [bool; CLASSES] {
        let mut classes = [false; CLASSES];
        for kind in Kind::ALL {
            for severity in [Severity::Info, Severity::Problem] {
                classes[class_of(kind, severity)] = (self.kinds.is_empty() || self.kinds.contains(&kind))
                    && self.severity.is_none_or(|asked| asked == severity);
            }
        }
        classes
    }

    /// Whether an event of one of [`Filter::classes`] matches.
    pub fn matches(&self, frame: &Frame) -> bool {
        let keys = &frame.keys;
        let in_namespaces = |namespace: &str| self.namespaces.iter().any(|asked| asked == namespace);
        self.since.is_none_or(|since| frame.time >= since)
            && self.until.is_none_or(|until| frame.time < until)
            && (self.reasons.is_empty()
                || keys
                    .reasons
                    .iter()
                    .any(|reason| self.reasons.iter().any(|asked| asked.eq_ignore_ascii_case(reason))))
            && (self.namespaces.is_empty() || keys.namespaces.iter().any(|namespace| in_namespaces(namespace)))
            && (self.pods.is_empty()
                || keys.pods.iter().any(|(namespace, name)| {
                    self.pods.iter().any(|asked| {
                        asked.name == **name
                            && match &asked.namespace {
                                Some(asked) => *asked == **namespace,
                                None => self.namespaces.is_empty() || in_namespaces(namespace),
                            }
                    })
                }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::samples;

    fn check(filter: &Filter, expected: bool) {
        let mut observation = samples::drop("shop", "cart", "NETFILTER_DROP");
        observation.id = "n.00000000.1.1".into();
        let frame = Frame::render(1, Timestamp::from_second(1_000).unwrap(), &observation, &mut Vec::new()).unwrap();
        let matches = filter.classes()[class_of(frame.kind, frame.severity)] && filter.matches(&frame);
        assert_eq!(matches, expected, "{filter:?}");
    }

    fn pod(namespace: Option<&str>, name: &str) -> Vec<PodFilter> {
        vec![PodFilter { namespace: namespace.map(Into::into), name: name.into() }]
    }

    #[test]
    fn each_part_has_to_hold() {
        let all = Filter::default();
        check(&all, true);
        check(&Filter { kinds: vec![Kind::Dns], ..all.clone() }, false);
        check(&Filter { kinds: vec![Kind::Dns, Kind::Drop], ..all.clone() }, true);
        check(&Filter { severity: Some(Severity::Info), ..all.clone() }, false);
        check(&Filter { reasons: vec!["netfilter_drop".into()], ..all.clone() }, true);
        check(&Filter { reasons: vec!["NO_SOCKET".into()], ..all.clone() }, false);
        check(&Filter { namespaces: vec!["data".into()], ..all.clone() }, true);
        check(&Filter { namespaces: vec!["dat".into()], ..all.clone() }, false);
        check(&Filter { pods: pod(None, "cart"), ..all.clone() }, true);
        check(&Filter { pods: pod(Some("shop"), "cart"), ..all.clone() }, true);
        check(&Filter { pods: pod(Some("data"), "cart"), ..all.clone() }, false);
        // `-n data --pod cart` means data/cart, although an end of the event is in `data`.
        check(&Filter { namespaces: vec!["data".into()], pods: pod(None, "cart"), ..all.clone() }, false);
    }

    #[test]
    fn time_is_half_open() {
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        check(&Filter { since: at(1_000), until: at(1_001), ..Filter::default() }, true);
        check(&Filter { since: at(1_001), ..Filter::default() }, false);
        check(&Filter { until: at(1_000), ..Filter::default() }, false);
    }
}
