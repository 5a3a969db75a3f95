//! `capconduit route`: the decision a call would get now.

use std::process::ExitCode;

use crate::app;
use crate::config::Config;
use crate::domain::{CapKind, Check, DialledNumber};
use crate::routing::Explanation;

/// The call would be refused.
const EXIT_REFUSED: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Number dialled, in any spelling.
    #[arg(long)]
    did: String,
    /// Caller's number. No rule looks at it yet.
    #[arg(long)]
    caller: Option<String>,
    /// Show every candidate with its verdict and the values seen.
    #[arg(long)]
    explain: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let engine = app::engine(config)?;
    let number = DialledNumber::from_untrusted(&arguments.did);
    let explanation = engine.explain(&number).await?;
    if arguments.explain {
        print!("{}", context(&arguments.did, &explanation));
        print!("{}", candidates(&explanation));
    }
    let chosen = explanation
        .decided
        .as_ref()
        .and_then(|(_, decision)| decision.chosen())
        .and_then(|id| explanation.links.iter().find(|l| l.candidate.link_id == id));
    Ok(match (chosen, explanation.refusal) {
        (Some(link), _) => {
            let timeout = explanation
                .campaign
                .as_ref()
                .map_or(0, |c| c.ring_timeout_seconds);
            println!(
                "DIAL {} (link {}, ring {timeout} s)",
                link.endpoint.as_deref().unwrap_or_default(),
                link.candidate.link_id
            );
            ExitCode::SUCCESS
        }
        (None, reason) => {
            let reason = reason.map_or("unknown", |r| r.as_str());
            let closed: Vec<_> = (explanation.closed.iter().map(ToString::to_string)).collect();
            match &closed[..] {
                [] => println!("REJECT {reason}"),
                _ => println!("REJECT {reason} ({})", closed.join(", ")),
            }
            ExitCode::from(EXIT_REFUSED)
        }
    })
}

fn context(dialled: &str, explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        text.push_str(&format!("{label:<10}{value}\n"));
    };
    match &explanation.did {
        None => line("DID", format!("{} is not known", dialled.escape_debug())),
        Some(did) => {
            let state = |active| if active { "active" } else { "not active" };
            line(
                "DID",
                format!(
                    "{} (id {}, {})",
                    did.number,
                    did.did_id,
                    state(did.did_active)
                ),
            );
            line(
                "owner",
                format!("user {} ({})", did.user_id, state(did.owner_active)),
            );
            if did.campaigns > 1 {
                line(
                    "note",
                    format!(
                        "{} active campaigns claim the DID; the lowest id wins",
                        did.campaigns
                    ),
                );
            }
        }
    }
    if let Some(campaign) = &explanation.campaign {
        line(
            "campaign",
            format!(
                "{} ({}, ring {} s)",
                campaign.campaign_id,
                campaign.strategy.as_str(),
                campaign.ring_timeout_seconds
            ),
        );
    }
    for campaign in &explanation.closed {
        let name = campaign.name.escape_debug();
        let id = campaign.campaign_id;
        line("campaign", format!("{id} {name}: {}", campaign.status));
    }
    text
}

/// All candidates in the order of the decision.
fn candidates(explanation: &Explanation) -> String {
    let Some((_, decision)) = &explanation.decided else {
        return String::new();
    };
    let mut rows = vec![
        [
            "", "link", "client", "tier", "weight", "at once", "in total", "verdict",
        ]
        .map(str::to_owned),
    ];
    for (place, target) in (1..).zip(&decision.ranking) {
        let found = explanation
            .links
            .iter()
            .find(|l| l.candidate.link_id == target.link_id);
        let Some(link) = found else { continue };
        let use_of = |kind| {
            let cap = link.candidate.caps.iter().find(|cap| cap.kind == kind);
            cap.map_or(String::new(), |cap| match cap.limit {
                Some(limit) => format!("{} of {limit}", cap.used),
                None => format!("{}, no cap", cap.used),
            })
        };
        rows.push([
            if target.verdict == Check::Eligible {
                format!("{place}.")
            } else {
                "-".to_owned()
            },
            target.link_id.to_string(),
            format!(
                "{} ({})",
                link.client_name.escape_debug(),
                link.endpoint
                    .as_deref()
                    .unwrap_or("no endpoint")
                    .escape_debug()
            ),
            link.candidate.tier.to_string(),
            link.candidate.weight.to_string(),
            use_of(CapKind::Concurrency),
            use_of(CapKind::Total),
            target.verdict.as_str().to_owned(),
        ]);
    }
    super::table(&rows)
}
