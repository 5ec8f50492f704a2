//! The names of keys in Redis.

pub(crate) mod prefix;
pub(crate) mod slot;

use std::borrow::Cow;

use crate::{
    counter::{
        Counter, Style,
        digest::{Digests, Hashing},
    },
    store::CounterKey,
};

/// Writes the names of a limiter's keys.
#[derive(Debug)]
pub(crate) struct KeyNames {
    pub(crate) prefix: String,
    /// Whether the scope stands in braces, which choose the slot in a cluster.
    pub(crate) tagged: bool,
    /// The key of the mark, which a reset or a refund replaces. It is empty where no deny cache reads it.
    pub(crate) mark: String,
    /// The digests that stand in the names in place of a client's text, if the limiter hashes it.
    digests: Option<Digests>,
}

impl KeyNames {
    pub(crate) fn new(prefix: String, is_cluster: bool, hashing: &Hashing) -> Self {
        let mark = if is_cluster { String::new() } else { format!("{prefix}/mark") };
        let digests = Digests::new(hashing, &prefix);
        Self { prefix, tagged: is_cluster, mark, digests }
    }

    fn style(&self) -> Style<'_> {
        Style { prefix: &self.prefix, tagged: self.tagged, digests: self.digests.as_ref() }
    }

    /// The key of a counter. In a cluster it is written at once, because its text chooses the slot.
    pub(crate) fn key(&self, counter: &Counter<'_>) -> CounterKey {
        if !self.tagged
            && let Some(plain) = counter.plain()
        {
            return CounterKey::Plain(plain);
        }
        let mut name = String::with_capacity(96);
        counter.write(self.style(), &mut name);
        CounterKey::Written(name)
    }

    /// The slot of a counter in a cluster. The end of a window stands behind the braces and does not change the slot.
    pub(crate) fn slot(&self, key: &CounterKey) -> u16 {
        slot::slot_of(&self.name(key))
    }

    /// The name of a counter, without a window.
    pub(crate) fn name<'a>(&self, key: &'a CounterKey) -> Cow<'a, str> {
        match key {
            CounterKey::Written(name) => name.into(),
            CounterKey::Plain(plain) => {
                let mut name = String::with_capacity(96);
                plain.write(self.style(), &mut name);
                name.into()
            }
        }
    }
}
