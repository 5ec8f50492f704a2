//! The loads of a measurement, and the subjects of each.

use ratelimit_benches::{
    load::{Keys, Load, Verdict},
    subject::Subject,
};

/// A load, and the kind of server for it.
pub(crate) struct Scenario {
    /// The name in arguments and in results.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) load: Load,
    pub(crate) connections: u32,
    /// Requests sent at once on a connection.
    pub(crate) pipelined: u32,
    workers: Workers,
}

#[derive(Clone, Copy)]
enum Workers {
    One,
    PerCore,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    busy("admitted", "Admitted, one key", ADMITTED, Workers::One),
    busy("admitted-many-keys", "Admitted, 100,000 keys", ADMITTED_MANY, Workers::One),
    busy("refused", "Refused, one key", REFUSED, Workers::One),
    busy("refused-many-keys", "Refused, 100,000 keys", REFUSED_MANY, Workers::One),
    busy("admitted-per-core", "Admitted, one key, a worker per core", ADMITTED, Workers::PerCore),
    busy("admitted-many-keys-per-core", "Admitted, 100,000 keys, a worker per core", ADMITTED_MANY, Workers::PerCore),
    busy("refused-per-core", "Refused, one key, a worker per core", REFUSED, Workers::PerCore),
    busy("refused-many-keys-per-core", "Refused, 100,000 keys, a worker per core", REFUSED_MANY, Workers::PerCore),
    lone("admitted-1-connection", "Admitted, one key, 1 connection", ADMITTED),
    lone("refused-1-connection", "Refused, one key, 1 connection", REFUSED),
    pipelined("admitted-pipelined", "Admitted in memory, one key, pipelined 16 deep", ADMITTED),
    pipelined("refused-pipelined", "Refused in memory, one key, pipelined 16 deep", REFUSED),
];

const ADMITTED: Load = Load { verdict: Verdict::Admitted, keys: Keys::One };
const ADMITTED_MANY: Load = Load { verdict: Verdict::Admitted, keys: Keys::Many };
const REFUSED: Load = Load { verdict: Verdict::Refused, keys: Keys::One };
const REFUSED_MANY: Load = Load { verdict: Verdict::Refused, keys: Keys::Many };

const fn busy(name: &'static str, title: &'static str, load: Load, workers: Workers) -> Scenario {
    Scenario { name, title, load, connections: 64, pipelined: 1, workers }
}

const fn lone(name: &'static str, title: &'static str, load: Load) -> Scenario {
    Scenario { name, title, load, connections: 1, pipelined: 1, workers: Workers::One }
}

const fn pipelined(name: &'static str, title: &'static str, load: Load) -> Scenario {
    Scenario { name, title, load, connections: 64, pipelined: 16, workers: Workers::One }
}

impl Scenario {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Only pipelined requests show the cost of response headers, and no store outside the process is fast enough for them.
    /// So pipelined scenarios measure subjects in memory, with and without headers. All others measure subjects without
    /// headers.
    pub(crate) fn is_for(&self, subject: &Subject) -> bool {
        let store_and_headers = if self.pipelined > 1 { !subject.waits() } else { !subject.headers };
        // A second rule and other algorithms are compared with one fixed window under the greatest load.
        let is_compared = !subject.is_variant() || self.is_plain();
        store_and_headers && is_compared && subject.bears(self.load)
    }

    pub(crate) fn workers(&self) -> usize {
        match self.workers {
            Workers::One => 1,
            Workers::PerCore => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The plot shows it: a busy server with one worker.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.workers, Workers::One) && self.connections > 1 && self.pipelined == 1
    }

    /// The latency of a request depends on the subject and not on a queue.
    pub(crate) fn is_lone(&self) -> bool {
        self.connections == 1
    }
}
