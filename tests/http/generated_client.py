"""A small program that uses a client made of the API's document. tests/http/generated-client runs it.

What it says to a type checker is as much a test as what it does: `assert_never` fails the check where a set of words
is not closed, attributes without a test for None where a field could be absent.
"""

import os
from typing import assert_never

from capconduit_client import AuthenticatedClient
from capconduit_client.api.auth import about, create_key
from capconduit_client.api.calls import list_calls, simulate
from capconduit_client.api.campaigns import create_campaign, list_campaigns
from capconduit_client.api.dids import create_did, get_did, list_dids
from capconduit_client.models import (
    CallsState,
    CampaignStatus,
    DidStatus,
    LoggedCallList,
    MadeKey,
    NewCampaign,
    NewDid,
    NewKey,
    Problem,
    RoutingStrategy,
)
from capconduit_client.models.about import About
from capconduit_client.models.campaign_list import CampaignList
from capconduit_client.models.campaign_with_all import CampaignWithAll
from capconduit_client.models.did import Did
from capconduit_client.models.did_list import DidList
from capconduit_client.models.simulation import Simulation


def describe(status: DidStatus) -> str:
    """Every status there is: the checker says so."""
    match status:
        case DidStatus.ACTIVE:
            return "takes calls"
        case DidStatus.INACTIVE:
            return "takes none"
        case DidStatus.PENDING:
            return "waits"
        case _:
            assert_never(status)


def all_dids(client: AuthenticatedClient) -> list[Did]:
    """Goes through a list by cursor."""
    found: list[Did] = []
    cursor: str | None = "start"
    while cursor is not None:
        page = list_dids.sync(client=client, cursor=cursor, per_page=2)
        assert isinstance(page, DidList), page
        assert page.has_more == (page.next_cursor is not None)
        found += page.items
        cursor = page.next_cursor
    return found


def main() -> None:
    api = os.environ["API"]
    session = f"session={os.environ['SESSION']}"
    browser = AuthenticatedClient(base_url=api, token=session, prefix="", auth_header_name="Cookie")

    server = about.sync(client=browser)
    assert isinstance(server, About), server
    assert server.role.value == "user" and server.limits.per_page == 200

    key = create_key.sync(client=browser, body=NewKey(name="program", scopes=["read", "write"]))
    assert isinstance(key, MadeKey) and key.key is not None, key
    client = AuthenticatedClient(base_url=api, token=key.key)

    before = len(all_dids(client))
    for n in range(5):
        made = create_did.sync(client=client, body=NewDid(number=f"+1800777000{n}"))
        assert isinstance(made, Did), made
        assert describe(made.status) == "takes calls" and made.created_at.tzinfo is not None
        read = get_did.sync(made.id, client=client)
        assert read == made, read
    assert len(all_dids(client)) == before + 5

    twice = create_did.sync(client=client, body=NewDid(number="+18007770000"))
    assert isinstance(twice, Problem) and twice.code == "number_taken" and twice.request_id, twice

    campaign = create_campaign.sync(
        client=client,
        body=NewCampaign(name="Made by a program", routing_strategy=RoutingStrategy.WEIGHTED, dial_timeout_seconds=20),
    )
    assert isinstance(campaign, CampaignWithAll), campaign
    assert campaign.routing_strategy is RoutingStrategy.WEIGHTED and campaign.client_settings == []
    active = list_campaigns.sync(client=client, status=CampaignStatus.ACTIVE)
    assert isinstance(active, CampaignList), active
    assert campaign.id in [one.id for one in active.items]

    calls = list_calls.sync(client=client, state=CallsState.ENDED, cursor="start", total=True)
    assert isinstance(calls, LoggedCallList), calls
    assert calls.total is not None and calls.total >= len(calls.items) > 0
    for call in calls.items:
        # May be null, is never absent.
        print(call.timestamp_start.isoformat(), call.call_status, call.billsec_seconds or 0, call.refusal_reason)

    answer = simulate.sync(client=client, did="+18007770000")
    assert isinstance(answer, Simulation), answer
    assert answer.verdict.value == "REJECT" and answer.reason is not None
    print(answer.reason.value, answer.explanation)


main()
