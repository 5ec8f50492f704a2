//! The slots of a cluster.

use crate::store::{CounterKey, keys::KeyNames};

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16384;

/// The slot of a key: the CRC16 of the text in its first braces, or of the whole key.
pub(crate) fn slot_of(key: &str) -> u16 {
    const CRC16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    CRC16.checksum(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

impl KeyNames {
    /// The slot of a counter in a cluster. The end of a window stands behind the braces and does not change the slot.
    pub(crate) fn slot(&self, key: &CounterKey) -> u16 {
        slot_of(&self.name(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        // The expected values are the answers of CLUSTER KEYSLOT.
        for (key, expected) in
            [("123456789", 12739), ("foo", 12182), ("a{foo}b", 12182), ("{}foo", 9500), ("a{b", 13340)]
        {
            assert_eq!(slot_of(key), expected, "{key}");
        }
    }
}
