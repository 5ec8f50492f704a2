//! The checks that the server refuses, though it decides others: which they are, so that they do not disturb the others and the log
//! is told once.
//!
//! Redis refuses a call of the script as a whole where it may concern one check in it: a key that the user may not use, or keys of
//! several slots. Then each check is sent by itself, and those that are refused again are known from then on by their shape
//! (the limits of their rules) and go alone, so that the others need not be sent twice.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    mem::take,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use redis::RedisError;

use crate::{
    rule::terms::Terms,
    store::redis::{
        blame::Kind,
        health::Health,
        work::{Refund, Work},
    },
};

/// For how long checks go alone after the last of their shape was refused.
const ALONE: Duration = Duration::from_secs(60);

/// The most shapes that are known. What more are refused disturb the others.
const SHAPES: usize = 64;

/// How often the log is offered what goes on. It serves all workers.
const REPORT: Duration = Duration::from_secs(1);

/// The refusals on one connection, and on those that replace it.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether any are known, to be asked without a lock.
    are_known: AtomicBool,
    known: Mutex<Vec<Refused>>,
}

/// Checks that were refused.
#[derive(Debug)]
struct Refused {
    what: What,
    kind: Kind,
    /// Whether the whole call was refused, so that they go alone.
    is_alone: bool,
    /// Whether the last of them was.
    lasts: bool,
    /// When one was last.
    last: Instant,
    /// How many were since the log was told, and when that was.
    checks: u64,
    reported: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Checks of which Redis is likely to refuse all or none: they do the same work under the same limits.
    Shape(u64),
    /// Checks on different counters in one call.
    Together,
}

impl Refusals {
    pub(crate) fn are_known(&self) -> bool {
        self.are_known.load(Relaxed)
    }

    /// Whether a check is not to go together with others.
    pub(crate) fn goes_alone(&self, work: &Work) -> bool {
        if !self.are_known() {
            return false;
        }
        let (shape, now) = (shape(work), Instant::now());
        let is_its = |refused: &Refused| refused.what == shape || refused.what == What::Together;
        self.known.lock().iter().any(|refused| refused.is_alone && is_its(refused) && !refused.is_old(now))
    }

    /// Takes in that a check was refused; alone, if the whole call was.
    pub(crate) fn refused(&self, work: &Work, is_alone: bool, error: &RedisError, health: &Health) {
        self.add(shape(work), is_alone, error, health);
    }

    /// Takes in that checks on different counters were refused, because they came together.
    pub(crate) fn parted(&self, error: &RedisError, health: &Health) {
        self.add(What::Together, true, error, health);
    }

    /// Takes in that a check was decided.
    pub(crate) fn accepted(&self, work: &Work, health: &Health) {
        self.end(shape(work), health);
    }

    /// Takes in that checks on different counters were decided together.
    pub(crate) fn joined(&self, health: &Health) {
        self.end(What::Together, health);
    }

    /// Gives up the connection with its worker.
    pub(crate) fn abandon(&self, health: &Health) {
        let mut known = take(&mut *self.known.lock());
        self.are_known.store(false, Relaxed);
        while let Some(Refused { kind, lasts, .. }) = known.pop() {
            if lasts && !lasts_of(&known, &kind) {
                health.abandons(&kind);
            }
        }
    }

    fn add(&self, what: What, is_alone: bool, error: &RedisError, health: &Health) {
        let (kind, now) = (Kind::of(error), Instant::now());
        let mut known = self.known.lock();
        self.are_known.store(true, Relaxed);
        let lasts = lasts_of(&known, &kind);
        let index = known.iter().position(|refused| refused.what == what).or_else(|| {
            known.retain(|refused| refused.lasts || !refused.is_old(now));
            (known.len() < SHAPES).then(|| {
                let kind = kind.clone();
                let refused = Refused { what, kind, is_alone, lasts: false, last: now, checks: 0, reported: now };
                known.push(refused);
                known.len() - 1
            })
        });
        let Some(index) = index else { return };
        let refused = &mut known[index];
        let was = (refused.lasts && refused.kind != kind).then(|| refused.kind.clone());
        refused.kind = kind.clone();
        refused.is_alone |= is_alone;
        refused.last = now;
        refused.lasts = true;
        refused.checks += 1;
        if !lasts {
            refused.reported = now;
            health.refuses_first(&kind, take(&mut refused.checks), error);
        } else if now.saturating_duration_since(refused.reported) >= REPORT {
            refused.reported = now;
            health.refuses(&kind, take(&mut refused.checks), error);
        }
        // Now they are refused for another reason.
        if let Some(was) = was
            && !lasts_of(&known, &was)
        {
            health.accepts(&was);
        }
    }

    fn end(&self, what: What, health: &Health) {
        let now = Instant::now();
        let mut known = self.known.lock();
        let Some(index) = known.iter().position(|refused| refused.what == what) else { return };
        let refused = &mut known[index];
        let (lasted, kind) = (take(&mut refused.lasts), refused.kind.clone());
        if !refused.is_alone || refused.is_old(now) {
            known.swap_remove(index);
        }
        if lasted && !lasts_of(&known, &kind) {
            health.accepts(&kind);
        }
        self.are_known.store(!known.is_empty(), Relaxed);
    }
}

impl Refused {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= ALONE
    }
}

fn lasts_of(known: &[Refused], kind: &Kind) -> bool {
    known.iter().any(|refused| refused.lasts && refused.kind == *kind)
}

fn shape(work: &Work) -> What {
    let mut hasher = DefaultHasher::new();
    let mut rule = |terms: &Terms| (terms.algorithm, terms.limit).hash(&mut hasher);
    let kind_of_work = match work {
        Work::Count(asks) => {
            asks.iter().for_each(|ask| rule(&ask.hit.terms));
            0
        }
        Work::Refund(Refund { terms, .. }) => {
            rule(terms);
            1
        }
        Work::Reset(_, terms) => {
            rule(terms);
            2
        }
        Work::ReadMark => 3,
    };
    kind_of_work.hash(&mut hasher);
    What::Shape(hasher.finish())
}
