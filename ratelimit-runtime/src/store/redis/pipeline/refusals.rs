//! The checks that a server refuses while it decides others: so that they do not disturb the others, and the log reports each
//! cause once.
//!
//! Redis refuses a whole call of the script where the reason may be one check in it: a key that the user may not use, or keys of
//! several slots. Then each check is sent by itself. Those that are refused again are remembered by their shape, which is the
//! limits of their rules, and go alone from then on, so that the others need not be sent twice.

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
        health::Health,
        server_error::ErrorClass,
        work::{Overdraft, Refund, Work},
    },
};

/// How long checks go alone after the last refusal of their shape.
const ALONE: Duration = Duration::from_secs(60);

/// The most shapes that are remembered. Further ones disturb the others.
const SHAPES: usize = 64;

/// How often refusals that last are reported to [`Health`], which serves all workers.
const REPORT: Duration = Duration::from_secs(1);

/// The refusals on one connection, across its pipelines.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether there are any, without a lock.
    has_any: AtomicBool,
    shapes: Mutex<Vec<RefusedChecks>>,
}

/// The checks of one shape that were refused.
#[derive(Debug)]
struct RefusedChecks {
    what: What,
    kind: ErrorClass,
    /// Whether the whole call was refused, so that they go alone.
    is_alone: bool,
    /// Whether the last of them was refused.
    lasts: bool,
    /// When the last refusal came.
    last: Instant,
    /// How many refusals came since the last report, and when that was.
    checks: u64,
    reported: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Checks that do the same work under the same limits: Redis is likely to refuse all or none.
    Shape(u64),
    /// Checks on different counters in one call.
    Together,
}

impl Refusals {
    pub(crate) fn has_any(&self) -> bool {
        self.has_any.load(Relaxed)
    }

    /// Whether a check must go alone.
    pub(crate) fn goes_alone(&self, work: &Work) -> bool {
        if !self.has_any() {
            return false;
        }
        let (shape, now) = (shape(work), Instant::now());
        let is_its = |refused: &RefusedChecks| refused.what == shape || refused.what == What::Together;
        self.shapes.lock().iter().any(|refused| refused.is_alone && is_its(refused) && !refused.is_old(now))
    }

    /// Handles the refusal of a check; `is_alone` if the whole call was refused.
    pub(crate) fn refused(&self, work: &Work, is_alone: bool, error: &RedisError, health: &Health) {
        self.add(shape(work), is_alone, error, health);
    }

    /// Handles the refusal of checks on different counters because they came together.
    pub(crate) fn separated(&self, error: &RedisError, health: &Health) {
        self.add(What::Together, true, error, health);
    }

    /// Handles that a check was decided.
    pub(crate) fn accepted(&self, work: &Work, health: &Health) {
        self.end(shape(work), health);
    }

    /// Handles that checks on different counters were decided together.
    pub(crate) fn joined(&self, health: &Health) {
        self.end(What::Together, health);
    }

    /// Ends all reports, because the worker ends.
    pub(crate) fn abandon(&self, health: &Health) {
        let mut shapes = take(&mut *self.shapes.lock());
        self.has_any.store(false, Relaxed);
        while let Some(RefusedChecks { kind, lasts, .. }) = shapes.pop() {
            if lasts && !lasts_of(&shapes, &kind) {
                health.abandons(&kind);
            }
        }
    }

    fn add(&self, what: What, is_alone: bool, error: &RedisError, health: &Health) {
        let (kind, now) = (ErrorClass::of(error), Instant::now());
        let mut shapes = self.shapes.lock();
        self.has_any.store(true, Relaxed);
        let lasts = lasts_of(&shapes, &kind);
        let index = shapes.iter().position(|refused| refused.what == what).or_else(|| {
            shapes.retain(|refused| refused.lasts || !refused.is_old(now));
            (shapes.len() < SHAPES).then(|| {
                let kind = kind.clone();
                let refused = RefusedChecks { what, kind, is_alone, lasts: false, last: now, checks: 0, reported: now };
                shapes.push(refused);
                shapes.len() - 1
            })
        });
        let Some(index) = index else { return };
        let refused = &mut shapes[index];
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
        // They are refused for another reason now.
        if let Some(was) = was
            && !lasts_of(&shapes, &was)
        {
            health.accepts(&was);
        }
    }

    fn end(&self, what: What, health: &Health) {
        let now = Instant::now();
        let mut shapes = self.shapes.lock();
        let Some(index) = shapes.iter().position(|refused| refused.what == what) else { return };
        let refused = &mut shapes[index];
        let (lasted, kind) = (take(&mut refused.lasts), refused.kind.clone());
        if !refused.is_alone || refused.is_old(now) {
            shapes.swap_remove(index);
        }
        if lasted && !lasts_of(&shapes, &kind) {
            health.accepts(&kind);
        }
        self.has_any.store(!shapes.is_empty(), Relaxed);
    }
}

impl RefusedChecks {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= ALONE
    }
}

fn lasts_of(shapes: &[RefusedChecks], kind: &ErrorClass) -> bool {
    shapes.iter().any(|refused| refused.lasts && refused.kind == *kind)
}

fn shape(work: &Work) -> What {
    let mut hasher = DefaultHasher::new();
    let mut rule = |terms: &Terms| (terms.algorithm, terms.limit).hash(&mut hasher);
    let kind_of_work = match work {
        Work::Count(hits) => {
            hits.iter().for_each(|keyed| rule(&keyed.hit.terms));
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
        Work::Block(_) => 5,
        Work::Overdraft(Overdraft { terms, .. }) => {
            rule(terms);
            4
        }
    };
    kind_of_work.hash(&mut hasher);
    What::Shape(hasher.finish())
}
