//! The requests of a measurement, as both the client and the server know them.

use std::time::Duration;

use actix_web::{dev::ServiceRequest, http::header::HeaderName};

/// The header that identifies one of many clients, because one address cannot be 100,000 clients.
pub const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// The number of clients in a load with many.
pub const MANY_KEYS: u32 = 100_000;

/// The longest window that the attribute takes. The next one ends in the year 2038, so none ends during a measurement.
pub const WINDOW_SECONDS: u32 = 2_147_483_647;

/// [`WINDOW_SECONDS`], for the peers.
pub const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS as u64);

/// A limit that no measurement reaches.
pub const ADMIT_ALL: u32 = 2_000_000_000;

/// A limit that the first request of a client uses up.
pub const ADMIT_ONE: u32 = 1;

/// The verdict on the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All are within the limit.
    Admitted,
    /// All are over the limit, except the first of each client.
    Refused,
}

impl Verdict {
    /// The verdict of this [`name`](Self::name).
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Admitted, Self::Refused].into_iter().find(|verdict| verdict.name() == name)
    }

    /// The name in arguments and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
        }
    }

    /// The status of every answer after each client's first request.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Admitted => 200,
            Self::Refused => 429,
        }
    }

    /// How many requests a window admits.
    #[must_use]
    pub fn limit(self) -> u32 {
        match self {
            Self::Admitted => ADMIT_ALL,
            Self::Refused => ADMIT_ONE,
        }
    }
}

/// The clients of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// One client, known by its address.
    One,
    /// [`MANY_KEYS`] clients, known by [`KEY_HEADER`].
    Many,
}

impl Keys {
    /// The keys of this [`name`](Self::name).
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::One, Self::Many].into_iter().find(|keys| keys.name() == name)
    }

    /// The name in arguments and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one-key",
            Self::Many => "many-keys",
        }
    }

    /// The number of these clients.
    #[must_use]
    pub fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Many => MANY_KEYS,
        }
    }

    /// The name of the client's counter, for subjects whose user names it. No two subjects share one in Redis.
    #[must_use]
    pub fn of(self, subject: &str, request: &ServiceRequest) -> String {
        match self {
            Self::One => request.peer_addr().map_or_else(String::new, |peer| format!("{subject}/{}", peer.ip())),
            Self::Many => format!("{subject}/{}", client(request)),
        }
    }
}

/// The client of a request where there are many.
#[must_use]
pub fn client(request: &ServiceRequest) -> &str {
    request.headers().get(KEY_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The part of the load that a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The verdict on the requests.
    pub verdict: Verdict,
    /// The clients.
    pub keys: Keys,
}
