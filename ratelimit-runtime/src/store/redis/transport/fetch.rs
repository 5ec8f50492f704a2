//! What only a blocking call can get: the addresses of a host, certificates in files.
//!
//! Such a call cannot be cancelled, and it may hang for as long as a name server or a network drive does. So it runs on a thread
//! of its own, and never twice at a time for the same thing: on the threads that the application's runtime has for blocking calls, it
//! would keep the application's own calls waiting.

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

/// How long to wait for the next value where there is a last one.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many calls may be under way in this process: more would hang, too.
const MOST_CALLS: usize = 64;

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// A value, and how to wait for the next one.
pub(crate) struct Fetched<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    /// The last value that was got.
    last: Option<T>,
    /// The call that began last; it has ended when it has a result, or nobody to give one.
    call: Option<UnderWay<T>>,
}

/// Where the result of a call will be.
type UnderWay<T> = watch::Receiver<Option<RedisResult<T>>>;

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { last: None, call: None }) }
    }
}

impl<T: Clone + Send + Sync + 'static> Fetched<T> {
    /// Waits for the call that is under way, or makes one. The last value is taken where it hangs or fails.
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

    /// Makes a call for a value that somebody will ask for.
    #[cfg(feature = "rustls")]
    pub(crate) fn prepare(self: &Arc<Self>, fetch: impl FnOnce() -> RedisResult<T> + Send + 'static) {
        drop(self.call(fetch));
    }

    /// Whether a call is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state.lock().is_under_way()
    }

    fn call(
        self: &Arc<Self>,
        fetch: impl FnOnce() -> RedisResult<T> + Send + 'static,
    ) -> (Option<T>, RedisResult<UnderWay<T>>) {
        let mut state = self.state.lock();
        let last = state.last.clone();
        if let Some(call) = state.call.clone().filter(|_| state.is_under_way()) {
            return (last, Ok(call));
        }
        let (sender, receiver) = watch::channel(None);
        let fetched = Arc::clone(self);
        let run = move |_: Call| {
            let result = fetch();
            if let Ok(value) = &result {
                fetched.state.lock().last = Some(value.clone());
            }
            sender.send_replace(Some(result));
        };
        let call = Call::begin()
            .and_then(|call| thread::Builder::new().name("ratelimit-fetch".to_owned()).spawn(move || run(call)));
        let call = call.map(|_| receiver.clone()).map_err(RedisError::from);
        state.call = Some(receiver);
        (last, call)
    }
}

impl<T> State<T> {
    fn is_under_way(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.has_changed().is_ok() && call.borrow().is_none())
    }
}

/// One of the calls of this process.
struct Call;

impl Call {
    fn begin() -> io::Result<Self> {
        let may_begin = |calls: usize| (calls < MOST_CALLS).then_some(calls + 1);
        match CALLS.fetch_update(Relaxed, Relaxed, may_begin) {
            Ok(_) => Ok(Self),
            Err(_) => Err(io::Error::other(format!("{MOST_CALLS} name lookups hang"))),
        }
    }
}

impl Drop for Call {
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
