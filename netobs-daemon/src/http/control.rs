//! Messages about the stream itself, in band, and how both formats carry them.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::observation::Observation;
use crate::pipeline::Frame;

/// A message about the stream itself. In NDJSON an object with `control`; as a server-sent event `gap` or `lagged`
/// with the same object as data, and for a heartbeat a comment and the position as `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "control", rename_all = "lowercase")]
pub enum Control {
    /// What followed the id that was to be resumed from is not all there.
    Gap {
        /// Why.
        reason: GapReason,
        /// The id that was given.
        after: String,
    },
    /// This client was too slow.
    Lagged {
        /// Events of the kinds and severities asked for that it missed, whether or not they match its other filters.
        missed: u64,
    },
    /// Nothing else was sent for a while.
    Heartbeat {
        /// Id up to which everything that matches has been sent: resume from here.
        position: String,
    },
}

/// A line of an NDJSON stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum StreamLine {
    /// A message about the stream itself: has `control`.
    Control(Control),
    /// An event: has `id`.
    Event(Box<Observation>),
}

/// Why a stream could not go on where it was to be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The id is of another start of the daemon (or another boot or node). Everything held follows.
    Restart,
    /// Events after the id were evicted from the history. What is left of them follows.
    Evicted,
}

/// Format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Server-sent events.
    Sse,
    /// One JSON object per line.
    Ndjson,
}

impl Format {
    /// Content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Appends an event.
    pub fn put_frame(self, out: &mut BytesMut, frame: &Frame) {
        out.put_slice(match self {
            Self::Sse => frame.sse(),
            Self::Ndjson => frame.ndjson(),
        });
    }

    /// Appends a control message.
    pub fn put_control(self, out: &mut BytesMut, control: &Control) {
        // Strings and numbers only: this cannot fail.
        let json = serde_json::to_string(control).unwrap_or_default();
        let text = match (self, control) {
            (Self::Ndjson, _) => format!("{json}\n"),
            // An `id` without data moves the client's last event id and dispatches nothing (WHATWG HTML, 9.2.6).
            (Self::Sse, Control::Heartbeat { position }) => format!(": heartbeat\nid: {position}\n\n"),
            (Self::Sse, Control::Gap { .. }) => format!("event: gap\ndata: {json}\n\n"),
            (Self::Sse, Control::Lagged { .. }) => format!("event: lagged\ndata: {json}\n\n"),
        };
        out.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, control: &Control, expected: &str) {
        let mut out = BytesMut::new();
        format.put_control(&mut out, control);
        assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn both_formats() {
        let gap = Control::Gap { reason: GapReason::Restart, after: "n.00000000.1.7".into() };
        check(Format::Ndjson, &gap, "{\"control\":\"gap\",\"reason\":\"restart\",\"after\":\"n.00000000.1.7\"}\n");
        let lagged = Control::Lagged { missed: 12 };
        check(Format::Sse, &lagged, "event: lagged\ndata: {\"control\":\"lagged\",\"missed\":12}\n\n");
        let heartbeat = Control::Heartbeat { position: "n.00000000.1.7".into() };
        check(Format::Sse, &heartbeat, ": heartbeat\nid: n.00000000.1.7\n\n");
        check(Format::Ndjson, &heartbeat, "{\"control\":\"heartbeat\",\"position\":\"n.00000000.1.7\"}\n");
    }
}
