//! Percent escapes in a URL.

use crate::{error::Error, store::url::error};

/// Decodes percent escapes. A `+` stays a plus.
pub(crate) fn decode(part: &'static str, text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let digit = |index| char::from(*piece.as_bytes().get(index)?).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(error(part, "there is a `%` without two hexadecimal digits; write %25 for `%`"));
        };
        bytes.extend(u8::try_from(16 * high + low));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    let text = String::from_utf8(bytes).map_err(|_| error(part, "is not UTF-8"))?;
    if part != "login" && part != "query" && text.contains(char::is_control) {
        return Err(error(part, "there is a control character"));
    }
    Ok(text)
}
