//! The plan of a call: in which order and in which groups the script handles the works of a batch.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::{
    rule::{algorithm::Algorithm, block::Block, limit::Limit, terms::Terms},
    store::{
        Hit,
        keys::KeyNames,
        redis::{
            protocol::resp::Command,
            work::{KeyedHit, ManualBlock, Overdraft, Refund, Work},
        },
    },
};

/// A batch in the order in which the script handles it.
///
/// Works of the same kind form a group, whose common arguments are sent once. Within a group, works that are equal form a run,
/// which is counted at once: a counter in demand is written once for all of them.
pub(crate) struct Plan {
    /// The server's time that chooses the windows, in seconds since the epoch.
    pub(crate) now: u64,
    order: Vec<usize>,
    pub(crate) runs: Vec<Run>,
}

/// Equal works, by their position in the order.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    start: usize,
    length: usize,
}

impl Plan {
    /// Orders the works of a batch, for the windows of `now`.
    pub(crate) fn new(works: &[&Work], now: u64) -> Self {
        let mut order: Vec<usize> = (0..works.len()).collect();
        if works.windows(2).all(|pair| pair[0].is_counted_with(pair[1])) {
            // All clients hit one counter.
            let run = (!works.is_empty()).then_some(Run { start: 0, length: works.len() });
            return Self { now, order, runs: run.into_iter().collect() };
        }
        // The sort is stable: of equal works, the first to come is counted first.
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

    /// One of the equal works of a run.
    pub(crate) fn work<'a>(&self, works: &[&'a Work], run: Run) -> &'a Work {
        works[self.order[run.start]]
    }

    /// The indices of the works of a run.
    pub(crate) fn members(&self, run: Run) -> impl Iterator<Item = usize> {
        self.order[run.start..run.start + run.length].iter().copied()
    }

    /// How many numbers the script returns after the time.
    pub(crate) fn values(&self, works: &[&Work]) -> usize {
        self.runs.iter().map(|run| self.work(works, *run).values()).sum()
    }

    /// Writes `EVAL` or `EVALSHA` for the batch.
    pub(crate) fn command(&self, works: &[&Work], names: &KeyNames, name: &str, script: &str) -> Command {
        let groups: SmallVec<[&[Run]; 4]> = self.groups(works).collect();
        let keys: usize = self.runs.iter().map(|run| self.work(works, *run).keys()).sum();
        let keys = keys + groups.iter().filter(|group| self.removes_mark(works, names, group)).count();
        // Room for all arguments. Most of the bytes are keys.
        let mut command = Command::with_capacity(script.len() + 96 * keys + 256);
        command.text(name).text(script).number(keys);
        for group in &groups {
            for run in *group {
                self.push_keys(&mut command, names, self.work(works, *run));
            }
            if self.removes_mark(works, names, group) {
                command.text(&names.mark);
            }
        }
        for group in &groups {
            self.push_arguments(&mut command, works, names, group);
        }
        command
    }

    /// Writes the arguments of a group: its kind, its size, and what its works have in common.
    fn push_arguments(&self, command: &mut Command, works: &[&Work], names: &KeyNames, group: &[Run]) {
        let mark = u8::from(self.removes_mark(works, names, group));
        match self.work(works, group[0]) {
            Work::ReadMark => {
                command.text("mark").number(group.len());
            }
            Work::Refund(Refund { terms, tokens, window_end, .. }) => match terms.algorithm {
                Algorithm::Gcra { .. } => {
                    command.text("refund_gcra").number(group.len()).number(*tokens);
                    command.number(terms.emission()).number(terms.capacity()).number(terms.limit.per);
                }
                Algorithm::SlidingWindow => {
                    command.text("refund_sliding").number(group.len()).number(*tokens).number(*window_end);
                }
                Algorithm::Concurrency => {
                    command.text("release").number(group.len());
                    self.push_places(command, works, group);
                }
                Algorithm::FixedWindow => {
                    command.text("refund_fixed").number(group.len()).number(*tokens).number(mark);
                }
            },
            Work::Overdraft(Overdraft { terms, tokens, window_end, .. }) => match terms.algorithm {
                Algorithm::Gcra { .. } => {
                    command.text("overdraw_gcra").number(group.len()).number(*tokens);
                    command.number(terms.emission()).number(terms.capacity()).number(terms.limit.per);
                }
                Algorithm::SlidingWindow => {
                    command.text("overdraw_sliding").number(group.len()).number(*tokens);
                    command.number(*window_end).number(terms.limit.per);
                }
                // No place is settled.
                Algorithm::FixedWindow | Algorithm::Concurrency => {
                    command.text("overdraw_fixed").number(group.len()).number(*tokens).number(*window_end);
                }
            },
            Work::Block(ManualBlock { seconds, longest, .. }) => {
                command.text("block").number(group.len()).number(*seconds).number(*longest);
            }
            Work::Reset(..) => {
                command.text("reset").number(group.len()).number(mark);
            }
            Work::Count(hits) => match &hits[..] {
                [keyed] if keyed.can_be_taken_first() => {
                    let Terms { limit: Limit { limit, per }, cost, .. } = keyed.hit.terms;
                    // A lease takes as many tokens as there are. A request takes its cost or nothing.
                    let unit = if keyed.tokens > cost { 1 } else { cost };
                    command.text("take").number(group.len()).number(group[0].length as u64 * keyed.tokens).number(unit);
                    command.number(limit).number(keyed.hit.terms.window_end(self.now)).number(per);
                }
                _ => {
                    command.text("all").number(group.len()).number(hits.len()).number(group[0].length);
                    hits.iter().for_each(|keyed| self.push_rule(command, keyed));
                    hits.iter().filter_map(|keyed| keyed.hit.block).for_each(|block| push_durations(command, block));
                    self.push_places(command, works, group);
                }
            },
        }
    }

    /// Writes the names of the places that the works of a group take or release.
    fn push_places(&self, command: &mut Command, works: &[&Work], group: &[Run]) {
        for run in group {
            match self.work(works, *run) {
                Work::Refund(Refund { window_end: place, .. }) => push_place(command, *place),
                Work::Count(hits) => {
                    let places = hits.iter().filter(|keyed| keyed.hit.terms.algorithm == Algorithm::Concurrency);
                    places.for_each(|keyed| push_place(command, keyed.hit.place));
                }
                Work::ReadMark | Work::Overdraft(_) | Work::Reset(..) | Work::Block(_) => {}
            }
        }
    }

    /// The groups: neighbouring runs of the same kind and length.
    fn groups(&self, works: &[&Work]) -> impl Iterator<Item = &[Run]> {
        self.runs.chunk_by(|one, next| {
            let (work, other) = (self.work(works, *one), self.work(works, *next));
            one.length == next.length && work.compare_kind(other) == Ordering::Equal
        })
    }

    /// Whether a group may make room in fixed windows, so that the deny caches of all processes must be emptied.
    fn removes_mark(&self, works: &[&Work], names: &KeyNames, group: &[Run]) -> bool {
        let makes_room = match self.work(works, group[0]) {
            Work::Refund(Refund { terms, .. }) => terms.algorithm == Algorithm::FixedWindow,
            Work::Reset(..) => true,
            Work::Overdraft(_) | Work::Count(..) | Work::ReadMark | Work::Block(_) => false,
        };
        makes_room && !names.mark.is_empty()
    }

    /// Writes the keys of a work.
    fn push_keys(&self, command: &mut Command, names: &KeyNames, work: &Work) {
        match work {
            Work::ReadMark => {
                command.text(&names.mark);
            }
            Work::Refund(Refund { key, terms, window_end, .. })
            | Work::Overdraft(Overdraft { key, terms, window_end, .. }) => {
                push_key(command, &names.name(key), terms, *window_end);
            }
            Work::Reset(key, terms) => push_key(command, &names.name(key), terms, terms.window_end(self.now)),
            Work::Count(hits) => {
                for KeyedHit { key, hit: Hit { terms, .. }, .. } in hits {
                    push_key(command, &names.name(key), terms, terms.window_end(self.now));
                }
                for KeyedHit { key, .. } in hits.iter().filter(|keyed| keyed.hit.block.is_some()) {
                    command.text(&names.name(&names.block_key(key)));
                }
            }
            Work::Block(ManualBlock { key, .. }) => {
                command.text(&names.name(key));
            }
        }
    }

    /// Writes the arguments of one rule.
    fn push_rule(&self, command: &mut Command, keyed: &KeyedHit) {
        let Hit { terms, refuses, block, .. } = &keyed.hit;
        let window_end = terms.window_end(self.now);
        let (name, end) = match terms.algorithm {
            Algorithm::FixedWindow => ("fixed", window_end),
            Algorithm::SlidingWindow => ("sliding", window_end),
            Algorithm::Gcra { .. } => ("gcra", terms.emission()),
            Algorithm::Concurrency => ("concurrency", 0),
        };
        command.texts(&[name, if block.is_some() { "!" } else { "" }]);
        command.number(terms.capacity()).number(terms.cost).number(keyed.tokens).number(u8::from(*refuses));
        command.number(end).number(terms.limit.per);
    }
}

/// Writes the key of a counter. A fixed window has its own key in each window.
fn push_key(command: &mut Command, name: &str, terms: &Terms, window_end: u64) {
    match terms.algorithm {
        Algorithm::FixedWindow => command.texts(&[name, "/", itoa::Buffer::new().format(window_end)]),
        Algorithm::SlidingWindow | Algorithm::Gcra { .. } | Algorithm::Concurrency => command.text(name),
    };
}

/// Writes the durations of a rule's blocks.
fn push_durations(command: &mut Command, block: &Block) {
    let texts: Vec<String> = block.durations.iter().map(u32::to_string).collect();
    command.text(&texts.join(","));
}

/// Writes the name of a place: 16 digits.
fn push_place(command: &mut Command, place: u64) {
    let digits = std::array::from_fn(|index| b"0123456789abcdef"[(place >> (60 - 4 * index)) as usize & 15]);
    let digits: [u8; 16] = digits;
    command.text(str::from_utf8(&digits).unwrap_or("0000000000000000"));
}
