//! Digests in place of what clients say, in the names of counters: HMAC-SHA256 (RFC 2104), of which the first half is kept.
//!
//! Its key is an HMAC of the prefix under a secret, or under none. So all processes of an application make the same digests,
//! and two applications do not.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::counter::key_part::push_hex;

/// The bytes of a digest that stand in a name: enough that no two values of an application have the same.
const KEPT: usize = 16;

/// Of SHA-256, in bytes.
const BLOCK: usize = 64;

/// What the builder was told of digests.
#[derive(Default)]
pub(crate) struct Hashing {
    pub(crate) is_on: bool,
    pub(crate) secret: Vec<u8>,
}

/// Without the secret.
impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").field("is_on", &self.is_on).field("has_secret", &!self.secret.is_empty()).finish()
    }
}

/// Makes digests with one key.
#[derive(Clone)]
pub(crate) struct Digests(Hmac);

impl Digests {
    /// For the names of counters with this prefix; `None`, if they are not to be hashed.
    pub(crate) fn new(hashing: &Hashing, prefix: &str) -> Option<Self> {
        let key = || Hmac::new(&hashing.secret).of(prefix.as_bytes());
        hashing.is_on.then(|| Self(Hmac::new(&key())))
    }

    /// Replaces what stands in `out` from `start` on by its digest. No value that is not hashed looks like one.
    pub(super) fn replace(&self, out: &mut String, start: usize) {
        let digest = self.0.of(out.get(start..).unwrap_or_default().as_bytes());
        out.truncate(start);
        out.push('!');
        digest.iter().take(KEPT).for_each(|byte| push_hex(*byte, out));
    }
}

/// Without the key.
impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digests")
    }
}

/// Both hashes, with the key in them.
#[derive(Clone)]
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let digest;
        let key = if key.len() > BLOCK {
            digest = Sha256::digest(key);
            &digest[..]
        } else {
            key
        };
        block.iter_mut().zip(key).for_each(|(block, key)| *block = *key);
        let with = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: with(0x36), outer: with(0x5c) }
    }

    fn of(&self, message: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(key: &[u8], message: &[u8]) -> String {
        let mut text = String::new();
        Hmac::new(key).of(message).iter().for_each(|byte| push_hex(*byte, &mut text));
        text.to_ascii_lowercase()
    }

    #[test]
    fn it_is_the_hmac_of_rfc_4231() {
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hmac(&[0x0b; 20], b"Hi There"), expected);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hmac(b"Jefe", b"what do ya want for nothing?"), expected);
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"), expected);
    }
}
