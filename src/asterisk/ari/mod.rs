//! What Asterisk's REST Interface (ARI) tells: one supervised connection per Asterisk server.
//!
//! ARI observes and decides nothing. [`event`] reads Asterisk's JSON, [`rest`] asks, [`stream`] listens,
//! [`watcher`] turns what it hears into facts for the engine and repairs what it did not hear. This
//! module knows neither SQL nor AGI, and may be late or lose events: whatever it says may be said
//! twice, and what it misses the sweep finds.

mod backoff;
pub mod event;
mod observer;
pub mod rest;
mod state;
pub mod stream;
pub mod watcher;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::ServerName;

pub use observer::CallObserver;
pub use state::{LinkState, Tuning};
pub use watcher::Watcher;

/// How one Asterisk server is reached: an `[[asterisk]]` table of the configuration, validated.
#[derive(Debug, Clone)]
pub struct Server {
    name: ServerName,
    url: Url,
    username: String,
    password: SecretString,
    app: String,
}

/// What is wrong with an `[[asterisk]]` table. The text names the key to mend.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServerError {
    /// Not a [`ServerName`].
    #[error("`name` must be 1 to 64 printable ASCII characters without blanks")]
    Name,
    /// Not an address.
    #[error("`url` must look like http://host:8088 or https://host:8089/prefix: {problem}")]
    Url {
        /// What does not fit.
        problem: String,
    },
    /// No user, or one that HTTP cannot carry.
    #[error("`username` must name a user of ari.conf and cannot contain a colon")]
    Username,
    /// No password.
    #[error("`password` is empty: set it to the password of that user in ari.conf")]
    Password,
    /// The node's name does not fit into an application name.
    #[error("`node.name` must be 1 to 64 letters, digits, dots, dashes or underscores")]
    Node,
}

impl Server {
    /// Checks the settings. `node` is this daemon's name: two daemons that watch the same Asterisk under
    /// one name would throw each other out.
    pub fn new(
        name: &str,
        url: &str,
        username: &str,
        password: SecretString,
        node: &str,
    ) -> Result<Self, ServerError> {
        let name = ServerName::parse(name).ok_or(ServerError::Name)?;
        let url = parse_url(url)?;
        let control = |text: &str| text.chars().any(char::is_control);
        if username.is_empty() || username.contains(':') || control(username) {
            return Err(ServerError::Username);
        }
        if password.expose_secret().is_empty() || control(password.expose_secret()) {
            return Err(ServerError::Password);
        }
        let fits = (1..=64).contains(&node.len())
            && node
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits {
            return Err(ServerError::Node);
        }
        Ok(Self {
            name,
            url,
            username: username.to_owned(),
            password,
            app: format!("capconduit-{node}"),
        })
    }

    /// The server's name in configuration, logs and metrics.
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// Where its HTTP server is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Name under which this daemon listens: one per daemon and server.
    pub fn app(&self) -> &str {
        &self.app
    }

    fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// `path` begins with `/ari/`.
    fn http_url(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let prefix = self.url.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    fn events_url(&self) -> String {
        let url = self.http_url("/ari/events");
        // `http` becomes `ws` and `https` becomes `wss`.
        let rest = url.as_str().trim_start_matches("http");
        format!("ws{rest}?app={}&subscribeAll=true", self.app)
    }
}

fn parse_url(text: &str) -> Result<Url, ServerError> {
    let refuse = |problem: &str| {
        Err(ServerError::Url {
            problem: problem.to_owned(),
        })
    };
    let url: Url = match text.parse() {
        Ok(url) => url,
        // The parser's message never repeats the text, which could hold a password.
        Err(error) => return refuse(&error.to_string()),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("it must begin with http:// or https://");
    }
    if !url.has_host() {
        return refuse("the host is missing");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("credentials belong into `username` and `password`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("leave out everything from `?` or `#` on");
    }
    if url.path().trim_end_matches('/').ends_with("/ari") {
        return refuse("leave out the /ari at its end");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, ServerError> {
        Server::new("pbx1", url, "capconduit", "secret".into(), "node-1")
    }

    #[test]
    fn addresses_follow_the_url() {
        let plain = server("http://127.0.0.1:8088").expect("valid");
        assert_eq!(
            plain.http_url("/ari/channels").as_str(),
            "http://127.0.0.1:8088/ari/channels"
        );
        let prefixed = server("https://pbx.example.com:8089/asterisk/").expect("valid");
        assert_eq!(
            prefixed.events_url(),
            "wss://pbx.example.com:8089/asterisk/ari/events?app=capconduit-node-1&subscribeAll=true"
        );
    }

    #[test]
    fn wrong_settings_name_the_key_to_mend() {
        for url in [
            "",
            "pbx:8088",
            "127.0.0.1:8088",
            "ws://pbx:8088",
            "http://user:hunter2@pbx:8088",
            "http://pbx:8088/?x=1",
            "http://pbx:8088/ari",
        ] {
            let error = server(url).expect_err(url);
            assert!(error.to_string().contains("`url`"), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let new = |name, username, password: &str, node| {
            Server::new(name, "http://pbx", username, password.into(), node).expect_err("wrong")
        };
        assert_eq!(new("a b", "u", "p", "n"), ServerError::Name);
        assert_eq!(new("a", "", "p", "n"), ServerError::Username);
        assert_eq!(new("a", "u:v", "p", "n"), ServerError::Username);
        assert_eq!(new("a", "u", "", "n"), ServerError::Password);
        assert_eq!(new("a", "u", "p", "n,m"), ServerError::Node);
    }

    #[test]
    fn the_password_is_not_printed() {
        let server = server("http://pbx").expect("valid");
        assert!(!format!("{server:?}").contains("secret"));
    }
}
