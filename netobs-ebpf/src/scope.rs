//! Which network namespaces the daemon wants to hear of.

use crate::globals::global;
use crate::maps::SCOPE;

/// Whether this one is observed. 0, an unknown one, is only where all are.
#[inline(always)]
pub fn contains(netns: u32) -> bool {
    global!(KNOBS.scope_all) != 0 || netns != 0 && (netns == global!(KNOBS.own_netns) || SCOPE.get_ptr(netns).is_some())
}
