//! Recovery after a failure: when the connection is tried again, and when its failure is over.
//!
//! A server may pass its probe and fail its checks, again and again. So a failure is over only when the connection has served for
//! a while, the probation.

use std::time::Duration;

use tokio::time::Instant;

/// The pauses before attempts to connect, doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(640);

/// How long a connection serves before its failure is over. The time doubles, up to the longest, if failures follow each other
/// within [`RECENT`].
const PROBATION: Duration = Duration::from_secs(1);
const LONGEST_PROBATION: Duration = Duration::from_secs(64);
const RECENT: Duration = Duration::from_secs(60);

/// How often a connection that ends before its first answer is replaced without counting as a failure.
const QUIET_REPLACEMENTS: u32 = 1;

#[derive(Debug)]
pub(crate) struct Recovery {
    /// The failed connections and attempts since the last failure was over.
    failures: u32,
    probation: Duration,
    /// When the last failure ended.
    over: Option<Instant>,
    /// How many connections in a row ended without an answer.
    replacements: u32,
}

impl Recovery {
    pub(crate) fn new() -> Self {
        Self { failures: 0, probation: PROBATION, over: None, replacements: 0 }
    }

    /// Handles the failure of a connection or of an attempt.
    pub(crate) fn failed(&mut self, now: Instant) {
        if self.failures == 0 {
            let is_recent = self.over.is_some_and(|over| now.saturating_duration_since(over) < RECENT);
            self.probation = if is_recent { (self.probation * 2).min(LONGEST_PROBATION) } else { PROBATION };
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Handles that the connection has served for its probation.
    pub(crate) fn is_over(&mut self, now: Instant) {
        self.failures = 0;
        self.over = Some(now);
    }

    /// How long to wait before the next attempt.
    pub(crate) fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LAST_PAUSE)
    }

    pub(crate) fn probation(&self) -> Duration {
        self.probation
    }

    /// Whether a connection that ended may be replaced without counting as a failure.
    pub(crate) fn may_replace(&mut self, has_answered: bool) -> bool {
        self.replacements = if has_answered { 0 } else { self.replacements + 1 };
        self.replacements <= QUIET_REPLACEMENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_until_the_failure_is_over() {
        let (mut recovery, now) = (Recovery::new(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            recovery.failed(now);
            pauses.push(recovery.pause().as_millis());
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 640, 640, 640]);
        recovery.is_over(now);
        recovery.failed(now);
        assert_eq!(recovery.pause(), FIRST_PAUSE);
    }

    #[test]
    fn probations_grow_while_failures_follow_each_other() {
        let (mut recovery, mut now) = (Recovery::new(), Instant::now());
        let mut probations = Vec::new();
        for wait in [1, 5, 59, 61, 1] {
            recovery.failed(now);
            recovery.failed(now);
            probations.push(recovery.probation().as_secs());
            recovery.is_over(now);
            now += SECOND * wait;
        }
        assert_eq!(probations, [1, 2, 4, 8, 1]);
        for _ in 0..9 {
            recovery.failed(now);
            recovery.is_over(now);
        }
        assert_eq!(recovery.probation(), LONGEST_PROBATION);
    }

    #[test]
    fn connections_that_answer_nothing_are_not_replaced_again_and_again() {
        let mut recovery = Recovery::new();
        let replaced = [true, false, false, true, false].map(|has_answered| recovery.may_replace(has_answered));
        assert_eq!(replaced, [true, true, false, true, true]);
    }
}
