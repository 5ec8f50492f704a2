//! The names of keys in stores outside this process.

pub(crate) mod prefix;

use std::borrow::Cow;

use crate::{
    counter::{
        Counter, Style,
        digest::{Digests, Hashing},
        key_part::digest,
    },
    store::CounterKey,
};

/// The longest bounded name, in bytes: what Memcached takes.
const LONGEST: usize = 250;

/// Writes the names of a limiter's keys.
#[derive(Debug)]
pub(crate) struct KeyNames {
    pub(crate) prefix: String,
    /// Whether the scope stands in braces, which choose the slot in a cluster.
    pub(crate) tagged: bool,
    /// The key of the mark, which a reset or a refund replaces. It is empty where no deny cache reads it.
    #[cfg(feature = "redis")]
    pub(crate) mark: String,
    /// The digests that stand in the names in place of a client's text, if the limiter hashes it.
    digests: Option<Digests>,
}

impl KeyNames {
    pub(crate) fn new(prefix: String, is_cluster: bool, hashing: &Hashing) -> Self {
        #[cfg(feature = "redis")]
        let mark = if is_cluster { String::new() } else { format!("{prefix}/mark") };
        let digests = Digests::new(hashing, &prefix);
        Self {
            prefix,
            tagged: is_cluster,
            #[cfg(feature = "redis")]
            mark,
            digests,
        }
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

    /// The key of a counter's block. In a cluster it has the counter's slot.
    pub(crate) fn block_key(&self, key: &CounterKey) -> CounterKey {
        let mut name = self.name(key).into_owned();
        // No other key ends so: parts of names have no slash, and the end of a window is a number.
        name.push_str("/block");
        CounterKey::Written(name)
    }

    /// The name of a counter for any store: from 1 to [`LONGEST`] bytes of printable ASCII without blanks. A name that is not so already is
    /// replaced by its digest.
    pub(crate) fn bounded_name(&self, key: &CounterKey) -> String {
        let name = self.name(key);
        if (1..=LONGEST).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return name.into_owned();
        }
        // No other name begins with this: a prefix is followed by a slash.
        digest(name.as_bytes())
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
