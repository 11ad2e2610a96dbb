//! The filters, defined once: parameters of the HTTP API and flags of the command line.

use clap::Args;
use jiff::Timestamp;
use utoipa::IntoParams;

use crate::event::observation::{Kind, Severity};
use crate::http::query::{BadParameter, Query};
use crate::http::when;
use crate::pipeline::{Filter, PodFilter};

/// Entries of a list at most.
const LIST_MAX: usize = 16;

/// Which events. All that is given has to hold; of a comma-separated list any entry will do.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterParams {
    /// Kinds of event, comma-separated: drop, dns, mtu, reset, flood.
    #[arg(long, value_name = "KINDS")]
    pub kind: Option<String>,
    /// Namespaces of a pod or Service at either end, comma-separated.
    #[arg(long, short = 'n', value_name = "NAMESPACES")]
    pub namespace: Option<String>,
    /// Pods at either end, comma-separated, each NAME or NAMESPACE/NAME.
    #[arg(long, value_name = "PODS")]
    pub pod: Option<String>,
    /// Drop reasons as the kernel names them, rcodes (NXDOMAIN), DNS outcomes (unanswered), causes of MTU failures
    /// (`exceeds_mtu`) or resets (`refused`), comma-separated, in any case.
    #[arg(long, value_name = "REASONS")]
    pub reason: Option<String>,
    /// Severity: info or problem.
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Option<String>,
    /// Not before: an RFC 3339 time, or a duration like 5m meaning that long ago.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before: an RFC 3339 time, or a duration like 5m meaning that long ago. Only when new events are not followed.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

impl FilterParams {
    /// Names of the parameters.
    pub const NAMES: [&str; 7] = ["kind", "namespace", "pod", "reason", "severity", "since", "until"];

    /// Takes them from a query string.
    pub fn from_query(query: &Query) -> Self {
        let get = |name| query.get(name).map(str::to_owned);
        Self {
            kind: get("kind"),
            namespace: get("namespace"),
            pod: get("pod"),
            reason: get("reason"),
            severity: get("severity"),
            since: get("since"),
            until: get("until"),
        }
    }

    /// Those that are given, by name.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [&self.kind, &self.namespace, &self.pod, &self.reason, &self.severity, &self.since, &self.until];
        Self::NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Checks and compiles them; durations count back from `now`.
    pub fn compile(&self, now: Timestamp) -> Result<Filter, BadParameter> {
        let time = |name, text: &Option<String>| {
            text.as_deref()
                .map(|text| when::parse(text, now).ok_or_else(|| BadParameter::new(name, text, when::EXPECTED)))
                .transpose()
        };
        Ok(Filter {
            kinds: list("kind", self.kind.as_deref(), "drop, dns, mtu, reset, flood, comma-separated", |text| {
                Kind::ALL.into_iter().find(|kind| kind.name() == text)
            })?,
            severity: match self.severity.as_deref() {
                None => None,
                Some("info") => Some(Severity::Info),
                Some("problem") => Some(Severity::Problem),
                Some(other) => return Err(BadParameter::new("severity", other, "info or problem")),
            },
            namespaces: list("namespace", self.namespace.as_deref(), "names of namespaces, comma-separated", name)?,
            pods: list("pod", self.pod.as_deref(), "NAME or NAMESPACE/NAME of pods, comma-separated", pod)?,
            reasons: list(
                "reason",
                self.reason.as_deref(),
                "drop reasons, rcodes or DNS outcomes, comma-separated",
                reason,
            )?,
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
        })
    }
}

fn list<T>(
    parameter: &str,
    text: Option<&str>,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, BadParameter> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let entries: Option<Vec<T>> = text.split(',').map(|entry| parse(entry.trim())).collect();
    match entries {
        Some(entries) if entries.len() <= LIST_MAX => Ok(entries),
        Some(_) => Err(BadParameter::new(parameter, text, format!("at most {LIST_MAX} entries"))),
        None => Err(BadParameter::new(parameter, text, expected)),
    }
}

/// An object's name: at most a DNS subdomain name (RFC 1123 section 2.1).
fn name(text: &str) -> Option<String> {
    let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    ((1..=253).contains(&text.len()) && text.bytes().all(right)).then(|| text.to_owned())
}

fn pod(text: &str) -> Option<PodFilter> {
    match text.split_once('/') {
        Some((namespace, pod)) => Some(PodFilter { namespace: Some(name(namespace)?), name: name(pod)? }),
        None => Some(PodFilter { namespace: None, name: name(text)? }),
    }
}

fn reason(text: &str) -> Option<String> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    ((1..=64).contains(&text.len()) && text.bytes().all(right)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn compile(set: impl FnOnce(&mut FilterParams)) -> Result<Filter, BadParameter> {
        let mut params = FilterParams::default();
        set(&mut params);
        params.compile("2026-01-31T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn lists_and_names() {
        let filter = compile(|params| params.pod = Some("cart, shop/db-0".into())).unwrap();
        assert_eq!(filter.pods[1], PodFilter { namespace: Some("shop".into()), name: "db-0".into() });
        assert_eq!(compile(|params| params.kind = Some("dns,drop".into())).unwrap().kinds, [Kind::Dns, Kind::Drop]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Set = fn(&mut FilterParams);
        let cases: [(&str, Set); 8] = [
            ("kind", |params| params.kind = Some("drops".into())),
            ("kind", |params| params.kind = Some("drop,".into())),
            ("severity", |params| params.severity = Some("bad".into())),
            ("namespace", |params| params.namespace = Some("Shop".into())),
            ("pod", |params| params.pod = Some("a/b/c".into())),
            ("reason", |params| params.reason = Some("a b".into())),
            ("since", |params| params.since = Some("soon".into())),
            ("namespace", |params| params.namespace = Some(vec!["a"; 17].join(","))),
        ];
        for (parameter, set) in cases {
            assert_eq!(compile(set).unwrap_err().parameter, parameter);
        }
    }

    #[test]
    fn pairs_come_back_from_a_query() {
        let params = FilterParams { kind: Some("dns".into()), since: Some("5m".into()), ..FilterParams::default() };
        assert_eq!(params.pairs().collect::<Vec<_>>(), [("kind", "dns"), ("since", "5m")]);
        let query = Query::parse(&"/?kind=dns&since=5m".parse().unwrap(), &FilterParams::NAMES).unwrap();
        assert_eq!(FilterParams::from_query(&query), params);
    }
}
