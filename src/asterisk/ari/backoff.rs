//! How long to wait before trying again: doubling pauses with jitter, so that daemons which lost the
//! same server do not return in step.

use std::time::Duration;

/// A sequence of pauses.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self {
            first,
            max: max.max(first),
            next: first,
        }
    }

    /// The next pause: between half of its nominal length and all of it.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It went well: begin anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_begin_anew() {
        let (first, max) = (Duration::from_millis(100), Duration::from_millis(350));
        let mut backoff = Backoff::new(first, max);
        for nominal in [100, 200, 350, 350] {
            let nominal = Duration::from_millis(nominal);
            let pause = backoff.pause();
            assert!(pause >= nominal / 2 && pause <= nominal, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
