//! An error of the server: what it concerns, which kind of error it is, and what to do about it.

use std::fmt;

use redis::RedisError;

/// What an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The connection: its replies make no sense.
    Connection,
    /// The server, or its user: every check would get the same error.
    Server,
    /// One check: the server decides others.
    Check,
}

impl Blame {
    pub(crate) fn of(error: &RedisError) -> Self {
        let Some(code) = error.code() else { return Self::Connection };
        let detail = error.detail().unwrap_or_default();
        match code {
            "LOADING" | "READONLY" | "OOM" | "MISCONF" | "BUSY" | "NOAUTH" | "WRONGPASS" | "MASTERDOWN"
            | "CLUSTERDOWN" | "NOREPLICAS" | "UNKILLABLE" => Self::Server,
            // EVAL and EVALSHA.
            "NOPERM" if detail.contains("'eval") => Self::Server,
            "ERR" if detail.starts_with("Protocol error") || detail.starts_with("max number of clients") => {
                Self::Connection
            }
            _ => Self::Check,
        }
    }
}

/// Errors that seem to have one cause. The log mentions each kind once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorClass(String);

impl ErrorClass {
    /// The longest name of a kind, in bytes.
    const LONGEST: usize = 40;

    pub(crate) fn of(error: &RedisError) -> Self {
        let mut name = match MissingPermission::of(error) {
            MissingPermission::Command(command) => format!("NOPERM {}", command.to_uppercase()),
            MissingPermission::Keys => "NOPERM keys".to_owned(),
            MissingPermission::Other => match error.code() {
                // ERR is the code of errors without a code of their own.
                Some("ERR") => format!("ERR {}", error.detail().unwrap_or_default()),
                code => code.unwrap_or("no error").to_owned(),
            },
        };
        let end = (0..=Self::LONGEST).rev().find(|&end| name.is_char_boundary(end));
        name.truncate(end.unwrap_or_default());
        Self(name)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum MissingPermission<'a> {
    /// The user may not run this command.
    Command(&'a str),
    /// The user may not use these keys.
    Keys,
    Other,
}

impl<'a> MissingPermission<'a> {
    fn of(error: &'a RedisError) -> Self {
        let detail = error.detail().unwrap_or_default();
        // The texts of Redis 6.0 to 7.0, and of later versions, for an error within a script.
        let is_in_script = detail.starts_with("The user executing the script") || detail.starts_with("ACL failure");
        match error.code() {
            Some("NOPERM") => {}
            Some("ERR") if is_in_script => {}
            _ => return Self::Other,
        }
        match command(detail) {
            _ if detail.contains(" access ") => Self::Keys,
            Some(command) => Self::Command(command),
            None => Self::Other,
        }
    }
}

/// The command that an error names: in brackets at its end, as the script writes it, or in quotes, as Redis does.
fn command(detail: &str) -> Option<&str> {
    let by_script = detail.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')).map(|(_, command)| command);
    by_script.or_else(|| detail.split('\'').nth(1))
}

/// The text of an error, and what to do about it.
pub(crate) struct Advice<'a> {
    pub(crate) error: &'a RedisError,
    /// The prefix of all keys.
    pub(crate) prefix: &'a str,
}

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.error.code(), self.error.detail()) {
            (Some(code), Some(detail)) => write!(f, "{code} {detail}")?,
            (Some(code), None) => f.write_str(code)?,
            (None, _) => self.error.fmt(f)?,
        }
        match MissingPermission::of(self.error) {
            MissingPermission::Command(command) => {
                return write!(f, "; let the user run it: `ACL SETUSER … +{}`", command.to_lowercase());
            }
            MissingPermission::Keys => {
                return write!(f, "; let the user have its keys: `ACL SETUSER … ~{}/*`", self.prefix);
            }
            MissingPermission::Other => {}
        }
        f.write_str(match self.error.code().unwrap_or_default() {
            "CROSSSLOT" | "MOVED" | "ASK" | "TRYAGAIN" => {
                "; this is a node of a Redis Cluster: write `redis+cluster://` in place of `redis://`"
            }
            "OOM" => "; give it more `maxmemory`, or a `maxmemory-policy` such as `volatile-ttl`",
            "READONLY" => "; it is a replica: name its primary, or let `redis+sentinel://` find it",
            "LOADING" => "; it is used once it has loaded its data",
            "MISCONF" => "; it cannot save its data: its log says why",
            "BUSY" => "; a script of another client runs for too long: `SCRIPT KILL` ends it",
            "NOAUTH" => "; give the limiter a user and a password",
            "WRONGPASS" => "; the limiter's user or password is another one than the server's",
            "MASTERDOWN" => "; it is a replica that has lost its primary",
            "CLUSTERDOWN" => "; some slots have no node: see `CLUSTER INFO`",
            "NOREPLICAS" => "; it has fewer replicas than its `min-replicas-to-write`",
            "ERR" if self.error.detail().is_some_and(is_unknown_command) => {
                "; the server does not have this command, or by another name"
            }
            _ => "",
        })
    }
}

fn is_unknown_command(detail: &str) -> bool {
    detail.to_ascii_lowercase().starts_with("unknown ") && detail.contains("ommand")
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;

    fn error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        value.and_then(redis::Value::extract_error).err().unwrap_or_else(|| (ErrorKind::Parse, "no error").into())
    }

    #[test]
    fn errors_condemn_no_more_than_they_speak_of() {
        let connection = ["ERR Protocol error: invalid bulk length", "ERR max number of clients reached"];
        let server = [
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'. [INCRBY]",
            "MISCONF Redis is configured to save RDB snapshots",
            "BUSY Redis is busy running a script.",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "MASTERDOWN Connection with MASTER is down",
            "CLUSTERDOWN The cluster is down",
            "NOREPLICAS Not enough good replicas to write.",
            "UNKILLABLE Sorry",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "NOPERM User app has no permissions to run the 'eval' command",
        ];
        let check = [
            "CROSSSLOT Keys in request don't hash to the same slot",
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            "ERR The user executing the script can't run this command or subcommand [INCRBY]",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "MOVED 1 127.0.0.1:7001",
            "ERR user_script:1: attempt to index a nil value",
            "SOMETHING new",
        ];
        for (lines, blame) in [(&connection[..], Blame::Connection), (&server, Blame::Server), (&check, Blame::Check)] {
            for line in lines {
                assert_eq!(Blame::of(&error(line)), blame, "{line}");
            }
        }
        assert_eq!(Blame::of(&std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()), Blame::Connection);
    }

    #[test]
    fn every_server_says_which_privilege_is_missing() {
        for (line, advice) in [
            ("ERR The user executing the script can't run this command or subcommand [INCRBY]", "+incrby"),
            ("ERR ACL failure in script: User app has no permissions to run the 'incrby' command [INCRBY]", "+incrby"),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "+evalsha"),
            ("NOPERM User app has no permissions to run the 'cluster|slots' command", "+cluster|slots"),
            ("NOPERM this user has no permissions to access one of the keys used as arguments", "~shop/*"),
            ("NOPERM No permissions to access a key", "~shop/*"),
            (
                "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments [GET]",
                "~shop/*",
            ),
            ("ERR ACL failure in script: No permissions to access a key [GET]", "~shop/*"),
        ] {
            let advised = Advice { error: &error(line), prefix: "shop" }.to_string();
            assert!(advised.ends_with(&format!(" {advice}`")), "{advised}");
        }
        let kind = |line: &str| ErrorClass::of(&error(line));
        assert_eq!(
            kind("ERR The user executing the script can't run this command or subcommand [INCRBY]").to_string(),
            "NOPERM INCRBY",
        );
        assert_ne!(kind("ERR a"), kind("ERR b"));
        assert_eq!(kind(&format!("ERR {}", "é".repeat(1000))).to_string().len(), 40);
    }
}
