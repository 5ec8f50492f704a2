//! User and password, from the URL or from a function of the application.

use std::{
    fmt::{self, Display},
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use redis::RedisResult;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How long the application's function may take.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// How long the result of one call serves all logins of a process, whose workers connect at about the same time. It is longer
/// than the pause between two attempts to connect, so that an attempt finds a result that came too late for the one before.
const SHARED_FOR: Duration = Duration::from_secs(2);
const FAILURE_SHARED_FOR: Duration = Duration::from_millis(500);

/// A user and a password of Redis, for [`RateLimiterBuilder::credentials`](crate::RateLimiterBuilder::credentials).
///
/// `Debug` output does not show them.
///
/// ```
/// use ratelimit_runtime::Credentials;
///
/// let credentials = Credentials::new("app", "opensesame");
/// assert!(!format!("{credentials:?}").contains("opensesame"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Without a user, Redis uses `default`.
    user: Option<String>,
    password: String,
}

impl Credentials {
    /// The credentials of a user, as of Redis 6.0 and in Valkey. The password may be a token.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), password: password.into() }
    }

    /// The password of the user `default`, as `requirepass` sets it.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: password.into() }
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password.
    pub(crate) fn secret(&self) -> &str {
        &self.password
    }
}

/// Shows neither the user nor the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where the credentials of a login come from.
#[derive(Clone, Debug, Default)]
pub(crate) enum CredentialSource {
    /// The server wants none.
    #[default]
    None,
    Url(Credentials),
    Application(Arc<Provider>),
}

/// The application's function for credentials, and its last result.
pub(crate) struct Provider {
    function: Box<dyn Fn() -> CredentialsFuture + Send + Sync>,
    state: Mutex<ProviderState>,
}

type CredentialsFuture = Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send>>;

#[derive(Default)]
struct ProviderState {
    last: Option<ProvidedCredentials>,
    /// The last call. It has ended when it has a result, or when its sender is gone.
    call: Option<watch::Receiver<Option<ProvidedCredentials>>>,
}

#[derive(Clone)]
struct ProvidedCredentials {
    credentials: Result<Credentials, String>,
    came: Instant,
}

impl ProvidedCredentials {
    fn serves(&self) -> bool {
        self.came.elapsed() < if self.credentials.is_ok() { SHARED_FOR } else { FAILURE_SHARED_FOR }
    }
}

impl Provider {
    pub(crate) fn new<F, A, E>(function: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Display,
    {
        let function = move || -> CredentialsFuture {
            let future = function();
            Box::pin(async { future.await.map_err(|error| error.to_string()) })
        };
        Self { function: Box::new(function), state: Mutex::default() }
    }

    /// The result of a recent call. Calls are made one at a time, and go on even if nobody waits any more.
    pub(crate) async fn get(self: &Arc<Self>) -> RedisResult<Credentials> {
        let answer = match self.recent_or_call() {
            Ok(answer) => Ok(answer),
            Err(mut call) => {
                let answer = call.wait_for(Option::is_some).await.ok();
                answer.and_then(|answer| answer.clone()).ok_or_else(|| "the call was interrupted".to_owned())
            }
        };
        let credentials = answer.and_then(|answer| answer.credentials);
        Ok(credentials.map_err(|error| io::Error::other(format!("there are no credentials: {error}")))?)
    }

    /// Forgets credentials that a server has refused.
    pub(crate) fn forget(&self, refused: &Credentials) {
        let is_refused = |answer: &mut ProvidedCredentials| answer.credentials.as_ref() == Ok(refused);
        self.state.lock().last.take_if(is_refused);
    }

    /// The last result if it is recent, or else a call.
    fn recent_or_call(self: &Arc<Self>) -> Result<ProvidedCredentials, watch::Receiver<Option<ProvidedCredentials>>> {
        let mut state = self.state.lock();
        if let Some(answer) = state.last.clone().filter(ProvidedCredentials::serves) {
            return Ok(answer);
        }
        let is_running =
            |call: &watch::Receiver<Option<ProvidedCredentials>>| call.has_changed().is_ok() && call.borrow().is_none();
        if let Some(call) = state.call.clone().filter(is_running) {
            return Err(call);
        }
        let (sender, call) = watch::channel(None);
        state.call = Some(call.clone());
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            let late = || Err(format!("no answer within {LONGEST_CALL:?}"));
            let credentials =
                timeout(LONGEST_CALL, async { (provider.function)().await }).await.unwrap_or_else(|_| late());
            let answer = ProvidedCredentials { credentials, came: Instant::now() };
            provider.state.lock().last = Some(answer.clone());
            sender.send_replace(Some(answer));
        });
        Err(call)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").finish_non_exhaustive()
    }
}
