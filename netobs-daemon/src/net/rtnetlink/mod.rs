//! rtnetlink, as far as links, default routes and namespace ids need it (rtnetlink(7)).

pub(super) mod link;
pub(super) mod nsid;
pub(super) mod route;
pub(super) mod socket;
pub(super) mod wire;
