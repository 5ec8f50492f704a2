//! The clients of the requests: drawn at random, the same ones in every run.

use std::{fmt, net::IpAddr};

use ratelimit_benches::offline;

#[derive(Clone, Copy)]
pub(crate) enum Clients {
    /// This many clients, all equally often.
    Uniform(u32),
    /// This many clients, by Zipf's law: client n comes an n-th as often as the first.
    Zipf(u32),
}

impl Clients {
    /// Each client once.
    pub(crate) fn all(self) -> impl Iterator<Item = IpAddr> {
        let (Self::Uniform(number) | Self::Zipf(number)) = self;
        (0..number).map(offline::address)
    }

    /// An endless series of clients.
    pub(crate) fn stream(self, seed: u64) -> impl Iterator<Item = IpAddr> {
        let mut random = Random::new(seed);
        std::iter::repeat_with(move || {
            let unit = random.unit();
            offline::address(match self {
                Self::Uniform(number) => (unit * f64::from(number)) as u32,
                // The inverse of the distribution function of a density that falls as 1/x between 1 and `number`.
                Self::Zipf(number) => f64::from(number).powf(unit) as u32 - 1,
            })
        })
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(1) => f.write_str("1 key"),
            Self::Uniform(number) => write!(f, "{number} keys"),
            Self::Zipf(number) => write!(f, "{number} keys (Zipf)"),
        }
    }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to less than 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
