"""What an attack is."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from tests.floods.target import Clock, Tally, Target

Port = Literal["rpc", "peer", "agent"]
PORTS: tuple[Port, ...] = get_args(Port)
"""Attacks that run at once share a process a port."""
Who = Literal["anybody", "member", "participant"]


class Attack:
    """One way to hurt a node from outside, with what it sends and where that ends."""

    name: ClassVar[str] = ""
    port: ClassVar[Port]
    who: ClassVar[Who] = "anybody"
    """Whose key it needs."""
    sends: ClassVar[str]
    """What goes over the wire."""
    bound: ClassVar[str]
    """Connections, messages and bytes that it never exceeds; time bounds every attack."""
    must_be_named: ClassVar[bool] = False
    """Whether the victim must say whose key it is, within the bar."""
    victims_max: ClassVar[int] = 1
    """How many nodes it attacks."""
    processes: ClassVar[int] = 1
    """How many processes do it, each all of it."""
    is_control: ClassVar[bool] = False
    """Whether it attacks nothing and shows what the machine alone does; no bar holds for it."""
    with_others: ClassVar[bool] = True
    """Whether it takes part when all attacks run at once."""

    def prepare(self, target: Target) -> None:
        """Make what takes time and touches nobody; called once, before the clock runs."""

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        """Attack until the clock says that it is over; what the victim does is no error."""
        raise NotImplementedError
