//! What a client of the stream asked for.

use axum::http::{HeaderMap, Uri, header};
use jiff::Timestamp;
use utoipa::IntoParams;

use crate::http::control::Format;
use crate::http::events::LIMIT_MAX;
use crate::http::params::FilterParams;
use crate::http::query::{BadParameter, Query};
use crate::pipeline::{EventId, Filter, Origin};

/// How to stream.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamParams {
    /// `sse` or `ndjson`; unless given, `sse` when the Accept header names text/event-stream, else `ndjson`.
    pub format: Option<String>,
    /// Resume after this event. A `Last-Event-ID` header goes before it.
    pub after: Option<String>,
    /// Begin with the last so many matching events that are held, 0 to 1000.
    #[param(minimum = 0, maximum = 1000)]
    pub last: Option<u32>,
    /// `true` (the default): go on with what comes. `false`: end after what is held.
    pub follow: Option<bool>,
}

/// A request for a stream, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRequest {
    /// Format.
    pub format: Format,
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub start: Start,
    /// Whether to go on with what comes.
    pub follow: bool,
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes.
    Live,
    /// With all that is held and matches.
    Held,
    /// With the last so many that are held and match.
    Last(usize),
    /// After an event.
    After(EventId),
}

impl StreamRequest {
    /// Checks a request to the daemon of this origin whose newest event is `newest`.
    pub fn parse(uri: &Uri, headers: &HeaderMap, origin: &Origin, newest: u64) -> Result<Self, BadParameter> {
        let mut known = FilterParams::NAMES.to_vec();
        known.extend(["format", "after", "last", "follow"]);
        let query = Query::parse(uri, &known)?;
        let filter = FilterParams::from_query(&query).compile(Timestamp::now())?;
        let format = query.word("format", &[("sse", Format::Sse), ("ndjson", Format::Ndjson)])?;
        let follow = query.word("follow", &[("true", true), ("false", false)])?.unwrap_or(true);
        if follow && let Some(until) = query.get("until") {
            return Err(BadParameter::new(
                "until",
                until,
                "follow=false with it: a stream that is followed has no end",
            ));
        }
        let last = query.number("last", 0..=LIMIT_MAX)?;
        let start = match (resume(&query, headers, origin, newest)?, last) {
            (Some(id), _) => Start::After(id),
            (None, Some(last)) => Start::Last(last),
            (None, None) if filter.since.is_some() || !follow => Start::Held,
            (None, None) => Start::Live,
        };
        Ok(Self { format: format.unwrap_or_else(|| accepted(headers)), filter, start, follow })
    }
}

/// The header goes first: a browser that reconnects repeats the address it began with, and adds the header.
fn resume(query: &Query, headers: &HeaderMap, origin: &Origin, newest: u64) -> Result<Option<EventId>, BadParameter> {
    let header = headers.get("last-event-id").map(|value| ("Last-Event-ID", value.to_str().unwrap_or("\u{fffd}")));
    let given = header.filter(|(_, text)| !text.is_empty()).or_else(|| query.get("after").map(|text| ("after", text)));
    let Some((parameter, text)) = given else { return Ok(None) };
    let bad = |expected: String| BadParameter::new(parameter, text, expected);
    let id: EventId = text.parse().map_err(|error| bad(format!("the id of an event: {error}")))?;
    if id.origin == *origin && id.seq > newest {
        return Err(bad(format!("the id of an event that has happened; the newest is {}", origin.id(newest))));
    }
    Ok(Some(id))
}

fn accepted(headers: &HeaderMap) -> Format {
    let names_sse = |value: &str| {
        value.split(',').any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
    };
    let sse = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(names_sse);
    if sse { Format::Sse } else { Format::Ndjson }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(query: &str, headers: &[(&'static str, &str)]) -> Result<StreamRequest, BadParameter> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let origin = Origin { node: "n".into(), boot: 0, epoch: 1 };
        StreamRequest::parse(&format!("/v1/events/stream?{query}").parse().unwrap(), &headers, &origin, 9)
    }

    #[test]
    fn where_it_begins() {
        assert_eq!(parse("", &[]).unwrap().start, Start::Live);
        assert_eq!(parse("since=5m", &[]).unwrap().start, Start::Held);
        assert_eq!(parse("follow=false", &[]).unwrap().start, Start::Held);
        assert_eq!(parse("last=3&since=5m", &[]).unwrap().start, Start::Last(3));
        let after = |request: StreamRequest| match request.start {
            Start::After(id) => id.seq,
            other => panic!("{other:?}"),
        };
        assert_eq!(after(parse("after=n.00000000.1.4", &[]).unwrap()), 4);
        let header = [("last-event-id", "n.00000000.1.6")];
        assert_eq!(after(parse("after=n.00000000.1.4", &header).unwrap()), 6);
        assert_eq!(after(parse("after=n.00000000.1.4", &[("last-event-id", "")]).unwrap()), 4);
        assert_eq!(after(parse("after=n.00000000.0.400", &[]).unwrap()), 400);
    }

    #[test]
    fn which_format() {
        assert_eq!(parse("", &[]).unwrap().format, Format::Ndjson);
        assert_eq!(parse("", &[("accept", "text/html, text/event-stream;q=0.9")]).unwrap().format, Format::Sse);
        assert_eq!(parse("format=ndjson", &[("accept", "text/event-stream")]).unwrap().format, Format::Ndjson);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, headers, parameter) in [
            ("format=xml", vec![], "format"),
            ("follow=maybe", vec![], "follow"),
            ("last=1001", vec![], "last"),
            ("until=5m", vec![], "until"),
            ("after=x", vec![], "after"),
            ("after=n.00000000.1.10", vec![], "after"),
            ("", vec![("last-event-id", "x")], "Last-Event-ID"),
            ("limit=5", vec![], "limit"),
        ] {
            assert_eq!(parse(query, &headers).unwrap_err().parameter, parameter);
        }
    }
}
