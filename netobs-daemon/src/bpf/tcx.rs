//! tcx links: the classifiers on interfaces, first in order, as interfaces come and go.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::load::{Loaded, ProgramError};
use super::sys;

/// The classifiers, loaded.
#[derive(Debug)]
pub struct Classifiers {
    // Indexed by [ingress, egress], for frames with a MAC header and without.
    l2: [Program; 2],
    l3: [Program; 2],
    interfaces: BTreeMap<u32, Attached>,
}

#[derive(Debug)]
struct Program {
    descriptor: OwnedFd,
    id: u32,
}

#[derive(Debug)]
struct Attached {
    links: [OwnedFd; 2],
    mac_header: bool,
}

/// Both directions of an interface.
const DIRECTIONS: [bool; 2] = [false, true];

impl Classifiers {
    /// Loads the classifiers.
    pub fn load(loaded: &mut Loaded) -> Result<Self, ProgramError> {
        Ok(Self {
            l2: [program(loaded, "tcx_ingress")?, program(loaded, "tcx_egress")?],
            l3: [program(loaded, "tcx_ingress_l3")?, program(loaded, "tcx_egress_l3")?],
            interfaces: BTreeMap::new(),
        })
    }

    /// Attaches to both directions of an interface of the calling thread's namespace. Nothing is changed when it is
    /// attached already. `ENODEV` is normal: interfaces go.
    pub fn attach(&mut self, ifindex: u32, mac_header: bool) -> io::Result<()> {
        if self.interfaces.get(&ifindex).is_some_and(|attached| attached.mac_header == mac_header) {
            return Ok(());
        }
        let programs = if mac_header { &self.l2 } else { &self.l3 };
        let ingress = sys::link_tcx_first(programs[0].descriptor.as_fd(), ifindex, false)?;
        let egress = sys::link_tcx_first(programs[1].descriptor.as_fd(), ifindex, true)?;
        self.interfaces.insert(ifindex, Attached { links: [ingress, egress], mac_header });
        Ok(())
    }

    /// Detaches from an interface, or forgets one that is gone.
    pub fn detach(&mut self, ifindex: u32) {
        self.interfaces.remove(&ifindex);
    }

    /// Interfaces that are attached.
    pub fn interfaces(&self) -> impl Iterator<Item = u32> + '_ {
        self.interfaces.keys().copied()
    }

    /// Checks that ours is still the first program in both directions of every interface, and attaches anew where
    /// somebody has gone before us. Returns the interfaces where that was so.
    pub fn verify_first(&mut self) -> Vec<u32> {
        let mut displaced = Vec::new();
        for (ifindex, attached) in &mut self.interfaces {
            let programs = if attached.mac_header { &self.l2 } else { &self.l3 };
            for (direction, egress) in DIRECTIONS.into_iter().enumerate() {
                let Ok(ids) = sys::query_tcx(*ifindex, egress) else { continue };
                if ids.first() == Some(&programs[direction].id) {
                    continue;
                }
                // A new link first, then the old one goes: no packet passes unseen in between. The kernel refuses the
                // same program twice on one hook (EEXIST), so the old one has to go first there.
                let link = sys::link_tcx_first(programs[direction].descriptor.as_fd(), *ifindex, egress);
                if let Ok(link) = link {
                    attached.links[direction] = link;
                    displaced.push(*ifindex);
                }
            }
        }
        displaced
    }
}

fn program(loaded: &mut Loaded, name: &'static str) -> Result<Program, ProgramError> {
    let program = loaded.classifier(name)?;
    let id = program.info().map_err(ProgramError::from)?.id();
    let descriptor = program.fd().map_err(ProgramError::from)?.as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|error| ProgramError::Refused(aya::programs::ProgramError::IOError(error)))?;
    Ok(Program { descriptor, id })
}
