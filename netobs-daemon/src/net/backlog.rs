//! Link events that wait for a slow receiver, folded per link: bounded by the number of links, and never wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::links::{Link, LinkEvent};

/// What is still to be told of one index.
#[derive(Debug, Default)]
struct Waiting {
    /// The link that the receiver knows under this index is gone.
    removed: Option<Arc<Link>>,
    /// The link that is there now.
    now: Option<LinkEvent>,
}

/// The waiting events.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: BTreeMap<u32, Waiting>,
}

impl Backlog {
    /// Adds one; a link that came and went unheard leaves nothing.
    pub(super) fn push(&mut self, event: LinkEvent) {
        let ifindex = event.link().ifindex;
        let entry = self.waiting.entry(ifindex).or_default();
        entry.now = match (event, entry.now.take()) {
            (LinkEvent::Removed(link), unheard) => {
                if !matches!(unheard, Some(LinkEvent::Added(_))) {
                    entry.removed.get_or_insert(link);
                }
                None
            }
            (LinkEvent::Changed(link), Some(LinkEvent::Added(_))) => Some(LinkEvent::Added(link)),
            (event, _) => Some(event),
        };
        if entry.removed.is_none() && entry.now.is_none() {
            self.waiting.remove(&ifindex);
        }
    }

    /// Takes the next.
    pub(super) fn pop(&mut self) -> Option<LinkEvent> {
        let mut entry = self.waiting.first_entry()?;
        let event = match entry.get_mut().removed.take() {
            Some(link) => Some(LinkEvent::Removed(link)),
            None => entry.get_mut().now.take(),
        };
        if entry.get().now.is_none() {
            entry.remove();
        }
        event
    }

    /// Puts back what [`Backlog::pop`] gave last.
    pub(super) fn restore(&mut self, event: LinkEvent) {
        let entry = self.waiting.entry(event.link().ifindex).or_default();
        match event {
            LinkEvent::Removed(link) => entry.removed = Some(link),
            event => entry.now = Some(event),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::role::Role;
    use super::*;

    fn link(ifindex: u32, name: &str) -> Arc<Link> {
        Arc::new(Link {
            ifindex,
            name: name.into(),
            kind: None,
            arphrd: 1,
            mac_header: 14,
            up: true,
            mtu: 1500,
            master: None,
            peer: None,
            peer_nsid: None,
            role: Role::Other,
        })
    }

    fn check(events: &[LinkEvent], expected: &[LinkEvent]) {
        let mut backlog = Backlog::default();
        events.iter().cloned().for_each(|event| backlog.push(event));
        let told: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
        assert_eq!(told, expected);
        assert!(backlog.is_empty());
    }

    #[test]
    fn events_fold_without_lying() {
        use LinkEvent::{Added, Changed, Removed};
        let (a, b, c) = (link(1, "a"), link(1, "b"), link(2, "c"));
        check(&[Added(a.clone()), Changed(b.clone())], &[Added(b.clone())]);
        check(&[Added(a.clone()), Removed(a.clone())], &[]);
        check(&[Changed(a.clone()), Removed(b.clone())], &[Removed(b.clone())]);
        check(&[Removed(a.clone()), Added(b.clone())], &[Removed(a.clone()), Added(b.clone())]);
        check(
            &[Removed(a.clone()), Added(b.clone()), Removed(b.clone()), Added(a.clone())],
            &[Removed(a.clone()), Added(a.clone())],
        );
        check(&[Added(c.clone()), Added(a.clone())], &[Added(a), Added(c)]);
    }
}
