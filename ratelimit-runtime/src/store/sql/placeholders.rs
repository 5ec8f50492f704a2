//! Lists of placeholders, for databases that bind no arrays.

/// The number of rows in a statement for `count` of them. So there are few different statements, and each is prepared once.
pub(super) fn padded(count: usize) -> usize {
    count.next_power_of_two()
}

/// The placeholders of so many rows, such as `(?, ?), (?, ?)`.
pub(super) fn placeholders(row: &str, count: usize) -> String {
    vec![row; count].join(", ")
}

/// All rows, and the last one again until there are as many as the statement has.
pub(super) fn pad<T>(rows: &[T]) -> impl Iterator<Item = &T> {
    let missing = padded(rows.len()) - rows.len();
    rows.iter().chain(rows.last().into_iter().cycle().take(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_by_the_last_one() {
        for (count, expected) in [(1, 1), (2, 2), (3, 4), (5, 8), (256, 256)] {
            let rows: Vec<usize> = (0..count).collect();
            let padded: Vec<usize> = pad(&rows).copied().collect();
            assert_eq!(padded.len(), expected);
            assert!(padded.starts_with(&rows) && padded.iter().skip(count).all(|row| row + 1 == count));
        }
        assert_eq!(placeholders("(?, ?)", 2), "(?, ?), (?, ?)");
    }
}
