//! A link as a candidate of a decision, and the checks that make it eligible.

use serde::{Deserialize, Serialize};

use super::{ClientId, LinkId};

/// What a cap limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapKind {
    /// Calls at the same time: reservations held or confirmed.
    Concurrency,
    /// Calls answered over the link's lifetime, plus reservations still held.
    Total,
}

/// One cap with its present use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// What is limited.
    pub kind: CapKind,
    /// Units taken.
    pub used: i64,
    /// Units there are; `None` is unlimited, 0 is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

impl Cap {
    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.used < limit)
    }
}

/// A link of the campaign with everything a decision looks at. Written with each decision, so what goes
/// without saying is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that the checks look at one by one, written as they are"
)]
pub struct Candidate {
    /// The link.
    pub link_id: LinkId,
    /// Its client.
    pub client_id: ClientId,
    /// `forwarding_priority`: lower is tried first, equal values form a tier.
    pub tier: i32,
    /// Share inside the tier of a weighted campaign, at least 1.
    pub weight: u32,
    /// The link's status is active.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub link_active: bool,
    /// The client's status is active.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub client_active: bool,
    /// The client takes calls of this seller: it is open to all, or the seller has a grant.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub granted: bool,
    /// The client has an endpoint with an address to dial.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub dialable: bool,
    /// The client need not register, or has: its address is known.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub registered: bool,
    /// All caps that count for this link, with their use.
    pub caps: Vec<Cap>,
}

/// Whether the dialplan can put it behind `PJSIP/`: letters, digits, `_`, `.` and `-`. An `&` would dial a
/// second target, `@` and `/` a host of someone's choice.
pub fn is_endpoint_id(id: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !id.is_empty() && id.bytes().all(harmless)
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// The verdict on one candidate: eligible, or the first check it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Passed every check.
    Eligible,
    /// The link is not active.
    LinkInactive,
    /// The client is not active.
    ClientInactive,
    /// The client takes calls of sellers with a grant only, and this one has none.
    NotGranted,
    /// The client has no endpoint, or the endpoint no address.
    NoEndpoint,
    /// The client has to register, and has not: nobody knows where it is.
    NotRegistered,
    /// As many calls as `max_concurrency` allows are held or confirmed.
    ConcurrencyCapReached,
    /// Answered and held calls together reach `total_calls_allowed`.
    TotalCapReached,
    /// This call was offered to the link before.
    AlreadyTried,
    /// Another transaction holds the link's row, so that its slot cannot be taken just now.
    LinkLocked,
}

impl Check {
    /// All of them, in the order of the checks.
    pub const ALL: [Self; 10] = [
        Self::Eligible,
        Self::LinkInactive,
        Self::ClientInactive,
        Self::NotGranted,
        Self::NoEndpoint,
        Self::NotRegistered,
        Self::ConcurrencyCapReached,
        Self::TotalCapReached,
        Self::AlreadyTried,
        Self::LinkLocked,
    ];

    /// The code as tables, API and command line show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::LinkInactive => "link_inactive",
            Self::ClientInactive => "client_inactive",
            Self::NotGranted => "not_granted",
            Self::NoEndpoint => "no_endpoint",
            Self::NotRegistered => "not_registered",
            Self::ConcurrencyCapReached => "concurrency_cap_reached",
            Self::TotalCapReached => "total_cap_reached",
            Self::AlreadyTried => "already_tried",
            Self::LinkLocked => "link_locked",
        }
    }

    /// The candidate could take calls if its caps and this call's history allowed it.
    pub fn in_service(self) -> bool {
        !matches!(
            self,
            Self::LinkInactive
                | Self::ClientInactive
                | Self::NotGranted
                | Self::NoEndpoint
                | Self::NotRegistered
        )
    }
}

/// What the checks know of the call besides the candidate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// Links this call was offered to before.
    pub tried: &'a [LinkId],
    /// Links whose rows another transaction holds.
    pub locked: &'a [LinkId],
}

type Rule = fn(&Candidate, Circumstances<'_>) -> Option<Check>;

/// The checks in their order. A new rule is one more line here and one more code in [`Check`].
const RULES: [Rule; 9] = [
    |c, _| (!c.link_active).then_some(Check::LinkInactive),
    |c, _| (!c.client_active).then_some(Check::ClientInactive),
    |c, _| (!c.granted).then_some(Check::NotGranted),
    |c, _| (!c.dialable).then_some(Check::NoEndpoint),
    |c, _| (!c.registered).then_some(Check::NotRegistered),
    |c, _| c.cap_reached(CapKind::Concurrency, Check::ConcurrencyCapReached),
    |c, _| c.cap_reached(CapKind::Total, Check::TotalCapReached),
    |c, call| {
        call.tried
            .contains(&c.link_id)
            .then_some(Check::AlreadyTried)
    },
    |c, call| {
        call.locked
            .contains(&c.link_id)
            .then_some(Check::LinkLocked)
    },
];

impl Candidate {
    /// Runs the checks.
    pub fn check(&self, circumstances: Circumstances<'_>) -> Check {
        RULES
            .iter()
            .find_map(|rule| rule(self, circumstances))
            .unwrap_or(Check::Eligible)
    }

    fn cap_reached(&self, kind: CapKind, reached: Check) -> Option<Check> {
        self.caps
            .iter()
            .any(|cap| cap.kind == kind && !cap.has_room())
            .then_some(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            link_id: LinkId(1),
            client_id: ClientId(1),
            tier: 0,
            weight: 100,
            link_active: true,
            client_active: true,
            granted: true,
            dialable: true,
            registered: true,
            caps: vec![
                Cap {
                    kind: CapKind::Concurrency,
                    used: 1,
                    limit: Some(2),
                },
                Cap {
                    kind: CapKind::Total,
                    used: 9,
                    limit: None,
                },
            ],
        }
    }

    #[test]
    fn the_first_failed_check_is_the_verdict() {
        let mut c = candidate();
        let none = Circumstances::default();
        let tried = Circumstances {
            tried: &[LinkId(1)],
            locked: &[LinkId(1)],
        };
        assert_eq!(c.check(none), Check::Eligible);
        let locked = Circumstances {
            tried: &[],
            ..tried
        };
        assert_eq!(c.check(locked), Check::LinkLocked);
        assert_eq!(c.check(tried), Check::AlreadyTried);
        c.caps[1].limit = Some(9);
        assert_eq!(c.check(tried), Check::TotalCapReached);
        c.caps[0].used = 2;
        assert_eq!(
            c.check(Circumstances::default()),
            Check::ConcurrencyCapReached
        );
        c.registered = false;
        assert_eq!(c.check(Circumstances::default()), Check::NotRegistered);
        c.dialable = false;
        assert_eq!(c.check(Circumstances::default()), Check::NoEndpoint);
        c.granted = false;
        assert_eq!(c.check(Circumstances::default()), Check::NotGranted);
        c.client_active = false;
        assert_eq!(c.check(Circumstances::default()), Check::ClientInactive);
        c.link_active = false;
        assert_eq!(c.check(Circumstances::default()), Check::LinkInactive);
    }

    #[test]
    fn a_record_from_before_grants_is_read_as_open_to_all() {
        let mut c = candidate();
        let text = serde_json::to_string(&c).expect("text");
        assert!(!text.contains("granted"), "{text}");
        let read: Candidate = serde_json::from_str(&text).expect("a candidate");
        assert_eq!(read, c);
        c.granted = false;
        let text = serde_json::to_string(&c).expect("text");
        let read: Candidate = serde_json::from_str(&text).expect("a candidate");
        assert_eq!(read, c);
    }

    #[test]
    fn no_limit_is_unlimited_and_zero_is_closed() {
        let mut c = candidate();
        c.caps[1] = Cap {
            kind: CapKind::Total,
            used: 0,
            limit: Some(0),
        };
        assert_eq!(c.check(Circumstances::default()), Check::TotalCapReached);
        c.caps[1].limit = None;
        c.caps[1].used = i64::MAX;
        assert_eq!(c.check(Circumstances::default()), Check::Eligible);
    }
}
