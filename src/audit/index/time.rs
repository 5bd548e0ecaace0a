//! Which indexes a time can be at: the times of some entries, one in 1,024. Entries' times never run back.

/// An entry and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) index: u64,
    pub(super) time_unix_micros: u64,
}

/// Samples of consecutive entries, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Samples(pub(super) Vec<Sample>);

impl Samples {
    /// Takes the entry's time if it is one to sample: the first entry's, and each 1,024th's behind it.
    pub(super) fn note(&mut self, offset: u64, index: u64, time_unix_micros: u64) {
        if offset.is_multiple_of(EACH) {
            self.0.push(Sample { index, time_unix_micros });
        }
    }

    /// The index behind the last sample that is before this time: no entry at or after the time has a smaller one.
    pub(super) fn floor(&self, micros: u64) -> Option<u64> {
        let before = self.0.partition_point(|sample| sample.time_unix_micros < micros);
        before.checked_sub(1).and_then(|last| self.0.get(last)).map(|sample| sample.index + 1)
    }

    /// The index of the first sample at or after this time: no entry before the time has it or a greater one.
    pub(super) fn ceiling(&self, micros: u64) -> Option<u64> {
        self.0.get(self.0.partition_point(|sample| sample.time_unix_micros < micros)).map(|sample| sample.index)
    }
}

const EACH: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_time_lie_between_its_floor_and_its_ceiling() {
        let time = |index: u64| 1_000 + index / 7 * 10;
        let mut samples = Samples::default();
        (50..10_000u64).for_each(|index| samples.note(index - 50, index, time(index)));
        assert_eq!(samples.0.len(), 10);
        for micros in (0..16_000).step_by(5) {
            let first = (50..10_000).find(|index| time(*index) >= micros).unwrap_or(10_000);
            let (floor, ceiling) = (samples.floor(micros).unwrap_or(50), samples.ceiling(micros).unwrap_or(10_000));
            assert!(floor <= first && first <= ceiling, "{micros}: {floor} {first} {ceiling}");
            assert!(ceiling - floor <= EACH, "{micros}: {floor} {ceiling}");
        }
    }
}
