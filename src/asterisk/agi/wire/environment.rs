//! The environment Asterisk sends first: `name: value` lines up to an empty line.
//!
//! Asterisk writes each line by itself, so [`Scanner`] looks at every byte once, however it arrives,
//! and refuses what cannot be an environment as soon as that shows. [`Environment`] then reads the
//! finished text once. Values are untrusted bytes, not escaped, perhaps not UTF-8.

use std::borrow::Cow;

/// Longest environment accepted, in bytes. Asterisk's is about 550.
pub const MAX_ENVIRONMENT_BYTES: usize = 16 * 1024;
/// Longest line accepted, in bytes.
pub const MAX_LINE_BYTES: usize = 2 * 1024;
/// Most variables accepted: Asterisk sends 22 and at most 128 arguments.
pub const MAX_VARIABLES: usize = 160;
/// Arguments kept; further ones are ignored.
pub const MAX_ARGUMENTS: usize = 9;

/// Why bytes are not an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A line that Asterisk does not write.
    #[error("not an AGI environment")]
    NotAgi,
    /// A line beyond [`MAX_LINE_BYTES`].
    #[error("a line of the environment is too long")]
    LineTooLong,
    /// More than [`MAX_VARIABLES`].
    #[error("the environment has too many variables")]
    TooManyVariables,
    /// More than [`MAX_ENVIRONMENT_BYTES`].
    #[error("the environment is too long")]
    TooLong,
    /// A variable that we use came twice: a value has smuggled in a line.
    #[error("a variable of the environment came twice")]
    Duplicate,
    /// It went on after its empty line: a value has smuggled in that one.
    #[error("the environment went on after its end")]
    TwoEnds,
}

/// Finds the end of an environment that arrives in pieces.
#[derive(Debug, Default)]
pub struct Scanner {
    line_start: usize,
    seen: usize,
    lines: usize,
}

impl Scanner {
    /// Looks at what was added to `bytes` since the last call. `Some(n)`: the environment is the first
    /// `n` bytes, empty line included.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, EnvironmentError> {
        let whole = &bytes[..bytes.len().min(MAX_ENVIRONMENT_BYTES)];
        while let Some(length) = whole[self.seen..].iter().position(|&b| b == b'\n') {
            let end = self.seen + length;
            let line = trim_return(&whole[self.line_start..end]);
            self.seen = end + 1;
            self.line_start = self.seen;
            if line.is_empty() {
                return Ok(Some(self.seen));
            }
            if line.len() > MAX_LINE_BYTES {
                return Err(EnvironmentError::LineTooLong);
            }
            if !line.starts_with(b"agi_") && line != b"HANGUP" {
                return Err(EnvironmentError::NotAgi);
            }
            self.lines += 1;
            if self.lines > MAX_VARIABLES {
                return Err(EnvironmentError::TooManyVariables);
            }
        }
        self.seen = whole.len();
        let unfinished = &whole[self.line_start..];
        if unfinished.len() > MAX_LINE_BYTES + 1 {
            return Err(EnvironmentError::LineTooLong);
        }
        if !may_begin(unfinished) {
            return Err(EnvironmentError::NotAgi);
        }
        if bytes.len() >= MAX_ENVIRONMENT_BYTES {
            return Err(EnvironmentError::TooLong);
        }
        Ok(None)
    }
}

/// Whether an unfinished line may still become one of an environment.
fn may_begin(line: &[u8]) -> bool {
    [&b"agi_"[..], b"HANGUP\r", b"\r"].iter().any(|known| {
        let shared = known.len().min(line.len());
        line[..shared] == known[..shared] && (line.len() <= known.len() || known[0] == b'a')
    })
}

/// The variables that we use, as sent. What did not come is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Environment<'a> {
    /// `agi_network_script`: the path of the request, with a query string if there was one.
    pub script: &'a [u8],
    /// `agi_channel`.
    pub channel: &'a [u8],
    /// `agi_uniqueid`.
    pub uniqueid: &'a [u8],
    /// `agi_callerid`.
    pub caller_number: &'a [u8],
    /// `agi_calleridname`.
    pub caller_name: &'a [u8],
    /// `agi_dnid`.
    pub dnid: &'a [u8],
    /// `agi_extension`.
    pub extension: &'a [u8],
    arguments: [Option<&'a [u8]>; MAX_ARGUMENTS],
}

impl<'a> Environment<'a> {
    /// Reads the lines that [`Scanner`] has found complete.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvironmentError> {
        let mut environment = Self::default();
        let mut seen = 0_u32;
        for line in bytes.split(|&b| b == b'\n').map(trim_return) {
            let Some((name, value)) = cut(line) else {
                continue;
            };
            let (bit, slot) = match name {
                b"agi_network_script" => (0, &mut environment.script),
                b"agi_channel" => (1, &mut environment.channel),
                b"agi_uniqueid" => (2, &mut environment.uniqueid),
                b"agi_callerid" => (3, &mut environment.caller_number),
                b"agi_calleridname" => (4, &mut environment.caller_name),
                b"agi_dnid" => (5, &mut environment.dnid),
                b"agi_extension" => (6, &mut environment.extension),
                _ => {
                    let Some(index) = argument_index(name) else {
                        continue;
                    };
                    let slot = environment.arguments[index].get_or_insert_default();
                    (8 + index, slot)
                }
            };
            if seen & (1 << bit) != 0 {
                return Err(EnvironmentError::Duplicate);
            }
            seen |= 1 << bit;
            *slot = value;
        }
        Ok(environment)
    }

    /// Argument `number`, counted from 1 as Asterisk does. `None` if it was not given; one that was
    /// given empty is `Some`.
    pub fn argument(&self, number: usize) -> Option<Cow<'a, str>> {
        let argument = *self.arguments.get(number.checked_sub(1)?)?;
        argument.map(String::from_utf8_lossy)
    }
}

/// Cuts at the first `": "`, for values hold colons. Asterisk ends an empty value with the blank; a
/// peer may have trimmed it.
fn cut(line: &[u8]) -> Option<(&[u8], &[u8])> {
    match line.windows(2).position(|pair| pair == b": ") {
        Some(colon) => Some((&line[..colon], &line[colon + 2..])),
        None => line.strip_suffix(b":").map(|name| (name, &[][..])),
    }
}

fn argument_index(name: &[u8]) -> Option<usize> {
    match name.strip_prefix(b"agi_arg_")? {
        [digit @ b'1'..=b'9'] => Some(usize::from(digit - b'1')),
        _ => None,
    }
}

fn trim_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Option<usize>, EnvironmentError> {
        Scanner::default().advance(bytes)
    }

    #[test]
    fn an_environment_is_read_with_its_arguments() {
        let text = b"agi_network: yes\nagi_network_script: route?x=1\nagi_request: agi://h:4573/route\n\
            agi_uniqueid: 1795206437.0\nagi_callerid: +4930\nagi_calleridname: A: \"b\" \xff\n\
            agi_dnid: 18005550100\nagi_extension: s\nagi_accountcode: \nagi_arg_1: \nagi_arg_3: x y\n\nHANGUP\n";
        let end = scan(text).expect("valid").expect("complete");
        assert_eq!(&text[end..], b"HANGUP\n");
        let environment = Environment::parse(&text[..end]).expect("no duplicates");
        assert_eq!(environment.script, b"route?x=1");
        assert_eq!(environment.caller_name, b"A: \"b\" \xff");
        assert_eq!(environment.argument(1).as_deref(), Some(""));
        assert_eq!(environment.argument(2), None);
        assert_eq!(environment.argument(3).as_deref(), Some("x y"));
        assert_eq!(environment.argument(0), None);
        assert_eq!(environment.argument(99), None);
    }

    #[test]
    fn what_is_no_environment_shows_early() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"G",
            b"\x16\x03\x01",
            b"agi_network: yes\nx",
        ] {
            assert_eq!(scan(bytes), Err(EnvironmentError::NotAgi), "{bytes:?}");
        }
        for bytes in [&b""[..], b"ag", b"agi_network", b"HANGUP\n", b"HANG", b"\r"] {
            assert_eq!(scan(bytes), Ok(None), "{bytes:?}");
        }
        assert_eq!(scan(b"\r\n"), Ok(Some(2)));
    }

    #[test]
    fn lines_variables_and_the_whole_are_bounded() {
        let long = [b"agi_x: ".to_vec(), vec![b'x'; MAX_LINE_BYTES]].concat();
        assert_eq!(scan(&long), Err(EnvironmentError::LineTooLong));
        let many = b"agi_x: \n".repeat(MAX_VARIABLES + 1);
        assert_eq!(scan(&many), Err(EnvironmentError::TooManyVariables));
        let line = [b"agi_x: ".to_vec(), vec![b'x'; 1000], b"\n".to_vec()].concat();
        assert_eq!(scan(&line.repeat(17)), Err(EnvironmentError::TooLong));
    }

    #[test]
    fn a_variable_that_comes_twice_is_refused() {
        let text = b"agi_calleridname: x\nagi_dnid: 1\nagi_dnid: 2\n\n";
        assert_eq!(
            Environment::parse(text),
            Err(EnvironmentError::Duplicate),
            "a name with a line end in it could choose the number dialled"
        );
        assert!(Environment::parse(b"agi_x: 1\nagi_x: 2\n\n").is_ok());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            values in proptest::collection::vec("[^\n\r]{0,40}", 0..30),
            pieces in proptest::collection::vec(1_usize..50, 1..60),
        ) {
            let mut lines: Vec<_> = (0..).zip(&values).map(|(i, v)| format!("agi_v{i}: {v}\n")).collect();
            lines.push("\nrest".to_owned());
            let text = lines.concat();
            let mut scanner = Scanner::default();
            let mut end = 0;
            let mut found = None;
            let mut pieces = pieces.into_iter().cycle();
            while found.is_none() {
                end = (end + pieces.next().expect("endless")).min(text.len());
                found = scanner.advance(&text.as_bytes()[..end]).expect("valid");
            }
            prop_assert_eq!(found, Some(text.len() - 4));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(Some(end)) = scan(&bytes) {
                let _ = Environment::parse(&bytes[..end]);
            }
        }
    }
}
