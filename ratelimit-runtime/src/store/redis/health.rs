//! What the log is told of the store, as all workers of a process see it together: once when a failure begins, once a minute
//! while it lasts, and once when it ends.

use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

use crate::store::redis::{
    blame::{Advice, Kind},
    failure::Failure,
    printable::Printable,
};
use parking_lot::Mutex;

/// How often the log is told of a failure that lasts, or comes again.
const REMINDER: Duration = Duration::from_secs(60);

/// How many kinds of refusals are told apart.
const KINDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Health {
    /// Where the server is, without credentials.
    address: String,
    /// What the names of all counters begin with.
    prefix: String,
    /// Of connections that are down.
    outage: Mutex<Episode>,
    /// Of servers that decide some checks and not others, by kinds of errors.
    refusals: Mutex<Vec<(Kind, Episode)>>,
}

/// Something that fails, from its beginning to its end.
#[derive(Debug, Default)]
struct Episode {
    /// How many connections it is seen on.
    connections: usize,
    since: Option<Instant>,
    /// When the log was told last that it fails.
    told: Option<Instant>,
    /// Whether the log was told that it fails, and not yet of an end.
    is_open: bool,
    /// How many checks were refused since the beginning.
    checks: u64,
}

impl Health {
    pub(crate) fn new(address: String, prefix: String) -> Self {
        Self { address, prefix, outage: Mutex::default(), refusals: Mutex::default() }
    }

    /// A connection has failed that worked, or was never there.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.outage.lock().connections += 1;
        self.fails(failure);
    }

    /// A connection that had failed goes on failing.
    pub(crate) fn fails(&self, failure: &Failure) {
        let address = &self.address;
        let cause = Printable(Cause { failure, prefix: &self.prefix });
        self.outage.lock().fail(Instant::now(), |lasted| match lasted {
            None => log::error!(
                "rate limit store {address} fails: {cause}; requests are answered as on_store_error says until it is back"
            ),
            Some(lasted) => log::error!("rate limit store {address} has been failing for {lasted:.0?}: {cause}"),
        });
    }

    /// A connection that had failed works again.
    pub(crate) fn recovered(&self) {
        let mut outage = self.outage.lock();
        outage.end(|lasted| log::warn!("rate limit store {} is back after {lasted:.1?}", self.address));
        // Connections that fail again and again do not count as back so soon.
        outage.told = outage.told.filter(|_| outage.connections > 0);
    }

    /// A connection that had failed is given up with its worker.
    pub(crate) fn abandoned(&self) {
        self.outage.lock().end(|_| {});
    }

    /// The server refuses checks on a connection on which it did not.
    pub(crate) fn refuses_first(&self, kind: &Kind, checks: u64, error: &redis::RedisError) {
        self.refuse(kind, 1, checks, error);
    }

    /// The server goes on refusing checks.
    pub(crate) fn refuses(&self, kind: &Kind, checks: u64, error: &redis::RedisError) {
        self.refuse(kind, 0, checks, error);
    }

    fn refuse(&self, kind: &Kind, connections: usize, checks: u64, error: &redis::RedisError) {
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
                "rate limit store {address} refuses checks: {cause}; they are answered as on_store_error says, and others are counted"
            ),
            Some(lasted) => {
                log::error!("rate limit store {address} has refused {refused} checks in {lasted:.0?}: {cause}");
            }
        });
    }

    /// A connection has decided a check such as it had refused.
    pub(crate) fn accepts(&self, kind: &Kind) {
        self.end(kind, |lasted| {
            log::warn!(
                "rate limit store {} decides all checks again, after {lasted:.1?} of {}",
                self.address,
                Printable(kind)
            );
        });
    }

    /// A connection that had refused checks is given up with its worker.
    pub(crate) fn abandons(&self, kind: &Kind) {
        self.end(kind, |_| {});
    }

    fn end(&self, kind: &Kind, tell: impl FnOnce(Duration)) {
        if let Some((_, episode)) = self.refusals.lock().iter_mut().find(|(other, _)| other == kind) {
            episode.end(tell);
        }
    }
}

impl Episode {
    /// Goes on; tells the log, if it is time to, how long it has lasted, or that it begins.
    fn fail(&mut self, now: Instant, tell: impl FnOnce(Option<Duration>)) {
        let began = self.since.replace(self.since.unwrap_or(now));
        if self.told.is_some_and(|told| now.duration_since(told) < REMINDER) {
            return;
        }
        self.told = Some(now);
        self.is_open = true;
        tell(began.map(|began| now.duration_since(began)));
    }

    /// Ends on a connection. Where it was the last, tells the log how long it has lasted, if the log knows of it.
    fn end(&mut self, tell: impl FnOnce(Duration)) {
        self.connections = self.connections.saturating_sub(1);
        if self.connections > 0 {
            return;
        }
        self.checks = 0;
        if let Some(since) = self.since.take()
            && std::mem::take(&mut self.is_open)
        {
            tell(since.elapsed());
        }
    }
}

/// Why a connection is given up, and what to do about it.
struct Cause<'a> {
    failure: &'a Failure,
    prefix: &'a str,
}

impl Display for Cause<'_> {
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
    fn a_failure_is_told_when_it_begins_and_once_a_minute_while_it_lasts() {
        let (mut episode, start) = (Episode { connections: 1, ..Episode::default() }, Instant::now());
        let mut told = Vec::new();
        // A check fails in each tenth of a second of three minutes.
        for tenths in 0..=1800 {
            let failed = Duration::from_millis(100 * tenths);
            episode.fail(start + failed, |lasted| told.push((failed.as_secs(), lasted.map(|lasted| lasted.as_secs()))));
        }
        assert_eq!(told, [(0, None), (60, Some(60)), (120, Some(120)), (180, Some(180))]);
    }
}
