//! How the counters of a server are named.

use std::borrow::Cow;

use crate::{
    counter::{
        Counter, Style,
        digest::{Digests, Hashing},
    },
    store::{CounterKey, redis::slot::slot},
};

/// The names of a server's keys.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    /// Whether the scope stands in braces: it chooses the slot in a cluster.
    pub(crate) tagged: bool,
    /// Of the key that is another once a counter was reset, or something refunded to it; empty where nobody reads it.
    pub(crate) mark: String,
    /// In place of what clients say, if that is hashed.
    digests: Option<Digests>,
}

impl Names {
    pub(crate) fn new(prefix: String, is_cluster: bool, hashing: &Hashing) -> Self {
        let mark = if is_cluster { String::new() } else { format!("{prefix}/mark") };
        let digests = Digests::new(hashing, &prefix);
        Self { prefix, tagged: is_cluster, mark, digests }
    }

    fn style(&self) -> Style<'_> {
        Style { prefix: &self.prefix, tagged: self.tagged, digests: self.digests.as_ref() }
    }

    /// In a cluster it is written at once: it chooses the slot.
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

    /// The slot of a counter in a cluster; the window's end is behind the braces.
    pub(crate) fn slot(&self, key: &CounterKey) -> u16 {
        slot(&self.name(key))
    }

    /// The counter's name, without a window.
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
