//! Patience: a timeout that counts only the time in which this worker could have read the answer.
//!
//! A worker that runs a handler cannot read what has arrived for it. So the time of a handler does not count against the server.
//! The time is measured in steps, and a step that takes longer, because the worker was busy, counts as one step.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    select,
    task::yield_now,
    time::{Instant, timeout},
};

/// How many steps a wait has, and the shortest step: timers count in milliseconds.
const STEPS: u32 = 10;
const SHORTEST_STEP: Duration = Duration::from_millis(1);

/// How late a timer may be although the worker has nothing else to do.
const SLACK: Duration = Duration::from_millis(2);

/// How many turns the worker gets when the time is up. One is enough to read what has arrived. If another task reads it, that
/// task hands it over in the next turns.
const LAST_TURNS: usize = 3;

/// The remaining time to wait.
pub(crate) struct Patience {
    left: Duration,
}

impl Patience {
    pub(crate) fn new(time: Duration) -> Self {
        Self { left: time }
    }

    /// Until `due`, but at least for `least`: a busy worker may have used up the time before.
    pub(crate) fn until(due: Instant, least: Duration) -> Self {
        Self::new(due.saturating_duration_since(Instant::now()).max(least))
    }

    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// Waits for a future; `None` when the time is up.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let step = (self.left / STEPS).max(SHORTEST_STEP);
        while !self.left.is_zero() {
            let (start, time) = (Instant::now(), step.min(self.left));
            let output = timeout(time, &mut future).await;
            self.left = self.left.saturating_sub(start.elapsed().min(time + SLACK));
            if let Ok(output) = output {
                return Some(output);
            }
        }
        for _ in 0..LAST_TURNS {
            select! {
                biased;
                output = &mut future => return Some(output),
                () = yield_now() => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::{runtime, time::sleep};

    use super::*;

    const TIME: Duration = Duration::from_millis(50);

    fn run<T>(test: impl Future<Output = T>) -> Option<T> {
        Some(runtime::Builder::new_current_thread().enable_time().build().ok()?.block_on(test))
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let start = Instant::now();
        let waited = run(async { Patience::new(TIME).wait(sleep(TIME * 20)).await });
        assert_eq!(waited, Some(None));
        assert!(start.elapsed() >= TIME);
    }

    #[test]
    fn waits_share_the_time_that_is_left() {
        let left = run(async {
            let mut patience = Patience::new(TIME * 10);
            patience.wait(sleep(TIME)).await;
            let left = patience.left();
            (left, patience.wait(sleep(TIME * 20)).await)
        });
        assert!(left.is_some_and(|(left, last)| left <= TIME * 9 && last.is_none()), "{left:?}");
    }

    #[test]
    fn the_time_in_which_the_worker_is_busy_does_not_count() {
        let waited = run(async {
            // Each turn of the worker takes as long as the wait may.
            let busy = tokio::spawn(async {
                loop {
                    thread::sleep(TIME);
                    yield_now().await;
                }
            });
            let turns = async {
                for _ in 0..6 {
                    yield_now().await;
                }
            };
            let waited = Patience::new(TIME).wait(turns).await;
            busy.abort();
            waited
        });
        assert_eq!(waited, Some(Some(())));
    }
}
