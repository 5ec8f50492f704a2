//! Mistakes of which the log knows: it is told of each once, and not at each request.

use std::{collections::BTreeSet, sync::Mutex};

/// The mistakes of one kind that the log has been told of.
pub(crate) struct Reported {
    most: usize,
    known: Mutex<BTreeSet<String>>,
}

impl Reported {
    /// For mistakes that names in the program identify, so their number is bounded.
    pub(crate) const fn by_name() -> Self {
        Self::at_most(usize::MAX)
    }

    /// For mistakes whose text may depend on requests. After `most` of them, the log is told no more.
    pub(crate) const fn at_most(most: usize) -> Self {
        Self { most, known: Mutex::new(BTreeSet::new()) }
    }

    /// Whether the log does not know of `mistake` yet, and is told now.
    pub(crate) fn is_new(&self, mistake: &str) -> bool {
        let Ok(mut known) = self.known.lock() else { return false };
        known.len() < self.most && !known.contains(mistake) && known.insert(mistake.to_owned())
    }
}
