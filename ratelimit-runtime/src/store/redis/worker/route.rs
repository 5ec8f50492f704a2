//! The route of a check: the node to ask next, as the redirects so far say.

use crate::store::redis::{
    redirect::{Node, Redirect},
    work::Delivery,
};

/// The number of redirects to follow without a pause: as many as the move of a slot takes. After them come pauses, because nodes
/// that disagree could send a check back and forth.
const REDIRECTS: u8 = 4;

/// The route to a check's counters. Without redirects, the map of the cluster decides.
#[derive(Default)]
pub(crate) struct Route {
    pub(crate) node: Option<Node>,
    pub(crate) delivery: Delivery,
    redirects: u8,
}

impl Route {
    /// The route of a check that starts again, with a pause before each attempt.
    pub(crate) fn restarted() -> Self {
        Self { redirects: REDIRECTS + 1, ..Self::default() }
    }

    /// Whether a pause is due before the next attempt.
    pub(crate) fn needs_pause(&self) -> bool {
        self.redirects > REDIRECTS
    }

    /// Follows a redirect. Returns `false` if the counters of this check are on two nodes.
    pub(crate) fn follow(&mut self, redirect: Redirect) -> bool {
        self.redirects = self.redirects.saturating_add(1);
        match redirect {
            Redirect::Moved(node) => (self.node, self.delivery) = (Some(node), Delivery::Batched),
            Redirect::Ask(node) => (self.node, self.delivery) = (Some(node), Delivery::Asking),
            // Another check in the batch may be the reason.
            Redirect::TryAgain if self.delivery == Delivery::Batched => self.delivery = Delivery::Alone,
            Redirect::TryAgain => return false,
        }
        true
    }
}
