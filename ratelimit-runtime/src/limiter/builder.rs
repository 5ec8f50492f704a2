//! How a limiter is set up.

mod answers;
mod keys;
mod open;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "_sql")]
mod sql;

use std::{fmt, time::Duration};

use crate::{
    counter::{
        client_ip::{self, ClientIp, TrustedProxies},
        digest::Hashing,
    },
    error::Error,
    limiter::{
        RateLimiter,
        answers::Answers,
        clients::{Clients, UserFunction},
        mode::Mode,
    },
    rule::{function::traits::ScopeFunction, on_store_error::OnStoreError},
    store::{
        clock::{Clock, ManualClock},
        contract::erased::{GivenStore, IntoStore},
        memory::MemoryStore,
        url::{Scheme, StoreUrl},
    },
};

impl RateLimiter {
    /// Opens the store of `url`, with defaults for all settings. No connection is made yet: an application starts whether or not
    /// its store is up.
    ///
    /// | URL | store |
    /// |---|---|
    /// | `memory://` | this process's memory |
    /// | `redis://[user[:password]@]host[:port][/database]` | Redis or Valkey over TCP (cargo feature `redis`, on by default) |
    /// | `rediss://…` | the same over TLS (cargo feature `rustls`) |
    /// | `redis+unix:///path[?db=…&user=…&pass=…]`, `unix:///path` | the same over a Unix socket |
    /// | `redis+cluster://[user[:password]@]host[:port][,host[:port]…]` | Redis Cluster: some of its nodes, from which the others are known |
    /// | `redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/service[/database]` | the primary of a service, as its sentinels say |
    /// | `rediss+cluster://…`, `rediss+sentinel://…` | the same over TLS, to servers and sentinels alike |
    /// | `postgres://[user[:password]@]host[:port]/database` | PostgreSQL 14 or later (cargo feature `postgres`) |
    /// | `mysql://[user[:password]@]host[:port]/database` | MariaDB 10.6, MySQL 8, or later (cargo feature `mysql`) |
    /// | `sqlite:///folder/file.db` | a file of SQLite (cargo feature `sqlite`) |
    /// | `memcached://host[:port][,host[:port]…]` | Memcached 1.6 or later (cargo feature `memcached`) |
    ///
    /// User and password are those of the servers. Options of the sentinels stand behind a question mark:
    /// `?sentinel_user=…&sentinel_password=…` is their login, and `sentinel_tls=false` or `true` is for sentinels that differ from the
    /// servers in whether they speak TLS. Each scheme also goes with `valkey` in place of `redis`.
    ///
    /// In a user or a password, write `%40` for `@`, `%2F` for `/`, `%3A` for `:`, `%3F` for `?`, `%23` for `#`, `%26` for `&` and `%25` for
    /// `%`. White space around the URL does not matter, nor do capitals in the scheme. A fragment (`#…`) is an error.
    ///
    /// Nothing is connected yet: a Redis that is not up does not stop the application from starting.
    ///
    /// # Errors
    /// [`Error::Url`], naming the part of `url` that makes no sense, without repeating it: it may be a piece of a password.
    #[track_caller]
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::builder().store(url).build()
    }

    /// A limiter that counts in this process's memory, with defaults for all settings.
    #[must_use]
    #[track_caller]
    pub fn in_memory() -> Self {
        RateLimiterBuilder::default().in_memory()
    }

    /// The settings of a new limiter, which counts in this process's memory unless [`store`](RateLimiterBuilder::store) names
    /// another store.
    pub fn builder() -> RateLimiterBuilder {
        RateLimiterBuilder::default()
    }
}

const SHORTEST_DEADLINE: Duration = Duration::from_millis(1);
const LONGEST_DEADLINE: Duration = Duration::from_secs(3600);

/// Settings of a [`RateLimiter`]; each has a default that is safe for a server that clients reach directly.
///
/// ```
/// use std::time::Duration;
/// use actix_web::HttpRequest;
/// use ratelimit_runtime::{OnStoreError, RateLimiter, TrustedProxies};
///
/// # fn main() -> Result<(), ratelimit_runtime::Error> {
/// let limiter = RateLimiter::builder()
///     .prefix("shop")
///     .deadline(Duration::from_millis(50))
///     .on_store_error(OnStoreError::Deny)
///     .trusted_proxies(TrustedProxies::networks(["10.0.0.0/8"])?)
///     .user(|request: &HttpRequest| request.headers().get("x-user")?.to_str().ok().map(str::to_owned))
///     .store("redis://127.0.0.1/").build()?;
/// # drop(limiter);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RateLimiterBuilder {
    store: Option<GivenStore>,
    /// The first setting that cannot be used.
    error: Option<Error>,
    prefix: String,
    deadline: Duration,
    on_store_error: OnStoreError,
    is_enabled: bool,
    is_shadow: bool,
    capacity: usize,
    clock: Clock,
    hashing: Hashing,
    ip: ClientIp,
    user: Option<Box<UserFunction>>,
    answers: Answers,
    #[cfg(feature = "redis")]
    redis: crate::store::redis::options::Options,
    #[cfg(feature = "_sql")]
    sql: crate::store::sql::settings::SqlSettings,
}

impl Default for RateLimiterBuilder {
    fn default() -> Self {
        Self {
            store: None,
            error: None,
            prefix: "rate-limit".to_owned(),
            deadline: Duration::from_millis(100),
            on_store_error: OnStoreError::default(),
            is_enabled: true,
            is_shadow: false,
            capacity: 1_000_000,
            clock: Clock::System,
            hashing: Hashing::default(),
            ip: ClientIp { trusted: None, ipv6_prefix: 64, nat64: Vec::new() },
            user: None,
            answers: Answers::default(),
            #[cfg(feature = "redis")]
            redis: crate::store::redis::options::Options::default(),
            #[cfg(feature = "_sql")]
            sql: crate::store::sql::settings::SqlSettings::default(),
        }
    }
}

impl RateLimiterBuilder {
    /// The store that counts, by its URL as in [`RateLimiter::open`], or a [`Store`](crate::Store) of your own; this process's memory
    /// unless set. [`build`](Self::build) fails with [`Error::Url`] for a URL that makes no sense.
    pub fn store(mut self, store: impl IntoStore) -> Self {
        self.store = Some(store.given());
        self
    }

    /// How long a check may take before the store counts as failed, from 1 millisecond to 1 hour; 100 milliseconds unless set. It
    /// covers everything, connecting included. [`build`](Self::build) fails with [`Error::Setting`] for any other time.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What to do with a request when the store fails; [`OnStoreError::Local`] unless set. A rule's own
    /// `on_store_error` goes before this.
    pub fn on_store_error(mut self, on_store_error: OnStoreError) -> Self {
        self.on_store_error = on_store_error;
        self
    }

    /// Whether the limiter limits; `true` unless set. With `false`, every request is admitted, nothing is counted, no function of a policy is
    /// called, and there are no rate limit headers: for tests, and for emergencies. The store is not asked, and a
    /// [`ping`](RateLimiter::ping) succeeds.
    ///
    /// [`RateLimitState::is_counted`](crate::RateLimitState::is_counted) is `false` then. All else stays as it is, so that the setting alone
    /// switches limits off:
    ///
    /// ```
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let is_off = std::env::var_os("RATE_LIMITS_OFF").is_some();
    /// let limiter = RateLimiter::builder().enabled(!is_off).store("redis://127.0.0.1/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.is_enabled = enabled;
        self
    }

    /// Whether the limiter counts and never refuses; `false` unless set. It is for the time before a limit is enforced: handlers and
    /// middlewares see in [`RateLimitState::is_over`](crate::RateLimitState::is_over) which requests would have been refused.
    ///
    /// Each rule is then as with `over_limit = "allow"`. Where the store fails and `"deny"` would refuse, a request is admitted uncounted.
    /// Headers are written as ever. With [`enabled(false)`](Self::enabled), nothing is counted.
    ///
    /// ```
    /// use ratelimit_runtime::{RateLimitState, RateLimiter, ratelimit};
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder().shadow(true).build()?;
    /// # drop(limiter);
    ///
    /// #[ratelimit("100/minute", scope = "ip")]
    /// async fn search(state: RateLimitState) -> String {
    ///     format!("admitted; a limit would refuse it: {}", state.is_over())
    /// }
    /// # let _ = search;
    /// # Ok(())
    /// # }
    /// ```
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.is_shadow = shadow;
        self
    }

    /// How many counters the in-memory store holds, from 1 to 268,435,456, and fewer where there is not the memory for them; 1,000,000
    /// unless set, which takes up to 34 MB. The same bound holds for the counters that stand in for a failing store.
    /// [`build`](Self::build) fails with [`Error::Setting`] for any other number.
    ///
    /// Past the capacity, and near it for one counter in a thousand, a new counter takes the place of one of ten others: of the one
    /// that is least full, as a share of its own limit. A counter at its limit goes last. Among equals the one that ends soonest
    /// goes, then one at random. Which ten these are, nobody outside the process can know.
    ///
    /// So whoever can make new counters at will (a header's value, addresses of many networks) can make the store forget
    /// others, if they make enough of them before the others' windows end. Measured with the default capacity, as the requests
    /// until the store has forgotten the first of 1000 clients, and half of them, under a limit of 5 a minute
    /// (`cargo run --release -p ratelimit-benches --bin eviction`):
    ///
    /// | each new counter | forgets clients at 5 of 5 | at 4 of 5 | at 1 of 5 |
    /// |---|---|---|---|
    /// | has 1 of 300 requests | none in 10,000,000 | none in 10,000,000 | none in 10,000,000 |
    /// | has 4 of 10 | none in 10,000,000 | none in 10,000,000 | 760,000 to 2,490,000 |
    /// | is at its limit after 5 requests | 5,000,000 to more than 10,000,000 | 4,100,000 to more than 10,000,000 | the same |
    /// | is at its limit after 1 request | 720,000 to 2,580,000 | the same | the same |
    ///
    /// The numbers grow with the capacity. A rule that one request exhausts, under a scope whose values clients choose, is
    /// the one to avoid.
    ///
    /// In one of a thousand processes that hold a million counters, two of them count as one.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// A clock that a test moves, for the in-memory store, and for the counters in memory that stand in for a failing store; the
    /// system's unless set. Redis goes by its own.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Clock::Manual(clock);
        self
    }

    /// The proxies that may say what the client's address is; none unless set, and then `scope = "ip"` is the
    /// address of whoever connected.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.ip.trusted = Some(proxies);
        self
    }

    /// How many leading bits of an IPv6 address stand for one client; 64 unless set, since that much is given to
    /// every customer of a provider. At most 128, or [`build`](Self::build) fails with [`Error::Setting`].
    ///
    /// An IPv6 address that a tunnel or a translator has made of an IPv4 address counts as that IPv4 address: IPv4-mapped
    /// (`::ffff:0:0/96`) and the older `::/96` and `::ffff:0:0:0/96`, NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), 6to4 (`2002::/16`)
    /// and Teredo (`2001::/32`).
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ip.ipv6_prefix = bits;
        self
    }

    /// A prefix of one's own that a NAT64 or SIIT-DC translator puts in front of the IPv4 addresses of clients: 32, 40, 48, 56,
    /// 64 or 96 bits, as in RFC 6052. An address behind it counts as the IPv4 address in it; otherwise, all clients that come
    /// through the translator are one. May be called several times; `64:ff9b::/96` and `64:ff9b:1::/48` are known without.
    ///
    /// ```
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder().nat64_prefix("2001:db8:64::/96").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`build`](Self::build) fails with [`Error::Nat64Prefix`], if it is none of these.
    pub fn nat64_prefix(mut self, prefix: &str) -> Self {
        match client_ip::nat64_prefix(prefix) {
            Ok(prefix) => self.ip.nat64.push(prefix),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
        self
    }

    /// Who the user of a request is, for `scope = "user"`: a plain function of `&HttpRequest`, or one written
    /// like an Actix handler, with extractors. `None`, an empty text, and one of white space alone count the request for its
    /// address.
    ///
    /// Without this, a handler with `scope = "user"` answers 500 and logs what is missing.
    pub fn user<F, Marker>(mut self, function: F) -> Self
    where
        F: ScopeFunction<Marker> + Send + Sync + 'static,
    {
        self.user = Some(Clients::user_function(function));
        self
    }

    /// Makes the limiter. It connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Url`], naming the part of the store's URL that makes no sense; [`Error::Setting`] for a number out of range;
    /// [`Error::Nat64Prefix`], [`Error::Prefix`] and [`Error::Tls`] for settings that cannot be used.
    #[track_caller]
    pub fn build(mut self) -> Result<RateLimiter, Error> {
        self.check()?;
        let text = match self.store.take() {
            Some(GivenStore::Store(store)) => return self.external(store),
            Some(GivenStore::Url(text)) => text,
            None => "memory://".to_owned(),
        };
        let url = StoreUrl::read(&text)?;
        match url.scheme {
            Scheme::Memory if url.rest.is_empty() => Ok(self.in_memory()),
            Scheme::Memory => {
                Err(Error::Url { part: "path", reason: "write memory:// with nothing after it".to_owned() })
            }
            Scheme::Memcached => self.memcached(url),
            Scheme::MySql => self.mysql(url),
            Scheme::Postgres => self.postgres(url),
            Scheme::Sqlite => self.sqlite(url),
            Scheme::Redis { .. } => self.redis(url),
        }
    }

    /// Whether all settings can be used.
    fn check(&mut self) -> Result<(), Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let is_in_range = [
            ("deadline", (SHORTEST_DEADLINE..=LONGEST_DEADLINE).contains(&self.deadline), "from 1 ms to 1 hour"),
            ("capacity", (1..=MemoryStore::LARGEST_CAPACITY).contains(&self.capacity), "from 1 to 268435456"),
            ("ipv6_prefix", self.ip.ipv6_prefix <= 128, "at most 128"),
        ];
        match is_in_range.into_iter().find(|(_, is_in_range, _)| !is_in_range) {
            #[cfg(feature = "_sql")]
            None => self.sql.check(),
            #[cfg(not(feature = "_sql"))]
            None => Ok(()),
            Some((setting, _, range)) => Err(Error::Setting { setting, reason: format!("must be {range}") }),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match (self.is_enabled, self.is_shadow) {
            (false, _) => Mode::Disabled,
            (true, true) => Mode::Shadow,
            (true, false) => Mode::Enforcing,
        }
    }
}

impl fmt::Debug for RateLimiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RateLimiterBuilder");
        debug
            .field("store", &self.store)
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("on_store_error", &self.on_store_error)
            .field("mode", &self.mode())
            .field("capacity", &self.capacity)
            .field("clock", &self.clock)
            .field("hashing", &self.hashing)
            .field("ip", &self.ip)
            .field("user", &self.user.is_some())
            .field("over_limit", &self.answers.over_limit.is_some())
            .field("unavailable", &self.answers.unavailable.is_some());
        #[cfg(feature = "redis")]
        debug.field("redis", &self.redis);
        #[cfg(feature = "_sql")]
        debug.field("sql", &self.sql);
        debug.finish()
    }
}
