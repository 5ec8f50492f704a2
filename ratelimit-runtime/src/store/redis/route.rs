//! The route of a check in a cluster, as redirects have told it.

use crate::{
    decision::outcome::Outcomes,
    store::redis::{
        redirect::{Node, Redirect},
        work::SendMode,
    },
};

/// The route to a check's counters, as far as redirects have told it; else it goes by the map.
#[derive(Default)]
pub(crate) struct Route {
    pub(crate) node: Option<Node>,
    pub(crate) mode: SendMode,
    pub(crate) redirects: u8,
}

/// The end of a route.
pub(crate) enum Reached {
    Decided(Outcomes),
    /// The slot is being moved, and the check's counters are on two nodes, or would have to be made there: no node can decide it
    /// by itself.
    Split,
}

impl Route {
    /// Follows a redirect, unless it says that the counters of this check are on two nodes.
    pub(crate) fn follow(&mut self, redirect: Redirect) -> bool {
        self.redirects = self.redirects.saturating_add(1);
        match redirect {
            Redirect::Moved(node) => (self.node, self.mode) = (Some(node), SendMode::Usual),
            Redirect::Ask(node) => (self.node, self.mode) = (Some(node), SendMode::Asking),
            // The counters of another check in the batch may have been the reason.
            Redirect::TryAgain if self.mode == SendMode::Usual => self.mode = SendMode::Alone,
            Redirect::TryAgain => return false,
        }
        true
    }
}
