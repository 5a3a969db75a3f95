//! The decision: which candidates may take the call, and in which order.
//!
//! [`decide`] is a pure function of a [`Question`]. Live routing, `route --explain` and anything that
//! looks at a stored decision later call this same function; a stored question gives the same answer
//! again.

use serde::{Deserialize, Serialize};

use super::candidate::Circumstances;
use super::{Candidate, Check, Disposition, LinkId, RefusalReason, Rotation};

/// How a campaign orders the eligible candidates inside a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By link id.
    Priority,
    /// Strictly in turn.
    RoundRobin,
    /// In turn by weight, never more than one call off the ideal share.
    Weighted,
}

impl Strategy {
    /// Reads `campaigns.routing_strategy`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "priority" => Some(Self::Priority),
            "round_robin" => Some(Self::RoundRobin),
            "weighted" => Some(Self::Weighted),
            _ => None,
        }
    }

    /// The text of `campaigns.routing_strategy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
        }
    }
}

/// Everything a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The campaign's strategy.
    pub strategy: Strategy,
    /// Whose turn it was before.
    pub rotation: Rotation,
    /// All links of the campaign, in any order.
    pub candidates: Vec<Candidate>,
    /// Links this call was offered to before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<LinkId>,
    /// Links whose rows another transaction held when their slot was to be taken: passed over for this call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locked: Vec<LinkId>,
}

/// One candidate of a decision with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedTarget {
    /// The candidate.
    pub link_id: LinkId,
    /// Eligible, or the first check it failed.
    pub verdict: Check,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// All candidates: the eligible ones first, in the order to try; then the others by tier and link.
    pub ranking: Vec<RankedTarget>,
    /// Whose turn it is once the first of them has been offered the call. The same as before when the
    /// call was offered to somebody before: a call counts for the target it was offered to first.
    pub rotation_after: Rotation,
}

impl Decision {
    /// The target to offer the call to.
    pub fn chosen(&self) -> Option<LinkId> {
        self.ranking
            .first()
            .filter(|target| target.verdict == Check::Eligible)
            .map(|target| target.link_id)
    }

    /// Why there is nobody to offer the call to.
    pub fn refusal(&self) -> RefusalReason {
        if self.ranking.iter().any(|t| t.verdict.in_service()) {
            RefusalReason::NoEligibleClientsAvailable
        } else {
            RefusalReason::NoActiveClientsInCampaign
        }
    }

    /// The disposition of a call refused before it was offered to anybody. A concurrency cap, which may
    /// be free again in a minute, outweighs total caps.
    pub fn refusal_disposition(&self) -> Disposition {
        let any = |verdict| self.ranking.iter().any(|t| t.verdict == verdict);
        if any(Check::ConcurrencyCapReached) {
            Disposition::RejectedConcurrency
        } else if any(Check::TotalCapReached) {
            Disposition::RejectedTotal
        } else {
            Disposition::RejectedDid
        }
    }
}

/// Decides. Tiers are tried in order of `forwarding_priority` under every strategy; the strategy orders
/// inside a tier.
pub fn decide(question: &Question) -> Decision {
    let Question {
        strategy,
        rotation,
        candidates,
        tried,
        locked,
    } = question;
    let circumstances = Circumstances { tried, locked };
    let mut checked: Vec<(&Candidate, Check)> = candidates
        .iter()
        .map(|c| (c, c.check(circumstances)))
        .collect();
    checked.sort_by_key(|(c, _)| (c.tier, c.link_id));

    let mut ranking = Vec::with_capacity(checked.len());
    let mut rotation_after = None;
    for tier in checked.chunk_by(|(a, _), (b, _)| a.tier == b.tier) {
        let tier_number = tier[0].0.tier;
        let eligible: Vec<&Candidate> = tier
            .iter()
            .filter(|(_, verdict)| *verdict == Check::Eligible)
            .map(|(c, _)| *c)
            .collect();
        let order = rotation.order(*strategy, tier_number, &eligible);
        if let (Some(&chosen), None, true) = (order.first(), &rotation_after, tried.is_empty()) {
            let mut tiers: Vec<i32> = checked.iter().map(|(c, _)| c.tier).collect();
            tiers.dedup();
            rotation_after =
                Some(rotation.after_offer(*strategy, tier_number, &eligible, chosen, &tiers));
        }
        ranking.extend(order.into_iter().map(|link_id| RankedTarget {
            link_id,
            verdict: Check::Eligible,
        }));
    }
    ranking.extend(
        checked
            .iter()
            .filter(|(_, verdict)| *verdict != Check::Eligible)
            .map(|(c, verdict)| RankedTarget {
                link_id: c.link_id,
                verdict: *verdict,
            }),
    );
    Decision {
        ranking,
        rotation_after: rotation_after.unwrap_or_else(|| rotation.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::Strategy as Generator;

    use super::*;
    use crate::domain::{Cap, CapKind, ClientId};

    fn link(id: i32, tier: i32, weight: u32) -> Candidate {
        Candidate {
            link_id: LinkId(id),
            client_id: ClientId(id),
            tier,
            weight,
            link_active: true,
            client_active: true,
            granted: true,
            dialable: true,
            registered: true,
            caps: vec![Cap {
                kind: CapKind::Concurrency,
                used: 0,
                limit: Some(1),
            }],
        }
    }

    fn full(mut candidate: Candidate) -> Candidate {
        candidate.caps[0].used = 1;
        candidate
    }

    fn question(strategy: Strategy, candidates: Vec<Candidate>) -> Question {
        Question {
            strategy,
            rotation: Rotation::default(),
            candidates,
            tried: vec![],
            locked: vec![],
        }
    }

    /// Offers `calls` calls one after the other and returns the chosen links.
    fn run(question: &mut Question, calls: usize) -> Vec<i32> {
        (0..calls)
            .map(|_| {
                let decision = decide(question);
                question.rotation = decision.rotation_after.clone();
                decision.chosen().expect("somebody is eligible").0
            })
            .collect()
    }

    #[test]
    fn priority_takes_the_lowest_tier_with_room_and_there_the_lowest_link() {
        let mut q = question(
            Strategy::Priority,
            vec![link(3, 1, 1), full(link(1, 0, 1)), link(2, 1, 1)],
        );
        assert_eq!(run(&mut q, 2), [2, 2]);
        let verdicts: Vec<_> = decide(&q).ranking.iter().map(|t| t.verdict).collect();
        assert_eq!(
            verdicts,
            [
                Check::Eligible,
                Check::Eligible,
                Check::ConcurrencyCapReached
            ]
        );
    }

    #[test]
    fn round_robin_is_strict_and_skips_those_without_room() {
        let mut q = question(
            Strategy::RoundRobin,
            vec![link(1, 0, 1), link(2, 0, 1), link(3, 0, 1)],
        );
        assert_eq!(run(&mut q, 4), [1, 2, 3, 1]);
        q.candidates[1] = full(link(2, 0, 1));
        assert_eq!(run(&mut q, 3), [3, 1, 3]);
        q.candidates[1] = link(2, 0, 1);
        assert_eq!(run(&mut q, 4), [1, 2, 3, 1]);
    }

    #[test]
    fn a_lower_tier_is_overflow_and_does_not_disturb_the_turn_above() {
        let mut q = question(
            Strategy::RoundRobin,
            vec![link(1, 0, 1), link(2, 0, 1), link(9, 5, 1)],
        );
        assert_eq!(run(&mut q, 1), [1]);
        q.candidates[0] = full(link(1, 0, 1));
        q.candidates[1] = full(link(2, 0, 1));
        assert_eq!(run(&mut q, 2), [9, 9]);
        q.candidates[0] = link(1, 0, 1);
        q.candidates[1] = link(2, 0, 1);
        assert_eq!(run(&mut q, 2), [2, 1]);
    }

    #[test]
    fn a_call_counts_for_the_target_it_was_offered_to_first() {
        let mut q = question(Strategy::RoundRobin, vec![link(1, 0, 1), link(2, 0, 1)]);
        assert_eq!(run(&mut q, 1), [1]);
        q.tried = vec![LinkId(1)];
        let second = decide(&q);
        assert_eq!(second.chosen(), Some(LinkId(2)));
        assert_eq!(second.rotation_after, q.rotation);
        q.tried.clear();
        assert_eq!(run(&mut q, 1), [2]);
    }

    #[test]
    fn refusals_say_whether_there_was_anybody_at_all() {
        let nobody = decide(&question(Strategy::Weighted, vec![]));
        assert_eq!(nobody.chosen(), None);
        assert_eq!(nobody.refusal(), RefusalReason::NoActiveClientsInCampaign);
        let all_full = decide(&question(Strategy::Weighted, vec![full(link(1, 0, 1))]));
        assert_eq!(
            all_full.refusal(),
            RefusalReason::NoEligibleClientsAvailable
        );
        assert_eq!(
            all_full.refusal_disposition(),
            Disposition::RejectedConcurrency
        );
    }

    fn any_candidates() -> impl Generator<Value = Vec<Candidate>> {
        prop::collection::vec(
            (0..3_i32, 1..9_u32, prop::bool::weighted(0.8), 0..3_i64),
            0..8,
        )
        .prop_map(|rows| {
            (1..)
                .zip(rows)
                .map(|(id, (tier, weight, active, used))| {
                    let mut candidate = link(id, tier, weight);
                    candidate.client_active = active;
                    candidate.caps[0].used = used;
                    candidate.caps[0].limit = Some(2);
                    candidate
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn rankings_hold_every_candidate_once_and_only_eligible_ones_are_chosen(
            candidates in any_candidates(),
            strategy in prop_oneof![
                Just(Strategy::Priority), Just(Strategy::RoundRobin), Just(Strategy::Weighted)
            ],
            tried in prop::collection::vec((1..9_i32).prop_map(LinkId), 0..3),
            calls in 1_usize..20,
        ) {
            let mut q = question(strategy, candidates.clone());
            q.tried = tried;
            for _ in 0..calls {
                let decision = decide(&q);
                let mut ids: Vec<_> = decision.ranking.iter().map(|t| t.link_id).collect();
                ids.sort();
                prop_assert_eq!(ids, candidates.iter().map(|c| c.link_id).collect::<Vec<_>>());
                for target in &decision.ranking {
                    let candidate = candidates.iter().find(|c| c.link_id == target.link_id);
                    prop_assert_eq!(candidate.expect("known").check(Circumstances { tried: &q.tried, locked: &[] }), target.verdict);
                }
                // No eligible candidate of a lower tier number stands behind one of a higher.
                let tiers: Vec<_> = decision.ranking.iter()
                    .filter(|t| t.verdict == Check::Eligible)
                    .map(|t| candidates.iter().find(|c| c.link_id == t.link_id).expect("known").tier)
                    .collect();
                prop_assert!(tiers.is_sorted());
                q.rotation = decision.rotation_after;
            }
        }

        #[test]
        fn a_stored_question_gives_the_same_answer(candidates in any_candidates(), calls in 0_usize..20) {
            let mut q = question(Strategy::Weighted, candidates);
            for _ in 0..calls {
                q.rotation = decide(&q).rotation_after;
            }
            let stored = serde_json::to_string(&q).expect("serialises");
            let read: Question = serde_json::from_str(&stored).expect("parses");
            prop_assert_eq!(decide(&read), decide(&q));
        }
    }
}
