"""What is checked: every run of every model, its bounds, and what a mutant must be caught by."""

from __future__ import annotations

from dataclasses import dataclass

QUICK, FULL = "quick", "full"

AGREEMENT = "two payloads decided at one height"
ANEW = "a view proposes anew what was decided"
TWICE = "two PREPAREs in a slot"
HIDES = "a VIEW-CHANGE hides a COMMIT"
BELOW = "below a view left for good"
ASKS_TWICE = "two VIEW-CHANGEs for a view"
LOST_VOTES = "a vote in an epoch in which votes were lost"
LEADERLESS = "a correct leader cannot send its NEW-VIEW"
UNTOLD = "a certificate shown to one correct replica does not reach all"
WASTED = "too many views in a row bring no progress"
UNANSWERED = "nobody answers FETCH for what must be proposed again"
BROKEN_WORD = "a replica does not have what it voted for"
DRIVEN_OUT = "the payload proposed now is driven out"


@dataclass(frozen=True, slots=True)
class Run:
    """One search of one model."""

    model: str
    """M1 .. M5."""
    name: str
    source: str
    """The file under tests/model, without `.pml`."""
    defines: tuple[str, ...]
    """Bounds and mutants, each NAME or NAME=VALUE."""
    breaks: str = ""
    """Of a mutant: the promise that must be found broken; empty where all must hold."""
    undoes: str = ""
    """Of a mutant: the rule that it undoes, and where consensus/ states it."""
    modes: tuple[str, ...] = (QUICK, FULL)
    bitstate: bool = False
    """Search with one bit per state: what it does not visit is stated as coverage."""

    @property
    def label(self) -> str:
        """Return the name that `--only` takes."""
        return f"{self.model}/{self.name}"


def _bounds(**values: int | str) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in values.items())


def _one_height(views: int) -> tuple[str, ...]:
    return _bounds(HEIGHTS=1, VIEWS=views)


def _heights(heights: int, views: int, window: int) -> tuple[str, ...]:
    return _bounds(HEIGHTS=heights, VIEWS=views, WINDOW=window)


FIVE = _bounds(CORRECT=4, QUORUM=4)
CALM = ("CERTIFICATE_FIRST", "BLOCKS_KEPT")
"""Without the crashes between two writes and without lost blocks: a smaller search at larger bounds."""
CHANGE = ("CHANGES_SET", "CORRECT=4")


def _mutant(
    model: str, source: str, bounds: tuple[str, ...], define: str, breaks: str, undoes: str, *more: str
) -> Run:
    name = define.removeprefix("M_").lower().replace("_", "-").replace("=", "-")
    name = f"{source}, {name}" if source == "listening" else name
    return Run(model, name, source, (*bounds, define, *more), breaks, undoes)


def _forks(model: str, bounds: tuple[str, ...], define: str, undoes: str) -> Run:
    """Return a mutant that must be followed to two decisions, whatever other promise it breaks before."""
    return _mutant(model, "pbft", bounds, define, AGREEMENT, undoes, "AGREEMENT_ALONE")


def _agreement() -> list[Run]:
    one, three, two, wide = _one_height(2), _one_height(3), _heights(2, 2, 1), _heights(2, 2, 2)

    def mutant(bounds: tuple[str, ...], define: str, undoes: str) -> Run:
        return _forks("M1", bounds, define, undoes)

    return [
        Run("M1", "1 height, 3 views", "pbft", three),
        Run("M1", "2 heights, window 1", "pbft", two),
        Run("M1", "1 height, 4 views", "pbft", _one_height(4), modes=(FULL,)),
        Run("M1", "2 heights, window 2", "pbft", wide, modes=(FULL,)),
        Run("M1", "2 heights, 3 views", "pbft", _heights(2, 3, 1), modes=(FULL,)),
        Run("M1", "3 heights, window 1", "pbft", _heights(3, 2, 1), modes=(FULL,)),
        Run("M1", "unreduced", "pbft", (*one, "PLAIN"), modes=(FULL,)),
        Run("M1", "2 heights, 3 views, w 2", "pbft", _heights(2, 3, 2), modes=(FULL,), bitstate=True),
        Run("M1", "3 heights, window 2", "pbft", _heights(3, 2, 2), modes=(FULL,), bitstate=True),
        mutant(one, "QUORUM_DECIDED=2", "q COMMITs decide: slot.decide"),
        mutant(one, "QUORUM_NEW_VIEW=2", "q view changes make a NEW-VIEW: authenticity._new_view"),
        mutant(three, "QUORUM_PREPARED=2", "q PREPAREs make a prepared proof: normal_case._commit"),
        mutant(one, "M_HIDES_PREPARED", "what is prepared is shown: view_change._ask_for"),
        mutant(three, "M_LOWEST_VIEW_WINS", "the highest view counts: selection._rank"),
        mutant(one, "M_VOTES_AFTER_ASKING", "who asks leaves the view: view_change._ask_for"),
        mutant(one, "M_PREPARES_TWICE", "one PREPARE per slot: normal_case._prepare, on_proposal"),
        mutant(one, "M_FRESH_AT_REPROPOSED", "only the re-proposal counts: normal_case.on_proposal"),
        mutant(one, "M_RESTART_LOSES_PREPARED", "`c` comes back: restart._restore_votes"),
        mutant(one, "M_RESTART_LOSES_PREPARE", "`a` comes back: restart._restore_votes"),
        mutant(one, "M_RESTART_LOSES_VIEW_CHANGE", "`v` comes back: restart._restore_view"),
        mutant(one, "M_RESTART_LOSES_NEW_VIEW", "`n` comes back: restart._restore_view"),
        _mutant("M1", "pbft", two, "M_DELETES_FIRST", HIDES, "votes go last: driver._perform"),
        Run(
            "M1",
            "deletes-first-and-forks",
            "pbft",
            (*two, "M_DELETES_FIRST", "M_EXECUTED_UNCHECKED", "AGREEMENT_ALONE"),
            AGREEMENT,
            "the same, and what was executed is the only payload: normal_case._ask_check",
        ),
        mutant(two, "M_LOWEST_BASE", "the base is the highest certificate: selection.base_height"),
        mutant(two, "M_VOTES_BEYOND_WINDOW", "votes stay in the window: state.slot"),
        mutant(wide, "M_GAPS_BELOW_TOP", "null requests if none is prepared: selection.choose_reproposals"),
        Run(
            "M1",
            "decides-across-views",
            "pbft",
            (*_one_height(4), "M_DECIDES_ACROSS_VIEWS", "AGREEMENT_ALONE"),
            AGREEMENT,
            "COMMITs of one view decide: slot.decide",
            modes=(FULL,),
        ),
        *(
            Run("M1", f"unreduced, {name}", "pbft", (*one, "PLAIN", define, "AGREEMENT_ALONE"), AGREEMENT,
                f"as {name}, without reductions", modes=(FULL,))
            for name, define in (
                ("hides-prepared", "M_HIDES_PREPARED"),
                ("new-view-2", "QUORUM_NEW_VIEW=2"),
                ("loses-prepared", "M_RESTART_LOSES_PREPARED"),
                ("after-asking", "M_VOTES_AFTER_ASKING"),
                ("loses-view", "M_RESTART_LOSES_VIEW_CHANGE"),
            )
        ),
    ]  # fmt: skip


def _not_3f_plus_1() -> list[Run]:
    one, two = (*FIVE, *_one_height(2)), (*FIVE, *_heights(2, 2, 1))

    def mutant(define: str, undoes: str) -> Run:
        return _forks("M2", one, define, undoes)

    return [
        Run("M2", "1 height, 2 views", "pbft", one),
        Run("M2", "1 height, 3 views", "pbft", (*FIVE, *_one_height(3)), modes=(FULL,)),
        Run("M2", "2 heights, window 1", "pbft", two, modes=(FULL,)),
        Run("M2", "2 heights, window 2", "pbft", (*FIVE, *_heights(2, 2, 2), *CALM), modes=(FULL,)),
        _forks(
            "M2",
            ("CORRECT=4", *_one_height(2)),
            "QUORUM=3",
            "q is floor((n+f)/2)+1, not 2f+1: certificate.quorum",
        ),
        mutant("QUORUM_DECIDED=2", "q COMMITs decide: slot.decide"),
        mutant("QUORUM_NEW_VIEW=2", "q view changes make a NEW-VIEW: authenticity._new_view"),
        mutant("M_HIDES_PREPARED", "what is prepared is shown: view_change._ask_for"),
        mutant("M_PREPARES_TWICE", "one PREPARE per slot: normal_case._prepare"),
        mutant("M_RESTART_LOSES_PREPARED", "`c` comes back: restart._restore_votes"),
    ]


def _set_change() -> list[Run]:
    small = (*CHANGE, "SETTLED_SET=1", *_heights(2, 2, 2))
    long = (*CHANGE, "SETTLED_SET=2")

    def mutant(define: str, undoes: str) -> Run:
        return _forks("M3", small, define, undoes)

    return [
        Run("M3", "1+1 heights", "pbft", small),
        Run("M3", "2+1 heights, window 1", "pbft", (*long, *_heights(3, 2, 1)), modes=(FULL,)),
        Run("M3", "2+1 heights, window 2", "pbft", (*long, *_heights(3, 2, 2), *CALM), modes=(FULL,)),
        Run("M3", "1+1 heights, unreduced", "pbft", (*small, "PLAIN"), modes=(FULL,), bitstate=True),
        _mutant(
            "M3",
            "pbft",
            small,
            "M_WINDOW_SPANS_SETS",
            TWICE,
            "heights in flight are of one epoch: rules.last_together",
        ),
        _mutant(
            "M3",
            "pbft",
            small,
            "M_VOTES_UNCERTIFIED",
            TWICE,
            "an epoch begins with a certificate: state.follow_epoch",
        ),
        mutant("M_LEAVERS_VOTE", "who left votes no more: state.votes_on, authenticity._signed"),
        mutant("M_EPOCH_KEEPS_VIEW", "views begin anew: state.follow_epoch"),
        mutant("M_EPOCH_NOT_KEPT", "`k` is written with the first votes: state.follow_epoch"),
        mutant("M_RESTART_IN_OLD_VIEW", "rows name their epoch: restart._restore_view"),
        mutant("M_VIEW_CHANGES_OF_ANY_EPOCH", "view changes name their epoch: state.asking"),
    ]


def _wipe() -> list[Run]:
    one = (*_one_height(2), "WIPES=1")
    two = (*_heights(2, 2, 1), "WIPES=1")
    epochs = ("SETTLED_SET=1", *two)
    seven = _bounds(CORRECT=5, LIARS=1, QUORUM=5)

    def mutant(bounds: tuple[str, ...], define: str, undoes: str) -> Run:
        return _forks("M4", bounds, define, undoes)

    def deaf(define: str, undoes: str) -> Run:
        return _mutant("M4", "listening", (), define, LOST_VOTES, undoes)

    return [
        Run("M4", "1 height", "pbft", one),
        Run("M4", "1+1 heights", "pbft", epochs),
        Run("M4", "listening, n=4", "listening", ()),
        Run("M4", "2 heights", "pbft", two, modes=(FULL,)),
        Run("M4", "1 height, 3 views, 2 wiped", "pbft", (*_one_height(3), "WIPES=2"), modes=(FULL,)),
        Run("M4", "3 heights", "pbft", (*_heights(3, 2, 1), "WIPES=1", *CALM), modes=(FULL,)),
        Run("M4", "listening, n=7", "listening", seven, modes=(FULL,)),
        mutant(one, "M_VOTES_AFTER_WIPE", "no vote after a wipe: state.votes_on"),
        mutant(one, "M_ASKS_WHILE_MUTED", "no VIEW-CHANGE either: view_change.try_join, state.waiting"),
        mutant(one, "M_RESTART_FORGETS_WIPE", "`b` comes back: restart.revive"),
        mutant(two, "M_MUTED_UNTIL_CERTIFIED", "muted for the whole epoch: state.votes_on"),
        mutant(epochs, "M_BELIEVES_OLD_STATUSES", "muted in the newest epoch voted in: repair._listen"),
        Run(
            "M4",
            "votes-again-soon",
            "pbft",
            (*_heights(3, 2, 1), "WIPES=1", "M_ABSTAINS_BY_HEIGHT"),
            BELOW,
            "being muted covers views, not heights: state.votes_on",
        ),
        Run(
            "M4",
            "abstains-by-height",
            "pbft",
            (*_heights(3, 2, 1), "WIPES=1", "M_ABSTAINS_BY_HEIGHT", "AGREEMENT_ALONE", *CALM),
            AGREEMENT,
            "the same, to the fork",
            modes=(FULL,),
        ),
        deaf("M_BELIEVES_OLD_STATUSES", "a status answers this start's nonce: repair._listen"),
        deaf("M_SAME_NONCE_AGAIN", "each start has a nonce of its own: driver.Driver"),
        deaf("M_NEXT_HEIGHT_IGNORED", "the next height is of the epoch: repair._listen"),
        deaf("M_ANY_STANDING", "the sender is in the epoch: repair._listen"),
        deaf("M_HEARS_TOO_FEW", "q are heard: repair._listen"),
        deaf("M_MUTED_NOT_KEPT", "`b` is durable: repair.settle_birth"),
        deaf("M_MUTED_BELOW_ITS_EPOCH", "muted in that epoch, too: state.votes_on"),
        Run("M4", "listening, liar beyond f", "listening", _bounds(CORRECT=2, LIARS=1), LOST_VOTES,
            "a wiped validator counts among the f: README, Assumptions"),
    ]  # fmt: skip


def _progress() -> list[Run]:
    def view_change(define: str, breaks: str, undoes: str, *more: str) -> Run:
        return _mutant("M5", "progress", (), define, breaks, undoes, *more)

    def payload(define: str, breaks: str, undoes: str) -> Run:
        return _mutant("M5", "payloads", (), define, breaks, undoes)

    return [
        Run("M5", "view changes, n=4", "progress", ()),
        Run("M5", "payloads, 2 views", "payloads", ()),
        Run("M5", "view changes, n=5", "progress", FIVE, modes=(FULL,)),
        Run("M5", "payloads, 3 views", "payloads", ("VIEWS=3",), modes=(FULL,)),
        Run("M5", "payloads, n=5", "payloads", FIVE, modes=(FULL,)),
        view_change("M_CHANGES_NOT_LEARNT", UNTOLD, "certificates are learnt: view_change.on_view_change"),
        view_change("M_BASE_OVER_ALL", LEADERLESS, "any quorum will do: view_change._quorum_to_lead"),
        view_change("M_FIRST_QUORUM", LEADERLESS, "not the first quorum alone: view_change._quorum_to_lead"),
        view_change("M_LEADS_FROM_OWN_CERTIFICATE", LEADERLESS, "any base will do: view_change.try_lead"),
        view_change("M_STATUSES_HIDE_CERTIFICATE", UNTOLD, "statuses show the highest: repair.build_status"),
        view_change("M_CHANGES_SENT_ONCE", LEADERLESS, "view changes are repeated: repair.retransmit"),
        Run("M5", "stalls-for-ever", "progress",
            ("M_BASE_OVER_ALL", "M_CHANGES_NOT_LEARNT", "PROGRESS_ALONE", "WASTED_MAX=12"), WASTED,
            "base over all and nothing learnt, for twelve views: view_change.try_lead, on_view_change"),
        Run("M5", "two-views-can-be-wasted", "progress", ("WASTED_MAX=1",), WASTED,
            "the bound of two views is tight: README, View change"),
        payload("M_ANSWERS_FROM_MEMORY", BROKEN_WORD, "FETCH looks into the vote store: repair.answer_fetch"),
        payload("M_STORES_FRESH_ONLY", BROKEN_WORD, "re-proposals are stored, too: state.store_payload"),
        payload("M_DROPS_EARLIER_VOTE", BROKEN_WORD, "`p` stays until certified: state.forget"),
        payload("M_EVICTS_PROPOSED", DRIVEN_OUT, "what is proposed stays: slot.keep_payload"),
        payload("M_RESTART_LISTS_LAST_VOTE", BROKEN_WORD, "every `p` row is known: restart._restore_height"),
        payload("M_VOTES_BEFORE_PAYLOAD", BROKEN_WORD, "no vote without payload: normal_case._ask_check"),
    ]  # fmt: skip


RUNS: tuple[Run, ...] = (*_agreement(), *_not_3f_plus_1(), *_set_change(), *_wipe(), *_progress())
