//! A failure over time. The log reports its start, a reminder each minute, and its end.

use std::time::{Duration, Instant};

/// How often the log repeats a failure that lasts or comes back.
const REMINDER: Duration = Duration::from_secs(60);

/// A failure from its start to its end.
#[derive(Debug, Default)]
pub(crate) struct Episode {
    /// How many connections have it.
    pub(crate) connections: usize,
    since: Option<Instant>,
    /// When the log mentioned it last.
    pub(crate) logged: Option<Instant>,
    /// Whether the log has mentioned it, and not its end.
    is_open: bool,
    /// How many checks were refused since the start.
    pub(crate) checks: u64,
}

impl Episode {
    /// Starts or continues. If a message is due, `log` gets how long it has lasted, or `None` at the start.
    pub(crate) fn fail(&mut self, now: Instant, log: impl FnOnce(Option<Duration>)) {
        let started = self.since.replace(self.since.unwrap_or(now));
        if self.logged.is_some_and(|logged| now.duration_since(logged) < REMINDER) {
            return;
        }
        self.logged = Some(now);
        self.is_open = true;
        log(started.map(|started| now.duration_since(started)));
    }

    /// Ends on a connection. If that was the last one and the log has mentioned the failure, `log` gets how long it lasted.
    pub(crate) fn end(&mut self, log: impl FnOnce(Duration)) {
        self.connections = self.connections.saturating_sub(1);
        if self.connections > 0 {
            return;
        }
        self.checks = 0;
        if let Some(since) = self.since.take()
            && std::mem::take(&mut self.is_open)
        {
            log(since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_when_it_begins_and_once_a_minute_while_it_lasts() {
        let (mut episode, start) = (Episode { connections: 1, ..Episode::default() }, Instant::now());
        let mut logged = Vec::new();
        // A check fails in each tenth of a second of three minutes.
        for tenths in 0..=1800 {
            let failed = Duration::from_millis(100 * tenths);
            episode
                .fail(start + failed, |lasted| logged.push((failed.as_secs(), lasted.map(|lasted| lasted.as_secs()))));
        }
        assert_eq!(logged, [(0, None), (60, Some(60)), (120, Some(120)), (180, Some(180))]);
    }
}
