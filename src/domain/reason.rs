//! Why a call was refused, as callers, sellers and metrics see it.

use serde::{Deserialize, Serialize};

use super::HangupCause;

/// A refusal's reason code. The order is that of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// No DID has the dialled number.
    DidNotFound,
    /// The DID is not active.
    DidInactive,
    /// The DID's owner is not active.
    OwnerInactive,
    /// No active campaign of the same owner takes calls of the DID.
    NoActiveCampaignForDid,
    /// The campaign has no active link to an active client with endpoint and address.
    NoActiveClientsInCampaign,
    /// There are such clients, but each is at a cap, or was tried in this call already.
    NoEligibleClientsAvailable,
}

impl RefusalReason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 6] = [
        Self::DidNotFound,
        Self::DidInactive,
        Self::OwnerInactive,
        Self::NoActiveCampaignForDid,
        Self::NoActiveClientsInCampaign,
        Self::NoEligibleClientsAvailable,
    ];

    /// The code as dialplan, API, tables and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DidNotFound => "did_not_found",
            Self::DidInactive => "did_inactive",
            Self::OwnerInactive => "owner_inactive",
            Self::NoActiveCampaignForDid => "no_active_campaign_for_did",
            Self::NoActiveClientsInCampaign => "no_active_clients_in_campaign",
            Self::NoEligibleClientsAvailable => "no_eligible_clients_available",
        }
    }

    /// What the caller's carrier is told.
    pub fn hangup_cause(self) -> HangupCause {
        match self {
            Self::DidNotFound | Self::DidInactive => HangupCause::UNALLOCATED,
            Self::OwnerInactive => HangupCause::CALL_REJECTED,
            Self::NoActiveCampaignForDid | Self::NoActiveClientsInCampaign => {
                HangupCause::SUBSCRIBER_ABSENT
            }
            Self::NoEligibleClientsAvailable => HangupCause::USER_BUSY,
        }
    }
}
