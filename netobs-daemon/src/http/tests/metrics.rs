//! `/metrics` in both formats, and its families as docs/metrics.md lists them: that table is the golden file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::{Server, Setup};
use crate::http::scrape::{CertificateSource, Certificates};
use crate::pipeline::samples;

const BEGIN: &str = "<!-- families: begin -->\n";
const END: &str = "<!-- families: end -->\n";
const LEDGER: usize = 0;

/// What the metadata and the samples say of a family.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

/// By the name under which Prometheus stores it. Panics where the text is not `OpenMetrics` 1.0.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.strip_suffix("# EOF\n").expect("an end").lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").map(|rest| rest.split_once(' ').expect("help")) {
            let family = Family { help: help.into(), ..Family::default() };
            assert!(families.insert(name.into(), family).is_none(), "{name} comes twice");
            current = name.into();
            continue;
        }
        let family = families.get_mut(&current).expect("metadata before samples");
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").map(|rest| rest.split_once(' ').expect("type")) {
            assert_eq!(name, current);
            family.kind = kind.into();
        } else if let Some((name, unit)) = line.strip_prefix("# UNIT ").map(|rest| rest.split_once(' ').expect("unit"))
        {
            assert!(name == current && name.ends_with(&format!("_{unit}")), "{line}");
            family.unit = unit.into();
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is not of {current}"));
            match family.kind.as_str() {
                "counter" => assert_eq!(suffix, "_total"),
                "info" => assert_eq!(suffix, "_info"),
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, ""),
            }
            if let Some((labels, _)) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) {
                let names = labels.split(',').map(|label| label.split('=').next().unwrap().to_owned());
                family.labels.extend(names.filter(|name| name != "le"));
            }
        }
    }
    let stored = |name: String, family: &Family| match family.kind.as_str() {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name,
    };
    families.into_iter().map(|(name, family)| (stored(name, &family), family)).collect()
}

fn table(families: &BTreeMap<String, Family>) -> String {
    let mut table = "| metric | type | unit | labels | what |\n|---|---|---|---|---|\n".to_owned();
    for (name, Family { help, kind, unit, labels }) in families {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(table, "| `{name}` | {kind} | {unit} | {} | {help} |", labels.join(" "));
    }
    table
}

/// A server of which each family has a sample.
async fn busy() -> Server {
    let server = Server::start(Setup::default()).await;
    server.publisher.ledger().set_kernel(Arc::new(Idle));
    server.publisher.ledger().decoded(LEDGER);
    let certificates = Certificates::new(CertificateSource::SelfSigned { node: "node-a".into() }).unwrap();
    server.api.scrape.listens(([127, 0, 0, 1], 7118).into(), Arc::new(certificates));
    server.drops(3);
    server.publisher.publish(samples::dns("shop", "cart", true), samples::DNS, None, &[]);
    server
}

/// A kernel side on which nothing has happened.
struct Idle;
impl crate::pipeline::KernelCounters for Idle {
    fn sample(&self) -> Result<crate::pipeline::KernelSample, String> {
        Ok(crate::pipeline::KernelSample { recursion_misses: Some(0), ..Default::default() })
    }
}

async fn scrape(server: &Server, accept: &str) -> (String, String) {
    let mut connection = server.tcp().await;
    let head = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    connection.send(&head).await;
    connection.whole().await
}

#[tokio::test]
async fn families_are_those_of_the_documentation() {
    let server = busy().await;
    let (head, text) = scrape(&server, "application/openmetrics-text").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{head}");
    let families = families(&text);
    for (name, family) in &families {
        assert!(name.starts_with("netobs_") || name.starts_with("process_"), "{name}");
        assert!(!family.help.is_empty() && !family.help.ends_with('.'), "{name}: {}", family.help);
        for (suffix, unit) in [("_bytes", "bytes"), ("_seconds", "seconds")] {
            assert_eq!(name.trim_end_matches("_total").ends_with(suffix), family.unit == unit, "{name}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("a begin");
    let (documented, after) = rest.split_once(END).expect("an end");
    let table = table(&families);
    if std::env::var_os("NETOBS_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(documented, table, "docs/metrics.md: set NETOBS_BLESS=1 to have it rewritten, and look at the diff");
    }
}

#[tokio::test]
async fn scrapers_that_do_not_ask_get_the_classic_format() {
    let server = busy().await;
    let (_, open) = scrape(&server, "application/openmetrics-text").await;
    for accept in ["*/*", "text/plain", "application/openmetrics-text;q=0"] {
        let (head, text) = scrape(&server, accept).await;
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        assert!(head.contains("vary: accept\r\n"), "{head}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        let stored = families(&open);
        for line in [
            "# TYPE netobs_events_total counter",
            "netobs_events_total{kind=\"drop\",severity=\"problem\"} 3",
            "netobs_dropped_packets_total{reason=\"NETFILTER_DROP\"} 3",
            "netobs_dropped_packets_total{reason=\"other\"} 0",
            "# TYPE netobs_build_info gauge",
            "netobs_dns_answers_total{rcode=\"NXDOMAIN\"} 1",
            "netobs_dns_latency_seconds_bucket{le=\"0.0025\"} 1",
            "netobs_cluster_feed_synced{feed=\"pods\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
        }
        let typed: BTreeSet<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(typed, stored.keys().map(String::as_str).collect());
    }
}
