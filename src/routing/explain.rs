//! What the engine would answer now, and why, without claiming anything.

use super::offer::resolved;
use super::store::offers::{Campaign, ClosedCampaign, Link, ResolvedDid, RoutingView};
use super::{Engine, Error};
use crate::calls::store::internal::Address;
use crate::domain::{Decision, DialledNumber, Question, RefusalReason, decide};

/// A decision that was not carried out.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The DID, if there is one.
    pub did: Option<ResolvedDid>,
    /// Its campaign, if one takes its calls.
    pub campaign: Option<Campaign>,
    /// The campaign's links.
    pub links: Vec<Link>,
    /// Where none does: those that would if they were active.
    pub closed: Vec<ClosedCampaign>,
    /// Question and decision, if it comes to one.
    pub decided: Option<(Question, Decision)>,
    /// Why a call would be refused now.
    pub refusal: Option<RefusalReason>,
}

impl Engine {
    /// Decides as for a new call, by the same function, on the same data.
    pub async fn explain(&self, number: &DialledNumber) -> Result<Explanation, Error> {
        let view = self.store.routing_view(number).await?;
        Ok(explained(view))
    }

    /// As [`Self::explain`], with what dialling the targets needs.
    pub async fn explain_with_addresses(
        &self,
        number: &DialledNumber,
    ) -> Result<(Explanation, Vec<Address>), Error> {
        let (view, addresses) = self.store.routing_view_with_addresses(number).await?;
        Ok((explained(view), addresses))
    }
}

fn explained(view: RoutingView) -> Explanation {
    let found = resolved(view.did.as_ref(), view.campaign.as_ref());
    let (decided, refusal) = match found {
        Err(reason) => (None, Some(reason)),
        Ok(None) => (None, Some(RefusalReason::NoActiveCampaignForDid)),
        Ok(Some((_, campaign))) => {
            let question = Question {
                strategy: campaign.strategy,
                rotation: campaign.rotation.clone(),
                candidates: view.links.iter().map(|l| l.candidate.clone()).collect(),
                tried: Vec::new(),
                locked: Vec::new(),
            };
            let decision = decide(&question);
            let refusal = decision.chosen().is_none().then(|| decision.refusal());
            (Some((question, decision)), refusal)
        }
    };
    Explanation {
        did: view.did,
        campaign: view.campaign,
        links: view.links,
        closed: view.closed,
        decided,
        refusal,
    }
}
