//! Who must log in with more than a password.

use super::Role;

/// Whose second factor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// Nobody's, not even of those who have one.
    Off,
    /// Of those who have one.
    Optional,
    /// Administrators and staff must have one.
    Staff,
    /// Everybody must have one.
    All,
}

impl SecondFactor {
    /// Reads its name in the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "off" => Self::Off,
            "optional" => Self::Optional,
            "staff" => Self::Staff,
            "all" => Self::All,
            _ => return None,
        })
    }

    /// Whether an account of this role must have one.
    pub fn is_required_of(self, role: Role) -> bool {
        match self {
            Self::Off | Self::Optional => false,
            Self::Staff => role != Role::User,
            Self::All => true,
        }
    }
}
