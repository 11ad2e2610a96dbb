//! clsact: the older way to attach a classifier, for interfaces that refuse tcx.
//!
//! A clsact filter is not a link: it stays when its process dies. It is then inert, because our programs leave every
//! verdict to the next filter, and the next netobs of the network namespace removes it. Nothing is ever replaced: qdiscs and
//! filters are only made where there is none (`NLM_F_EXCL`). A qdisc is never deleted, not even one that we made: somebody
//! else may use it by now.

mod mark;
mod message;
mod owner;

use std::io;
use std::os::fd::BorrowedFd;

pub(super) use mark::Position;
use mark::{Mark, free_preferences, marked, position};
use message::{RTM_DELTFILTER, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER, Row};
use owner::Owner;

use crate::netlink::socket::Asker;
use crate::netlink::wire::{NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};

/// This process's filters in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Clsact {
    asker: Asker,
    owner: Owner,
}

/// What became of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Our filter is there.
    Yes,
    /// The interface has an `ingress` qdisc of somebody else's, which has no egress.
    NoEgress,
}

impl Clsact {
    /// Takes a name as owner of filters.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { asker: Asker::open()?, owner: Owner::claim()? })
    }

    /// Adds our filter to one direction of an interface, in the first of our preferences that is free. One of our own that
    /// is there already goes first.
    ///
    /// `ENODEV`: the interface went. `EOPNOTSUPP`: its filters are shared with others (a tc block). `EEXIST`: all of our
    /// preferences are taken.
    pub(super) fn add(&mut self, program: BorrowedFd<'_>, ifindex: u32, egress: bool) -> io::Result<Added> {
        // Before anything else: a filter for the egress of an `ingress` qdisc would see what comes in (`ingress_find` and
        // `ingress_tcf_block` in `net/sched/sch_ingress.c` take any class for the same block).
        if !self.ensure_qdisc(ifindex)? && egress {
            return Ok(Added::NoEgress);
        }
        self.remove(ifindex, egress)?;
        let rows = filters(&mut self.asker, ifindex, egress)?;
        let name = Mark { egress, owner: self.owner.name() }.name();
        let mut last = io::Error::from_raw_os_error(libc::EEXIST);
        for preference in free_preferences(&rows) {
            let body = message::new_filter(ifindex, egress, preference, program, &name);
            match self.asker.request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &body, |_| {}) {
                Ok(()) => return Ok(Added::Yes),
                // Somebody has just taken it: with our handle, or with another kind or protocol.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EINVAL)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Where our filter is among the filters of one direction.
    pub(super) fn position(&mut self, ifindex: u32, egress: bool) -> io::Result<Position> {
        let rows = filters(&mut self.asker, ifindex, egress)?;
        Ok(position(&rows, Mark { egress, owner: self.owner.name() }))
    }

    /// Removes our filter from one direction of an interface.
    pub(super) fn remove(&mut self, ifindex: u32, egress: bool) -> io::Result<()> {
        remove(&mut self.asker, ifindex, egress, |owner| owner == self.owner.name()).map(drop)
    }

    /// Makes an interface's clsact qdisc where there is none. What is there already is used as it is. Whether it has an
    /// egress.
    fn ensure_qdisc(&mut self, ifindex: u32) -> io::Result<bool> {
        let made = self.asker.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &message::new_clsact(ifindex), |_| {});
        match made {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            made => return made.map(|()| true),
        }
        let mut is_clsact = None;
        // Kernels before 6.8 send the answer as a notification, which comes to the one who asks only if that is asked for.
        self.asker.request(RTM_GETQDISC, NLM_F_ECHO, &message::get_qdisc(ifindex), |answer| {
            is_clsact = is_clsact.or_else(|| message::is_clsact(answer.payload));
        })?;
        is_clsact.ok_or_else(|| io::Error::other("the kernel does not say what qdisc the interface has"))
    }
}

/// Removes the filters that a netobs which lives no more has left on these interfaces of the calling thread's network
/// namespace. How many, and the last error: an error at one interface does not keep the others from it, and one that goes
/// meanwhile does not matter.
pub fn remove_stale(interfaces: impl IntoIterator<Item = u32>) -> (usize, io::Result<()>) {
    let (mut removed, mut last) = (0, Ok(()));
    let mut asker = match Asker::open() {
        Ok(asker) => asker,
        Err(error) => return (removed, Err(error)),
    };
    for ifindex in interfaces {
        for egress in [false, true] {
            match remove(&mut asker, ifindex, egress, owner::is_gone) {
                Ok(count) => removed += count,
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => last = Err(error),
            }
        }
    }
    (removed, last)
}

/// The filters of one direction of an interface, in the order in which they see a packet. None: it has none, no such qdisc,
/// or is gone.
fn filters(asker: &mut Asker, ifindex: u32, egress: bool) -> io::Result<Vec<Row>> {
    asker.dump(RTM_GETTFILTER, &message::dump_filters(ifindex, egress), |answer| {
        (answer.kind == RTM_NEWTFILTER).then(|| message::parse(answer.payload)).flatten()
    })
}

/// Removes exactly the filters of one direction whose owner `is_meant`. How many.
fn remove(asker: &mut Asker, ifindex: u32, egress: bool, is_meant: impl FnMut(&str) -> bool) -> io::Result<usize> {
    let rows = filters(asker, ifindex, egress)?;
    let mut removed = 0;
    for preference in marked(&rows, egress, is_meant) {
        match asker.request(RTM_DELTFILTER, 0, &message::delete_filter(ifindex, egress, preference), |_| {}) {
            Ok(()) => removed += 1,
            // Gone already, alone or with its qdisc.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
