"""Bringing a contract onto a running chain, for tests and campaigns that need one there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.cli import processes
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.primitives.crypto import PrivateKey
from chain.primitives.values import Value


async def deploy_contract(
    urls: dict[str, str],
    admins: dict[str, PrivateKey],
    chain_id: bytes,
    contract: str,
    source: str,
    clients: Callable[[str], Client] = Client,
) -> int:
    """Propose a contract as the first organisation, approve it as further ones until enough have, commit it.

    `urls` and `admins` are by organisation; the last that votes commits; `clients` makes a client of a URL.
    Returns how many transactions that took; raises ProcessError when the consortium asks for more votes than
    there are keys.
    """
    named: dict[str, Value] = {"name": contract}
    needed = 1
    for votes, (name, url) in enumerate(urls.items(), 1):
        async with clients(url) as client:
            account = SigningClient(client, admins[name], chain_id)
            if votes == 1:
                args = named | {"source": source, "arguments": {}, "terms": {}}
                await account.send("lifecycle", "propose", args, gas_limit=5_000_000)
                proposal: Any = await client.state("lifecycle", "proposals", f"{contract}/1")
                needed = int(await client.view("lifecycle", "votes_needed", named))
                named["seq"] = proposal["seq"]
                approval = named | {"hash": proposal["hash"]}
            else:
                await account.send("lifecycle", "approve", approval)
            if votes == needed:
                await account.send("lifecycle", "commit", named, gas_limit=5_000_000)
                return votes + 1
    raise processes.ProcessError(
        f"{contract}: {needed} organisations must approve it, keys are here of {len(urls)}"
    )
