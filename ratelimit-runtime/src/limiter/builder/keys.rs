//! The settings of the names that counters have in a store outside this process.

use crate::{counter::digest::Hashing, limiter::builder::RateLimiterBuilder};

impl RateLimiterBuilder {
    /// The first part of every key in a store outside this process; `rate-limit` unless set. Applications that share a store and not
    /// their limits have different ones.
    ///
    /// It has at most 256 bytes and no control characters. In a cluster it has no braces, since they choose the slot of a key: the
    /// counters are spread by whom they count. [`build`](Self::build) fails for any other one with [`Error::Prefix`](crate::Error::Prefix).
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Replaces the values that clients send by digests in the names of counters in a store outside this process; `false` unless set.
    ///
    /// Names stand in clear in the store (for Redis, in `SCAN`, `MONITOR`, the slow log and dumps), and contain the values of headers (which may be API keys), users, the
    /// results of scope and key functions, and addresses. With `true`, each of these is replaced by half of its HMAC-SHA256, keyed by the
    /// [`prefix`](Self::prefix) and the [secret](Self::hash_secret). Applications with the same prefix and secret share their counters, in all
    /// processes and releases; [`peek`](crate::RateLimiter::peek) and [`reset`](crate::RateLimiter::reset) go by the values as ever. Keys that
    /// are written in the program, and the names of headers and functions, stay in clear.
    ///
    /// Without a secret, this hides what cannot be guessed, such as API keys. The prefix stands in each name, so whoever sees the names can try
    /// out addresses, mail addresses and the like, and see which of them are there.
    ///
    /// A change of this setting, the prefix or the secret starts every counter anew. In memory, nothing has a name.
    ///
    /// ```
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder().hash_keys(true).store("redis://127.0.0.1/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn hash_keys(mut self, hash_keys: bool) -> Self {
        self.hashing.is_on = hash_keys;
        self
    }

    /// A secret for the digests of [`hash_keys`](Self::hash_keys), which this switches on: without it, nobody can find out a value by
    /// trial. Every process that shares counters has the same one. Its length is up to you; 32 random bytes are enough.
    ///
    /// ```
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let secret = || Ok::<_, std::env::VarError>("0123456789");
    /// let secret = secret()?; // std::env::var("RATELIMIT_HASH_SECRET"), say
    /// let limiter = RateLimiter::builder().hash_secret(secret).store("redis://127.0.0.1/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn hash_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.hashing = Hashing { is_on: true, secret: secret.into() };
        self
    }
}
