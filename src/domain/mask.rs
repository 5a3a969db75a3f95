//! Numbers that should not be kept: spoken card and identity numbers are masked before a transcript is stored.
//!
//! A recogniser writes numbers as words, one a digit or one for two, in several utterances with the other side's
//! "yes" between, so what counts is the run of number words of one speaker. Of nine digits on it is masked: a US
//! social security number has 9, an Indian Aadhaar number 12, a payment card 13 to 19. Telephone numbers have
//! about as many digits and are masked as well; amounts, dates, and years have fewer.

use super::transcript::Segment;

/// A run of so many digits is masked.
pub const SHORTEST: usize = 9;

/// What stands for a masked word.
pub const MASK: &str = "#";

/// So many fillers in a row do not end a number.
const MAX_FILLERS: usize = 4;

/// Masks the long numbers of every speaker; says whether there was one. Segments must be in the order of time.
pub fn mask(segments: &mut [Segment]) -> bool {
    let mut speakers: Vec<_> = segments.iter().map(|segment| segment.speaker).collect();
    speakers.sort_unstable();
    speakers.dedup();
    let mut found = false;
    for speaker in speakers {
        let of_speaker = || (0..).zip(&*segments).filter(|(_, s)| s.speaker == speaker);
        let places: Vec<(usize, usize)> = of_speaker()
            .flat_map(|(n, segment)| (0..segment.words.len()).map(move |word| (n, word)))
            .collect();
        let kinds = of_speaker().flat_map(|(_, segment)| &segment.words);
        let kinds: Vec<Kind> = kinds.map(|word| Kind::of(&word.word)).collect();
        let mut masked = vec![vec![]; segments.len()];
        for at in numbers(&kinds).into_iter().flatten() {
            let (segment, word) = places[at];
            masked[segment].push(word);
        }
        for (segment, words) in segments.iter_mut().zip(masked) {
            if !words.is_empty() {
                found = true;
                segment.reword(|n, _| words.contains(&n).then(|| MASK.to_owned()));
            }
        }
    }
    found
}

/// What a word is in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Says so many digits.
    Digits(usize),
    /// Twenty to ninety: two digits, with one that follows or without.
    Tens,
    /// One to nine, which may follow tens.
    Unit,
    /// Double, triple: what follows counts so many times.
    Times(usize),
    /// Can stand in the middle of a number.
    Filler,
    /// Anything else.
    Other,
}

/// Where the numbers that are long enough stand, from the first word to the last.
fn numbers(kinds: &[Kind]) -> Vec<std::ops::RangeInclusive<usize>> {
    let mut found = Vec::new();
    let mut run = Run::default();
    for (at, kind) in kinds.iter().enumerate() {
        if !run.takes(at, *kind) {
            found.extend(run.end());
        }
    }
    found.extend(run.end());
    found
}

/// A number that is being said.
#[derive(Debug, Default)]
struct Run {
    first: Option<usize>,
    last: usize,
    digits: usize,
    fillers: usize,
    times: Option<usize>,
    after_tens: bool,
}

impl Run {
    /// Goes on with a word; `false` if it does not belong to the number.
    fn takes(&mut self, at: usize, kind: Kind) -> bool {
        let digits = match kind {
            Kind::Digits(digits) => digits,
            Kind::Tens => 2,
            Kind::Unit if self.after_tens => 0,
            Kind::Unit => 1,
            Kind::Times(times) => {
                self.first.get_or_insert(at);
                self.times = Some(times);
                (self.after_tens, self.fillers) = (false, 0);
                return true;
            }
            Kind::Filler => {
                self.fillers += 1;
                self.after_tens = false;
                return self.first.is_some() && self.fillers <= MAX_FILLERS;
            }
            Kind::Other => return false,
        };
        self.first.get_or_insert(at);
        self.last = at;
        self.digits += digits * self.times.take().unwrap_or(1);
        self.fillers = 0;
        self.after_tens = kind == Kind::Tens;
        true
    }

    /// Ends the number; returns where it stands if it is to be masked.
    fn end(&mut self) -> Option<std::ops::RangeInclusive<usize>> {
        let run = std::mem::take(self);
        let first = run.first.filter(|_| run.digits >= SHORTEST)?;
        Some(first..=run.last)
    }
}

impl Kind {
    fn of(word: &str) -> Self {
        let word = normal(word);
        if let Some(digits) = written_digits(&word) {
            return Self::Digits(digits);
        }
        if let Some((tens, unit)) = word.split_once('-')
            && Self::of_spoken(tens) == Self::Tens
            && Self::of_spoken(unit) == Self::Unit
        {
            return Self::Digits(2);
        }
        Self::of_spoken(&word)
    }

    fn of_spoken(word: &str) -> Self {
        const KINDS: &[(Kind, &[&str])] = &[
            (Kind::Unit, &UNITS),
            (Kind::Digits(1), &ZEROS),
            (Kind::Digits(2), &TEENS),
            (Kind::Tens, &TENS),
            (Kind::Digits(2), &HINDI_TWO_DIGITS),
            // "Four hundred": what follows the four are two more digits.
            (Kind::Digits(2), &["hundred", "सौ"]),
            (Kind::Times(2), &["double", "डबल"]),
            (Kind::Times(3), &["triple", "treble", "ट्रिपल"]),
            (Kind::Filler, &FILLERS),
        ];
        let known = KINDS.iter().find(|(_, words)| words.contains(&word));
        known.map_or(Self::Other, |(kind, _)| *kind)
    }
}

/// How many digits a word of digits has, as in `4532` and `45-32`.
fn written_digits(word: &str) -> Option<usize> {
    let is_digit = |c: char| c.is_ascii_digit() || ('०'..='९').contains(&c);
    let only = word
        .chars()
        .all(|c| is_digit(c) || matches!(c, '-' | '.' | ',' | '/'));
    let digits = word.chars().filter(|c| is_digit(*c)).count();
    (only && digits > 0).then_some(digits)
}

/// In one spelling: small letters, no punctuation around it, no dot below Devanagari letters, and one sign for a
/// nasal vowel.
fn normal(word: &str) -> String {
    let outside = |c: char| c.is_ascii_punctuation() || c == '।';
    let letters = word.trim_matches(outside).chars().filter_map(|c| match c {
        '\u{93c}' => None,
        '\u{901}' => Some('\u{902}'),
        '\u{95b}' => Some('ज'),
        '\u{95c}' => Some('ड'),
        '\u{95d}' => Some('ढ'),
        '\u{95e}' => Some('फ'),
        c => Some(c),
    });
    letters.collect::<String>().to_lowercase()
}

// All in the spelling of `normal`. Callers in India mix: English numbers come in Devanagari, too.
const UNITS: [&str; 35] = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "एक",
    "दो",
    "तीन",
    "चार",
    "पांच",
    "पाच",
    "छह",
    "छः",
    "छ",
    "छे",
    "छै",
    "छ:",
    "सात",
    "आठ",
    "नौ",
    "नो",
    "वन",
    "टू",
    "थ्री",
    "फोर",
    "फाइव",
    "सिक्स",
    "सेवन",
    "एट",
    "नाइन",
    "niner",
];

const ZEROS: [&str; 8] = ["zero", "oh", "o", "nought", "naught", "शून्य", "जीरो", "सिफर"];

const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 9] = [
    "twenty", "thirty", "forty", "fourty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

const HINDI_TWO_DIGITS: [&str; 108] = [
    "दस",
    "ग्यारह",
    "बारह",
    "तेरह",
    "चौदह",
    "पंद्रह",
    "पन्द्रह",
    "सोलह",
    "सत्रह",
    "अठारह",
    "अट्ठारह",
    "उन्नीस",
    "बीस",
    "इक्कीस",
    "बाईस",
    "बाइस",
    "तेईस",
    "तेइस",
    "चौबीस",
    "पच्चीस",
    "छब्बीस",
    "सत्ताईस",
    "सत्ताइस",
    "अट्ठाईस",
    "अठाईस",
    "उनतीस",
    "उन्तीस",
    "तीस",
    "इकतीस",
    "इकत्तीस",
    "बत्तीस",
    "तैंतीस",
    "चौंतीस",
    "पैंतीस",
    "छत्तीस",
    "सैंतीस",
    "अडतीस",
    "उनतालीस",
    "चालीस",
    "इकतालीस",
    "बयालीस",
    "तैंतालीस",
    "चौवालीस",
    "चवालीस",
    "पैंतालीस",
    "छियालीस",
    "सैंतालीस",
    "अडतालीस",
    "उनचास",
    "पचास",
    "इक्यावन",
    "बावन",
    "तिरपन",
    "तिरेपन",
    "चौवन",
    "पचपन",
    "छप्पन",
    "सत्तावन",
    "अट्ठावन",
    "अठावन",
    "उनसठ",
    "साठ",
    "इकसठ",
    "बासठ",
    "तिरसठ",
    "तिरेसठ",
    "चौंसठ",
    "पैंसठ",
    "छियासठ",
    "सडसठ",
    "अडसठ",
    "उनहत्तर",
    "सत्तर",
    "इकहत्तर",
    "बहत्तर",
    "तिहत्तर",
    "चौहत्तर",
    "पचहत्तर",
    "छिहत्तर",
    "सतहत्तर",
    "अठहत्तर",
    "उन्यासी",
    "उनासी",
    "अस्सी",
    "इक्यासी",
    "बयासी",
    "तिरासी",
    "चौरासी",
    "पचासी",
    "छियासी",
    "सत्तासी",
    "अट्ठासी",
    "अठासी",
    "नवासी",
    "नब्बे",
    "इक्यानवे",
    "बानवे",
    "बानबे",
    "तिरानवे",
    "चौरानवे",
    "पचानवे",
    "पंचानवे",
    "छियानवे",
    "सत्तानवे",
    "अट्ठानवे",
    "अठानवे",
    "निन्यानवे",
    "निन्यानबे",
];

/// What people say while they read out a number, and what a recogniser makes of "two", "four" and "eight".
const FILLERS: [&str; 46] = [
    "and",
    "then",
    "dash",
    "hyphen",
    "space",
    "dot",
    "uh",
    "um",
    "er",
    "ah",
    "hm",
    "hmm",
    "mm",
    "mhm",
    "okay",
    "ok",
    "yes",
    "yeah",
    "yep",
    "right",
    "sorry",
    "no",
    "so",
    "go",
    "on",
    "ahead",
    "got",
    "it",
    "to",
    "too",
    "for",
    "ate",
    "won",
    "और",
    "फिर",
    "हां",
    "जी",
    "अच्छा",
    "ठीक",
    "है",
    "तो",
    "ओके",
    "नहीं",
    "next",
    "again",
    "the",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::transcript::{Word, merge, to_text};
    use super::*;
    use crate::domain::Speaker;

    /// Segments of a conversation: who, and what.
    fn conversation(said: &[(Speaker, &str)]) -> Vec<Segment> {
        let segments = (0..).zip(said).filter_map(|(n, (speaker, text))| {
            let words = (0..).zip(text.split_whitespace());
            let words = words.map(|(at, word)| {
                let start = n * 100_000 + at * 500;
                Word::new(word, start, start + 400, 0.8)
            });
            Segment::new(Some(*speaker), None, words.collect())
        });
        merge(segments.collect())
    }

    fn masked(text: &str) -> String {
        let mut segments = conversation(&[(Speaker::Caller, text)]);
        mask(&mut segments);
        to_text(&segments).trim_end().to_owned()
    }

    #[test]
    fn long_numbers_are_masked_and_what_stands_around_them_is_not() {
        for (said, kept) in [
            (
                "it is four five three two one four eight eight zero three four three six four six seven thanks",
                "it is # # # # # # # # # # # # # # # # thanks",
            ),
            (
                "double five triple four nine eight seven six",
                "# # # # # # # #",
            ),
            (
                "call nineteen forty-one twenty two eighty please",
                "call nineteen forty-one twenty two eighty please",
            ),
            (
                "call nineteen forty-one twenty two eighty six please",
                "call nineteen forty-one twenty two eighty six please",
            ),
            (
                "call nineteen forty-one twenty two eighty oh please",
                "call # # # # # # please",
            ),
            ("123-45-6789 okay", "# okay"),
            ("१२३४ ५६७८ ९०१२ जी", "# # # जी"),
            (
                "मेरा नंबर पाँच छः ज़ीरो नौ आठ सात डबल दो एक है",
                "मेरा नंबर # # # # # # # # # है",
            ),
            ("अट्ठानवे सत्तर बारह चौबीस एक नमस्ते", "# # # # # नमस्ते"),
            (
                "Four, Five. Six seven eight nine one two three",
                "# # # # # # # # #",
            ),
        ] {
            assert_eq!(masked(said), kept, "{said}");
        }
    }

    #[test]
    fn shorter_numbers_and_amounts_stay() {
        for said in [
            "zero one two three four five six seven",
            "two thousand twenty six and one million two hundred fifty thousand",
            "one to one for four",
            "double trouble triple trouble and so on",
            "budget five zero zero price nine two thank you",
            "one two three four house five six seven eight nine",
        ] {
            assert_eq!(masked(said), said);
        }
    }

    #[test]
    fn a_number_goes_on_through_fillers_and_the_other_sides_yes() {
        let mut segments = conversation(&[
            (Speaker::Caller, "the card is four five three two"),
            (Speaker::Agent, "four five three two yes"),
            (Speaker::Caller, "uh one four"),
            (Speaker::Caller, "double eight and zero three"),
            (Speaker::Agent, "one four"),
            (Speaker::Caller, "that is all"),
        ]);
        assert!(mask(&mut segments));
        assert_eq!(
            to_text(&segments),
            "the card is # # # #\nfour five three two yes\n# # #\n# # # # #\none four\nthat is all\n"
        );
    }

    #[test]
    fn every_word_is_in_the_spelling_that_is_looked_up() {
        for word in [
            &UNITS[..],
            &ZEROS,
            &TEENS,
            &TENS,
            &HINDI_TWO_DIGITS,
            &FILLERS,
        ]
        .concat()
        {
            // A visarga that was typed as a colon is cut off as punctuation; what is left is in the list.
            let found = Kind::of(word);
            assert!(found != Kind::Other, "{word}");
        }
    }

    fn any_word() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "one",
            "nine",
            "twenty",
            "fifteen",
            "double",
            "triple",
            "zero",
            "uh",
            "and",
            "#",
            "hello",
            "4532",
            "५",
            "पांच",
            "अस्सी",
            "हां",
            "hundred",
            "forty-one",
        ])
    }

    proptest! {
        #[test]
        fn masking_changes_words_only_and_only_once(
            said in prop::collection::vec((any::<bool>(), prop::collection::vec(any_word(), 1..12)), 1..8),
        ) {
            let said: Vec<(Speaker, String)> = said.into_iter().map(|(caller, words)| {
                (if caller { Speaker::Caller } else { Speaker::Agent }, words.join(" "))
            }).collect();
            let said: Vec<(Speaker, &str)> = said.iter().map(|(who, text)| (*who, text.as_str())).collect();
            let before = conversation(&said);
            let mut once = before.clone();
            let found = mask(&mut once);
            prop_assert_eq!(found, before != once);
            for (before, after) in before.iter().zip(&once) {
                prop_assert_eq!(before.words.len(), after.words.len());
                prop_assert_eq!((before.start_ms, before.end_ms), (after.start_ms, after.end_ms));
                for (old, new) in before.words.iter().zip(&after.words) {
                    prop_assert_eq!((old.start_ms, old.end_ms), (new.start_ms, new.end_ms));
                    prop_assert!(new.word == old.word || new.word == MASK);
                }
                let words: Vec<&str> = after.words.iter().map(|w| w.word.as_str()).collect();
                prop_assert_eq!(words.join(" "), after.text.clone());
            }
            let mut twice = once.clone();
            prop_assert!(!mask(&mut twice));
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn as_many_digits_as_it_takes_are_masked_and_fewer_are_not(
            digits in prop::collection::vec(0_usize..10, 1..24),
            hindi in any::<bool>(),
        ) {
            const ENGLISH: [&str; 10] =
                ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
            const HINDI: [&str; 10] =
                ["शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ"];
            let words = if hindi { HINDI } else { ENGLISH };
            let said: Vec<&str> = digits.iter().map(|digit| words[*digit]).collect();
            let expected = if said.len() < SHORTEST { said.clone() } else { vec![MASK; said.len()] };
            prop_assert_eq!(masked(&said.join(" ")), expected.join(" "));
        }
    }
}
