"""Sealed bids for a lot: first a hash, then the bid itself; the highest wins and pays the second price."""


class Lot(Record):
    seller: str
    least: int
    bids_until: int
    shown_until: int
    winner: str = ""
    price: int = 0
    highest: int = 0
    settled: bool = False


lots = Map(str, Lot, ordered=True)
sealed = Map(tuple[str, str], bytes, ordered=True)  # (lot, bidder) -> hash

LotOpened = Event(lot=str, by=subject, least=int, bids_until=str)
BidSealed = Event(lot=str, by=subject)
BidShown = Event(lot=str, by=subject, amount=int)
LotSold = Event(lot=str, winner=subject, price=int)


@export
def open_lot(lot: str, least: int, bid_days: int = 3, show_days: int = 1):
    require(lot not in lots and least > 0 and bid_days > 0 and show_days > 0, "BAD_LOT")
    until = date.add_days(ctx.block_time, bid_days)
    # Until someone bids more, the price is the least that the seller takes.
    lots[lot] = Lot(ctx.org, least, until, date.add_days(until, show_days), price=least)
    LotOpened(lot=lot, by=f"org:{ctx.org}", least=least, bids_until=date.iso(until))


@view
def seal_of(lot: str, bidder: str, amount: int, secret: bytes) -> bytes:
    """The hash to bid with; computed by anyone, best on one's own machine. It binds the bidder and the lot."""
    return sha256(encode((ctx.contract, lot, bidder, amount, secret)))


@export
def bid(lot: str, seal: bytes):
    """A bid may be replaced until bidding ends."""
    require(len(seal) == 32, "BAD_SEAL")
    found = lot_of(lot)
    require(ctx.block_time <= found.bids_until, "BIDDING_IS_OVER")
    require(ctx.org != found.seller, "OWN_LOT")
    sealed[lot, ctx.org] = seal
    BidSealed(lot=lot, by=f"org:{ctx.org}")


@export
def show(lot: str, amount: int, secret: bytes):
    found = lot_of(lot)
    require(found.bids_until < ctx.block_time <= found.shown_until, "NOT_THE_TIME")
    require((lot, ctx.org) in sealed, "NO_BID")
    require(len(secret) >= 16, "SECRET_TOO_SHORT")
    require(sealed[lot, ctx.org] == seal_of(lot, ctx.org, amount, secret), "WRONG_SEAL")
    del sealed[lot, ctx.org]
    BidShown(lot=lot, by=f"org:{ctx.org}", amount=amount)
    if amount < found.least:
        return
    if amount > found.highest:
        found.price = max(found.least, found.highest)
        found.highest = amount
        found.winner = ctx.org
    else:
        found.price = max(found.price, amount)
    lots[lot] = found


@export
def settle(lot: str) -> Lot:
    """Anyone, once the time to show is over; bids that nobody showed are void."""
    found = lot_of(lot)
    require(ctx.block_time > found.shown_until, "TOO_EARLY")
    require(not found.settled, "SETTLED")
    found.settled = True
    lots[lot] = found
    if found.winner != "":
        LotSold(lot=lot, winner=f"org:{found.winner}", price=found.price)
    return found


@view
def bidders(lot: str) -> list[str]:
    """Whose bid is still sealed."""
    return [bidder for _, bidder in sealed.page(prefix=(lot,))]


def lot_of(lot: str) -> Lot:
    require(lot in lots, "NO_SUCH_LOT")
    return lots[lot]
