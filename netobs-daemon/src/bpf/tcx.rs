//! tcx links: the classifiers on interfaces, first in order, as interfaces come and go.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::load::{Loaded, ProgramError};
use super::sys;

/// The classifiers, loaded.
#[derive(Debug)]
pub struct Classifiers {
    // Indexed by [ingress, egress], one pair for each `Placement`.
    programs: [[Program; 2]; 3],
    interfaces: BTreeMap<u32, Attached>,
}

#[derive(Debug)]
struct Program {
    descriptor: OwnedFd,
    id: u32,
}

#[derive(Debug)]
struct Attached {
    // Indexed by [ingress, egress]; none only while it could not be attached again.
    links: [Option<OwnedFd>; 2],
    placement: Placement,
    /// How often somebody has gone before us.
    displaced: u32,
}

/// How often we go before whoever has gone before us.
const PATIENCE: u32 = 3;

/// Which of the classifiers an interface needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Packets come into this namespace here, with a MAC header: ports of pods, uplinks.
    Port,
    /// Packets were at another interface or hook of this namespace before: bridges, loopback.
    Upper,
    /// Packets have no MAC header: tun, `WireGuard`, ipip.
    Layer3,
}

/// Both directions of an interface.
const DIRECTIONS: [bool; 2] = [false, true];

impl Classifiers {
    /// Loads the classifiers.
    pub fn load(loaded: &mut Loaded) -> Result<Self, ProgramError> {
        Ok(Self {
            programs: [
                [program(loaded, "tcx_ingress")?, program(loaded, "tcx_egress")?],
                [program(loaded, "tcx_ingress_upper")?, program(loaded, "tcx_egress")?],
                [program(loaded, "tcx_ingress_l3")?, program(loaded, "tcx_egress_l3")?],
            ],
            interfaces: BTreeMap::new(),
        })
    }

    /// Attaches to both directions of an interface of the calling thread's namespace. Nothing is changed when it is
    /// attached already. `ENODEV` is normal: interfaces go.
    pub fn attach(&mut self, ifindex: u32, placement: Placement) -> io::Result<()> {
        let whole = |attached: &Attached| attached.placement == placement && attached.links.iter().all(Option::is_some);
        if self.interfaces.get(&ifindex).is_some_and(whole) {
            return Ok(());
        }
        // What is attached differently goes first, so that no packet is met twice.
        self.interfaces.remove(&ifindex);
        let programs = &self.programs[placement as usize];
        let ingress = sys::link_tcx_first(programs[0].descriptor.as_fd(), ifindex, false)?;
        let egress = sys::link_tcx_first(programs[1].descriptor.as_fd(), ifindex, true)?;
        self.interfaces.insert(ifindex, Attached { links: [Some(ingress), Some(egress)], placement, displaced: 0 });
        Ok(())
    }

    /// Detaches from an interface, or forgets one that is gone.
    pub fn detach(&mut self, ifindex: u32) {
        self.interfaces.remove(&ifindex);
    }

    /// Checks that ours is still the first program in both directions of every interface, and attaches anew where
    /// somebody has gone before us, or where that failed before. Whoever insists (another netobs does) is let be after
    /// a few times. Tells each interface where anything is not as it should be, or has just been put right.
    pub fn verify_first(&mut self, mut tell: impl FnMut(u32, Verdict)) {
        for (ifindex, attached) in &mut self.interfaces {
            let programs = &self.programs[attached.placement as usize];
            let mut worst = None;
            for (direction, egress) in DIRECTIONS.into_iter().enumerate() {
                let Ok(ids) = sys::query_tcx(*ifindex, egress) else { continue };
                if attached.links[direction].is_some() && ids.first() == Some(&programs[direction].id) {
                    continue;
                }
                if attached.links[direction].is_some() && attached.displaced >= PATIENCE {
                    worst = worst.max(Some(Verdict::Behind));
                    continue;
                }
                // A program may be on a hook once only, so the old link goes first; packets in between pass unseen.
                attached.links[direction] = None;
                let link = sys::link_tcx_first(programs[direction].descriptor.as_fd(), *ifindex, egress);
                worst = worst.max(Some(if link.is_ok() { Verdict::Restored } else { Verdict::Detached }));
                attached.links[direction] = link.ok();
            }
            if let Some(verdict) = worst {
                attached.displaced += u32::from(verdict == Verdict::Restored);
                tell(*ifindex, verdict);
            }
        }
    }
}

/// What became of an interface where ours was not the first program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is again.
    Restored,
    /// Another program insists on going before ours: if that ends a packet's way, ours does not see it.
    Behind,
    /// It could not be attached again.
    Detached,
}

/// Measures classifiers without an interface: one of ours, and an empty one to compare with.
#[derive(Debug)]
pub struct Trial {
    ours: Program,
    empty: Program,
}

impl Trial {
    /// Loads the ingress classifier of ports, and the empty one.
    pub fn load(loaded: &mut Loaded) -> Result<Self, ProgramError> {
        Ok(Self { ours: program(loaded, "tcx_ingress")?, empty: program(loaded, "empty")? })
    }

    /// Mean nanoseconds of a run over `frame`: the empty program's and ours. Both must leave the verdict to others.
    pub fn run(&self, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
        let mut means = [0; 2];
        for (mean, program) in means.iter_mut().zip([&self.empty, &self.ours]) {
            let (duration, verdict) = sys::test_run(program.descriptor.as_fd(), frame, repeat)?;
            // TCX_NEXT, -1.
            if verdict != u32::MAX {
                return Err(io::Error::other(format!("a classifier returned {verdict}, not TCX_NEXT")));
            }
            *mean = duration;
        }
        Ok((means[0], means[1]))
    }
}

fn program(loaded: &mut Loaded, name: &'static str) -> Result<Program, ProgramError> {
    let program = loaded.classifier(name)?;
    let id = program.info().map_err(ProgramError::from)?.id();
    let descriptor = program.fd().map_err(ProgramError::from)?.as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|error| ProgramError::Refused(aya::programs::ProgramError::IOError(error)))?;
    Ok(Program { descriptor, id })
}
