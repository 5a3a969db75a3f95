//! Set-ups that would give away passwords, cookies or calls do not start in silence.
//!
//! What anybody on the network could use is an error that names the ways out; what may be meant so is a note, told at the
//! start and by `check`.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{Host, SslMode};

use super::problem::Origin;
use super::reader::Reader;
use super::{Config, Http};

/// Characters of a token that nobody guesses.
const TOKEN: usize = 32;

impl Reader<'_> {
    /// Refuses what would go over a network readable for anybody.
    pub(super) fn refuse_insecure(&mut self, config: &Config) {
        self.refuse_plain_http(&config.http);
        for (path, token) in [
            ("http.internal_token", &config.http.internal_token),
            (
                "http.previous_internal_token",
                &config.http.previous_internal_token,
            ),
        ] {
            self.refuse_short_token(path, token.as_ref(), &config.http);
        }
        if config.database.ca_file.is_none() && goes_out_plain(&config.database.url) {
            let path = "database.url";
            let message = "goes to another host without TLS, so that anybody on the way reads password and calls: add \
                           sslmode=require (and database.ca_file, if the server's certificate is of an authority of \
                           your own), or say sslmode=disable if the network is yours alone";
            let origin = self
                .origin(path)
                .or_else(|| self.origin("database.url_file"));
            self.note(path, origin, message);
        }
    }

    fn refuse_plain_http(&mut self, http: &Http) {
        let by_proxy = http
            .public_url
            .as_ref()
            .is_some_and(|url| url.scheme() == "https");
        if http.listen.ip().is_loopback() || http.tls.is_some() || by_proxy || http.insecure {
            return;
        }
        let path = "http.listen";
        let message = format!(
            "{} is reached from other hosts, where passwords and cookies would be read: give http.tls_certificate_file \
             and http.tls_key_file, or put a proxy with TLS before it and name its address in http.public_url \
             (https://…); if you mean it, say http.insecure = true",
            http.listen
        );
        self.note(path, self.origin(path), message);
    }

    fn refuse_short_token(&mut self, path: &str, token: Option<&SecretString>, http: &Http) {
        if token.is_none_or(|token| !is_short(token)) || http.listen.ip().is_loopback() {
            return;
        }
        let message = format!(
            "is shorter than {TOKEN} characters, and http.listen is reached from other hosts: make one with `openssl \
             rand -hex 32`"
        );
        let origin = self
            .origin(path)
            .or_else(|| self.origin(&format!("{path}_file")));
        self.note(path, origin, message);
    }

    /// What may be meant so, in words, each with its key.
    pub(super) fn remarks(&self, config: &Config) -> Vec<(String, String)> {
        let mut remarks = Vec::new();
        let mut remark = |what: &str, text: String| remarks.push((what.to_owned(), text));
        let http = &config.http;
        if http.listen.ip().is_loopback() {
            for (path, token) in [
                ("http.internal_token", &http.internal_token),
                (
                    "http.previous_internal_token",
                    &http.previous_internal_token,
                ),
            ] {
                if token.as_ref().is_some_and(is_short) {
                    remark(
                        path,
                        format!(
                            "is shorter than {TOKEN} characters: any program of this host could try it out; make one \
                             with `openssl rand -hex 32`"
                        ),
                    );
                }
            }
        } else if http.insecure && http.tls.is_none() {
            remark(
                "http.insecure",
                format!(
                    "passwords and cookies go over the network to {} readable for anybody",
                    http.listen
                ),
            );
        }
        for (path, address, why) in [
            (
                "agi.listen",
                config.agi.listen,
                "FastAGI has no password, and whoever reaches it routes and ends calls: let the firewall admit your \
                 Asterisk servers only",
            ),
            (
                "ops.listen",
                config.ops.listen,
                "metrics and readiness have no password: let the firewall admit your monitoring only",
            ),
        ] {
            if !address.ip().is_loopback() {
                remark(
                    path,
                    format!("{address} is reached from other hosts; {why}"),
                );
            }
        }
        remarks.extend(self.readable_secrets());
        remarks
    }

    /// Files with secrets that every user of the host may read.
    fn readable_secrets(&self) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for (path, origin) in self.secrets() {
            let Origin::File { path: file, .. } = origin else {
                continue;
            };
            if readable_by_all(&file) {
                told.push((
                    path,
                    format!(
                        "stands in {}, which every user of this host may read: chmod 640, and give it to the group of \
                         the daemon's user",
                        file.display()
                    ),
                ));
                // One file, one remark.
                break;
            }
        }
        told
    }
}

fn is_short(token: &SecretString) -> bool {
    token.expose_secret().chars().count() < TOKEN
}

fn readable_by_all(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

/// Whether a connection goes to another host, with no word on TLS that says so.
fn goes_out_plain(url: &SecretString) -> bool {
    let url = url.expose_secret();
    let Ok(config) = url.parse::<tokio_postgres::Config>() else {
        // Said elsewhere.
        return false;
    };
    if config.get_ssl_mode() != SslMode::Prefer {
        return false;
    }
    let addresses = config.get_hostaddrs();
    let is_remote = |host: &Host| match host {
        Host::Unix(_) => false,
        Host::Tcp(name) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let address = name.parse::<IpAddr>();
            // With an @ it is the end of a password and no host: who connects says so.
            !(name == "localhost"
                || name.contains('@')
                || address.is_ok_and(|address| address.is_loopback()))
        }
    };
    if addresses.is_empty() {
        config.get_hosts().iter().any(is_remote)
    } else {
        addresses.iter().any(|address| !address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_to_other_hosts_without_a_word_on_tls_is_refused() {
        for (url, refused) in [
            ("postgresql://u:p@db.example/calls", true),
            ("postgresql://u:p@db.example/calls?sslmode=prefer", true),
            ("host=10.0.0.5 user=u dbname=d", true),
            ("host=localhost,10.0.0.5 user=u dbname=d", true),
            ("host=db.example hostaddr=10.0.0.5 user=u", true),
            ("postgresql://u:p@db.example/calls?sslmode=require", false),
            ("postgresql://u:p@db.example/calls?sslmode=disable", false),
            ("postgresql://u:p@localhost/calls", false),
            ("postgresql://u:p@127.0.0.1:5433/calls", false),
            ("postgresql://u:p@[::1]/calls", false),
            ("host=/var/run/postgresql user=u", false),
            ("host=db.example hostaddr=127.0.0.1 user=u", false),
        ] {
            let url_of = SecretString::from(url);
            assert_eq!(goes_out_plain(&url_of), refused, "{url}");
        }
    }
}
