//! The meta commands of Memcached 1.6, and `stats` for its clock.
//!
//! Replies are bounded: a line of [`LONGEST_LINE`] bytes, a value of [`LARGEST_VALUE`].

/// The longest line of a reply.
const LONGEST_LINE: usize = 8 * 1024;

/// The largest value: what a server stores unless it is told otherwise.
const LARGEST_VALUE: usize = 1024 * 1024;

/// The latest expiry that a server understands: it keeps times in 31 bits, until the year 2038.
pub(super) const LATEST_EXPIRY: u64 = i32::MAX as u64;

/// Commands for one server, whose replies come in their order.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) bytes: Vec<u8>,
    pub(super) replies: usize,
}

/// The reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// An item, with the number by which it is compared and swapped.
    Value { data: Vec<u8>, cas: u64 },
    /// The command is done.
    Done { cas: u64 },
    /// There is no such item.
    Missing,
    /// The item has changed, or is there already.
    Conflict,
    /// The server's time, in seconds since the epoch.
    Time(u64),
    /// The server refuses the command.
    Refused(String),
}

/// The reply makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Commands {
    /// Reads an item.
    pub(super) fn get(&mut self, key: &str) {
        self.push(format_args!("mg {key} v c\r\n"));
    }

    /// Writes an item that has not changed since it was read, or adds one that was not there. It expires at this time, in seconds
    /// since the epoch.
    pub(super) fn set(&mut self, key: &str, data: &str, cas: Option<u64>, expires_at: u64) {
        let (length, expires_at) = (data.len(), expires_at.min(LATEST_EXPIRY));
        match cas {
            Some(cas) => self.push(format_args!("ms {key} {length} C{cas} T{expires_at} c\r\n{data}\r\n")),
            None => self.push(format_args!("ms {key} {length} ME T{expires_at} c\r\n{data}\r\n")),
        }
    }

    /// Removes an item that has not changed since it was read.
    pub(super) fn delete(&mut self, key: &str, cas: u64) {
        self.push(format_args!("md {key} C{cas}\r\n"));
    }

    /// Adds to a number, and creates it together with its expiry.
    pub(super) fn add(&mut self, key: &str, tokens: u64, expires_at: u64) {
        let expires_at = expires_at.min(LATEST_EXPIRY);
        self.push(format_args!("ma {key} N{expires_at} J{tokens} D{tokens} v\r\n"));
    }

    /// Takes back what was added.
    pub(super) fn subtract(&mut self, key: &str, tokens: u64) {
        self.push(format_args!("ma {key} MD D{tokens}\r\n"));
    }

    /// Asks for the server's time.
    pub(super) fn time(&mut self) {
        self.push(format_args!("stats\r\n"));
    }

    fn push(&mut self, command: std::fmt::Arguments<'_>) {
        self.bytes.extend_from_slice(command.to_string().as_bytes());
        self.replies += 1;
    }
}

/// Reads the first reply in `input`, and how many bytes it has; `None` if more have to come.
pub(super) fn read(input: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let Some((line, mut used)) = line_of(input)? else { return Ok(None) };
    let mut words = line.split(' ');
    let word = words.next().unwrap_or_default();
    let cas = |words: std::str::Split<'_, char>| {
        words.into_iter().find_map(|flag| flag.strip_prefix('c')?.parse().ok()).unwrap_or(0)
    };
    let reply = match word {
        "VA" => {
            let length: usize = words.next().and_then(|length| length.parse().ok()).ok_or(Malformed)?;
            if length > LARGEST_VALUE {
                return Err(Malformed);
            }
            let Some(rest) = input.get(used..used + length + 2) else { return Ok(None) };
            let data = rest.strip_suffix(b"\r\n").ok_or(Malformed)?;
            used += length + 2;
            Reply::Value { data: data.to_vec(), cas: cas(words) }
        }
        "HD" => Reply::Done { cas: cas(words) },
        "EN" | "NF" => Reply::Missing,
        "EX" | "NS" => Reply::Conflict,
        "STAT" | "END" => return time_of(input),
        "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR" => Reply::Refused(line.to_owned()),
        _ => return Err(Malformed),
    };
    Ok(Some((reply, used)))
}

/// Reads the lines of `stats`, up to their end.
fn time_of(input: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    const MOST_LINES: usize = 1000;
    let (mut used, mut time) = (0, None);
    for _ in 0..MOST_LINES {
        let Some((line, length)) = line_of(input.get(used..).unwrap_or_default())? else { return Ok(None) };
        used += length;
        if line == "END" {
            return time.map(|time| Some((Reply::Time(time), used))).ok_or(Malformed);
        }
        let stat = line.strip_prefix("STAT ").ok_or(Malformed)?;
        if let Some(text) = stat.strip_prefix("time ") {
            time = Some(text.parse().map_err(|_| Malformed)?);
        }
    }
    Err(Malformed)
}

/// The first line of `input`, and how many bytes it has with its end.
fn line_of(input: &[u8]) -> Result<Option<(&str, usize)>, Malformed> {
    let Some(end) = input.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed) };
    };
    let line = input.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed)?;
    Ok(Some((str::from_utf8(line).map_err(|_| Malformed)?, end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let value = Reply::Value { data: b"a\r\nb".to_vec(), cas: 7 };
        for (input, expected) in [
            ("VA 4 c7\r\na\r\nb\r\nEN\r\n", value),
            ("HD c12\r\n", Reply::Done { cas: 12 }),
            ("HD\r\n", Reply::Done { cas: 0 }),
            ("EN\r\n", Reply::Missing),
            ("NF\r\n", Reply::Missing),
            ("EX\r\n", Reply::Conflict),
            ("NS\r\n", Reply::Conflict),
            ("STAT pid 1\r\nSTAT time 1700000000\r\nEND\r\n", Reply::Time(1_700_000_000)),
            ("SERVER_ERROR out of memory\r\n", Reply::Refused("SERVER_ERROR out of memory".to_owned())),
        ] {
            let whole = if input.starts_with("VA") { input.len() - 4 } else { input.len() };
            assert_eq!(read(input.as_bytes()), Ok(Some((expected, whole))), "{input:?}");
            for cut in 0..whole {
                assert_eq!(read(&input.as_bytes()[..cut]), Ok(None), "{:?}", &input[..cut]);
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let long = "x".repeat(LONGEST_LINE);
        for input in [
            "\r\n",
            "\n",
            "HD\n",
            "XX\r\n",
            "VA\r\n",
            "VA x\r\n",
            "VA -1\r\n",
            "VA 99999999\r\n",
            "STAT x\r\nHD\r\n",
            "END\r\n",
            "VA 1\r\nabc",
            &long,
        ] {
            assert_eq!(read(input.as_bytes()), Err(Malformed), "{input:?}");
        }
    }
}
