//! The hits of a request, grouped by the slots of their counters.

use smallvec::{SmallVec, smallvec};

use crate::store::{
    CounterKey,
    redis::work::{KeyedHits, Work},
};

/// The hits of a request whose counters are in one slot.
#[derive(Clone)]
pub(crate) struct SlotHits {
    pub(crate) slot: u16,
    /// The indices of these hits among those of the request.
    pub(crate) indices: SmallVec<[usize; 1]>,
    pub(crate) keyed_hits: KeyedHits,
}

impl SlotHits {
    /// Groups hits by slot.
    pub(crate) fn split(keyed_hits: KeyedHits, slot_of: impl Fn(&CounterKey) -> u16) -> Vec<Self> {
        let mut groups = Vec::<Self>::new();
        for (index, keyed) in keyed_hits.into_iter().enumerate() {
            let slot = slot_of(&keyed.key);
            match groups.iter_mut().find(|group| group.slot == slot) {
                Some(group) => {
                    group.indices.push(index);
                    group.keyed_hits.push(keyed);
                }
                None => groups.push(Self { slot, indices: smallvec![index], keyed_hits: smallvec![keyed] }),
            }
        }
        groups
    }

    pub(crate) fn work(&self) -> Work {
        Work::Count(self.keyed_hits.clone())
    }
}
