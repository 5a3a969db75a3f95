//! Commands to Asterisk, each one line.
//!
//! Asterisk's argument reader knows `"` and `\`, nothing else; `MSet` splits what it gets at commas and
//! knows quotes, brackets and backslashes of its own. So values of a small alphabet share one `MSet`,
//! and anything else travels alone, quoted, in `SET VARIABLE`.

/// Longest line written, its end included. Asterisk's buffer is 2,048 bytes.
pub const MAX_COMMAND_BYTES: usize = 1_900;

/// Why a value cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It holds a control character.
    #[error("{name} holds a control character")]
    ControlCharacter {
        /// The variable.
        name: &'static str,
    },
    /// It holds a character outside the alphabet it must keep to.
    #[error("{name} holds a character outside its alphabet")]
    NotPlain {
        /// The variable.
        name: &'static str,
    },
    /// The line would be longer than [`MAX_COMMAND_BYTES`].
    #[error("the command that sets {name} is too long")]
    TooLong {
        /// The last variable in it.
        name: &'static str,
    },
}

/// Whether `value` means itself everywhere: in `MSet`, in quotes, in a dialplan expression. The empty
/// value does.
pub fn is_plain(value: &str) -> bool {
    value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+' | b'/' | b':'))
}

/// Writes `SET VARIABLE name "value"` for a value of any text.
pub fn set_variable(
    line: &mut Vec<u8>,
    name: &'static str,
    value: &str,
) -> Result<(), CommandError> {
    line.clear();
    line.extend_from_slice(b"SET VARIABLE ");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b" \"");
    if value.chars().any(char::is_control) {
        return Err(CommandError::ControlCharacter { name });
    }
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\') {
            line.push(b'\\');
        }
        line.push(byte);
    }
    line.extend_from_slice(b"\"\n");
    fits(line, name)
}

/// Writes one `EXEC MSet` for values that are all [plain](is_plain). Asterisk takes at most 24.
pub fn set_variables(
    line: &mut Vec<u8>,
    values: &[(&'static str, &str)],
) -> Result<(), CommandError> {
    line.clear();
    line.extend_from_slice(b"EXEC MSet \"");
    for (i, (name, value)) in values.iter().enumerate() {
        if !is_plain(value) {
            return Err(CommandError::NotPlain { name });
        }
        if i > 0 {
            line.push(b',');
        }
        line.extend_from_slice(name.as_bytes());
        line.push(b'=');
        line.extend_from_slice(value.as_bytes());
        fits(line, name)?;
    }
    line.extend_from_slice(b"\"\n");
    fits(line, values.last().map_or("", |(name, _)| name))
}

fn fits(line: &[u8], name: &'static str) -> Result<(), CommandError> {
    if line.len() > MAX_COMMAND_BYTES {
        return Err(CommandError::TooLong { name });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Result<String, CommandError> {
        let mut line = b"left over".to_vec();
        set_variable(&mut line, "A", value).map(|()| String::from_utf8(line).expect("text"))
    }

    fn many(values: &[(&'static str, &str)]) -> Result<String, CommandError> {
        let mut line = b"left over".to_vec();
        set_variables(&mut line, values).map(|()| String::from_utf8(line).expect("text"))
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let line = one(r#"a "b" \c, ${D} ü"#).expect("printable");
        assert_eq!(line, "SET VARIABLE A \"a \\\"b\\\" \\\\c, ${D} ü\"\n");
        assert_eq!(one(""), Ok("SET VARIABLE A \"\"\n".to_owned()));
    }

    #[test]
    fn control_characters_never_leave() {
        for text in ["a\nb", "a\rb", "a\0b", "\x1b[0m", "\x7f", "\u{85}", "\t"] {
            assert_eq!(one(text), Err(CommandError::ControlCharacter { name: "A" }));
        }
    }

    #[test]
    fn long_lines_never_leave() {
        let room = MAX_COMMAND_BYTES - "SET VARIABLE A \"\"\n".len();
        assert!(one(&"x".repeat(room)).is_ok());
        let too_long = Err(CommandError::TooLong { name: "A" });
        assert_eq!(one(&"x".repeat(room + 1)), too_long);
        assert_eq!(one(&"\"".repeat(room / 2 + 1)), too_long);
        assert_eq!(many(&[("A", &"x".repeat(1_900))]), too_long);
    }

    #[test]
    fn plain_values_share_a_line() {
        assert_eq!(
            many(&[("A", "x-1"), ("B", ""), ("C", "DIAL")]),
            Ok("EXEC MSet \"A=x-1,B=,C=DIAL\"\n".to_owned())
        );
        for text in [
            "a,b", "a b", "a\"", "a\\", "(", "[", "$", "=", "&", "@", "ü", "\n",
        ] {
            assert_eq!(
                many(&[("A", text)]),
                Err(CommandError::NotPlain { name: "A" })
            );
        }
    }
}
