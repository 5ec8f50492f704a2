//! The settings of a limiter that counts in Redis.

#[cfg(feature = "rustls")]
use std::path::PathBuf;
use std::{fmt::Display, future::Future, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    error::Error,
    limiter::{RateLimiter, builder::RateLimiterBuilder},
    store::{
        redis::{
            RedisStore,
            transport::credentials::{Credentials, Provider},
        },
        shared::SharedStore,
        url::StoreUrl,
    },
};

/// What operating systems take, in seconds.
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

/// Settings of TLS (cargo feature `rustls`), for `rediss://`, `rediss+cluster://` and `rediss+sentinel://`. Other URLs take no
/// notice of them, apart from a warning in the log.
///
/// Unless set, the certificates that the operating system trusts are trusted (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and the
/// server is shown none. They are read once in a process, when the first limiter with TLS is made.
#[cfg(feature = "rustls")]
impl RateLimiterBuilder {
    /// The file of the authorities that sign the servers' certificates, in PEM; they are trusted in place of those that the operating
    /// system trusts.
    ///
    /// It is read by [`build`](Self::build), which fails if it cannot be used, and again at each connection: a file that is
    /// replaced is used from then on.
    ///
    /// ```no_run
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder()
    ///     .tls_ca_file("/etc/redis/ca.pem")
    ///     .tls_client_certificate("/etc/redis/client.pem", "/etc/redis/client.key")
    ///     .store("rediss://redis.internal:6380/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.redis.tls.ca_file = Some(path.into());
        self
    }

    /// The certificate that this application shows to servers and sentinels, and its private key: two files in PEM, the first with the
    /// certificates between this one and the authority, if there are any, the second without a password. Both may be the same file.
    ///
    /// They are read by [`build`](Self::build), which fails if they cannot be used, and again at each connection: a certificate that is
    /// renewed is used from then on. In the moment in which one of the two is replaced and the other is not, the former ones are.
    pub fn tls_client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.redis.tls.client_certificate = Some((certificate.into(), key.into()));
        self
    }

    /// The host name, or address, that the certificates of all servers and sentinels are for; the one that is connected to unless set.
    ///
    /// It is for servers that are reached by another name than that of their certificate: by a tunnel, or in a cluster whose nodes
    /// tell their addresses.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.redis.tls.server_name = Some(name.into());
        self
    }
}

/// Settings of Redis (cargo feature `redis`). A limiter that counts in memory takes no notice of them.
impl RateLimiterBuilder {
    /// After which time without traffic a TCP connection to Redis sends something by itself (keepalive), so that load balancers and
    /// NAT do not forget it; 30 seconds unless set. It is zero, which switches it off, or from 1 to 32,767 seconds, of which the whole ones
    /// count; [`build`](Self::build) fails with [`Error::Setting`] for any other time.
    ///
    /// If it is forgotten all the same, the next check gets a new connection within its deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ratelimit_runtime::RateLimiter;
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder().tcp_keepalive(Duration::from_secs(10)).store("redis://127.0.0.1/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.redis.keepalive = idle;
        self
    }

    /// An async function that gives the user and the password of the servers, for credentials that change: tokens of AWS IAM or
    /// Microsoft Entra ID, passwords that are rotated. The URL holds none then; sentinels keep theirs from the URL.
    ///
    /// It is asked when a connection logs in. One call at a time is under way in a process, and logins within two seconds of its
    /// answer share it, unless a server refuses it. A call may take ten seconds, but meanwhile the store counts as failed: a function
    /// that takes long keeps its token until shortly before that expires. A connection that is open stays in use, whatever
    /// becomes of its credentials, until the server ends it.
    ///
    /// An error means that there is no connection, and is tried again; its text is written to the log, so it must hold no secret.
    ///
    /// ```no_run
    /// use ratelimit_runtime::{Credentials, RateLimiter};
    ///
    /// async fn token() -> std::io::Result<String> {
    /// #   Ok(String::new())
    ///     // Ask the cloud's library for one.
    /// }
    ///
    /// # fn main() -> Result<(), ratelimit_runtime::Error> {
    /// let limiter = RateLimiter::builder()
    ///     .credentials(|| async { Ok::<_, std::io::Error>(Credentials::new("app", token().await?)) })
    ///     .store("redis://redis.internal/").build()?;
    /// # drop(limiter);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `examples/credentials.rs` is a server to run.
    pub fn credentials<F, A, E>(mut self, function: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Display,
    {
        self.redis.credentials = Some(Arc::new(Provider::new(function)));
        self
    }

    #[track_caller]
    pub(super) fn redis(mut self, url: StoreUrl<'_>) -> Result<RateLimiter, Error> {
        let keepalive = self.redis.keepalive;
        if !keepalive.is_zero() && !KEEPALIVE.contains(&keepalive) {
            let reason = "must be 0, or from 1 to 32767 seconds".to_owned();
            return Err(Error::Setting { setting: "tcp_keepalive", reason });
        }
        let (prefix, options) = (std::mem::take(&mut self.prefix), std::mem::take(&mut self.redis));
        let store = RedisStore::new(url, prefix, self.deadline, &self.hashing, options)?;
        Ok(self.shared(SharedStore::Redis(store)))
    }
}
