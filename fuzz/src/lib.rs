//! What must hold for any bytes. Shared by the fuzz targets and the test that runs their corpora.

use capconduit::asterisk::agi::wire::{
    Environment, MAX_COMMAND_BYTES, MAX_ENVIRONMENT_BYTES, ReplyReader, Scanner, set_variable,
    set_variables,
};

/// In pieces or whole, the scanner says the same; what it finds can be read.
pub fn environment(bytes: &[u8]) {
    let whole = Scanner::default().advance(bytes);
    let mut scanner = Scanner::default();
    let mut pieces = Ok(None);
    for end in 1..=bytes.len() {
        pieces = scanner.advance(&bytes[..end]);
        if pieces != Ok(None) {
            break;
        }
    }
    if let Ok(Some(end)) = whole {
        assert_eq!(pieces, whole);
        assert!(end <= bytes.len().min(MAX_ENVIRONMENT_BYTES));
        if let Ok(environment) = Environment::parse(&bytes[..end]) {
            for number in 0..12 {
                let _ = environment.argument(number);
            }
        }
    } else {
        assert_eq!(pieces.is_ok(), whole.is_ok());
    }
}

/// Lines are read one by one without a fault.
pub fn reply(bytes: &[u8]) {
    let mut reader = ReplyReader::default();
    for line in bytes.split(|&b| b == b'\n') {
        let _ = reader.line(line);
    }
}

/// Whatever is asked to be sent, one line leaves or none.
pub fn command(bytes: &[u8]) {
    let value = String::from_utf8_lossy(bytes);
    let mut line = Vec::new();
    let sent = [
        set_variable(&mut line, "NAME", &value).map(|()| line.clone()),
        set_variables(&mut line, &[("NAME", &value), ("LAST", "1")]).map(|()| line.clone()),
    ];
    for line in sent.into_iter().flatten() {
        assert!(line.len() <= MAX_COMMAND_BYTES);
        assert_eq!(line.iter().position(|&b| b < b' '), Some(line.len() - 1));
    }
}
