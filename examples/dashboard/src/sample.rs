//! What is sampled, and how it goes over the wire: 40 bytes, little-endian. A figure that this system does not give is not a
//! number (NaN).
//!
//! | at | type | |
//! |---|---|---|
//! | 0 | `u32` | the sample's number; after the largest comes 0 |
//! | 4 | `u32` | WebSockets that are open |
//! | 8 | `f64` | milliseconds since 1970 |
//! | 16 | `f32` | what this machine's processors did in the last second, in percent of all that they can |
//! | 20 | `f32` | what this program did in the last second, in percent of one processor |
//! | 24 | `f32` | tasks that ran or wanted to, on average of the last minute (the load) |
//! | 28 | `f32` | 0, for the alignment of what follows |
//! | 32 | `f64` | bytes of this program that are in memory |

use bytes::BufMut;

/// Bytes of a sample on the wire.
pub(crate) const SIZE: usize = 40;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) number: u32,
    pub(crate) sockets: u32,
    pub(crate) at: f64,
    pub(crate) machine: f32,
    pub(crate) program: f32,
    pub(crate) load: f32,
    pub(crate) resident: f64,
}

impl Sample {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIZE);
        bytes.put_u32_le(self.number);
        bytes.put_u32_le(self.sockets);
        bytes.put_f64_le(self.at);
        bytes.put_f32_le(self.machine);
        bytes.put_f32_le(self.program);
        bytes.put_f32_le(self.load);
        bytes.put_f32_le(0.0);
        bytes.put_f64_le(self.resident);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_told() {
        let sample = Sample {
            number: 1,
            sockets: 2,
            at: 3.0,
            machine: 4.0,
            program: 5.0,
            load: 6.0,
            resident: 7.0,
        };
        let bytes = sample.encode();
        let four = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap();
        let eight = |at: usize| <[u8; 8]>::try_from(&bytes[at..at + 8]).unwrap();
        assert_eq!(bytes.len(), SIZE);
        assert_eq!([0, 4].map(|at| u32::from_le_bytes(four(at))), [1, 2]);
        assert_eq!([8, 32].map(|at| f64::from_le_bytes(eight(at))), [3.0, 7.0]);
        let floats = [16, 20, 24, 28].map(|at| f32::from_le_bytes(four(at)));
        assert_eq!(floats, [4.0, 5.0, 6.0, 0.0]);
    }
}
