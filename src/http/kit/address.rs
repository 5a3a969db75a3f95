//! Where a request comes from: the peer, or whom a trusted proxy names.
//!
//! Only proxies that are trusted are believed, and only the header that they write
//! ([`crate::http::api::Settings::forwarded_header`]): the other one comes from whoever asked them. A header of a peer that is not
//! trusted is told once, because then all visitors of that proxy count as one.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use super::problem::Problem;
use crate::domain::network::{ForwardedHeader, Network};
use crate::http::api::Api;

/// Proxies that are not trusted, noticed so far: the first one.
#[derive(Debug, Clone, Default)]
pub struct UntrustedProxy(Arc<OnceLock<IpAddr>>);

impl UntrustedProxy {
    /// The address of such a proxy, once one was noticed.
    pub fn seen(&self) -> Option<IpAddr> {
        self.0.get().copied()
    }

    fn notice(&self, peer: IpAddr) {
        if self.0.set(peer).is_ok() {
            tracing::warn!(
                %peer,
                "a peer names others as senders of its requests, and is no trusted proxy: all of them count as one \
                 address. If it is your reverse proxy, add it to http.trusted_proxies"
            );
        }
    }
}

/// Where a request comes from: the peer, or who a trusted proxy says it is.
#[derive(Debug, Clone, Copy)]
pub struct From(pub IpAddr);

impl FromRequestParts<Api> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self(address_of(&parts.headers, &parts.extensions, api)))
    }
}

/// As [`From`], of a request's parts.
pub fn address_of(headers: &HeaderMap, extensions: &Extensions, api: &Api) -> IpAddr {
    let peer = extensions
        .get::<ConnectInfo<std::net::SocketAddr>>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| {
            peer.0.ip().to_canonical()
        });
    let trusted = &api.settings.trusted_proxies;
    if !is_one_of(peer, trusted) {
        if ["x-forwarded-for", "forwarded"]
            .iter()
            .any(|name| headers.contains_key(*name))
        {
            api.settings.untrusted_proxy.notice(peer);
        }
        return peer;
    }
    let named = match api.settings.forwarded_header {
        ForwardedHeader::XForwardedFor => entries(headers, "x-forwarded-for")
            .map(|entry| node(&entry))
            .collect::<Vec<_>>(),
        ForwardedHeader::Forwarded => entries(headers, "forwarded")
            .map(|element| node(&parameter_for(&element)?))
            .collect(),
    };
    first_stranger(peer, &named, trusted)
}

fn is_one_of(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// From the peer backwards: the first that is no proxy of ours. What was named before it anybody could write. An entry
/// that names no address ends the way: its proxy is the last we know.
fn first_stranger(peer: IpAddr, named: &[Option<IpAddr>], trusted: &[Network]) -> IpAddr {
    let mut last = peer;
    for entry in named.iter().rev() {
        let Some(address) = *entry else { break };
        last = address;
        if !is_one_of(address, trusted) {
            break;
        }
    }
    last
}

/// The entries of a list header, in their order; a comma between quotes divides nothing.
fn entries<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| split(value.to_str().unwrap_or_default(), ','))
}

fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        if c == at && !quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// The parameter `for` of an element of `Forwarded`.
fn parameter_for(element: &str) -> Option<String> {
    split(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.to_owned())
    })
}

/// An address with or without port: `192.0.2.1:80`, `"[2001:db8::1]:80"`, `2001:db8::1`. `unknown` and names that hide
/// an address are none.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(address.parse().ok()?)
    } else if let Ok(address) = text.parse() {
        address
    } else {
        let (address, port) = text.rsplit_once(':')?;
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(address.parse().ok()?)
    };
    Some(address.to_canonical())
}

/// Digits, or a hidden port of RFC 7239 (`_` and a name).
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() || text.starts_with('_')
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, read) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1:5678 ", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("\"[2001:db8::1]:_p\"", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(node(text), Some(address(read)), "{text}");
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "192.0.2.1:99999",
            "192.0.2.1:x",
            "[192.0.2.1]",
            "[2001:db8::1]80",
            "example.com:80",
        ] {
            assert_eq!(node(text), None, "{text}");
        }
    }

    #[test]
    fn elements_of_forwarded_are_divided_outside_of_quotes() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("forwarded");
        for value in [
            "for=192.0.2.60;proto=http;by=\"a,b;c\", For=\"[2001:db8::17]:4711\"",
            "proto=https;FOR=unknown, host=x",
        ] {
            headers.append(&name, HeaderValue::from_static(value));
        }
        let read: Vec<_> = entries(&headers, "forwarded")
            .map(|element| node(&parameter_for(&element)?))
            .collect();
        let expected = [
            Some(address("192.0.2.60")),
            Some(address("2001:db8::17")),
            None,
            None,
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn the_last_that_no_proxy_of_ours_named_is_believed() {
        let trusted = ["10.0.0.0/8", "192.0.2.1"].map(|t| Network::parse(t).expect("one"));
        let peer = address("10.0.0.1");
        let from = |named: &[&str]| {
            let named: Vec<_> = named.iter().map(|text| node(text)).collect();
            first_stranger(peer, &named, &trusted).to_string()
        };
        assert_eq!(from(&[]), "10.0.0.1");
        assert_eq!(from(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            from(&["6.6.6.6", "203.0.113.9", "192.0.2.1"]),
            "203.0.113.9"
        );
        assert_eq!(from(&["10.0.0.7", "10.0.0.8"]), "10.0.0.7");
        assert_eq!(from(&["203.0.113.9", "unknown"]), "10.0.0.1");
        assert_eq!(from(&["203.0.113.9", "unknown", "10.0.0.8"]), "10.0.0.8");
    }
}
