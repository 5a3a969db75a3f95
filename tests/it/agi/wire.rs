//! What we write, read by ports of Asterisk's own functions.

use capconduit::asterisk::agi::wire::{MAX_COMMAND_BYTES, is_plain, set_variable, set_variables};
use proptest::prelude::*;

use crate::support::asterisk_args::{mset, parse_args};

fn line(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).expect("UTF-8 in, UTF-8 out");
    text.strip_suffix('\n').expect("a whole line").to_owned()
}

proptest! {
    #[test]
    fn any_value_arrives_as_it_was_or_not_at_all(value in any::<String>()) {
        let mut bytes = Vec::new();
        if set_variable(&mut bytes, "NAME", &value).is_ok() {
            prop_assert!(bytes.len() <= MAX_COMMAND_BYTES);
            let words = parse_args(&line(bytes));
            prop_assert_eq!(words, ["SET", "VARIABLE", "NAME", &*value]);
        } else {
            prop_assert!(value.chars().any(char::is_control) || value.len() > 900);
        }
    }

    #[test]
    fn quotes_backslashes_and_blanks_survive(value in r#"["\\ ,=${}()a-]{0,40}"#) {
        let mut bytes = Vec::new();
        set_variable(&mut bytes, "NAME", &value).expect("printable and short");
        prop_assert_eq!(parse_args(&line(bytes)), ["SET", "VARIABLE", "NAME", &*value]);
    }

    #[test]
    fn plain_values_arrive_through_mset(values in proptest::collection::vec("[A-Za-z0-9_.+/:-]{0,30}", 1..10)) {
        const NAMES: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
        let pairs: Vec<_> = NAMES.into_iter().zip(values.iter().map(String::as_str)).collect();
        let mut bytes = Vec::new();
        set_variables(&mut bytes, &pairs).expect("plain");
        let words = parse_args(&line(bytes));
        prop_assert_eq!(&words[..2], ["EXEC", "MSet"]);
        prop_assert_eq!(words.len(), 3);
        let set = mset(&words[2]);
        let set: Vec<_> = set.iter().map(|(n, v)| (&**n, &**v)).collect();
        prop_assert_eq!(set, pairs);
    }

    #[test]
    fn what_is_not_plain_never_enters_mset(value in any::<String>()) {
        let mut bytes = Vec::new();
        let sent = set_variables(&mut bytes, &[("A", &value), ("B", "1")]);
        prop_assert_eq!(sent.is_ok(), is_plain(&value) && value.len() < 1_800);
    }
}
