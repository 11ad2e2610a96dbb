//! The text format 0.0.4 that scrapers without `OpenMetrics` read, made from the latter.
//!
//! They differ in what a family is called (there `netobs_events` with samples `netobs_events_total`, here the family is
//! called as its samples are), in the type `info`, which is a gauge here, and in lines for units and the end, which do not
//! exist here. See <https://prometheus.io/docs/instrumenting/exposition_formats/>.

/// Content type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites what `prometheus_client` has written: metadata of a family comes as HELP, TYPE and perhaps UNIT.
pub fn from_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with('#') {
                push(&mut out, &[line]);
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = lines.next_if(|line| line.starts_with("# TYPE ")).and_then(|line| line.rsplit(' ').next());
        let (suffix, kind) = match kind {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("unknown") | None => ("", "untyped"),
            Some(other) => ("", other),
        };
        push(&mut out, &["# HELP ", name, suffix, " ", help]);
        push(&mut out, &["# TYPE ", name, suffix, " ", kind]);
    }
    out
}

fn push(out: &mut String, parts: &[&str]) {
    out.extend(parts.iter().copied());
    out.push('\n');
}

/// Whether an Accept header (RFC 9110 section 12.5.1) asks for `OpenMetrics`. As in Prometheus's own client libraries,
/// whoever says nothing of it gets the classic format, whatever else it may accept.
pub fn wants_openmetrics(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
        named
            && parts.all(|parameter| match parameter.split_once('=') {
                Some((name, value)) if name.eq_ignore_ascii_case("q") => value.parse().is_ok_and(|q: f32| q > 0.0),
                Some((name, value)) if name.eq_ignore_ascii_case("version") => {
                    matches!(value.trim_matches('"'), "1.0.0" | "0.0.1")
                }
                _ => true,
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_called_as_their_samples() {
        let open = "# HELP a_b Why.\n# TYPE a_b counter\na_b_total{x=\"# HELP\"} 1\n\
                    # HELP a_seconds Long.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_sum 1.0\n\
                    # HELP v Version.\n# TYPE v info\nv_info{v=\"1\"} 1\n\
                    # HELP g G.\n# TYPE g gauge\ng 1\n# EOF\n";
        let classic = "# HELP a_b_total Why.\n# TYPE a_b_total counter\na_b_total{x=\"# HELP\"} 1\n\
                       # HELP a_seconds Long.\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n\
                       # HELP v_info Version.\n# TYPE v_info gauge\nv_info{v=\"1\"} 1\n\
                       # HELP g G.\n# TYPE g gauge\ng 1\n";
        assert_eq!(from_openmetrics(open), classic);
        assert_eq!(from_openmetrics(""), "");
    }

    #[test]
    fn who_gets_openmetrics() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text;version=1.0.0;q=0", false),
            ("application/openmetrics-text; version=2.0.0", false),
            // What Prometheus 2.x and 3.x send.
            (
                "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.25,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.2,*/*;q=0.1",
                true,
            ),
        ] {
            assert_eq!(wants_openmetrics(accept), expected, "{accept}");
        }
    }
}
