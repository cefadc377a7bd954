//! From the probability of speech per window to segments of speech, by the thresholds that Silero documents for
//! its models.

/// Samples per second that the model was trained for.
pub(crate) const SAMPLE_RATE: u32 = 16_000;

/// New samples per run of the model: 32 ms.
pub(crate) const WINDOW: usize = 512;

/// A window that is at least this likely speech opens a segment, or closes the silence in one.
const ENTER: f32 = 0.5;

/// A window that is less likely speech than this is silence within a segment. In between, the state stays as it is.
const LEAVE: f32 = 0.35;

const MIN_SPEECH: u64 = milliseconds(250);
const MIN_SILENCE: u64 = milliseconds(100);
const PADDING: u64 = milliseconds(30);

// Padded neighbors cannot overlap, so a segment is final as soon as the silence behind it is long enough.
const _: () = assert!(MIN_SILENCE >= 2 * PADDING);

const fn milliseconds(count: u64) -> u64 {
    count * SAMPLE_RATE as u64 / 1000
}

/// A stretch of speech, in samples from the start of the stream. The end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Finds segments in a stream of probabilities, one per window of [`WINDOW`] samples.
#[derive(Default)]
pub(crate) struct Segmenter {
    /// First sample of the next window.
    position: u64,
    speech: Option<Speech>,
}

struct Speech {
    start: u64,
    /// Where the silence began that the segment is in at present.
    silence: Option<u64>,
}

impl Segmenter {
    /// Takes the probability of the next window and returns the segment that is known to be over with it.
    pub(crate) fn push(&mut self, probability: f32) -> Option<Segment> {
        let position = self.position;
        self.position += WINDOW as u64;

        let Some(speech) = &mut self.speech else {
            if probability >= ENTER {
                self.speech = Some(Speech {
                    start: position,
                    silence: None,
                });
            }
            return None;
        };
        if probability >= ENTER {
            speech.silence = None;
            return None;
        }
        if probability >= LEAVE {
            return None;
        }
        let end = *speech.silence.get_or_insert(position);
        if position - end < MIN_SILENCE {
            return None;
        }
        let start = speech.start;
        self.speech = None;
        long_enough(start, end).then(|| Segment {
            start: start.saturating_sub(PADDING),
            end: end + PADDING,
        })
    }

    /// Ends a stream of `samples` samples and returns the segment that was still open. The last window may have been
    /// filled up with silence, which `samples` does not count.
    pub(crate) fn finish(self, samples: u64) -> Option<Segment> {
        let start = self.speech?.start;
        long_enough(start, samples).then(|| Segment {
            start: start.saturating_sub(PADDING),
            end: samples,
        })
    }
}

fn long_enough(start: u64, end: u64) -> bool {
    end - start > MIN_SPEECH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(windows: &[(f32, usize)], samples: u64) -> Vec<Segment> {
        let mut segmenter = Segmenter::default();
        let mut found = Vec::new();
        for &(probability, count) in windows {
            found.extend((0..count).filter_map(|_| segmenter.push(probability)));
        }
        found.extend(segmenter.finish(samples));
        found
    }

    fn at(window: u64) -> u64 {
        window * WINDOW as u64
    }

    #[test]
    fn pads_a_segment_on_both_sides() {
        let found = segments(&[(0.1, 10), (0.9, 20), (0.1, 10)], at(40));
        assert_eq!(
            found,
            [Segment {
                start: at(10) - 480,
                end: at(30) + 480
            }]
        );
    }

    #[test]
    fn keeps_within_the_stream() {
        assert_eq!(
            segments(&[(0.9, 20)], at(20) - 100),
            [Segment {
                start: 0,
                end: at(20) - 100
            }]
        );
    }

    #[test]
    fn bridges_a_short_silence_and_the_band_between_the_thresholds() {
        let found = segments(&[(0.9, 10), (0.1, 3), (0.9, 5), (0.4, 30), (0.9, 1)], at(49));
        assert_eq!(found, [Segment { start: 0, end: at(49) }]);
    }

    #[test]
    fn parts_at_a_long_silence() {
        let found = segments(&[(0.9, 10), (0.1, 5), (0.9, 10), (0.1, 5)], at(30));
        let ends = [at(10) + 480, at(25) + 480];
        assert_eq!(found.iter().map(|segment| segment.end).collect::<Vec<_>>(), ends);
    }

    #[test]
    fn drops_what_is_too_short() {
        assert_eq!(segments(&[(0.1, 5), (0.9, 7), (0.1, 10)], at(22)), []);
        assert_eq!(segments(&[(0.1, 5), (0.9, 7)], at(12)), []);
        assert_eq!(segments(&[(0.1, 5), (0.9, 8), (0.1, 10)], at(23)).len(), 1);
    }

    #[test]
    fn finds_nothing_in_an_empty_stream() {
        assert_eq!(segments(&[], 0), []);
    }
}
