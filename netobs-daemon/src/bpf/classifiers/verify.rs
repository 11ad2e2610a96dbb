//! Whether ours is still the first program on each interface, and putting it right where it is not.

use std::io;
use std::os::fd::AsFd as _;

use super::{Classifiers, DIRECTIONS, Directions, Hold, Mechanism, Program};
use crate::bpf::clsact::{Added, Clsact, Position};
use crate::bpf::sys;

/// How often we go before whoever has gone before us.
const PATIENCE: u32 = 3;

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

impl Classifiers {
    /// Checks that ours is still there and the first program in both directions of every interface, and attaches anew where
    /// somebody has gone before us or removed it, or where that failed before. Whoever insists (another netobs with tcx
    /// does) is let be after a few times; a filter with a lower preference is let be at once, since ours cannot go before
    /// it. Tells each interface where anything is not as it should be or has just been put right, and what is attached now.
    pub fn verify_first(&mut self, mut tell: impl FnMut(u32, Verdict, Directions)) {
        for (ifindex, attached) in &mut self.interfaces {
            let programs = &self.programs[attached.placement as usize];
            let patient = attached.displaced >= PATIENCE;
            let mut worst = None;
            for (direction, egress) in DIRECTIONS.into_iter().enumerate() {
                let (hold, program) = (&mut attached.holds[direction], &programs[direction]);
                let found = match (attached.by, &mut self.clsact) {
                    (Mechanism::Tcx, _) => tcx(hold, program, *ifindex, egress, patient),
                    (Mechanism::Clsact, Some(clsact)) => filter(hold, program, *ifindex, egress, clsact),
                    (Mechanism::Clsact, None) => None,
                };
                worst = worst.max(found);
            }
            let verdict = worst.or(attached.behind.then_some(Verdict::Restored));
            attached.behind = verdict == Some(Verdict::Behind);
            if let Some(verdict) = verdict {
                attached.displaced += u32::from(worst == Some(Verdict::Restored));
                tell(*ifindex, verdict, attached.directions());
            }
        }
    }
}

/// A direction with a tcx link.
fn tcx(hold: &mut Hold, program: &Program, ifindex: u32, egress: bool, patient: bool) -> Option<Verdict> {
    let ids = sys::query_tcx(ifindex, egress).ok()?;
    if hold.is_held() && ids.first() == Some(&program.id) {
        return None;
    }
    if hold.is_held() && patient {
        return Some(Verdict::Behind);
    }
    // A program may be on a hook once only, so the old link goes first; packets in between pass unseen.
    *hold = Hold::Lost;
    let link = sys::link_tcx_first(program.descriptor.as_fd(), ifindex, egress);
    let verdict = if link.is_ok() { Verdict::Restored } else { Verdict::Detached };
    *hold = link.map_or(Hold::Lost, |link| Hold::Tcx { _link: link });
    Some(verdict)
}

/// A direction with a clsact filter.
fn filter(hold: &mut Hold, program: &Program, ifindex: u32, egress: bool, clsact: &mut Clsact) -> Option<Verdict> {
    let mut restored = None;
    // What has no egress may have got one by now: then ours is absent there.
    let position = match position(clsact, ifindex, egress) {
        Ok(Position::Absent) => {
            match clsact.add(program.descriptor.as_fd(), ifindex, egress) {
                Ok(Added::Yes) => *hold = Hold::Clsact,
                Ok(Added::NoEgress) if matches!(hold, Hold::Impossible) => return None,
                // An `ingress` qdisc in the place of the clsact one: attaching anew finds out what is left.
                Ok(Added::NoEgress) | Err(_) => {
                    *hold = Hold::Lost;
                    return Some(Verdict::Detached);
                }
            }
            restored = Some(Verdict::Restored);
            position(clsact, ifindex, egress)
        }
        position => position,
    };
    // An interface that cannot be asked is on its way out, or the kernel is busy: the next time tells.
    restored.max((position.ok()? == Position::Behind).then_some(Verdict::Behind))
}

/// tcx programs go before all filters; those of a netobs that has tcx are not told from others.
fn position(clsact: &mut Clsact, ifindex: u32, egress: bool) -> io::Result<Position> {
    let position = clsact.position(ifindex, egress)?;
    let overtaken = position == Position::First && sys::query_tcx(ifindex, egress).is_ok_and(|ids| !ids.is_empty());
    Ok(if overtaken { Position::Behind } else { position })
}
