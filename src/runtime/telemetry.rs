//! What the daemon says: `tracing` to standard error, for people on a terminal, else JSON lines.
//!
//! It knows the fields of no module. Invariant: one event is one line, whatever a caller's phone, a
//! database or an error message put into it; a log line cannot be forged through a value.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Log, LogFormat};

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter directives do not parse.
    #[error("the log filter `log.level` cannot be used")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Somebody was here before.
    #[error("telemetry is already set up")]
    AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends the events of the whole process to standard error, panics too. Once per process.
pub fn init(log: &Log) -> Result<(), Error> {
    let terminal = io::stderr().is_terminal();
    let form = match (log.format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => Form::Json,
        (LogFormat::Human, false) => Form::Plain,
        (LogFormat::Auto | LogFormat::Human, true) => Form::Coloured,
    };
    let subscriber = subscriber(form, &log.level, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(Error::AlreadySet)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people, with colours.
    Coloured,
    /// For people, where colours would be noise.
    Plain,
    /// One JSON object.
    Json,
}

/// A subscriber that writes to `writer`; what [`init`] installs.
pub fn subscriber<W>(
    form: Form,
    level: &str,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(level).map_err(Error::Filter)?;
    let writer = LineWriter {
        inner: writer,
        colours: form == Form::Coloured,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(form == Form::Coloured)
        .with_writer(writer);
    Ok(match form {
        // `spans` holds the innermost one too.
        Form::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .finish(),
        ),
        Form::Coloured | Form::Plain => Box::new(builder.finish()),
    })
}

/// Hands out writers that keep an event on one line.
struct LineWriter<W> {
    inner: W,
    /// Whether the escape sequences of colours may pass. tracing-subscriber escapes those in messages but
    /// not those in all fields, so no other sequence may.
    colours: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for LineWriter<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine {
            inner: self.inner.make_writer(),
            colours: self.colours,
        }
    }
}

/// Takes a whole event per `write`, as tracing-subscriber gives it.
struct OneLine<W> {
    inner: W,
    colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = String::with_capacity(text.len() + 1);
        for (at, c) in text.char_indices() {
            if may_stand(c) || (self.colours && begins_with_colour(&text[at..])) {
                line.push(c);
            } else {
                // Also valid inside a JSON string, the only place of such a character in JSON.
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
        line.push('\n');
        self.inner.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether a sequence that sets a colour or weight, and does nothing else, stands here.
fn begins_with_colour(text: &str) -> bool {
    let parameters = text
        .strip_prefix("\x1b[")
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    parameters.is_some_and(|rest| rest.starts_with('m'))
}

/// Neither a control character nor one that breaks lines or reverses what is read.
fn may_stand(c: char) -> bool {
    let tricky = matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{feff}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !tricky
}

/// Displays an error with all its sources, each once: `cannot ask PostgreSQL: connection refused`.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let message = error.to_string();
            // Some crates repeat the cause in their own message.
            if !shown.ends_with(&message) {
                write!(f, ": {message}")?;
            }
            shown = message;
            next = error.source();
        }
        Ok(())
    }
}

/// What a panic said.
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(not a text)",
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        panic.message = panic_text(panic.payload()),
        panic.location = panic.location().map(tracing::field::display),
        panic.thread = thread.name().unwrap_or("(unnamed)"),
        panic.backtrace = %std::backtrace::Backtrace::capture(),
        "a thread or task panicked"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(form, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "a\nb\r\u{1b}[2Jc\u{202e}d\u{85}e\0\u{2028}f";

    #[test]
    fn a_hostile_value_stays_on_its_line() {
        for form in [Form::Coloured, Form::Plain, Form::Json] {
            let text = logged(form, || {
                tracing::info!(did = HOSTILE, caller = %HOSTILE, "message {HOSTILE}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{form:?}: {text:?}");
            assert!(text.ends_with('\n'));
            let line = text.trim_end_matches('\n');
            assert!(!line.contains("\u{1b}[2J"), "{form:?}: {text:?}");
            let stray = line.chars().find(|c| !may_stand(*c) && *c != '\u{1b}');
            assert_eq!(stray, None, "{form:?}: {text:?}");
        }
    }

    #[test]
    fn json_lines_carry_the_fields_unharmed() {
        let text = logged(Form::Json, || {
            tracing::info!(call.uniqueid = "1.0", did = HOSTILE, "routed");
            tracing::debug!("not at this level");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "routed");
        assert_eq!(line["call.uniqueid"], "1.0");
        assert_eq!(line["did"], HOSTILE);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn json_lines_tell_each_span_once() {
        let text = logged(Form::Json, || {
            let _outer = tracing::info_span!("http", request = 7).entered();
            let _inner = tracing::info_span!("agi", call.uniqueid = "1795.1").entered();
            tracing::info!("routed");
        });
        assert_eq!(text.matches("1795.1").count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["spans"][0]["request"], 7);
        assert_eq!(line["spans"][1]["call.uniqueid"], "1795.1");
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot ask: {0}")]
        struct Repeating(#[source] io::Error);

        #[derive(Debug, thiserror::Error)]
        #[error("cannot route")]
        struct Outer(#[source] Repeating);

        let error = Outer(Repeating(io::Error::other("refused")));
        assert_eq!(
            Chain(&error).to_string(),
            "cannot route: cannot ask: refused"
        );
    }
}
