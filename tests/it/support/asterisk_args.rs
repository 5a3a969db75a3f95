//! How Asterisk takes a command apart: ports of `parse_args` (`res/res_agi.c`), `ast_app_separate_args`
//! and `pbx_builtin_setvar_multiple` (`main/app.c`, `main/pbx_variables.c`), byte for byte what they do.

/// Splits a command line into words as the AGI loop does.
pub fn parse_args(line: &str) -> Vec<String> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let (mut quoted, mut escaped, mut whitespace) = (false, false, true);
    for byte in line.bytes() {
        match byte {
            b'"' if !escaped => {
                quoted = !quoted;
                if quoted && whitespace {
                    words.push(Vec::new());
                    whitespace = false;
                }
            }
            b' ' | b'\t' if !quoted && !escaped => whitespace = true,
            b'\\' if !escaped => escaped = true,
            _ => {
                if whitespace {
                    words.push(Vec::new());
                    whitespace = false;
                }
                words.last_mut().expect("a word has begun").push(byte);
                escaped = false;
            }
        }
    }
    words
        .into_iter()
        .map(|word| String::from_utf8_lossy(&word).into_owned())
        .collect()
}

/// Splits application data at `delimiter`, into at most `most` pieces.
pub fn separate_args(data: &str, delimiter: u8, remove_chars: bool, most: usize) -> Vec<String> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let (mut paren, mut quote, mut bracket) = (0_u32, false, 0_u32);
    let mut bytes = data.bytes().peekable();
    let mut ended_with_delimiter = false;
    while bytes.peek().is_some() && pieces.len() + 1 < most {
        let mut piece = Vec::new();
        ended_with_delimiter = false;
        while let Some(byte) = bytes.next() {
            match byte {
                b'(' => paren += 1,
                b')' => paren = paren.saturating_sub(1),
                b'[' => bracket += 1,
                b']' => bracket = bracket.saturating_sub(1),
                b'"' if delimiter != b'"' => {
                    quote = !quote;
                    if remove_chars {
                        continue;
                    }
                }
                b'\\' => {
                    if !remove_chars {
                        piece.push(byte);
                    }
                    piece.extend(bytes.next());
                    continue;
                }
                _ if byte == delimiter && paren == 0 && !quote && bracket == 0 => {
                    ended_with_delimiter = true;
                    break;
                }
                _ => {}
            }
            piece.push(byte);
        }
        pieces.push(piece);
    }
    if bytes.peek().is_some() || ended_with_delimiter {
        pieces.push(bytes.collect());
    }
    pieces
        .into_iter()
        .map(|piece| String::from_utf8_lossy(&piece).into_owned())
        .collect()
}

/// What `MSet` sets, in order.
pub fn mset(data: &str) -> Vec<(String, String)> {
    separate_args(data, b',', true, 24)
        .iter()
        .filter_map(|pair| {
            let mut halves = separate_args(pair, b'=', false, 2).into_iter();
            Some((halves.next()?, halves.next()?))
        })
        .collect()
}

#[test]
fn words_are_split_as_asterisk_splits_them() {
    assert_eq!(
        parse_args(r#"SET VARIABLE X "a \"quoted\" b\\" y\ z "" "#),
        ["SET", "VARIABLE", "X", r#"a "quoted" b\"#, "y z", ""]
    );
    assert_eq!(
        mset("A=1,B=,C=\"x,y\",D,E=a=b"),
        [
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), String::new()),
            ("C".to_owned(), "x,y".to_owned()),
            ("E".to_owned(), "a=b".to_owned()),
        ]
    );
}
