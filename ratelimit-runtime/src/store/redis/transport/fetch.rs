//! Values that only a blocking call can fetch: the addresses of a host, certificates in files.
//!
//! Such a call cannot be cancelled, and it may hang for as long as a name server or a network drive does. So it runs on a thread
//! of its own, and never twice at a time for the same value. On the runtime's threads for blocking calls it could block those of
//! the application.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use redis::{RedisError, RedisResult};
use tokio::{sync::watch, time::timeout};

/// How long to wait for the next value if there is a last one.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many calls may run in this process at a time: more would hang, too.
const MOST_CALLS: usize = 64;

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The last value, and the call for the next one.
pub(crate) struct Fetched<T> {
    state: Mutex<FetchState<T>>,
}

struct FetchState<T> {
    /// The last value that was fetched.
    last: Option<T>,
    /// The last call. It has ended when it has a result, or when its sender is gone.
    call: Option<CallResult<T>>,
}

/// Receives the result of a call.
type CallResult<T> = watch::Receiver<Option<RedisResult<T>>>;

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Self { state: Mutex::new(FetchState { last: None, call: None }) }
    }
}

impl<T: Clone + Send + Sync + 'static> Fetched<T> {
    /// Waits for the running call, or starts one. If it hangs or fails, the last value counts.
    pub(crate) async fn get(
        self: &Arc<Self>,
        fetch: impl FnOnce() -> RedisResult<T> + Send + 'static,
    ) -> RedisResult<T> {
        let (last, call) = self.call(fetch);
        let result = async {
            let mut call = call?;
            let result = call.wait_for(Option::is_some).await.map_err(|_| interrupted())?;
            result.clone().unwrap_or_else(|| Err(interrupted()))
        };
        match last {
            None => result.await,
            Some(last) => Ok(timeout(PATIENCE, result).await.ok().and_then(Result::ok).unwrap_or(last)),
        }
    }

    /// Starts a call for a value that will be needed.
    #[cfg(feature = "rustls")]
    pub(crate) fn prepare(self: &Arc<Self>, fetch: impl FnOnce() -> RedisResult<T> + Send + 'static) {
        drop(self.call(fetch));
    }

    /// Whether a call is running.
    pub(crate) fn is_running(&self) -> bool {
        self.state.lock().is_running()
    }

    fn call(
        self: &Arc<Self>,
        fetch: impl FnOnce() -> RedisResult<T> + Send + 'static,
    ) -> (Option<T>, RedisResult<CallResult<T>>) {
        let mut state = self.state.lock();
        let last = state.last.clone();
        if let Some(call) = state.call.clone().filter(|_| state.is_running()) {
            return (last, Ok(call));
        }
        let (sender, receiver) = watch::channel(None);
        let fetched = Arc::clone(self);
        let run = move |_: CallPermit| {
            let result = fetch();
            if let Ok(value) = &result {
                fetched.state.lock().last = Some(value.clone());
            }
            sender.send_replace(Some(result));
        };
        let call = CallPermit::acquire()
            .and_then(|call| thread::Builder::new().name("ratelimit-fetch".to_owned()).spawn(move || run(call)));
        let call = call.map(|_| receiver.clone()).map_err(RedisError::from);
        state.call = Some(receiver);
        (last, call)
    }
}

impl<T> FetchState<T> {
    fn is_running(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.has_changed().is_ok() && call.borrow().is_none())
    }
}

/// The right to run one of the calls of this process.
struct CallPermit;

impl CallPermit {
    fn acquire() -> io::Result<Self> {
        let may_start = |calls: usize| (calls < MOST_CALLS).then_some(calls + 1);
        match CALLS.fetch_update(Relaxed, Relaxed, may_start) {
            Ok(_) => Ok(Self),
            Err(_) => Err(io::Error::other(format!("{MOST_CALLS} name lookups hang"))),
        }
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Relaxed);
    }
}

fn interrupted() -> RedisError {
    io::Error::other("a lookup was interrupted").into()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime;

    use super::*;

    #[test]
    fn a_process_has_a_bounded_number_of_calls_that_hang() {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else { return };
        let get = |fetched: &Arc<Fetched<u8>>, hangs: &Arc<Mutex<mpsc::Receiver<()>>>| {
            let (fetched, hangs) = (Arc::clone(fetched), Arc::clone(hangs));
            let wait = async move {
                let fetch = move || {
                    let _ = hangs.lock().recv();
                    Ok(7)
                };
                timeout(Duration::from_secs(20), fetched.get(fetch)).await
            };
            runtime.spawn(wait)
        };
        let (go_on, hangs) = mpsc::channel();
        let hangs = Arc::new(Mutex::new(hangs));
        let all: Vec<_> = (0..=MOST_CALLS).map(|_| Arc::<Fetched<u8>>::default()).collect();
        let mut calls: Vec<_> = all.iter().map(|fetched| get(fetched, &hangs)).collect();
        let refused = runtime.block_on(async { calls.pop()?.await.ok()?.ok() });
        assert!(refused.is_some_and(|result| result.is_err()), "one call more");
        drop(go_on);
        for call in calls {
            assert!(matches!(runtime.block_on(call), Ok(Ok(Ok(7)))));
        }
        assert!(
            matches!(runtime.block_on(get(&all[MOST_CALLS], &hangs)), Ok(Ok(Ok(7)))),
            "after the others have ended"
        );
    }
}
