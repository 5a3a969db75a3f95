//! Clients that register with Asterisk: what they need, so that nobody else can register as one of them.

use serde_json::{Map, Value, json};

use crate::catalogue::store::clients::ClientRow;
use crate::http::kit::form::Field;
use crate::http::kit::problem::Problem;

/// The field of a client.
pub(crate) const REGISTER: Field = Field::flag("register").about(
    "The client has no fixed address and registers with Asterisk, with the user name and password of `pjsip.auth`: \
     `username` is `clientIdentifier`, the password has at least 12 characters. No call is offered to it while it is not \
     registered. `pjsip.aor.contact` is left out; the one from before is removed. Among clients that register no \
     identifier may be like another but for a character where it has `_`: Asterisk would mix them up.",
);

/// The shortest password with which a client may register: whoever guesses it gets callers.
const MIN_PASSWORD_CHARS: usize = 12;

/// Refuses what would not work, or let strangers in. `asked` is what this request says of registering.
pub(crate) fn check(
    row: &ClientRow,
    asked: Option<bool>,
    password: Option<&str>,
) -> Result<(), Problem> {
    if row.registers {
        if password.is_some_and(|p| p.chars().count() < MIN_PASSWORD_CHARS) {
            let must =
                "Must have at least 12 characters: whoever guesses it gets this client's callers.";
            return Err(in_pjsip("auth", "password", must));
        }
        if !row.can_register {
            return Err(at_top(&format!(
                "Needs pjsip.auth with the username {}, a password and auth_type userpass, or md5 with a hash.",
                row.client_identifier
            )));
        }
    }
    let contact = row.aor.as_ref().map(|aor| aor.contact.as_str());
    if asked == Some(false) && contact == Some("") {
        let must = "Is required of a client that does not register.";
        return Err(in_pjsip("aor", "contact", must));
    }
    Ok(())
}

/// Refuses a name that Asterisk takes for another's.
pub(crate) fn mixed_up() -> Problem {
    at_top(
        "Another client that registers has an identifier like this one but for a character where one of them has `_`, \
         which Asterisk takes for any character when it looks for registrations: it would dial the one for the other. Let \
         one of the two not register, or make a client with another identifier.",
    )
}

fn at_top(message: &str) -> Problem {
    let mut errors = Map::<String, Value>::new();
    errors.insert("register".into(), json!([message]));
    Problem::fields(errors)
}

fn in_pjsip(object: &str, field: &str, message: &str) -> Problem {
    let mut errors = Map::<String, Value>::new();
    errors.insert("pjsip".into(), json!({ object: { field: [message] } }));
    Problem::fields(errors)
}
