//! A keyed hash of whole words: SipHash-1-3, as in the standard library, without what that needs for single bytes, and
//! without the length that it puts behind them. That tells messages apart of which one begins with the other: what is hashed
//! here says before each text how long it is.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// This process's secret: without it, nobody can choose counters that fall into one place of a table, or are taken for
/// one another.
static SECRET: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let random = RandomState::new();
    [random.hash_one(0), random.hash_one(1)]
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WordHasher {
    state: [u64; 4],
}

impl WordHasher {
    pub(crate) fn new() -> Self {
        Self::with_key(*SECRET)
    }

    fn with_key([one, other]: [u64; 2]) -> Self {
        let state = [
            one ^ 0x736f_6d65_7073_6575,
            other ^ 0x646f_7261_6e64_6f6d,
            one ^ 0x6c79_6765_6e65_7261,
            other ^ 0x7465_6462_7974_6573,
        ];
        Self { state }
    }

    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.state[0] ^= word;
    }

    /// `bytes`, filled up with zeros: it is for the caller to hash first how many they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.word(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    #[inline]
    pub(crate) fn finish(mut self) -> u64 {
        self.state[2] ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.state.into_iter().fold(0, |hash, word| hash ^ word)
    }

    #[inline]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use super::*;

    /// With the number of bytes behind the words, of which each has eight.
    fn hash(key: [u64; 2], words: &[u64]) -> u64 {
        let mut hasher = WordHasher::with_key(key);
        words.iter().for_each(|word| hasher.word(*word));
        hasher.word((8 * words.len() as u64) << 56);
        hasher.finish()
    }

    #[test]
    fn without_a_key_it_is_the_hash_of_the_standard_library() {
        let words: Vec<u64> = (1..100_u64).map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        for length in 0..words.len() {
            let mut std = DefaultHasher::new();
            words[..length].iter().for_each(|word| std.write(&word.to_le_bytes()));
            assert_eq!(hash([0; 2], &words[..length]), std.finish(), "of {length} words");
        }
    }

    #[test]
    fn with_the_key_of_the_reference_it_is_the_hash_of_the_reference() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(hash(key, &[]).to_le_bytes(), [0xdc, 0xc4, 0x0f, 0x05, 0x58, 0x01, 0xac, 0xab]);
    }

    #[test]
    fn bytes_are_words_filled_up_with_zeros() {
        let mut bytes = WordHasher::with_key([0; 2]);
        bytes.bytes(b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a");
        let mut words = WordHasher::with_key([0; 2]);
        [0x0807_0605_0403_0201, 0x0a09].into_iter().for_each(|word| words.word(word));
        assert_eq!(bytes, words);
    }
}
