//! "Did you mean": the known word that was probably meant.

/// The known word that was probably meant by `name`: one that it begins with, as in `scope_func` of the Flask snippet, or else the
/// one with the fewest letters to change.
pub(crate) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = |known: &&str| distance(name, known) <= name.len().div_ceil(3);
    let words = || known.iter().copied();
    let prefix = words().find(|known| name.starts_with(known));
    prefix.or_else(|| words().filter(near).min_by_key(|known| distance(name, known)))
}

/// Levenshtein's: how many letters to insert, remove or replace.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            before = replaced.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}
