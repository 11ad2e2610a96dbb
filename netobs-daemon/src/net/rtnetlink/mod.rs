//! rtnetlink's messages about links, default routes and namespace ids (rtnetlink(7)).

pub(super) mod link;
pub(super) mod nsid;
pub(super) mod route;
