//! Replies to commands, and the `HANGUP` line that may stand before any of them.
//!
//! `HANGUP` is news, not an answer: taking it for one would shift every later reply by a line.

/// What Asterisk answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `200 result=N`, perhaps with a value in parentheses.
    Success {
        /// 0 or 1 as a rule; -1: broken off by hang-up; -2: `EXEC` of an unknown application.
        result: i32,
        /// The text in parentheses, not escaped.
        value: Option<&'a [u8]>,
    },
    /// `510`: no such command.
    UnknownCommand,
    /// `511`: the command needs a living channel.
    DeadChannel,
    /// `520`: wrong arguments.
    WrongSyntax,
    /// A status line of another form.
    Strange,
}

/// What one line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// The caller has hung up. Says nothing of the command that is waiting.
    Hangup,
    /// The answer to the command that is waiting.
    Reply(Reply<'a>),
    /// Part of a longer answer, or nothing we know.
    Skip,
}

/// Reads reply lines one by one; remembers when it is inside the usage text of a `520`.
#[derive(Debug, Default)]
pub struct ReplyReader {
    in_usage: bool,
}

impl ReplyReader {
    /// Reads one line, without its line end.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line == b"HANGUP" {
            return Line::Hangup;
        }
        if self.in_usage {
            if !line.starts_with(b"520 ") {
                return Line::Skip;
            }
            self.in_usage = false;
            return Line::Reply(Reply::WrongSyntax);
        }
        match line {
            [b'2', b'0', b'0', b' ', rest @ ..] => Line::Reply(success(rest)),
            [b'5', b'1', b'0', ..] => Line::Reply(Reply::UnknownCommand),
            [b'5', b'1', b'1', ..] => Line::Reply(Reply::DeadChannel),
            [b'5', b'2', b'0', b'-', ..] => {
                self.in_usage = true;
                Line::Skip
            }
            [b'5', b'2', b'0', ..] => Line::Reply(Reply::WrongSyntax),
            [a, b, c, b' ', ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
                Line::Reply(Reply::Strange)
            }
            _ => Line::Skip,
        }
    }
}

fn success(rest: &[u8]) -> Reply<'_> {
    let Some(rest) = rest.strip_prefix(b"result=") else {
        return Reply::Strange;
    };
    let digits = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
    let number = std::str::from_utf8(&rest[..digits])
        .ok()
        .and_then(|text| text.parse().ok());
    let Some(result) = number else {
        return Reply::Strange;
    };
    let value = rest[digits..].strip_prefix(b" (").and_then(|tail| {
        // The value may hold parentheses itself: it ends at the last one.
        let end = tail.iter().rposition(|&b| b == b')')?;
        Some(&tail[..end])
    });
    Reply::Success { result, value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &[u8]) -> Line<'_> {
        ReplyReader::default().line(line)
    }

    fn ok(result: i32, value: Option<&[u8]>) -> Line<'_> {
        Line::Reply(Reply::Success { result, value })
    }

    #[test]
    fn results_and_values_are_read() {
        assert_eq!(read(b"200 result=1"), ok(1, None));
        assert_eq!(read(b"200 result=-1"), ok(-1, None));
        assert_eq!(
            read(b"200 result=1 (a (b) \"c\") "),
            ok(1, Some(b"a (b) \"c\""))
        );
        assert_eq!(read(b"200 result=1 ()"), ok(1, Some(b"")));
        assert_eq!(read(b"200 result=0 endpos=0"), ok(0, None));
        assert_eq!(read(b"200 result=x"), Line::Reply(Reply::Strange));
        assert_eq!(read(b"200 "), Line::Reply(Reply::Strange));
        assert_eq!(read(b"100 Trying"), Line::Reply(Reply::Strange));
        assert_eq!(read(b"nonsense"), Line::Skip);
        assert_eq!(read(b""), Line::Skip);
    }

    #[test]
    fn hangup_is_never_an_answer() {
        assert_eq!(read(b"HANGUP"), Line::Hangup);
        let mut reader = ReplyReader::default();
        assert_eq!(reader.line(b"520-Invalid command syntax."), Line::Skip);
        assert_eq!(reader.line(b"HANGUP"), Line::Hangup);
        assert_eq!(reader.line(b" Usage: HANGUP [<channelname>]"), Line::Skip);
        assert_eq!(reader.line(b"200 result=1"), Line::Skip);
        let end = reader.line(b"520 End of proper usage.");
        assert_eq!(end, Line::Reply(Reply::WrongSyntax));
        assert_eq!(reader.line(b"200 result=1"), ok(1, None));
    }

    #[test]
    fn refusals_are_told_apart() {
        let unknown = read(b"510 Invalid or unknown command");
        assert_eq!(unknown, Line::Reply(Reply::UnknownCommand));
        let dead = read(b"511 Command Not Permitted on a dead channel or intercept routine");
        assert_eq!(dead, Line::Reply(Reply::DeadChannel));
    }

    proptest! {
        #[test]
        fn any_value_without_line_end_survives(value in "[^\n\r]{0,60}", result in any::<i32>()) {
            let line = format!("200 result={result} ({value})");
            prop_assert_eq!(read(line.as_bytes()), ok(result, Some(value.as_bytes())));
        }

        #[test]
        fn no_bytes_make_it_panic(lines in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..60), 0..20)
        ) {
            let mut reader = ReplyReader::default();
            for line in &lines {
                reader.line(line);
            }
        }
    }
}
