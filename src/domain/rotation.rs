//! Whose turn it is: the state that round-robin and weighted campaigns keep between calls.
//!
//! It is stored per campaign, shared by all daemons and survives restarts. Tiers rotate independently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decision::Strategy;
use super::weighted::WeightedRotation;
use super::{Candidate, LinkId};

/// Turns of all tiers of one campaign, by `forwarding_priority`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rotation {
    /// The link that was offered the last call of each tier.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    round_robin: BTreeMap<i32, LinkId>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    weighted: BTreeMap<i32, WeightedRotation>,
}

impl Rotation {
    /// Orders the eligible candidates of one tier, given in order of link id.
    pub(super) fn order(
        &self,
        strategy: Strategy,
        tier: i32,
        eligible: &[&Candidate],
    ) -> Vec<LinkId> {
        match strategy {
            Strategy::Priority => eligible.iter().map(|c| c.link_id).collect(),
            Strategy::RoundRobin => {
                let last = self.round_robin.get(&tier).copied();
                let (had, next): (Vec<_>, Vec<_>) = eligible
                    .iter()
                    .map(|c| c.link_id)
                    .partition(|id| last.is_some_and(|last| *id <= last));
                next.into_iter().chain(had).collect()
            }
            Strategy::Weighted => self.weighted_tier(tier, eligible).order(),
        }
    }

    /// The state after the call was offered to `chosen`. Tiers that no longer exist are forgotten.
    pub(super) fn after_offer(
        &self,
        strategy: Strategy,
        tier: i32,
        eligible: &[&Candidate],
        chosen: LinkId,
        tiers: &[i32],
    ) -> Self {
        let mut after = self.clone();
        match strategy {
            Strategy::Priority => {}
            Strategy::RoundRobin => {
                after.round_robin.insert(tier, chosen);
            }
            Strategy::Weighted => {
                let mut turns = self.weighted_tier(tier, eligible);
                turns.count(chosen);
                after.weighted.insert(tier, turns);
            }
        }
        after.round_robin.retain(|tier, _| tiers.contains(tier));
        after.weighted.retain(|tier, _| tiers.contains(tier));
        after
    }

    fn weighted_tier(&self, tier: i32, eligible: &[&Candidate]) -> WeightedRotation {
        let members: Vec<_> = eligible.iter().map(|c| (c.link_id, c.weight)).collect();
        self.weighted
            .get(&tier)
            .cloned()
            .unwrap_or_default()
            .with_members(&members)
    }
}
