//! The log's messages about the store, for all workers of a process: one when a failure starts, one a minute while it lasts, and
//! one when it ends.

pub(crate) mod printable;

use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::store::redis::{
    failure::Failure,
    health::printable::Printable,
    server_error::{Advice, ErrorClass},
};

/// How often the log repeats a failure that lasts or comes back.
const REMINDER: Duration = Duration::from_secs(60);

/// How many kinds of refusals are distinguished.
const KINDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Health {
    /// Where the server is, without credentials.
    address: String,
    /// The prefix of all keys.
    prefix: String,
    /// The failure of connections that are down.
    outage: Mutex<Episode>,
    /// The refusals of servers that decide other checks, by kinds of errors.
    refusals: Mutex<Vec<(ErrorClass, Episode)>>,
}

/// A failure from its start to its end.
#[derive(Debug, Default)]
struct Episode {
    /// How many connections have it.
    connections: usize,
    since: Option<Instant>,
    /// When the log mentioned it last.
    logged: Option<Instant>,
    /// Whether the log has mentioned it, and not its end.
    is_open: bool,
    /// How many checks were refused since the start.
    checks: u64,
}

impl Health {
    pub(crate) fn new(address: String, prefix: String) -> Self {
        Self { address, prefix, outage: Mutex::default(), refusals: Mutex::default() }
    }

    /// Reports that a connection has failed, after it worked or at its first attempt.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.outage.lock().connections += 1;
        self.fails(failure);
    }

    /// Reports that a connection still fails.
    pub(crate) fn fails(&self, failure: &Failure) {
        let address = &self.address;
        let cause = Printable(FailureAdvice { failure, prefix: &self.prefix });
        self.outage.lock().fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {address} fails: {cause}; requests are answered as on_store_error says until it is back (RL022)"
            ),
            Some(lasted) => log::error!("rate limit store {address} has been failing for {lasted:.0?}: {cause} (RL022)"),
        });
    }

    /// Reports that a connection works again.
    pub(crate) fn recovered(&self) {
        let mut outage = self.outage.lock();
        outage.end(|lasted| log::warn!("rate limit store {} is back after {lasted:.1?}", self.address));
        // Another connection still fails, so the next message waits for the minute to end.
        outage.logged = outage.logged.filter(|_| outage.connections > 0);
    }

    /// Ends the failure of a connection whose worker ends.
    pub(crate) fn abandoned(&self) {
        self.outage.lock().end(|_| {});
    }

    /// Reports the first refusals on a connection.
    pub(crate) fn refuses_first(&self, kind: &ErrorClass, checks: u64, error: &redis::RedisError) {
        self.refuse(kind, 1, checks, error);
    }

    /// Reports further refusals on a connection.
    pub(crate) fn refuses(&self, kind: &ErrorClass, checks: u64, error: &redis::RedisError) {
        self.refuse(kind, 0, checks, error);
    }

    fn refuse(&self, kind: &ErrorClass, connections: usize, checks: u64, error: &redis::RedisError) {
        let mut refusals = self.refusals.lock();
        let index = refusals.iter().position(|(other, _)| other == kind).or_else(|| {
            if refusals.len() >= KINDS {
                refusals.retain(|(_, episode)| episode.connections > 0);
            }
            (refusals.len() < KINDS).then(|| {
                refusals.push((kind.clone(), Episode::default()));
                refusals.len() - 1
            })
        });
        let Some(index) = index else { return };
        let episode = &mut refusals[index].1;
        episode.connections += connections;
        episode.checks += checks;
        let (address, cause) = (&self.address, Printable(Advice { error, prefix: &self.prefix }));
        let refused = episode.checks;
        episode.fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {address} refuses checks: {cause}; they are answered as on_store_error says, and others are counted (RL023)"
            ),
            Some(lasted) => {
                log::error!("rate limit store {address} has refused {refused} checks in {lasted:.0?}: {cause} (RL023)");
            }
        });
    }

    /// Reports that a connection decides checks that it refused before.
    pub(crate) fn accepts(&self, kind: &ErrorClass) {
        self.end(kind, |lasted| {
            log::warn!(
                "rate limit store {} decides all checks again, after {lasted:.1?} of {}",
                self.address,
                Printable(kind)
            );
        });
    }

    /// Ends the refusals on a connection whose worker ends.
    pub(crate) fn abandons(&self, kind: &ErrorClass) {
        self.end(kind, |_| {});
    }

    fn end(&self, kind: &ErrorClass, log: impl FnOnce(Duration)) {
        if let Some((_, episode)) = self.refusals.lock().iter_mut().find(|(other, _)| other == kind) {
            episode.end(log);
        }
    }
}

impl Episode {
    /// Starts or continues. If a message is due, `log` gets how long it has lasted, or `None` at the start.
    fn fail(&mut self, now: Instant, log: impl FnOnce(Option<Duration>)) {
        let started = self.since.replace(self.since.unwrap_or(now));
        if self.logged.is_some_and(|logged| now.duration_since(logged) < REMINDER) {
            return;
        }
        self.logged = Some(now);
        self.is_open = true;
        log(started.map(|started| now.duration_since(started)));
    }

    /// Ends on a connection. If that was the last one and the log has mentioned the failure, `log` gets how long it lasted.
    fn end(&mut self, log: impl FnOnce(Duration)) {
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

/// Why a connection ended, and what to do about it.
struct FailureAdvice<'a> {
    failure: &'a Failure,
    prefix: &'a str,
}

impl Display for FailureAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure {
            Failure::Redis(error) => Advice { error, prefix: self.prefix }.fmt(f),
            failure => failure.fmt(f),
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
