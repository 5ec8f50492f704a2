//! Values of clients and keys of developers, as they stand in the names of counters.

use std::{borrow::Cow, fmt};

use sha2::{Digest, Sha256};

use crate::counter::address::Address;

/// Values longer than this, in bytes, stand in keys by their digest.
const LONGEST_VALUE: usize = 64;

/// A value from outside, as it stands in a key.
///
/// It is escaped, so that it cannot be mistaken for another part of the key. It is bounded, so that a client cannot make keys of any
/// size: a value of up to 64 bytes is percent-encoded, and a longer one is replaced by its SHA-256 after a `!`. Two different values
/// never have the same text, apart from values of white space alone. Those are empty, and a request with one counts for its address.
///
/// ```
/// use ratelimit_runtime::{IntoScope, KeyPart};
///
/// /// The result of a scope function.
/// struct Tenant(Vec<u8>);
///
/// impl IntoScope for Tenant {
///     fn into_scope(self) -> Result<Option<KeyPart>, actix_web::Error> {
///         Ok(Some(KeyPart::from_bytes(&self.0)))
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyPart(String);

impl KeyPart {
    /// The part for a value that can be displayed: a text, an integer, a UUID.
    ///
    /// ```
    /// use ratelimit_runtime::KeyPart;
    ///
    /// assert_eq!(KeyPart::new(42).as_ref(), "42");
    /// assert_eq!(KeyPart::new("a b").as_ref(), "a%20b");
    /// ```
    #[must_use]
    pub fn new(value: impl fmt::Display) -> Self {
        Self::from_bytes(value.to_string().as_bytes())
    }

    /// The part for a value of bytes, such as a header's.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Self {
        let value = if value.trim_ascii().is_empty() { b"" } else { value };
        Self(text(value).into_owned())
    }

    /// The part for an empty result of a function: the client's address. In any other part, the `=` would be escaped.
    pub(crate) fn stand_in(address: Address) -> Self {
        let mut text = String::from("ip=");
        address.write(&mut text);
        Self(text)
    }

    /// Whether the value was empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for KeyPart {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The text as it stands in a key.
impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a [`KeyPart`] for `value`. Most values stay as they are.
pub(crate) fn text(value: &[u8]) -> Cow<'_, str> {
    if value.len() <= LONGEST_VALUE {
        return match str::from_utf8(value) {
            Ok(text) if value.iter().all(|byte| is_plain(*byte)) => text.into(),
            _ => {
                let mut text = String::with_capacity(3 * value.len());
                escape(value, &mut text);
                text.into()
            }
        };
    }
    digest(value).into()
}

/// The digest that stands for a longer text: `!` and a SHA-256 in hexadecimal digits. No escaped text begins with a `!`.
pub(crate) fn digest(value: &[u8]) -> String {
    let digest = Sha256::digest(value);
    let mut text = String::with_capacity(1 + 2 * digest.len());
    text.push('!');
    digest.iter().for_each(|byte| push_hex(*byte, &mut text));
    text
}

/// Whether a byte needs no escape. A table answers, because every byte of a client is checked.
fn is_plain(byte: u8) -> bool {
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = 0;
        while byte < plain.len() {
            plain[byte] = matches!(
                byte as u8,
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':'
            );
            byte += 1;
        }
        plain
    };
    PLAIN[usize::from(byte)]
}

/// A key that a developer wrote, as it stands in the names of counters.
pub(crate) fn escaped(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    escape(key.as_bytes(), &mut text);
    text
}

/// Percent-encodes all but the unreserved characters of RFC 3986 and the colon, which separates nothing that a
/// client can choose.
pub(crate) fn escape(value: &[u8], out: &mut String) {
    for &byte in value {
        if is_plain(byte) {
            out.push(byte.into());
        } else {
            out.push('%');
            push_hex(byte, out);
        }
    }
}

pub(crate) fn push_hex(byte: u8, out: &mut String) {
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
    }
}
