//! The header of the WAV files that Asterisk writes: 44 bytes, whose two sizes are 0 until the file is closed.
//!
//! Pure. What it does not know it does not touch: a file with another header is kept as it is.

/// Length of the header.
pub const LENGTH: u64 = 44;

/// Where the length of what follows the first 8 bytes stands, and the length of the sound.
const RIFF_SIZE: usize = 4;
const DATA_SIZE: usize = 40;

/// What a file's header and length say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not the header Asterisk writes.
    Foreign,
    /// No sound, whether or not there will be some.
    Empty,
    /// The sizes are not those of the file: it is being written, or its writer died.
    Unfinished(Sound),
    /// All there.
    Finished(Sound),
}

/// The sound in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// Samples a second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u16,
    /// Bytes of sound, whole samples.
    pub data_bytes: u32,
    /// Bytes a second.
    bytes_per_second: u32,
}

impl Sound {
    /// How long it sounds.
    pub fn duration_ms(&self) -> u64 {
        u64::from(self.data_bytes) * 1_000 / u64::from(self.bytes_per_second)
    }

    /// The sizes for the header, each with its place in the file. The length of the sound comes last: with it
    /// the file is finished.
    pub fn sizes(&self) -> [(u64, [u8; 4]); 2] {
        let riff = self.data_bytes.saturating_add(LENGTH as u32 - 8);
        [
            (RIFF_SIZE as u64, riff.to_le_bytes()),
            (DATA_SIZE as u64, self.data_bytes.to_le_bytes()),
        ]
    }
}

/// Reads the first bytes of a file of `file_bytes` bytes.
pub fn read(start: &[u8], file_bytes: u64) -> State {
    if file_bytes == 0 {
        return State::Empty;
    }
    let Some(start) = start.get(..LENGTH as usize) else {
        // Asterisk writes the header in one go: a shorter one was cut off.
        return if b"RIFF".starts_with(&start[..start.len().min(4)]) {
            State::Empty
        } else {
            State::Foreign
        };
    };
    let word = |at: usize| u16::from_le_bytes([start[at], start[at + 1]]);
    let long =
        |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    let marks = start[..4] == *b"RIFF"
        && start[8..16] == *b"WAVEfmt "
        && long(16) == 16
        && start[36..40] == *b"data";
    let (format, channels, sample_rate, bits) = (word(20), word(22), long(24), word(34));
    let plain = format == 1 && matches!(channels, 1 | 2) && bits == 16;
    if !marks || !plain || !(1_000..=384_000).contains(&sample_rate) {
        return State::Foreign;
    }
    let frame = u32::from(channels) * 2;
    let there = u32::try_from(file_bytes.saturating_sub(LENGTH)).unwrap_or(u32::MAX - 64);
    let there = there - there % frame;
    let told = long(DATA_SIZE);
    let sound = |data_bytes| Sound {
        sample_rate,
        channels,
        data_bytes,
        bytes_per_second: sample_rate * frame,
    };
    match told {
        _ if there == 0 => State::Empty,
        0 => State::Unfinished(sound(there)),
        told if told > there => State::Unfinished(sound(there)),
        told => State::Finished(sound(told)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(rate: u32, channels: u16, data_bytes: u32) -> Vec<u8> {
        let frame = channels * 2;
        let mut header = Vec::new();
        header.extend(b"RIFF");
        header.extend(data_bytes.saturating_add(36).to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend(16_u32.to_le_bytes());
        header.extend(1_u16.to_le_bytes());
        header.extend(channels.to_le_bytes());
        header.extend(rate.to_le_bytes());
        header.extend((rate * u32::from(frame)).to_le_bytes());
        header.extend(frame.to_le_bytes());
        header.extend(16_u16.to_le_bytes());
        header.extend(b"data");
        header.extend(data_bytes.to_le_bytes());
        header
    }

    #[test]
    fn a_closed_file_is_finished() {
        let State::Finished(sound) = read(&header(8_000, 1, 48_320), 48_364) else {
            panic!("not finished");
        };
        assert_eq!(sound.duration_ms(), 3_020);
        assert_eq!((sound.sample_rate, sound.channels), (8_000, 1));
    }

    #[test]
    fn a_header_alone_is_empty_and_text_is_foreign() {
        assert_eq!(read(&header(8_000, 1, 0), 44), State::Empty);
        assert_eq!(read(b"RIFF", 4), State::Empty);
        assert_eq!(read(b"", 0), State::Empty);
        assert_eq!(read(b"hello", 5), State::Foreign);
        assert_eq!(read(&[b'x'; 100], 100), State::Foreign);
        // Something else than what Asterisk writes to .wav.
        assert_eq!(read(&header(0, 1, 0), 400), State::Foreign);
        assert_eq!(read(&header(8_000, 0, 0), 400), State::Foreign);
    }

    #[test]
    fn a_file_of_many_gigabytes_overflows_nothing() {
        let State::Unfinished(sound) = read(&header(8_000, 1, 0), u64::MAX) else {
            panic!("finished");
        };
        assert!(sound.duration_ms() > 0);
        let _ = sound.sizes();
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(start in proptest::collection::vec(any::<u8>(), 0..64), more in any::<u32>()) {
            let _ = read(&start, start.len() as u64 + u64::from(more));
        }

        #[test]
        fn almost_a_header_is_read_without_harm(at in 0_usize..44, byte in any::<u8>(), told in any::<u32>(), there in 0_u64..100_000) {
            let mut start = header(8_000, 1, told);
            start[at] = byte;
            match read(&start, LENGTH + there) {
                State::Finished(sound) | State::Unfinished(sound) => {
                    prop_assert!(u64::from(sound.data_bytes) <= there);
                    let _ = (sound.duration_ms(), sound.sizes());
                }
                State::Empty | State::Foreign => {}
            }
        }

        #[test]
        fn a_repaired_file_is_finished_and_as_long_as_it_is(rate in 8_000_u32..48_000, channels in 1_u16..3, told in any::<u32>(), there in 4_u64..10_000_000) {
            let mut start = header(rate, channels, told);
            if let State::Unfinished(sound) = read(&start, LENGTH + there) {
                prop_assert!(there - u64::from(sound.data_bytes) < 4);
                for (at, bytes) in sound.sizes() {
                    let at = at as usize;
                    start[at..at + 4].copy_from_slice(&bytes);
                }
                prop_assert_eq!(read(&start, LENGTH + there), State::Finished(sound));
                prop_assert_eq!(&start[..], &header(rate, channels, sound.data_bytes)[..]);
            }
        }
    }
}
