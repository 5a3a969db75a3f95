//! The rotation of one tier of a weighted campaign.
//!
//! Each of *n* members with weight *w* out of *W* should have had `k·w/W` of the first `k` calls. The
//! next call goes, among the members whose lag behind that share is at least `1/(2n-2)`, to the one
//! whose lag would be the first to reach `1 - 1/(2n-2)`. No member's count then ever differs from its
//! share by more than that bound, which is below one call (R. Tijdeman, "The chairman assignment
//! problem", Discrete Mathematics 32, 1980).
//!
//! All arithmetic is exact. When members or weights change, each remaining member takes its lag along
//! as `carry`, what the leavers were owed is spread by weight, and a newcomer starts at zero: nobody is
//! paid back for the time he was away, so a change sends no burst to anyone.

use serde::{Deserialize, Serialize};

use super::LinkId;

/// Units of `carry` in one call.
const CALL: i128 = 1_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    link_id: LinkId,
    weight: u32,
    /// Calls offered since the members or weights last changed.
    offered: u64,
    /// Lag brought along from before that, in billionths of a call; sums to zero.
    carry: i64,
}

/// Members in order of link id, with their counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct WeightedRotation {
    members: Vec<Member>,
}

impl WeightedRotation {
    /// This rotation with exactly the given members, who are in order of link id.
    pub(super) fn with_members(&self, wanted: &[(LinkId, u32)]) -> Self {
        let unchanged = self.members.len() == wanted.len()
            && self
                .members
                .iter()
                .zip(wanted)
                .all(|(have, want)| (have.link_id, have.weight) == *want);
        if unchanged {
            return self.clone();
        }
        let total_weight = total(wanted.iter().map(|(_, weight)| *weight));
        let mut carries: Vec<i128> = wanted.iter().map(|(id, _)| self.lag_of(*id)).collect();
        // What remains is what leavers were owed or had too much, and rounding.
        let surplus: i128 = carries.iter().sum();
        for (carry, (_, weight)) in carries.iter_mut().zip(wanted) {
            *carry -= surplus * i128::from(*weight) / total_weight;
        }
        let rounding: i128 = carries.iter().sum();
        if let Some(first) = carries.first_mut() {
            *first -= rounding;
        }
        let members = wanted
            .iter()
            .zip(carries)
            .map(|(&(link_id, weight), carry)| Member {
                link_id,
                weight,
                offered: 0,
                carry: i64::try_from(carry).unwrap_or(0),
            })
            .collect();
        Self { members }
    }

    /// The members in the order in which they should be offered the next call.
    pub(super) fn order(&self) -> Vec<LinkId> {
        let n = self.members.len() as i128;
        let total_weight = self.total_weight();
        let next = self.calls() + 1;
        // Twice (n - 1), the denominator of the threshold; one member needs none.
        let parts = (2 * n - 2).max(1);
        let mut ranked: Vec<(bool, i128, &Member)> = self
            .members
            .iter()
            .map(|m| {
                let lag = scaled_lag(m, next, total_weight);
                let waits = lag * parts < total_weight * CALL;
                // When the lag would reach the bound, times the weight.
                let deadline = (i128::from(m.offered) * CALL - i128::from(m.carry)) * parts
                    + (parts - 1) * CALL;
                (waits, deadline, m)
            })
            .collect();
        ranked.sort_by(|(a_waits, a_deadline, a), (b_waits, b_deadline, b)| {
            let a_scaled = a_deadline * i128::from(b.weight);
            let b_scaled = b_deadline * i128::from(a.weight);
            (a_waits, a_scaled, a.link_id).cmp(&(b_waits, b_scaled, b.link_id))
        });
        ranked.into_iter().map(|(_, _, m)| m.link_id).collect()
    }

    /// Counts one call for a member.
    pub(super) fn count(&mut self, link_id: LinkId) {
        if let Some(member) = self.members.iter_mut().find(|m| m.link_id == link_id) {
            member.offered += 1;
        }
    }

    /// Lag of a member in billionths of a call, kept inside one call; zero for strangers.
    fn lag_of(&self, link_id: LinkId) -> i128 {
        let total_weight = self.total_weight();
        self.members
            .iter()
            .find(|m| m.link_id == link_id)
            .map_or(0, |m| {
                scaled_lag(m, self.calls(), total_weight) / total_weight
            })
            .clamp(-CALL, CALL)
    }

    fn calls(&self) -> i128 {
        self.members.iter().map(|m| i128::from(m.offered)).sum()
    }

    fn total_weight(&self) -> i128 {
        total(self.members.iter().map(|m| m.weight))
    }
}

fn total(weights: impl Iterator<Item = u32>) -> i128 {
    weights.map(i128::from).sum::<i128>().max(1)
}

/// Lag after `calls` calls, in billionths of a call times the total weight.
fn scaled_lag(member: &Member, calls: i128, total_weight: i128) -> i128 {
    (calls * i128::from(member.weight) - i128::from(member.offered) * total_weight) * CALL
        + i128::from(member.carry) * total_weight
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(weights: &[u32]) -> Vec<(LinkId, u32)> {
        (1..).map(LinkId).zip(weights.iter().copied()).collect()
    }

    fn offer(rotation: &mut WeightedRotation) -> LinkId {
        let chosen = rotation.order()[0];
        rotation.count(chosen);
        chosen
    }

    /// Largest difference from the ideal share over `calls` calls, in calls.
    fn worst_deviation(
        rotation: &mut WeightedRotation,
        wanted: &[(LinkId, u32)],
        calls: i64,
    ) -> f64 {
        let total: i64 = wanted.iter().map(|(_, w)| i64::from(*w)).sum();
        let mut counts = vec![0_i64; wanted.len()];
        let mut worst = 0.0_f64;
        for k in 1..=calls {
            let chosen = offer(rotation);
            let at = wanted.iter().position(|(id, _)| *id == chosen);
            counts[at.expect("a member is chosen")] += 1;
            for (count, (_, weight)) in counts.iter().zip(wanted) {
                let off = (k * i64::from(*weight) - count * total).abs();
                worst = worst.max(off as f64 / total as f64);
            }
        }
        worst
    }

    #[test]
    fn the_weights_that_defeat_smooth_round_robin_stay_within_the_bound() {
        let wanted = members(&[90, 1, 3, 3, 98, 9, 10]);
        let mut rotation = WeightedRotation::default().with_members(&wanted);
        let worst = worst_deviation(&mut rotation, &wanted, 5_000);
        assert!(worst <= 1.0 - 1.0 / 12.0 + 1e-9, "{worst}");
    }

    #[test]
    fn a_small_weight_is_served_though_the_members_change_at_every_call() {
        let with = members(&[99, 1, 50]);
        let without = members(&[99, 1]);
        let mut rotation = WeightedRotation::default();
        let mut small = 0;
        for call in 0..2_000 {
            rotation = rotation.with_members(if call % 2 == 0 { &with } else { &without });
            small += u32::from(offer(&mut rotation) == LinkId(2));
        }
        // Its share is 1/150 and 1/100 in turn: 16.7 calls.
        assert!((15..=18).contains(&small), "{small}");
    }

    #[test]
    fn a_returning_member_gets_no_burst() {
        let all = members(&[1, 1, 1]);
        let two = members(&[1, 1]);
        let mut rotation = WeightedRotation::default().with_members(&all);
        for _ in 0..10 {
            offer(&mut rotation);
        }
        rotation = rotation.with_members(&two);
        for _ in 0..1_000 {
            offer(&mut rotation);
        }
        rotation = rotation.with_members(&all);
        let first_nine: Vec<_> = (0..9).map(|_| offer(&mut rotation)).collect();
        let back = first_nine.iter().filter(|id| **id == LinkId(3)).count();
        assert!((2..=4).contains(&back), "{first_nine:?}");
    }

    proptest! {
        #[test]
        fn every_prefix_is_within_tijdemans_bound(
            weights in prop::collection::vec(1_u32..1_000, 1..12),
        ) {
            let wanted = members(&weights);
            let mut rotation = WeightedRotation::default().with_members(&wanted);
            let worst = worst_deviation(&mut rotation, &wanted, 2_000);
            let n = weights.len() as f64;
            let bound = if weights.len() == 1 { 0.0 } else { 1.0 - 1.0 / (2.0 * n - 2.0) };
            prop_assert!(worst <= bound + 1e-9, "{worst} > {bound}");
        }

        #[test]
        fn extreme_weights_do_not_overflow(
            weights in prop::collection::vec(prop_oneof![Just(1_u32), Just(i32::MAX as u32)], 1..50),
            offered in 0_u64..1 << 40,
        ) {
            let wanted = members(&weights);
            let mut rotation = WeightedRotation::default().with_members(&wanted);
            rotation.members[0].offered = offered;
            prop_assert_eq!(rotation.order().len(), weights.len());
            let fewer = rotation.with_members(&wanted[1..]);
            prop_assert_eq!(fewer.members.iter().map(|m| m.carry).sum::<i64>(), 0);
        }

        /// After any history of changes, a fixed set again deviates by little from the moment it is
        /// fixed: the bound plus what was carried along, at most one call each.
        #[test]
        fn a_change_costs_nobody_more_than_a_call(
            history in prop::collection::vec((1_u8..32, 1_u32..100, 1_usize..20), 0..20),
            weights in prop::collection::vec(1_u32..100, 5),
        ) {
            let mut rotation = WeightedRotation::default();
            for (mask, weight, calls) in history {
                let some: Vec<_> = (0..5)
                    .filter(|bit| mask & (1 << bit) != 0)
                    .map(|bit| (LinkId(bit + 1), weight + bit as u32 * 7))
                    .collect();
                rotation = rotation.with_members(&some);
                for _ in 0..calls {
                    offer(&mut rotation);
                }
            }
            let wanted = members(&weights);
            let mut rotation = rotation.with_members(&wanted);
            let worst = worst_deviation(&mut rotation, &wanted, 500);
            prop_assert!(worst < 2.0, "{worst}");
        }

        #[test]
        fn a_rotation_survives_being_stored(weights in prop::collection::vec(1_u32..9, 1..5), calls in 0..40) {
            let mut rotation = WeightedRotation::default().with_members(&members(&weights));
            for _ in 0..calls {
                offer(&mut rotation);
            }
            let text = serde_json::to_string(&rotation).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<WeightedRotation>(&text).expect("parses"), rotation);
        }
    }
}
