//! Sizes of bodies as text: `"16 KiB"`, `"1 MB"`. Nothing here knows tokens: an error is a message.

/// The largest body, in bytes, that a rule may read: it is held in memory.
pub(crate) const LARGEST: u32 = 1 << 30;

/// The units, each with its bytes.
const UNITS: [(&str, u64); 7] =
    [("B", 1), ("kB", 1000), ("KB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The bytes of a size.
pub(crate) fn bytes(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let Some((_, times)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let names = UNITS.map(|(name, _)| name).join(", ");
        return Err(format!("`{text}` is no size: write one such as \"16 KiB\", in one of {names}"));
    };
    let number: u64 = if number.is_empty() { 0 } else { number.parse().unwrap_or(u64::MAX) };
    in_range(number.saturating_mul(*times))
}

/// The same number, if a body may have so many bytes.
pub(crate) fn in_range(bytes: u64) -> Result<u32, String> {
    match u32::try_from(bytes) {
        Ok(bytes @ 1..=LARGEST) => Ok(bytes),
        _ => Err(format!("the largest body must be from 1 byte to {LARGEST}, which is \"1 GiB\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_number_and_a_unit() {
        for (text, expected) in [
            ("500 B", 500),
            ("16 KiB", 16 << 10),
            ("16KiB", 16 << 10),
            (" 2 kB ", 2000),
            ("1 MiB", 1 << 20),
            ("1 MB", 1_000_000),
            ("1 GiB", LARGEST),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text:?}");
        }
        for text in ["", "16", "KiB", "16 kib", "1.5 MiB", "-1 B", "0 B", "2 GiB", "99999999999999999999 B", "16 KiB x"]
        {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }
}
