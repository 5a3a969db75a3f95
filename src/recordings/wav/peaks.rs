//! The loudest sample of each tenth of a second, for the waveform that a player shows.
//!
//! Pure. A meter is fed with a file as it comes, in pieces of any size, and holds nothing but the peaks.

use super::header::Sound;

/// Peaks in a second of sound.
pub const A_SECOND: u32 = 10;

/// Finds the peaks of sound as it comes: 16-bit samples, of one channel or two, whose peaks are then those of both.
#[derive(Debug)]
pub struct Meter {
    sample_rate: u64,
    channels: u64,
    /// Samples left in the peak under way.
    left: u64,
    /// Bytes of sound that are still to come.
    to_come: u64,
    /// The first byte of a sample whose second is in the next piece.
    half: Option<u8>,
    loudest: u16,
    peaks: Vec<u8>,
}

impl Meter {
    /// For a file with this header.
    pub fn new(sound: &Sound) -> Self {
        let mut meter = Self {
            sample_rate: sound.sample_rate.into(),
            channels: sound.channels.into(),
            left: 0,
            to_come: sound.data_bytes.into(),
            half: None,
            loudest: 0,
            peaks: Vec::new(),
        };
        meter.left = meter.samples_of(0);
        meter
    }

    /// Samples in the nth peak: where a tenth of a second is no whole number of them, some have one more.
    fn samples_of(&self, nth: u64) -> u64 {
        let end = |n: u64| (n * self.sample_rate).div_ceil(A_SECOND.into());
        (end(nth + 1) - end(nth)) * self.channels
    }

    /// The next piece of the file, after its header. What comes after the sound counts for nothing.
    pub fn feed(&mut self, piece: &[u8]) {
        let used = piece
            .len()
            .min(usize::try_from(self.to_come).unwrap_or(usize::MAX));
        self.to_come -= used as u64;
        let mut piece = &piece[..used];
        if let (Some(low), [high, rest @ ..]) = (self.half, piece) {
            self.half = None;
            self.hear(i16::from_le_bytes([low, *high]));
            piece = rest;
        }
        let mut samples = piece.chunks_exact(2);
        for sample in &mut samples {
            self.hear(i16::from_le_bytes([sample[0], sample[1]]));
        }
        if let [low] = samples.remainder() {
            self.half = Some(*low);
        }
    }

    fn hear(&mut self, sample: i16) {
        self.loudest = self.loudest.max(sample.unsigned_abs());
        self.left -= 1;
        if self.left == 0 {
            self.end_peak();
        }
    }

    fn end_peak(&mut self) {
        // 32,768 is the loudest there is.
        let level = (u32::from(self.loudest) * 255).div_ceil(32_768);
        self.peaks.push(level as u8);
        self.loudest = 0;
        self.left = self.samples_of(self.peaks.len() as u64);
    }

    /// The peaks of all that came, the last of what is left: 0 is silence, 255 the loudest there is.
    pub fn finish(mut self) -> Vec<u8> {
        if self.left < self.samples_of(self.peaks.len() as u64) {
            self.end_peak();
        }
        self.peaks
    }
}

/// Fewer peaks, each the loudest of so many.
pub fn thinned(peaks: &[u8], together: usize) -> Vec<u8> {
    let together = together.max(1);
    peaks
        .chunks(together)
        .map(|chunk| chunk.iter().copied().max().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recordings::wav::header::{self, State};

    fn sound(rate: u32, channels: u16, data_bytes: u32) -> Sound {
        let mut start = b"RIFF____WAVEfmt \x10\0\0\0\x01\0".to_vec();
        start.extend(channels.to_le_bytes());
        start.extend(rate.to_le_bytes());
        start.extend([0; 6]);
        start.extend(16_u16.to_le_bytes());
        start.extend(b"data");
        start.extend(data_bytes.to_le_bytes());
        match header::read(&start, header::LENGTH + u64::from(data_bytes)) {
            State::Finished(sound) | State::Unfinished(sound) => sound,
            state => panic!("{state:?}"),
        }
    }

    fn bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    #[test]
    fn each_tenth_of_a_second_has_the_level_of_its_loudest_sample() {
        let mut samples = vec![0; 800];
        samples.extend(vec![100; 799]);
        samples.push(i16::MIN);
        samples.extend(vec![16_384; 5]);
        let data = bytes(&samples);
        let mut meter = Meter::new(&sound(8_000, 1, data.len() as u32));
        meter.feed(&data);
        meter.feed(b"LIST of nothing that sounds");
        assert_eq!(meter.finish(), [0, 255, 128]);
    }

    #[test]
    fn a_rate_that_tenths_do_not_divide_gives_ten_a_second_all_the_same() {
        let data = vec![1; 11_025 * 2 * 60];
        let mut meter = Meter::new(&sound(11_025, 1, data.len() as u32));
        meter.feed(&data);
        assert_eq!(meter.finish().len(), 600);
    }

    #[test]
    fn fewer_peaks_keep_the_loudest() {
        assert_eq!(thinned(&[1, 9, 2, 3, 4], 2), [9, 3, 4]);
        assert_eq!(thinned(&[1, 2], 0), [1, 2]);
        assert_eq!(thinned(&[], 7), [0; 0]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_a_file_comes(
            samples in proptest::collection::vec(any::<i16>(), 1..5_000),
            cuts in proptest::collection::vec(1_usize..700, 1..40),
            stereo in any::<bool>(),
        ) {
            let channels = if stereo { 2 } else { 1 };
            let samples = &samples[..samples.len() / channels * channels];
            prop_assume!(!samples.is_empty());
            let data = bytes(samples);
            let sound = sound(1_000, channels as u16, data.len() as u32);
            let expected: Vec<u8> = samples
                .chunks(100 * channels)
                .map(|tenth| tenth.iter().map(|s| s.unsigned_abs()).max().unwrap_or_default())
                .map(|loudest| (u32::from(loudest) * 255).div_ceil(32_768) as u8)
                .collect();
            let mut meter = Meter::new(&sound);
            let mut rest = &data[..];
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                meter.feed(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(meter.finish(), expected);
        }
    }
}
