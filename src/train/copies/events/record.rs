//! Records of a file as TensorFlow frames them (`core/lib/io/record_writer.h`): length, checksum of the length, bytes,
//! checksum of the bytes.

use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A record of these bytes.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), bytes, &masked(bytes)].concat()
}

/// The checksum in the form in which it is stored, so that a checksum of bytes that hold checksums stays a good one.
fn masked(bytes: &[u8]) -> [u8; 4] {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4.
    #[test]
    fn the_checksum_is_that_of_iscsi() {
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        let read_command: Vec<u8> = [
            [0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18],
            [0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        for (bytes, expected) in [
            (vec![0; 32], 0x8a91_36aa),
            (vec![0xff; 32], 0x62a8_ab43),
            (rising, 0x46dd_794e),
            (falling, 0x113f_db5c),
            (read_command, 0xd996_3a56),
        ] {
            assert_eq!(CRC32C.checksum(&bytes), expected, "{bytes:?}");
        }
    }

    /// As `RecordWriter` of TensorBoard 2.21 frames nothing.
    #[test]
    fn an_empty_record_is_tensorboards() {
        assert_eq!(
            framed(b"").as_slice(),
            [0u8; 8].iter().chain(b"\x29\x03\x98\x07\xd8\xea\x82\xa2").copied().collect::<Vec<_>>()
        );
    }
}
