//! Texts of servers, made safe for a log: in one line, visible, and short.

use std::fmt::{self, Display, Write};

/// The most characters of a text.
const LONGEST: usize = 400;

/// Writes a text and replaces invisible characters: controls, line separators, marks that change the direction of text, and
/// others without a form of their own. It reads and writes at most [`LONGEST`] characters.
pub(crate) struct Printable<T>(pub(crate) T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cleaner = Cleaner { out: f, left: LONGEST, is_cut: false };
        match write!(cleaner, "{}", self.0) {
            // The cleaner stops the text with an error.
            Err(_) if cleaner.is_cut => f.write_char('…'),
            written => written,
        }
    }
}

struct Cleaner<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
    is_cut: bool,
}

impl Write for Cleaner<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.left == 0 {
                self.is_cut = true;
                return Err(fmt::Error);
            }
            self.left -= 1;
            self.out.write_char(visible(character))?;
        }
        Ok(())
    }
}

fn visible(character: char) -> char {
    match character {
        '"' | '\'' | '\\' => character,
        _ if character.is_whitespace() => ' ',
        // The standard library escapes control, format, combining and unassigned characters.
        _ if character.escape_debug().len() > 1 => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_visible_line() {
        let text = Printable(
            "a\r\n\tb\u{2028}\u{2029}\u{85}c\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\u{0}\u{7f}\u{301}d \"é\\'",
        );
        assert_eq!(text.to_string(), format!("a   b   c{}d \"é\\'", "\u{fffd}".repeat(8)));
    }

    #[test]
    fn a_long_text_is_cut_and_not_read_to_its_end() {
        struct Endless;
        impl Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("ab")?;
                }
            }
        }
        assert_eq!(Printable(Endless).to_string(), format!("{}…", "ab".repeat(LONGEST / 2)));
        let whole = "é".repeat(LONGEST);
        assert_eq!(Printable(&whole).to_string(), whole);
    }
}
