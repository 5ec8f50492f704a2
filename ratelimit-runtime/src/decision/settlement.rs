//! The charges of a request as its state knows them: what they have become, and how they are settled.

use std::sync::Arc;

use crate::decision::outcome::Outcome;

/// The charges of one request.
pub(crate) trait Settle: Send + Sync {
    /// Replaces the costs that were charged in advance by `actual`.
    fn settle(self: Arc<Self>, actual: u64);

    /// Calls `show` with the index of each rule that has a charge among those of the state, and its outcome after the last change.
    fn show(&self, show: &mut dyn FnMut(usize, Outcome));
}

/// The charges of two checks of one request.
pub(crate) struct Both {
    pub(crate) earlier: Option<Arc<dyn Settle>>,
    pub(crate) later: Arc<dyn Settle>,
    /// How many rules the earlier check has.
    pub(crate) rules: usize,
}

impl Settle for Both {
    fn settle(self: Arc<Self>, actual: u64) {
        self.earlier.iter().chain([&self.later]).for_each(|charges| Arc::clone(charges).settle(actual));
    }

    fn show(&self, show: &mut dyn FnMut(usize, Outcome)) {
        if let Some(earlier) = &self.earlier {
            earlier.show(show);
        }
        self.later.show(&mut |index, outcome| show(self.rules + index, outcome));
    }
}
