//! Whether the store answers, as all workers of a process see it together: logged when it changes, not for each
//! request.

use std::{fmt::Display, time::Instant};

use parking_lot::Mutex;

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
}

impl Health {
    pub(super) fn new(address: String) -> Self {
        Self { address, state: Mutex::default() }
    }

    /// A connection has failed that worked, or was never there.
    pub(super) fn failed(&self, cause: &impl Display) {
        let mut state = self.state.lock();
        state.down += 1;
        if state.since.is_none() {
            state.since = Some(Instant::now());
            log::error!(
                "rate limit store {} fails: {}; requests are answered as on_store_error says until it is back",
                self.address,
                without_controls(&cause.to_string()),
            );
        }
    }

    /// A connection that had failed works again.
    pub(super) fn recovered(&self) {
        let mut state = self.state.lock();
        state.down = state.down.saturating_sub(1);
        if state.down == 0
            && let Some(since) = state.since.take()
        {
            log::warn!("rate limit store {} is back after {:.1?}", self.address, since.elapsed());
        }
    }

    /// A connection that had failed is given up with its worker.
    pub(super) fn abandoned(&self) {
        let mut state = self.state.lock();
        state.down = state.down.saturating_sub(1);
        if state.down == 0 {
            state.since = None;
        }
    }
}

/// In one line: what a server says is not the developer's own text.
fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ")
}
