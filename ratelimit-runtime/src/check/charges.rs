//! What a request was charged, where that may change after the check: by its response, by a rule that is checked later, or by its true
//! cost.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use actix_web::HttpResponse;
use smallvec::SmallVec;
use tokio::runtime::Handle;

use crate::{
    check::places::Places,
    counter::Counter,
    decision::{outcome::Outcome, settlement::Settle},
    limiter::RateLimiter,
    rule::{algorithm::Algorithm, charge::Charged, function::held::CountIfRef, prepared::Prepared},
    store::{CounterKey, Hit},
};

/// The charges of one request, and its places.
pub(crate) struct Charges {
    limiter: RateLimiter,
    charges: SmallVec<[Charge; 1]>,
    /// The charges of the checks that this one consists of.
    parts: Vec<Arc<Self>>,
    /// Until they are taken out, the places are held as long as the charges are known.
    places: Mutex<Option<Box<Places>>>,
    /// Whether a charge has changed since the check.
    has_changed: AtomicBool,
}

struct Charge {
    /// The index of the rule among those of the check's state.
    index: usize,
    /// `None` for a rule that counts whatever the response is.
    count_if: Option<CountIfRef>,
    /// Whether the true cost may replace it.
    is_priced: bool,
    key: CounterKey,
    hit: Hit,
    /// The outcome of the check.
    outcome: Outcome,
    progress: Mutex<Progress>,
}

/// What became of a charge.
struct Progress {
    /// What the store has charged.
    charged: Charged,
    /// What it shall have charged.
    actual: u64,
    /// Whether a task tells the store. One after the other, so that the last cost counts.
    is_sending: bool,
    /// Whether the charge was refunded for good.
    is_refunded: bool,
}

impl Charges {
    /// The names of the counters, if a charge of the rules may change after the check.
    #[inline]
    pub(crate) fn keys(
        limiter: &RateLimiter,
        rules: &[&'static Prepared],
        counters: &[Counter<'_>],
    ) -> Option<Vec<CounterKey>> {
        let keeps_charge = rules.iter().any(|rule| rule.keeps_charge);
        keeps_charge.then(|| counters.iter().map(|counter| limiter.key(counter)).collect())
    }

    pub(crate) fn new(
        limiter: &RateLimiter,
        hits: &[Hit],
        rules: &[&'static Prepared],
        keys: Vec<CounterKey>,
        outcomes: &[Option<Outcome>],
    ) -> Arc<Self> {
        let places = Mutex::new(Places::new(limiter, hits, &keys, outcomes));
        let counted =
            hits.iter().zip(rules).zip(keys).zip(outcomes).filter_map(|(hit, outcome)| Some((hit, (*outcome)?)));
        let charges = counted.enumerate().filter_map(|(index, (((hit, rule), key), outcome))| {
            let is_priced = rule.rule.is_priced && !outcome.over;
            let progress = Progress {
                charged: Charged::of(&outcome),
                actual: outcome.taken,
                is_sending: false,
                is_refunded: false,
            };
            let may_change = (is_priced || outcome.taken > 0) && !rule.rule.counts_places();
            may_change.then_some(Charge {
                index,
                count_if: rule.rule.count_if,
                is_priced,
                key,
                hit: *hit,
                outcome,
                progress: Mutex::new(progress),
            })
        });
        Self::with(limiter, charges.collect(), Vec::new(), places)
    }

    /// The charges of several checks of one request.
    pub(crate) fn of_parts(limiter: &RateLimiter, parts: impl IntoIterator<Item = Arc<Self>>) -> Arc<Self> {
        Self::with(limiter, SmallVec::new(), parts.into_iter().collect(), Mutex::default())
    }

    /// Takes the places out, for whoever knows when the request ends.
    #[cold]
    pub(crate) fn take_places(&self) -> Option<Box<Places>> {
        let own = self.places.lock().unwrap_or_else(PoisonError::into_inner).take();
        let all = own.into_iter().chain(self.parts.iter().filter_map(|part| part.take_places()));
        all.reduce(|mut places, later| {
            places.append(*later);
            places
        })
    }

    fn with(
        limiter: &RateLimiter,
        charges: SmallVec<[Charge; 1]>,
        parts: Vec<Arc<Self>>,
        places: Mutex<Option<Box<Places>>>,
    ) -> Arc<Self> {
        Arc::new(Self { limiter: limiter.clone(), charges, parts, places, has_changed: AtomicBool::new(false) })
    }

    /// Refunds what does not count, as `response` says. Nobody waits for the store. Returns whether a charge has changed since the check, so
    /// that the state must be refreshed.
    pub(crate) fn conclude(self: &Arc<Self>, response: &HttpResponse) -> bool {
        self.refund_where(&|charge| charge.count_if.is_some_and(|count_if| !count_if.counts(response)));
        self.has_changed()
    }

    fn has_changed(&self) -> bool {
        self.has_changed.load(Relaxed) || self.parts.iter().any(|part| part.has_changed())
    }

    /// Refunds all of them. Nobody waits for the store.
    pub(crate) fn refund(self: &Arc<Self>) {
        self.refund_where(&|_| true);
    }

    fn refund_where(self: &Arc<Self>, is_refunded: &dyn Fn(&Charge) -> bool) {
        for (number, charge) in self.charges.iter().enumerate() {
            if is_refunded(charge) {
                self.replace(number, 0, true);
            }
        }
        self.parts.iter().for_each(|part| part.refund_where(is_refunded));
    }

    /// Replaces a charge by `actual` tokens: at once in this process, and by a task in a shared store.
    fn replace(self: &Arc<Self>, number: usize, actual: u64, is_refunded: bool) {
        let charge = &self.charges[number];
        let mut progress = charge.progress();
        if progress.is_refunded {
            return;
        }
        (progress.actual, progress.is_refunded) = (actual, is_refunded);
        self.has_changed.store(true, Relaxed);
        if progress.is_sending || progress.charged.tokens == actual {
            return;
        }
        match self.limiter.settle(&charge.hit, progress.charged, actual, charge.outcome.is_degraded) {
            Some(charged) => progress.charged = charged,
            None => {
                if let Ok(runtime) = Handle::try_current() {
                    progress.is_sending = true;
                    runtime.spawn(Arc::clone(self).send(number));
                }
            }
        }
    }

    /// Tells the store of a charge's changes, until there are no more.
    async fn send(self: Arc<Self>, number: usize) {
        let charge = &self.charges[number];
        let mut sent = None;
        loop {
            let (charged, actual) = {
                let mut progress = charge.progress();
                progress.charged = sent.map_or(progress.charged, |(_, charged)| charged);
                if sent.is_some_and(|(actual, _)| actual == progress.actual) {
                    progress.is_sending = false;
                    return;
                }
                (progress.charged, progress.actual)
            };
            let charged = self.limiter.settle_in_store(charge.key.clone(), &charge.hit, charged, actual).await;
            sent = Some((actual, charged));
        }
    }
}

impl Charge {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settle for Charges {
    fn settle(self: Arc<Self>, actual: u64) {
        for number in (0..self.charges.len()).filter(|number| self.charges[*number].is_priced) {
            self.replace(number, actual, false);
        }
    }

    fn show(&self, show: &mut dyn FnMut(usize, Outcome)) {
        for charge in &self.charges {
            let terms = &charge.hit.terms;
            let emission = matches!(terms.algorithm, Algorithm::Gcra { .. }).then(|| terms.emission());
            show(charge.index, charge.outcome.settled(charge.progress().actual, emission));
        }
    }
}
