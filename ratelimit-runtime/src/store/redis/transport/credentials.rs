//! User and password: from the URL, or from the application, which may change them.

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

/// How long the application may take to give credentials.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// How long credentials, and a failure to get them, serve all logins of a process: its workers connect at about the same time. It is
/// longer than the pause between two attempts to connect, so that an attempt finds what came too late for the one before.
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
    /// Without one, Redis takes the user `default`.
    user: Option<String>,
    password: String,
}

impl Credentials {
    /// Those of a user of Redis 6.0 or later, or of Valkey. The password may be a token.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), password: password.into() }
    }

    /// A password alone, as `requirepass` sets it: that of the user `default`.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: password.into() }
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What nobody else may see.
    pub(crate) fn secret(&self) -> &str {
        &self.password
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where the credentials of a login come from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Source {
    /// The server wants none.
    #[default]
    None,
    Url(Credentials),
    Application(Arc<Provider>),
}

/// The application's function, and what it has said last.
pub(crate) struct Provider {
    ask: Box<dyn Fn() -> Asking + Send + Sync>,
    state: Mutex<State>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send>>;

#[derive(Default)]
struct State {
    last: Option<Answer>,
    /// The call that began last; it has ended when there is an answer, or nobody to give one.
    call: Option<watch::Receiver<Option<Answer>>>,
}

#[derive(Clone)]
struct Answer {
    credentials: Result<Credentials, String>,
    came: Instant,
}

impl Answer {
    fn serves(&self) -> bool {
        self.came.elapsed() < if self.credentials.is_ok() { SHARED_FOR } else { FAILURE_SHARED_FOR }
    }
}

impl Provider {
    pub(crate) fn new<F, A, E>(ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Display,
    {
        let ask = move || -> Asking {
            let asking = ask();
            Box::pin(async { asking.await.map_err(|error| error.to_string()) })
        };
        Self { ask: Box::new(ask), state: Mutex::default() }
    }

    /// The application's answer to a call that began lately. Calls are made one at a time, and go on if nobody waits any more.
    pub(crate) async fn get(self: &Arc<Self>) -> RedisResult<Credentials> {
        let answer = match self.begin() {
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
        let is_refused = |answer: &mut Answer| answer.credentials.as_ref() == Ok(refused);
        self.state.lock().last.take_if(is_refused);
    }

    /// The last answer, if it still serves, or else a call.
    fn begin(self: &Arc<Self>) -> Result<Answer, watch::Receiver<Option<Answer>>> {
        let mut state = self.state.lock();
        if let Some(answer) = state.last.clone().filter(Answer::serves) {
            return Ok(answer);
        }
        let is_under_way =
            |call: &watch::Receiver<Option<Answer>>| call.has_changed().is_ok() && call.borrow().is_none();
        if let Some(call) = state.call.clone().filter(is_under_way) {
            return Err(call);
        }
        let (sender, call) = watch::channel(None);
        state.call = Some(call.clone());
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            let late = || Err(format!("no answer within {LONGEST_CALL:?}"));
            let credentials = timeout(LONGEST_CALL, async { (provider.ask)().await }).await.unwrap_or_else(|_| late());
            let answer = Answer { credentials, came: Instant::now() };
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
