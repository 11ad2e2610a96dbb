//! The classifiers on interfaces, first in order, as interfaces come and go: by tcx links, and by clsact filters where the
//! kernel refuses tcx.

mod trial;
mod verify;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::clsact::{Added, Clsact};
use super::load::{Loaded, ProgramError};
use super::sys;
pub use trial::Trial;
pub use verify::Verdict;

/// The classifiers, loaded.
#[derive(Debug)]
pub struct Classifiers {
    // Indexed by [ingress, egress], one pair for each `Placement`.
    programs: [[Program; 2]; 3],
    interfaces: BTreeMap<u32, Attached>,
    /// Whether tcx is tried at all.
    try_tcx: bool,
    /// Opened when the first interface needs it.
    clsact: Option<Clsact>,
    /// Why the kernel last refused tcx.
    refusal: Option<String>,
}

#[derive(Debug)]
struct Program {
    descriptor: OwnedFd,
    id: u32,
}

#[derive(Debug)]
struct Attached {
    // Indexed by [ingress, egress].
    holds: [Hold; 2],
    by: Mechanism,
    placement: Placement,
    /// How often somebody has gone before us.
    displaced: u32,
    /// It was last told that ours is not the first.
    behind: bool,
}

/// How a direction of an interface is attached.
#[derive(Debug)]
enum Hold {
    /// By a link: closing it detaches.
    Tcx { _link: OwnedFd },
    /// By a filter of ours: it has to be removed.
    Clsact,
    /// Not at all; only while it could not be attached again.
    Lost,
    /// Not at all, and it cannot be: the interface has no such direction.
    Impossible,
}

/// How a classifier is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// By a tcx link (Linux 6.6 and later).
    Tcx,
    /// By a clsact filter.
    Clsact,
}

/// Which of the classifiers an interface needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Packets come into this namespace here, with a MAC header: ports of pods, uplinks.
    Port,
    /// Packets were at another interface or hook of this namespace before: bridges, loopback, bonds and VLANs over attached
    /// interfaces.
    Upper,
    /// Packets have no MAC header: tun, `WireGuard`, ipip.
    Layer3,
}

/// Which directions of an interface are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directions {
    /// Always; else it would be an error.
    pub ingress: bool,
    /// Not where the interface has an `ingress` qdisc of somebody else's in clsact's place.
    pub egress: bool,
}

/// How the interfaces are attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Interfaces with tcx links.
    pub tcx: usize,
    /// Interfaces with clsact filters.
    pub clsact: usize,
    /// Why the kernel last refused tcx, if it ever did.
    pub refusal: Option<String>,
}

/// Both directions of an interface, ingress first; whether it is egress.
const DIRECTIONS: [bool; 2] = [false, true];

impl Classifiers {
    /// Loads the classifiers. Without `try_tcx` all interfaces get clsact filters.
    pub fn load(loaded: &mut Loaded, try_tcx: bool) -> Result<Self, ProgramError> {
        Ok(Self {
            programs: [
                [program(loaded, "tcx_ingress")?, program(loaded, "tcx_egress")?],
                [program(loaded, "tcx_ingress_upper")?, program(loaded, "tcx_egress")?],
                [program(loaded, "tcx_ingress_l3")?, program(loaded, "tcx_egress_l3")?],
            ],
            interfaces: BTreeMap::new(),
            try_tcx,
            clsact: None,
            refusal: None,
        })
    }

    /// Attaches to both directions of an interface of the calling thread's namespace. Nothing is changed when it is
    /// attached already. `ENODEV` is normal: interfaces go. `WouldBlock`: it needs clsact, and is too `fresh` for that.
    pub fn attach(&mut self, ifindex: u32, placement: Placement, fresh: bool) -> io::Result<Directions> {
        if let Some(attached) = self.interfaces.get(&ifindex)
            && attached.placement == placement
            && !attached.holds.iter().any(|hold| matches!(hold, Hold::Lost))
        {
            return Ok(attached.directions());
        }
        // What is attached differently goes first, so that no packet is met twice.
        self.detach(ifindex);
        let by_tcx = match self.by_tcx(ifindex, placement) {
            Some(Err(error)) if refuses_tcx(&error) => {
                self.refusal = Some(error.to_string());
                None
            }
            by_tcx => by_tcx.transpose()?,
        };
        let (holds, by) = match by_tcx {
            Some(holds) => (holds, Mechanism::Tcx),
            None if fresh => return Err(io::ErrorKind::WouldBlock.into()),
            None => (self.by_clsact(ifindex, placement)?, Mechanism::Clsact),
        };
        let attached = Attached { holds, by, placement, displaced: 0, behind: false };
        let directions = attached.directions();
        self.interfaces.insert(ifindex, attached);
        Ok(directions)
    }

    /// Detaches from an interface, or forgets one that is gone.
    pub fn detach(&mut self, ifindex: u32) {
        let Some(attached) = self.interfaces.remove(&ifindex) else { return };
        if attached.by == Mechanism::Clsact {
            self.remove_filters(ifindex);
        }
    }

    /// Removes all clsact filters. The kernel removes tcx links by itself when the process ends.
    pub fn detach_filters(&mut self) {
        let by_clsact = |(ifindex, attached): (&u32, &Attached)| (attached.by == Mechanism::Clsact).then_some(*ifindex);
        for ifindex in self.interfaces.iter().filter_map(by_clsact).collect::<Vec<_>>() {
            self.detach(ifindex);
        }
    }

    /// How the interfaces are attached, now.
    pub fn in_use(&self) -> InUse {
        let count = |by| self.interfaces.values().filter(|attached| attached.by == by).count();
        InUse { tcx: count(Mechanism::Tcx), clsact: count(Mechanism::Clsact), refusal: self.refusal.clone() }
    }

    /// `None`: it is not to be tried.
    fn by_tcx(&self, ifindex: u32, placement: Placement) -> Option<io::Result<[Hold; 2]>> {
        let programs = &self.programs[placement as usize];
        self.try_tcx.then(|| {
            let ingress = sys::link_tcx_first(programs[0].descriptor.as_fd(), ifindex, false)?;
            let egress = sys::link_tcx_first(programs[1].descriptor.as_fd(), ifindex, true)?;
            Ok([Hold::Tcx { _link: ingress }, Hold::Tcx { _link: egress }])
        })
    }

    /// Attaches to an interface by tcx and detaches again; whether that can be done.
    pub fn try_tcx(&self, ifindex: u32, placement: Placement) -> io::Result<()> {
        self.by_tcx(ifindex, placement).map_or(Ok(()), |holds| holds.map(drop))
    }

    fn by_clsact(&mut self, ifindex: u32, placement: Placement) -> io::Result<[Hold; 2]> {
        let clsact = match &mut self.clsact {
            Some(clsact) => clsact,
            none => none.insert(Clsact::open()?),
        };
        let programs = &self.programs[placement as usize];
        let mut holds = [Hold::Lost, Hold::Lost];
        for (direction, egress) in DIRECTIONS.into_iter().enumerate() {
            match clsact.add(programs[direction].descriptor.as_fd(), ifindex, egress) {
                Ok(Added::Yes) => holds[direction] = Hold::Clsact,
                Ok(Added::NoEgress) => holds[direction] = Hold::Impossible,
                Err(error) => {
                    self.remove_filters(ifindex);
                    return Err(error);
                }
            }
        }
        Ok(holds)
    }

    fn remove_filters(&mut self, ifindex: u32) {
        let Some(clsact) = &mut self.clsact else { return };
        for egress in DIRECTIONS {
            if let Err(error) = clsact.remove(ifindex, egress)
                && error.raw_os_error() != Some(libc::ENODEV)
            {
                tracing::warn!(ifindex, %error, "a clsact filter of ours cannot be removed: the next start does it");
            }
        }
    }
}

impl Attached {
    fn directions(&self) -> Directions {
        let [ingress, egress] = &self.holds;
        Directions { ingress: ingress.is_held(), egress: egress.is_held() }
    }
}

impl Hold {
    const fn is_held(&self) -> bool {
        matches!(self, Self::Tcx { .. } | Self::Clsact)
    }
}

/// Whether an error of `BPF_LINK_CREATE` means that there is no tcx for this interface. `EINVAL` is what kernels before 6.6
/// say, which do not know the attach type (`bpf_prog_get_type`'s callers in `kernel/bpf/syscall.c`), and those built without
/// it (`include/net/tcx.h`); `EOPNOTSUPP` and the kernel's own `ENOTSUPP` are for devices that cannot. Everything else is
/// not about tcx: an interface that went, a right that is missing, a full list of programs.
fn refuses_tcx(error: &io::Error) -> bool {
    /// Not in user space's list of errors, but it gets there (`include/linux/errno.h`).
    const ENOTSUPP: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

fn program(loaded: &mut Loaded, name: &'static str) -> Result<Program, ProgramError> {
    let program = loaded.classifier(name)?;
    let id = program.info().map_err(ProgramError::from)?.id();
    let descriptor = program.fd().map_err(ProgramError::from)?.as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|error| ProgramError::Refused(aya::programs::ProgramError::IOError(error)))?;
    Ok(Program { descriptor, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_a_reason_for_clsact() {
        for (code, expected) in [
            (libc::EINVAL, true),
            (libc::EOPNOTSUPP, true),
            (524, true),
            (libc::ENODEV, false),
            (libc::EPERM, false),
            (libc::EACCES, false),
            (libc::ERANGE, false),
            (libc::EBUSY, false),
            (libc::EEXIST, false),
            (libc::ENOMEM, false),
            (libc::ENOSYS, false),
        ] {
            assert_eq!(refuses_tcx(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
        assert!(!refuses_tcx(&io::Error::other("no code")));
    }
}
