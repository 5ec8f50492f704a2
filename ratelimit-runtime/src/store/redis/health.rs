//! Whether the store answers, as all workers of a process see it together: logged when it changes, not for each
//! request.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How often the log is told of a failure that lasts.
const REMINDER: Duration = Duration::from_secs(60);

/// The connections of a limiter that are down.
#[derive(Debug)]
pub(super) struct Health {
    /// Where the server is, without credentials.
    address: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    down: usize,
    since: Option<Instant>,
    /// When the log was told last.
    told: Option<Instant>,
}

impl Health {
    pub(super) fn new(address: String) -> Self {
        Self { address, state: Mutex::default() }
    }

    /// A connection has failed that worked, or was never there.
    pub(super) fn failed(&self, cause: &impl Display) {
        self.state.lock().down += 1;
        self.fails(cause);
    }

    /// A connection that had failed goes on failing.
    pub(super) fn fails(&self, cause: &impl Display) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.told.is_some_and(|told| now.duration_since(told) < REMINDER) {
            return;
        }
        let cause = without_controls(&cause.to_string());
        match state.since {
            None => log::error!(
                "rate limit store {} fails: {cause}; requests are answered as on_store_error says until it is back",
                self.address,
            ),
            Some(since) => log::error!(
                "rate limit store {} has been failing for {:.0?}: {cause}",
                self.address,
                now.duration_since(since),
            ),
        }
        state.since.get_or_insert(now);
        state.told = Some(now);
    }

    /// A connection that had failed works again.
    pub(super) fn recovered(&self) {
        let mut state = self.state.lock();
        state.down = state.down.saturating_sub(1);
        if state.down == 0
            && let Some(since) = state.since.take()
        {
            state.told = None;
            log::warn!("rate limit store {} is back after {:.1?}", self.address, since.elapsed());
        }
    }

    /// A connection that had failed is given up with its worker.
    pub(super) fn abandoned(&self) {
        let mut state = self.state.lock();
        state.down = state.down.saturating_sub(1);
        if state.down == 0 {
            (state.since, state.told) = (None, None);
        }
    }
}

/// In one line: what a server says is not the developer's own text.
fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ")
}
