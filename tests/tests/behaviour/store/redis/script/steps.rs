//! The steps of the script and its model, and the names of their counters.

use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const NANOS: u128 = 1_000_000_000;

/// The length that GCRA's rules have, in seconds.
pub(crate) const PER: u64 = 5;

/// In microseconds: far from now, so that nothing expires by the server's own clock.
pub(crate) const START: u64 = 4_000_000_007_654_321;

/// An algorithm, with the numbers that the script gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    Fixed { per: u64 },
    Sliding { per: u64 },
    Gcra { emission: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) algorithm: Algorithm,
    pub(crate) capacity: u64,
    pub(crate) cost: u64,
    pub(crate) refuses: bool,
    /// The number of windows by which the client's clock is ahead or, if negative, behind.
    pub(crate) drift: i64,
    /// Whether it blocks whom it refuses.
    pub(crate) blocks: bool,
}

/// How long blocks last, in seconds.
pub(crate) const DURATIONS: [u64; 3] = [2, 5, 9];

/// The longest of them.
pub(crate) const LONGEST: u64 = DURATIONS[2];

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Microseconds.
    Wait(i64),
    /// This many equal requests of each client.
    All {
        rules: Vec<Rule>,
        times: u64,
        clients: Vec<u8>,
    },
    /// One rule with a fixed window.
    Take {
        per: u64,
        limit: u64,
        cost: u64,
        times: u64,
        clients: Vec<u8>,
    },
    /// Refunds tokens in the window this many back.
    Back {
        algorithm: Algorithm,
        /// The capacity of the rule, for GCRA.
        capacity: u64,
        tokens: u64,
        client: u8,
        windows: u64,
    },
    /// Takes tokens in the window this many back, whether or not they fit.
    Overdraw {
        algorithm: Algorithm,
        /// The capacity of the rule, for GCRA.
        capacity: u64,
        tokens: u64,
        client: u8,
        windows: u64,
    },
    Reset {
        algorithm: Algorithm,
        client: u8,
    },
    /// Another program writes into a counter.
    Spoil {
        algorithm: Algorithm,
        client: u8,
        value: &'static str,
    },
    /// Blocks a client by hand, for so many seconds.
    Block {
        algorithm: Algorithm,
        client: u8,
        seconds: u64,
    },
    /// Lifts the block of a client.
    Lift {
        algorithm: Algorithm,
        client: u8,
    },
    /// Another program writes into a block.
    SpoilBlock {
        algorithm: Algorithm,
        client: u8,
        value: &'static str,
    },
    /// Another program writes into one window of a sliding counter.
    SpoilWindow {
        per: u64,
        client: u8,
        value: &'static str,
    },
}

pub(crate) fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        (1..4_u64).prop_map(|per| Algorithm::Fixed { per: 7 * per }),
        (1..4_u64).prop_map(|per| Algorithm::Sliding { per: 11 * per }),
        prop::sample::select(vec![1, 333_333_334, 1_000_000_000, 777_600_000_000_000])
            .prop_map(|emission| Algorithm::Gcra { emission }),
    ]
}

/// Few values, so that rules share buckets of GCRA.
pub(crate) fn capacities() -> impl Strategy<Value = u64> {
    prop_oneof![1..10_u64, prop::sample::select(vec![3, 8])]
}

pub(crate) fn rules() -> impl Strategy<Value = Rule> {
    let drift = prop_oneof![20 => Just(0), 1 => -1..2_i64];
    let blocks = prop::bool::weighted(0.3);
    (algorithms(), capacities(), 0..5_u64, prop::bool::weighted(0.8), drift, blocks).prop_map(
        |(algorithm, capacity, cost, refuses, drift, blocks)| {
            // A rule that refuses nobody blocks nobody.
            Rule { algorithm, capacity, cost, refuses: refuses || blocks, drift, blocks }
        },
    )
}

pub(crate) fn steps() -> impl Strategy<Value = Step> {
    let clients = || prop::sample::subsequence(vec![0, 1, 2], 1..=3);
    prop_oneof![
        2 => (0..3 * SECOND).prop_map(|micros| Step::Wait(micros as i64)),
        1 => (0..30 * SECOND).prop_map(|micros| Step::Wait(micros as i64)),
        // The clock is set back.
        1 => (0..3000 * SECOND).prop_map(|micros| Step::Wait(-(micros as i64))),
        8 => (vec(rules(), 1..4), 1..5_u64, clients())
            .prop_filter("each counter once", |(rules, ..)| {
                let names: std::collections::HashSet<_> = rules.iter().map(|rule| name(rule.algorithm)).collect();
                names.len() == rules.len()
            })
            .prop_map(|(rules, times, clients)| {
                // What a rule that blocks may refuse is counted one by one.
                let times = if rules.iter().any(|rule| rule.blocks) { 1 } else { times };
                Step::All { rules, times, clients }
            }),
        3 => (1..4_u64, 1..10_u64, 1..5_u64, 1..5_u64, clients())
            .prop_map(|(per, limit, cost, times, clients)| Step::Take { per: 7 * per, limit, cost, times, clients }),
        3 => (algorithms(), capacities(), 1..5_u64, 0..3_u8, 0..2_u64)
            .prop_map(|(algorithm, capacity, tokens, client, windows)| {
                Step::Back { algorithm, capacity, tokens, client, windows }
            }),
        2 => (algorithms(), capacities(), prop_oneof![1..9_u64, Just(4_294_967_295)], 0..3_u8, 0..2_u64)
            .prop_map(|(algorithm, capacity, tokens, client, windows)| {
                Step::Overdraw { algorithm, capacity, tokens, client, windows }
            }),
        1 => (algorithms(), 0..3_u8).prop_map(|(algorithm, client)| Step::Reset { algorithm, client }),
        1 => (algorithms(), 0..3_u8, prop::sample::select(GARBAGE.to_vec()))
            .prop_map(|(algorithm, client, value)| Step::Spoil { algorithm, client, value }),
        1 => (algorithms(), 0..3_u8, 1..20_u64)
            .prop_map(|(algorithm, client, seconds)| Step::Block { algorithm, client, seconds }),
        1 => (algorithms(), 0..3_u8).prop_map(|(algorithm, client)| Step::Lift { algorithm, client }),
        1 => (algorithms(), 0..3_u8, prop::sample::select(GARBAGE.to_vec()))
            .prop_map(|(algorithm, client, value)| Step::SpoilBlock { algorithm, client, value }),
        1 => (1..4_u64, 0..3_u8, prop::sample::select(GARBAGE.to_vec()))
            .prop_map(|(per, client, value)| Step::SpoilWindow { per: 11 * per, client, value }),
    ]
}

/// Values that are neither a count nor a time.
pub(crate) const GARBAGE: [&str; 12] =
    ["", "garbage", "-5", "1.5", "0x10", "1e3", "12:", ":12", "-1:-1", "1:1", "0:5:1:1", "99999999999999999:9:1:1"];

/// The algorithm as the script names it.
pub(crate) fn word(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Fixed { .. } => "fixed",
        Algorithm::Sliding { .. } => "sliding",
        Algorithm::Gcra { .. } => "gcra",
    }
}

pub(crate) fn name(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Fixed { per } => format!("fixed/{per}"),
        Algorithm::Sliding { per } => format!("sliding/{per}"),
        // Rules with this length share the counter, whatever their rates.
        Algorithm::Gcra { .. } => "gcra".to_owned(),
    }
}

/// The model's name for the count of a client in the window with this end.
pub(crate) fn part(algorithm: Algorithm, client: u8, end: Option<u64>) -> String {
    format!("{}/{client}/{}", name(algorithm), end.unwrap_or_default())
}

/// The key of a client's counter in Redis: the windows of a sliding one are its fields.
pub(crate) fn key(algorithm: Algorithm, client: u8, end: Option<u64>) -> String {
    match algorithm {
        Algorithm::Fixed { .. } => part(algorithm, client, end),
        Algorithm::Sliding { .. } | Algorithm::Gcra { .. } => part(algorithm, client, None),
    }
}

/// The key of a client's block.
pub(crate) fn block_key(algorithm: Algorithm, client: u8) -> String {
    format!("{}/{client}/block", name(algorithm))
}

pub(crate) fn length(algorithm: Algorithm) -> Option<u64> {
    match algorithm {
        Algorithm::Fixed { per } | Algorithm::Sliding { per } => Some(per),
        Algorithm::Gcra { .. } => None,
    }
}
