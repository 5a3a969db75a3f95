//! When a certificate ends, and when that is trouble.

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// So long before its end a certificate should have been renewed: those of Let's Encrypt are so 30 days before.
const RENEWED_BY: SignedDuration = SignedDuration::from_hours(14 * 24);

/// When a certificate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(Timestamp);

/// What is wrong with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It is near: so many whole days are left.
    #[error("the certificate expires on {0:.0} (days left: {1})")]
    Soon(Timestamp, i64),
    /// It has passed.
    #[error("the certificate expired on {0:.0}: browsers and programs refuse it")]
    Over(Timestamp),
}

impl Expiry {
    /// The end of a certificate; none if that cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let read = Certificate::from_der(certificate).ok()?;
        let end = read.tbs_certificate.validity.not_after.to_unix_duration();
        let seconds = i64::try_from(end.as_secs()).ok()?;
        Timestamp::from_second(seconds).ok().map(Self)
    }

    /// The moment.
    pub fn at(self) -> Timestamp {
        self.0
    }

    /// What is wrong with it now, from 14 days before it on.
    pub fn trouble(self, now: Timestamp) -> Option<Trouble> {
        let left = self.0.duration_since(now);
        if left.is_negative() || left.is_zero() {
            Some(Trouble::Over(self.0))
        } else if left < RENEWED_BY {
            Some(Trouble::Soon(self.0, left.as_hours() / 24))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn of(pem: &[u8]) -> Expiry {
        Expiry::of(&CertificateDer::from_pem_slice(pem).expect("PEM")).expect("an end")
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        // Up to 2049 a certificate writes two digits of the year.
        for (pem, end) in [
            (
                &include_bytes!("../../../tests/fixtures/tls/expired.crt")[..],
                "2025-01-01T00:00:00Z",
            ),
            (
                include_bytes!("../../../tests/fixtures/tls/first.crt"),
                "2126-10-28T21:16:49Z",
            ),
        ] {
            assert_eq!(of(pem).at().to_string(), end);
        }
        assert_eq!(Expiry::of(&CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn two_weeks_before_its_end_it_is_trouble() {
        let expiry = of(include_bytes!("../../../tests/fixtures/tls/first.crt"));
        let told = |now: &str| {
            let trouble = expiry.trouble(now.parse().expect("a moment"));
            trouble.map(|trouble| trouble.to_string())
        };
        assert_eq!(told("2126-10-14T21:16:49Z"), None);
        assert_eq!(
            told("2126-10-14T21:16:50Z").as_deref(),
            Some("the certificate expires on 2126-10-28T21:16:49Z (days left: 13)")
        );
        assert_eq!(
            told("2126-10-28T21:16:48Z").as_deref(),
            Some("the certificate expires on 2126-10-28T21:16:49Z (days left: 0)")
        );
        assert_eq!(
            told("2126-10-28T21:16:49Z").as_deref(),
            Some(
                "the certificate expired on 2126-10-28T21:16:49Z: browsers and programs refuse it"
            )
        );
    }
}
