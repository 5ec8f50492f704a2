//! The statistics of several runs: the median and the spread.

/// The middle, the lowest and the highest of some numbers.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Half of them are below, half above.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// `None` of no numbers.
    #[must_use]
    pub fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let median = (numbers[(numbers.len() - 1) / 2] + numbers[numbers.len() / 2]) / 2.0;
        Some(Self { median, min, max })
    }
}
