//! The part of Redis's protocol (RESP) that a batch needs: it writes a command of texts and numbers, and reads a list of integers
//! and errors, or an error. Other commands use `transport/stream.rs`. This part is on the path of every check.

use redis::{ErrorKind, RedisError, RedisResult, Value, parse_redis_value};

/// The longest reply to a batch, in bytes.
pub(crate) const LONGEST_REPLY: usize = 1 << 20;

/// The longest error that is kept, in bytes.
const LONGEST_ERROR: usize = 500;

/// The list in a reply to a batch.
#[derive(Debug, Default)]
pub(crate) struct ReplyValues {
    /// With a zero in place of each error.
    pub(crate) numbers: Vec<i64>,
    /// The errors, each with its index in the list.
    pub(crate) errors: Vec<(usize, RedisError)>,
}

/// A command that is being written.
#[derive(Default)]
pub(crate) struct Command {
    arguments: usize,
    bytes: Vec<u8>,
}

impl Command {
    /// With room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { arguments: 0, bytes: Vec::with_capacity(bytes) }
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.texts(&[text])
    }

    /// One argument, whose parts stand side by side.
    pub(crate) fn texts(&mut self, parts: &[&str]) -> &mut Self {
        self.arguments += 1;
        self.length(b'$', parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part.as_bytes()));
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    /// Appends the command to the bytes to send.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        push_length(out, b'*', self.arguments);
        out.extend_from_slice(&self.bytes);
    }

    fn length(&mut self, kind: u8, length: usize) {
        push_length(&mut self.bytes, kind, length);
    }
}

fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Parses the reply at the start of `bytes`, and returns its length, too; `None` if it is not complete.
pub(crate) fn reply(bytes: &[u8]) -> Option<(RedisResult<ReplyValues>, usize)> {
    let mut lines = Lines { bytes, at: 0 };
    let line = lines.next()?;
    let values = match line {
        [b'*', length @ ..] => match number(length) {
            Some(length) => {
                let length = usize::try_from(length).unwrap_or_default();
                let mut values =
                    ReplyValues { numbers: Vec::with_capacity(length.min(bytes.len())), errors: Vec::new() };
                for index in 0..length {
                    let line = lines.next()?;
                    match line.strip_prefix(b":").and_then(number) {
                        Some(value) => values.numbers.push(value),
                        None if line.starts_with(b"-") => {
                            values.numbers.push(0);
                            values.errors.push((index, error(line)));
                        }
                        None => return Some((Err(unexpected(line)), lines.at)),
                    }
                }
                Ok(values)
            }
            None => Err(unexpected(line)),
        },
        [b'+', ..] => Ok(ReplyValues::default()),
        [b'-', ..] => Err(error(line)),
        _ => Err(unexpected(line)),
    };
    Some((values, lines.at))
}

/// The complete lines, without their ends.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\r')?;
        // The line feed is there, too.
        (rest.len() > end + 1).then(|| {
            self.at += end + 2;
            &rest[..end]
        })
    }
}

fn number(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_i64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if is_negative { -value } else { value })
}

/// The error that a line is.
fn error(line: &[u8]) -> RedisError {
    let line = String::from_utf8_lossy(&line[..line.len().min(LONGEST_ERROR)]);
    match parse_redis_value(&[line.as_bytes(), b"\r\n"].concat()).and_then(Value::extract_error) {
        Err(error) => error,
        Ok(_) => unexpected(line.as_bytes()),
    }
}

fn unexpected(line: &[u8]) -> RedisError {
    let line: String = String::from_utf8_lossy(&line[..line.len().min(LONGEST_ERROR)]).chars().take(80).collect();
    RedisError::from((ErrorKind::UnexpectedReturnType, "the reply to a batch is no list of integers", line))
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;

    use super::*;

    #[test]
    fn a_command_says_how_many_arguments_it_has_and_how_long_each_is() {
        let mut out = b"before".to_vec();
        let mut command = Command::default();
        command.text("SET").texts(&["a", "/", "é"]).number(-12);
        command.write(&mut out);
        assert_eq!(out, "before*3\r\n$3\r\nSET\r\n$4\r\na/é\r\n$3\r\n-12\r\n".as_bytes());
    }

    #[test]
    fn a_reply_is_read_when_all_of_it_is_there_and_no_further() {
        let bytes = b"*3\r\n:0\r\n:-1\r\n:9223372036854775807\r\n*0\r\n";
        let length = bytes.len() - 4;
        for part in 0..length {
            assert!(reply(&bytes[..part]).is_none(), "of {part} bytes");
        }
        let (values, read) = reply(bytes).unwrap_or((Ok(ReplyValues::default()), 0));
        assert_eq!((values.unwrap_or_default().numbers, read), (vec![0, -1, i64::MAX], length));
    }

    #[test]
    fn an_error_is_one_of_the_server() {
        let (values, read) = reply(b"-MOVED 1 127.0.0.1:7001\r\n+OK\r\n").unwrap_or((Ok(ReplyValues::default()), 0));
        let error = values.err();
        assert_eq!(error.as_ref().map(RedisError::kind), Some(ServerErrorKind::Moved.into()));
        assert_eq!(error.as_ref().and_then(RedisError::redirect_node), Some(("127.0.0.1:7001", 1)));
        assert_eq!(read, 25);
    }

    #[test]
    fn a_list_may_have_errors_in_it() {
        let bytes = format!("*3\r\n:1\r\n-NOPERM no{}\r\n:2\r\n", "é".repeat(100_000));
        let (values, read) = reply(bytes.as_bytes()).unwrap_or((Ok(ReplyValues::default()), 0));
        let ReplyValues { numbers, errors } = values.unwrap_or_default();
        assert_eq!((numbers, read), (vec![1, 0, 2], bytes.len()));
        let errors: Vec<_> = errors.iter().map(|(index, error)| (*index, error.code())).collect();
        assert_eq!(errors, [(1, Some("NOPERM"))]);
        assert!(reply(&bytes.as_bytes()[..bytes.len() - 5]).is_none());
    }

    #[test]
    fn an_error_is_kept_in_part() {
        let line = format!("-ERR {}\r\n", "x".repeat(900_000));
        let error = reply(line.as_bytes()).and_then(|(values, _)| values.err());
        assert!(error.is_some_and(|error| error.to_string().len() < 600));
    }

    #[test]
    fn what_is_no_list_of_integers_is_an_error() {
        for bytes in [
            "*1\r\n$1\r\na\r\n",
            "$2\r\nab\r\n",
            "HTTP/1.1 400\r\n",
            "*x\r\n",
            "*1\r\n:\r\n",
            "*1\r\n:9223372036854775808\r\n",
        ] {
            assert!(matches!(reply(bytes.as_bytes()), Some((Err(_), _))), "{bytes:?}");
        }
    }
}
