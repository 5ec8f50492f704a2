//! The one script: a batch of requests in, what their counters held out.

use std::{cmp::Ordering, sync::LazyLock, time::Duration};

use redis::{ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};
use smallvec::SmallVec;

use crate::{
    rule::{
        algorithm::{Algorithm, gcra::NANOS},
        limit::Limit,
        terms::{CounterState, Terms},
    },
    store::{
        Decision, Hit, decide,
        redis::{
            names::Names,
            resp::{Command, Values},
            work::{KeyedHit, Refund, SendMode, Work},
        },
    },
};

const SOURCE: &str = include_str!("check.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// What the script answered to a batch.
pub(crate) struct Reply {
    /// The server's time since the epoch.
    pub(crate) time: Duration,
    plan: Plan,
    values: Values,
}

/// What became of a request.
pub(crate) enum CheckReply<'a> {
    /// What its counters held before it, and what that makes of it.
    Decided(&'a [CounterState], Decision),
    /// It was done; of a mark, what that is.
    Done(i64),
    /// The server has not decided it, and has taken nothing.
    Failed(&'a RedisError),
}

/// A batch of requests as the script is asked to decide it.
pub(crate) struct Call {
    plan: Plan,
    mode: SendMode,
    /// Whether the source is sent, since the server does not have it.
    is_whole: bool,
}

impl Call {
    /// With the windows of `now`.
    pub(crate) fn new(works: &[&Work], mode: SendMode, now: Duration) -> Self {
        Self { plan: Plan::new(works, now.as_secs()), mode, is_whole: false }
    }

    /// With the source, for a server that may not have it.
    pub(crate) fn whole(mut self) -> Self {
        self.is_whole = true;
        self
    }

    /// Writes the call behind what is to be sent.
    pub(crate) fn write(&self, works: &[&Work], names: &Names, out: &mut Vec<u8>) {
        if self.mode == SendMode::Asking {
            out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
        }
        let (name, script) = if self.is_whole { ("EVAL", SOURCE) } else { ("EVALSHA", SCRIPT.get_hash()) };
        self.plan.command(works, names, name, script).write(out);
    }

    /// How many replies come before the script's.
    pub(crate) fn replies_before(&self) -> usize {
        usize::from(self.mode == SendMode::Asking)
    }

    /// Whether it failed because the server does not have the script, after SCRIPT FLUSH or a restart: nothing was run, and the
    /// source is to be sent instead, which also loads it.
    pub(crate) fn is_to_be_sent_whole(&mut self, error: &RedisError) -> bool {
        let is_to_be = !self.is_whole && error.kind() == ServerErrorKind::NoScript.into();
        self.is_whole |= is_to_be;
        is_to_be
    }

    /// Reads the script's reply.
    pub(crate) fn reply(self, works: &[&Work], values: Values) -> RedisResult<Reply> {
        match values.numbers[..] {
            [seconds, micros, ref found @ ..] if found.len() == self.plan.values(works) => {
                let time = server_time(seconds.unsigned_abs(), micros.unsigned_abs());
                Ok(Reply { time, plan: self.plan, values })
            }
            _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "the script's reply is not of its length"))),
        }
    }
}

/// The time that a server tells, as far as it makes sense: its sums with others must not overflow.
pub(crate) fn server_time(seconds: u64, micros: u64) -> Duration {
    /// In the year 2286, as in the script.
    const LATEST: u64 = 9_999_999_999;
    Duration::from_secs(seconds.min(LATEST)) + Duration::from_micros(micros.min(999_999))
}

/// A batch in the order in which the script goes through it.
///
/// Requests that are alike stand side by side, and what they have in common is sent once. Those of one rule that are
/// the same are counted at once: a counter that is in demand is written once for all of them.
struct Plan {
    /// In seconds since the epoch.
    now: u64,
    order: Vec<usize>,
    runs: Vec<Run>,
}

/// Requests that are counted at once: where they stand in the order.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    length: usize,
}

impl Plan {
    fn new(works: &[&Work], now: u64) -> Self {
        let mut order: Vec<usize> = (0..works.len()).collect();
        if works.windows(2).all(|pair| pair[0].is_counted_with(pair[1])) {
            // As where all clients are after one counter.
            let run = (!works.is_empty()).then_some(Run { start: 0, length: works.len() });
            return Self { now, order, runs: run.into_iter().collect() };
        }
        // Stable: of requests that are the same, the first to come is the first to be counted.
        order.sort_by(|&one, &other| {
            let (one, other) = (works[one], works[other]);
            one.compare_kind(other).then_with(|| one.hash().cmp(&other.hash()))
        });
        let mut start = 0;
        let runs = order.chunk_by(|&one, &next| works[one].is_counted_with(works[next]));
        let runs = runs.map(|run| {
            start += run.len();
            Run { start: start - run.len(), length: run.len() }
        });
        let runs = runs.collect();
        Self { now, order, runs }
    }

    /// The requests of a run are the same: this is one of them.
    fn work<'a>(&self, works: &[&'a Work], run: Run) -> &'a Work {
        works[self.order[run.start]]
    }

    fn members(&self, run: Run) -> impl Iterator<Item = usize> {
        self.order[run.start..run.start + run.length].iter().copied()
    }

    /// How many numbers the script returns, besides the time.
    fn values(&self, works: &[&Work]) -> usize {
        self.runs.iter().map(|run| self.work(works, *run).values()).sum()
    }

    fn command(&self, works: &[&Work], names: &Names, name: &str, script: &str) -> Command {
        let groups: SmallVec<[&[Run]; 4]> = self.groups(works).collect();
        let keys: usize = self.runs.iter().map(|run| self.work(works, *run).keys()).sum();
        let keys = keys + groups.iter().filter(|group| self.removes_mark(works, names, group)).count();
        // Room for all arguments, of which the keys are the long ones.
        let mut command = Command::with_capacity(script.len() + 96 * keys + 256);
        command.text(name).text(script).number(keys);
        for group in &groups {
            for run in *group {
                self.counters(&mut command, names, self.work(works, *run));
            }
            if self.removes_mark(works, names, group) {
                command.text(&names.mark);
            }
        }
        for group in &groups {
            let mark = u8::from(self.removes_mark(works, names, group));
            match self.work(works, group[0]) {
                Work::ReadMark => {
                    command.text("mark").number(group.len());
                }
                Work::Refund(Refund { terms, tokens, window_end, .. }) => match terms.algorithm {
                    Algorithm::Gcra { .. } => {
                        command.text("arrival").number(group.len()).number(*tokens);
                        command.number(terms.emission()).number(terms.capacity()).number(terms.limit.per);
                    }
                    Algorithm::SlidingWindow => {
                        command.text("fade").number(group.len()).number(*tokens).number(*window_end);
                    }
                    Algorithm::FixedWindow => {
                        command.text("back").number(group.len()).number(*tokens).number(mark);
                    }
                },
                Work::Reset(..) => {
                    command.text("reset").number(group.len()).number(mark);
                }
                Work::Count(asks) => match &asks[..] {
                    [ask] if ask.is_counted_first() => {
                        let Terms { limit: Limit { limit, per }, cost, .. } = ask.hit.terms;
                        // Of a lease, as many as there are; else each request gets what it costs, or nothing.
                        let unit = if ask.take > cost { 1 } else { cost };
                        command.text("take").number(group.len()).number(group[0].length as u64 * ask.take).number(unit);
                        command.number(limit).number(ask.hit.terms.window_end(self.now)).number(per);
                    }
                    _ => {
                        command.text("all").number(group.len()).number(asks.len()).number(group[0].length);
                        asks.iter().for_each(|ask| self.rule(&mut command, ask));
                    }
                },
            }
        }
        command
    }

    /// Runs side by side that the script treats alike.
    fn groups(&self, works: &[&Work]) -> impl Iterator<Item = &[Run]> {
        self.runs.chunk_by(|one, next| {
            let (work, other) = (self.work(works, *one), self.work(works, *next));
            one.length == next.length && work.compare_kind(other) == Ordering::Equal
        })
    }

    /// Whether the counters of a group may have more room afterwards, in a way that those learn who read the mark.
    fn removes_mark(&self, works: &[&Work], names: &Names, group: &[Run]) -> bool {
        let makes_room = match self.work(works, group[0]) {
            Work::Refund(Refund { terms, .. }) => terms.algorithm == Algorithm::FixedWindow,
            Work::Reset(..) => true,
            Work::Count(..) | Work::ReadMark => false,
        };
        makes_room && !names.mark.is_empty()
    }

    /// The keys of a request.
    fn counters(&self, command: &mut Command, names: &Names, work: &Work) {
        match work {
            Work::ReadMark => {
                command.text(&names.mark);
            }
            Work::Refund(Refund { key, terms, window_end, .. }) => {
                counter(command, &names.name(key), terms, *window_end);
            }
            Work::Reset(key, terms) => counter(command, &names.name(key), terms, terms.window_end(self.now)),
            Work::Count(asks) => {
                for KeyedHit { key, hit: Hit { terms, .. }, .. } in asks {
                    counter(command, &names.name(key), terms, terms.window_end(self.now));
                }
            }
        }
    }

    fn rule(&self, command: &mut Command, ask: &KeyedHit) {
        let Hit { terms, refuses, .. } = &ask.hit;
        let window_end = terms.window_end(self.now);
        let (name, end) = match terms.algorithm {
            Algorithm::FixedWindow => ("fixed", window_end),
            Algorithm::SlidingWindow => ("sliding", window_end),
            Algorithm::Gcra { .. } => ("gcra", terms.emission()),
        };
        command.text(name).number(terms.capacity()).number(terms.cost).number(ask.take).number(u8::from(*refuses));
        command.number(end).number(terms.limit.per);
    }
}

/// The key of a counter. That of a fixed window is another in each window; the others keep theirs.
fn counter(command: &mut Command, name: &str, terms: &Terms, window_end: u64) {
    match terms.algorithm {
        Algorithm::FixedWindow => command.texts(&[name, "/", itoa::Buffer::new().format(window_end)]),
        Algorithm::SlidingWindow | Algorithm::Gcra { .. } => command.text(name),
    };
}

impl Reply {
    /// How many counters it is about.
    pub(crate) fn counters(&self) -> usize {
        self.plan.runs.len()
    }

    /// Shares the reply out among the requests: tells of each that was counted, by its index in `works`, what became of it.
    /// The others are to ask again, since the server's window is another one.
    pub(crate) fn read(&self, works: &[&Work], mut tell: impl FnMut(usize, CheckReply<'_>)) {
        let mut values = self.values.numbers.iter().copied().skip(2);
        let (mut errors, mut at) = (self.values.errors.iter().peekable(), 2);
        for run in &self.plan.runs {
            let work = self.plan.work(works, *run);
            at += work.values();
            let mut failed = None;
            while let Some((_, error)) = errors.next_if(|(index, _)| *index < at) {
                failed.get_or_insert(error);
            }
            if let Some(error) = failed {
                values.by_ref().take(work.values()).for_each(drop);
                self.plan.members(*run).for_each(|index| tell(index, CheckReply::Failed(error)));
                continue;
            }
            let Work::Count(asks) = work else {
                let done = values.by_ref().take(work.values()).last().unwrap_or_default();
                // What was reset may have been the counter of a window that is over.
                let is_of_another = |terms: &Terms| {
                    terms.algorithm == Algorithm::FixedWindow
                        && terms.window_end(self.plan.now) != terms.window_end(self.time.as_secs())
                };
                if !matches!(work, Work::Reset(_, terms) if is_of_another(terms)) {
                    self.plan.members(*run).for_each(|index| tell(index, CheckReply::Done(done)));
                }
                continue;
            };
            // All values are taken, also where the first says that the window is another one.
            let mut found = SmallVec::<[CounterState; 1]>::new();
            asks.iter().filter_map(|ask| self.found(&ask.hit.terms, &mut values)).for_each(|held| found.push(held));
            if found.len() < asks.len() {
                continue;
            }
            for index in self.plan.members(*run) {
                let decision = decide(asks.iter().map(|ask| &ask.hit), &found, self.time);
                let before = SmallVec::<[CounterState; 1]>::from_slice(&found);
                // Of requests that were counted at once, each finds what the one before it has left.
                for ((ask, found), outcome) in asks.iter().zip(&mut found).zip(&decision.outcomes) {
                    let free = u64::from(ask.hit.terms.remaining(*found, self.time));
                    let taken = if outcome.taken > 0 { ask.take.min(free) } else { 0 };
                    *found = ask.hit.terms.take(*found, taken, self.time);
                }
                tell(index, CheckReply::Decided(&before, decision));
            }
        }
    }

    /// What a counter held; `None`, if its window was not the server's. Of values there are enough.
    fn found(&self, terms: &Terms, values: &mut impl Iterator<Item = i64>) -> Option<CounterState> {
        // A counter that something else wrote may hold more than any limit.
        let mut count = || Some(u32::try_from(u64::try_from(values.next()?).ok()?).unwrap_or(u32::MAX));
        let end = terms.window_end(self.plan.now);
        match terms.algorithm {
            Algorithm::FixedWindow => Some(CounterState::Window { used: count()?, end }),
            Algorithm::SlidingWindow => {
                let (used, before) = (count(), count());
                Some(CounterState::Windows { used: used?, before: before?, end })
            }
            Algorithm::Gcra { .. } => {
                let (seconds, nanos) = (values.next(), values.next());
                let whole = u64::try_from(seconds?).ok()?.saturating_mul(NANOS);
                Some(CounterState::Arrival(whole.saturating_add(nanos?.unsigned_abs())))
            }
        }
    }
}
