//! The table of all subjects.

use crate::load::{Load, Verdict};

/// Something that stands between a request and its handler.
#[derive(Debug)]
pub struct Subject {
    /// The name in arguments and in results.
    pub name: &'static str,
    /// The name in tables.
    pub label: &'static str,
    pub(crate) kind: Kind,
    /// Where it counts.
    pub store: Store,
    /// Admitted requests get headers about the limit, too.
    pub headers: bool,
}

/// Where a subject counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In the server's memory, or not at all.
    Memory,
    /// In Redis, over a Unix socket.
    Unix,
    /// In Redis, over TCP.
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Waiting,
    Ours,
    Leased,
    LeasedMore,
    TwoRules,
    Sliding,
    Gcra,
    Extensible,
    Governor,
    Limitation,
    WebRatelimit,
    #[cfg(feature = "limitador")]
    Limitador,
    #[cfg(feature = "limitador")]
    CachedLimitador,
    Incr,
}

impl Subject {
    /// Whether this is the project's own.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Ours || self.is_variant()
    }

    /// The project with more than one plain rule. Its handlers admit all requests.
    #[must_use]
    pub fn is_variant(&self) -> bool {
        matches!(self.kind, Kind::Leased | Kind::LeasedMore | Kind::TwoRules | Kind::Sliding | Kind::Gcra)
    }

    /// Its handler waits, and so answers pipelined requests one by one.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.kind == Kind::Waiting || self.store != Store::Memory
    }

    /// Whether it is measured under this load.
    #[must_use]
    pub fn bears(&self, load: Load) -> bool {
        load.verdict == Verdict::Admitted || !self.is_variant() && self.kind != Kind::Waiting
    }
}

/// The handler alone. Each run of another subject is between two of its runs. For refused requests it answers this
/// project's 429, without counting.
pub const BARE: Subject = memory(Kind::Bare, "bare", "bare handler");

/// All subjects but [`BARE`].
pub const SUBJECTS: &[Subject] = &[
    memory(Kind::Waiting, "waiting", "bare handler that waits for one turn of its worker"),
    memory(Kind::Ours, "memory", "ratelimit, memory"),
    with_headers(Kind::Ours, "memory-headers", "ratelimit, memory, with headers"),
    redis(Kind::Ours, Store::Unix, "redis-unix", "ratelimit, Redis, Unix socket"),
    redis(Kind::Ours, Store::Tcp, "redis-tcp", "ratelimit, Redis, TCP"),
    redis(Kind::Leased, Store::Unix, "leased-unix", "ratelimit, Redis, lease of 100, Unix socket"),
    redis(Kind::Leased, Store::Tcp, "leased-tcp", "ratelimit, Redis, lease of 100, TCP"),
    redis(Kind::LeasedMore, Store::Unix, "leased-more-unix", "ratelimit, Redis, lease of 1,000, Unix socket"),
    redis(Kind::LeasedMore, Store::Tcp, "leased-more-tcp", "ratelimit, Redis, lease of 1,000, TCP"),
    redis(Kind::TwoRules, Store::Unix, "two-rules-unix", "ratelimit, Redis, two rules, Unix socket"),
    redis(Kind::Sliding, Store::Unix, "sliding-unix", "ratelimit, Redis, sliding window, Unix socket"),
    redis(Kind::Gcra, Store::Unix, "gcra-unix", "ratelimit, Redis, GCRA, Unix socket"),
    memory(Kind::TwoRules, "two-rules", "ratelimit, memory, two rules"),
    memory(Kind::Sliding, "sliding", "ratelimit, memory, sliding window"),
    memory(Kind::Gcra, "gcra", "ratelimit, memory, GCRA"),
    memory(Kind::Governor, "governor", "actix-governor 0.10"),
    with_headers(Kind::Governor, "governor-headers", "actix-governor 0.10, with headers"),
    memory(Kind::Extensible, "extensible", "actix-extensible-rate-limit 0.4, memory"),
    with_headers(Kind::Extensible, "extensible-headers", "actix-extensible-rate-limit 0.4, memory, with headers"),
    redis(Kind::Extensible, Store::Unix, "extensible-unix", "actix-extensible-rate-limit 0.4, Redis, Unix socket"),
    redis(Kind::Extensible, Store::Tcp, "extensible-tcp", "actix-extensible-rate-limit 0.4, Redis, TCP"),
    redis(Kind::Limitation, Store::Unix, "limitation-unix", "actix-limitation 0.6, Redis, Unix socket"),
    redis(Kind::Limitation, Store::Tcp, "limitation-tcp", "actix-limitation 0.6, Redis, TCP"),
    redis(Kind::WebRatelimit, Store::Unix, "web-ratelimit-unix", "actix-web-ratelimit 0.1, Redis, Unix socket"),
    redis(Kind::WebRatelimit, Store::Tcp, "web-ratelimit-tcp", "actix-web-ratelimit 0.1, Redis, TCP"),
    #[cfg(feature = "limitador")]
    redis(Kind::Limitador, Store::Unix, "limitador-unix", "limitador 0.14, Redis, Unix socket"),
    #[cfg(feature = "limitador")]
    redis(Kind::Limitador, Store::Tcp, "limitador-tcp", "limitador 0.14, Redis, TCP"),
    #[cfg(feature = "limitador")]
    redis(Kind::CachedLimitador, Store::Unix, "limitador-cached-unix", "limitador 0.14, cached, Redis, Unix socket"),
    #[cfg(feature = "limitador")]
    redis(Kind::CachedLimitador, Store::Tcp, "limitador-cached-tcp", "limitador 0.14, cached, Redis, TCP"),
    redis(Kind::Incr, Store::Unix, "incr-unix", "plain redis-rs, one INCR a request, Unix socket"),
    redis(Kind::Incr, Store::Tcp, "incr-tcp", "plain redis-rs, one INCR a request, TCP"),
];

/// The subject of this name, [`BARE`] included.
#[must_use]
pub fn find(name: &str) -> Option<&'static Subject> {
    [&BARE].into_iter().chain(SUBJECTS).find(|subject| subject.name == name)
}

const fn memory(kind: Kind, name: &'static str, label: &'static str) -> Subject {
    Subject { name, label, kind, store: Store::Memory, headers: false }
}

const fn with_headers(kind: Kind, name: &'static str, label: &'static str) -> Subject {
    Subject { name, label, kind, store: Store::Memory, headers: true }
}

const fn redis(kind: Kind, store: Store, name: &'static str, label: &'static str) -> Subject {
    Subject { name, label, kind, store, headers: false }
}
