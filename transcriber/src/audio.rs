//! Sound as samples: whether anything can be heard in it, and more samples a second where a model wants them.

use std::f64::consts::PI;

/// Root mean square below which 200 ms of sound are taken for silence: 64 dB below the loudest possible. The noise of
/// a telephone line is louder, the idle codes of its coders are not.
const SILENCE: f64 = 20.0;

/// Listens whether anything can be heard.
#[derive(Debug, Default)]
pub struct Ear {
    heard: bool,
}

impl Ear {
    /// Takes a piece of a fraction of a second.
    pub fn listen(&mut self, samples: &[i16]) {
        if self.heard || samples.is_empty() {
            return;
        }
        let (mut sum, mut squares) = (0_i64, 0_i64);
        for sample in samples.iter().copied().map(i64::from) {
            sum += sample;
            squares += sample * sample;
        }
        // About the mean: a constant offset is no sound.
        let count = samples.len() as f64;
        let mean = sum as f64 / count;
        self.heard = squares as f64 / count - mean * mean > SILENCE * SILENCE;
    }

    /// Whether there was anything.
    pub fn heard(&self) -> bool {
        self.heard
    }
}

/// Input samples on each side that an output sample is made of.
const REACH: usize = 16;

/// Puts samples between samples, for a model made for a higher rate: a windowed sinc filter, a piece at a time.
#[derive(Debug)]
pub struct Upsampler {
    /// For each place between two samples, the weights of the samples around it.
    phases: Vec<Vec<f32>>,
    /// The last samples that came in, which the next output still needs.
    recent: Vec<i16>,
}

impl Upsampler {
    /// `factor` samples for each.
    pub fn new(factor: u32) -> Self {
        let taps = 2 * REACH;
        let phases = (0..factor)
            .map(|phase| {
                let between = f64::from(phase) / f64::from(factor);
                let weights: Vec<f64> = (0..taps)
                    .map(|tap| {
                        let distance = tap as f64 - (REACH - 1) as f64 - between;
                        let window = 0.5 + 0.5 * (PI * distance / REACH as f64).cos();
                        sinc(distance) * window
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                weights
                    .iter()
                    .map(|weight| (weight / total) as f32)
                    .collect()
            })
            .collect();
        Self {
            phases,
            // So that the first output belongs to the first input.
            recent: vec![0; REACH - 1],
        }
    }

    /// Appends what comes of `input` to `output`, which runs `REACH` input samples behind.
    pub fn push(&mut self, input: &[i16], output: &mut Vec<i16>) {
        self.recent.extend_from_slice(input);
        let taps = 2 * REACH;
        for window in self.recent.windows(taps) {
            for weights in &self.phases {
                let sum: f32 = window
                    .iter()
                    .zip(weights)
                    .map(|(sample, weight)| f32::from(*sample) * weight)
                    .sum();
                output.push(sum.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16);
            }
        }
        let done = (self.recent.len() + 1).saturating_sub(taps);
        self.recent.drain(..done);
    }

    /// Appends what is still to come after the last input.
    pub fn finish(&mut self, output: &mut Vec<i16>) {
        self.push(&[0; REACH], output);
    }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, count: usize) -> Vec<i16> {
        (0..count)
            .map(|at| {
                ((2.0 * PI * hertz * at as f64 / f64::from(rate)).sin() * 10_000.0).round() as i16
            })
            .collect()
    }

    #[test]
    fn a_tone_stays_the_tone_it_was() {
        for hertz in [100.0, 1000.0, 2500.0] {
            let low = tone(8000, hertz, 2000);
            let mut high = Vec::new();
            let mut upsampler = Upsampler::new(2);
            for piece in low.chunks(333) {
                upsampler.push(piece, &mut high);
            }
            upsampler.finish(&mut high);
            let expected = tone(16_000, hertz, 4000);
            assert_eq!(high.len(), expected.len());
            for at in 100..3900 {
                let difference = (i32::from(high[at]) - i32::from(expected[at])).abs();
                assert!(difference < 100, "{hertz} Hz at {at}: {difference}");
            }
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same() {
        let low = tone(8000, 440.0, 500);
        let all = |size: usize| {
            let (mut upsampler, mut high) = (Upsampler::new(3), Vec::new());
            low.chunks(size)
                .for_each(|piece| upsampler.push(piece, &mut high));
            upsampler.finish(&mut high);
            high
        };
        assert_eq!(all(1), all(500));
        assert_eq!(all(7).len(), 1500);
    }

    #[test]
    fn idle_codes_and_offsets_are_silence_and_line_noise_is_not() {
        let heard = |samples: &[i16]| {
            let mut ear = Ear::default();
            samples.chunks(1600).for_each(|piece| ear.listen(piece));
            ear.heard()
        };
        assert!(!heard(&[]));
        assert!(!heard(&[0; 8000]));
        assert!(!heard(&[8, -8].repeat(4000)));
        assert!(!heard(&[-3000; 8000]));
        assert!(heard(&[40, -40].repeat(4000)));
        assert!(heard(&[i16::MIN, i16::MAX].repeat(4000)));
    }
}
