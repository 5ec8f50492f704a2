//! The name of a counter, which identifies it in memory and in Redis.

pub(crate) mod address;
pub(crate) mod client_ip;
pub(crate) mod digest;
pub(crate) mod hash;
pub(crate) mod key_part;

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::counter::{
    address::Address,
    digest::Digests,
    hash::WordHasher,
    key_part::{KeyPart, escape},
};

/// One counter, named after its rule and the subject of a request. Two counters are the same if and only if all fields are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counter<'a> {
    pub(crate) base_hash: BaseHash,
    pub(crate) base: BaseName<'a>,
    pub(crate) scope: SmallVec<[SubjectPart<'a>; 1]>,
}

/// The part of a counter's name that is the same for all subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BaseName<'a> {
    pub(crate) key: Name<'a>,
    /// Seconds: rules of one key with the same window share a counter, whatever their limits.
    pub(crate) per: u32,
    /// The algorithm, which stands after the window length. It is empty for plain fixed windows.
    pub(crate) kind: &'static str,
    /// The number of the rule among those of its handler with the same key, window and scope. They count apart.
    pub(crate) ordinal: u32,
}

/// How names of counters are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style<'a> {
    pub(crate) prefix: &'a str,
    /// Whether the scope stands in braces.
    pub(crate) tagged: bool,
    /// Replaces the values of clients, if they are hashed.
    pub(crate) digests: Option<&'a Digests>,
}

/// A counter of all clients together or of an address, under a key that is written in the program, as most are. It holds no
/// allocation, so its name can be written late, and once for many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainCounter {
    base: BaseName<'static>,
    address: Option<Address>,
}

/// The hash of the part of a counter's name that is known before there is a request: its window, a key that is written in the
/// program, and the kinds of its scope with the names of headers and functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BaseHash(WordHasher);

impl BaseHash {
    /// Of a base name with this hash.
    pub(crate) fn new(hash: u64) -> Self {
        let mut hasher = WordHasher::new();
        hasher.word(hash);
        Self(hasher)
    }

    /// The hash of one of its counters. Each word says what follows it, so no two names have the same words.
    #[inline]
    pub(crate) fn hash(self, ordinal: u32, key: &Name<'_>, scope: &[SubjectPart<'_>]) -> u64 {
        let Self(mut hasher) = self;
        if ordinal > 0 {
            hasher.word(9 | u64::from(ordinal) << 8);
        }
        if let Name::Given(given) = key {
            hash_text(&mut hasher, 1, given.as_str());
        }
        for who in scope {
            match who {
                SubjectPart::Global => hasher.word(2),
                SubjectPart::Ip(ip) => hash_address(&mut hasher, 3, *ip),
                SubjectPart::NoUser(ip) => hash_address(&mut hasher, 4, *ip),
                SubjectPart::NoHeader(_, ip) => hash_address(&mut hasher, 5, *ip),
                SubjectPart::User(user) => hash_text(&mut hasher, 6, user.as_str()),
                SubjectPart::Header(_, value) => hash_text(&mut hasher, 7, value),
                SubjectPart::Function(_, value) => hash_text(&mut hasher, 8, value.as_str()),
            }
        }
        hasher.finish()
    }
}

/// The key of a counter: written by the developer, or given by a function at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// The escaped key of a rule.
    Rule(&'static str),
    Given(&'a KeyPart),
}

/// One part of a subject: whom the counter counts.
///
/// An address stands in for a missing or empty user or header, because anybody could use up one counter for all of them. It differs
/// from the address of `scope = "ip"`: otherwise two rules of one handler, alike but for their scopes, would share a counter for some
/// requests and not for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubjectPart<'a> {
    Global,
    Ip(Address),
    User(&'a KeyPart),
    NoUser(Address),
    /// The header's name, and its value as in a [`KeyPart`].
    Header(&'a str, Cow<'a, str>),
    NoHeader(&'a str, Address),
    /// The name of the function, and its result.
    Function(&'a str, &'a KeyPart),
}

impl Counter<'_> {
    /// The hash by which tables know the counter.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.base_hash.hash(self.base.ordinal, &self.base.key, &self.scope)
    }

    /// `{prefix}/{key}/{per}/{scope}`, the counter's name in Redis, behind which stands the end of a window;
    /// `{per}.{ordinal}` for the second and later rules of a handler that are alike.
    pub(crate) fn write(&self, style: Style<'_>, out: &mut String) {
        let Style { tagged, digests, .. } = style;
        self.base.write(style, out);
        out.push_str(if tagged { "/{" } else { "/" });
        for (index, who) in self.scope.iter().enumerate() {
            if index > 0 {
                out.push('+');
            }
            who.write(digests, out);
        }
        if tagged {
            out.push('}');
        }
    }

    /// The phase of the counter's windows under `stagger = true`, in seconds. It is the same in every process.
    pub(crate) fn phase(&self) -> u32 {
        let mut name = String::with_capacity(128);
        self.write(Style { prefix: "", tagged: false, digests: None }, &mut name);
        let digest = Sha256::digest(name.as_bytes());
        let number = digest.iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        u32::try_from(number % u64::from(self.base.per)).unwrap_or_default()
    }

    /// This counter as a plain one, if it is one.
    pub(crate) fn plain(&self) -> Option<PlainCounter> {
        let Name::Rule(key) = self.base.key else { return None };
        let address = match self.scope[..] {
            [SubjectPart::Global] => None,
            [SubjectPart::Ip(address)] => Some(address),
            _ => return None,
        };
        Some(PlainCounter {
            base: BaseName {
                key: Name::Rule(key),
                per: self.base.per,
                kind: self.base.kind,
                ordinal: self.base.ordinal,
            },
            address,
        })
    }
}

impl PlainCounter {
    /// The counter's name, as [`Counter::write`] has it.
    pub(crate) fn write(&self, style: Style<'_>, out: &mut String) {
        self.base.write(style, out);
        out.push('/');
        self.address.map_or(SubjectPart::Global, SubjectPart::Ip).write(style.digests, out);
    }
}

impl BaseName<'_> {
    fn write(&self, Style { prefix, digests, .. }: Style<'_>, out: &mut String) {
        let mut number = itoa::Buffer::new();
        push(out, &[prefix, "/"]);
        match self.key {
            Name::Rule(name) => out.push_str(name),
            // No key that is written in a program begins with `=`, so a client cannot choose one of those.
            Name::Given(text) => {
                out.push('=');
                push_value(out, digests, text.as_str());
            }
        }
        push(out, &["/", number.format(self.per), self.kind]);
        if self.ordinal > 0 {
            push(out, &[".", number.format(self.ordinal)]);
        }
    }
}

/// Hashes a text after its kind and its length, so that no two sequences of texts are the same words.
fn hash_text(hasher: &mut WordHasher, kind: u64, text: &str) {
    hasher.word(kind | (text.len() as u64) << 8);
    hasher.bytes(text.as_bytes());
}

#[inline]
fn hash_address(hasher: &mut WordHasher, kind: u64, address: Address) {
    match address {
        Address::Unknown => hasher.word(kind),
        Address::V4(bits) => hasher.word(kind | 4 << 8 | u64::from(bits) << 32),
        Address::V6(upper, lower) => {
            hasher.word(kind | 6 << 8);
            hasher.word(lower);
            hasher.word(upper);
        }
    }
}

impl SubjectPart<'_> {
    fn write(&self, digests: Option<&Digests>, out: &mut String) {
        let kind = match self {
            Self::Global => "global",
            Self::Ip(_) => "ip:",
            Self::User(_) => "user:",
            Self::NoUser(_) => "user-ip:",
            Self::Header(..) => "header:",
            Self::NoHeader(..) => "header-ip:",
            Self::Function(..) => "fn:",
        };
        out.push_str(kind);
        match self {
            Self::Global => {}
            Self::Ip(address) | Self::NoUser(address) => push_client(out, digests, *address),
            Self::User(text) => push_value(out, digests, text.as_str()),
            Self::Header(name, text) => {
                push(out, &[name, ":"]);
                push_value(out, digests, text);
            }
            Self::NoHeader(name, address) => {
                push(out, &[name, ":"]);
                push_client(out, digests, *address);
            }
            Self::Function(function, text) => {
                escape(function.as_bytes(), out);
                out.push('=');
                push_value(out, digests, text.as_str());
            }
        }
    }
}

/// Writes the value of a client, or its digest.
fn push_value(out: &mut String, digests: Option<&Digests>, text: &str) {
    let start = out.len();
    out.push_str(text);
    digests.inspect(|digests| digests.replace(out, start));
}

/// Writes the address of a client, or its digest.
fn push_client(out: &mut String, digests: Option<&Digests>, address: Address) {
    let start = out.len();
    address.write(out);
    digests.inspect(|digests| digests.replace(out, start));
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}
