/* Assent's payloads: does a correct replica that voted for a payload always have it for those who must vote again?
 * docs/model.md maps each line to consensus/.
 *
 * One height that is not decided, CORRECT correct replicas and a Byzantine one, which leads every view and proposes
 * what it likes, for present and past views. In memory a replica holds what it needs now, and of the rest only a few
 * payloads: a flood of proposals for past views, whose payloads nobody votes for, drives out all of that. What its
 * votes name is in its vote store. A set of payloads is a number: bit d-1 for payload d.
 */
#ifndef CORRECT
#define CORRECT 3
#endif
#ifndef QUORUM
#define QUORUM 3
#endif
#ifndef VIEWS
#define VIEWS 2
#endif
#define PAYLOADS 2 /* that anyone votes for */
#define BIT(d) (1 << ((d) - 1))
#define SET_OF(d) ((d -> BIT(d) : 0))

/* --- the rules that mutants undo ----------------------------------------------------------------- */
/* FETCH is answered from the vote store, too. */
#ifdef M_ANSWERS_FROM_MEMORY
#define ANSWERS(i) r[i].memory
#else
#define ANSWERS(i) (r[i].memory | r[i].listed)
#endif
/* What a vote names is held in memory or known to be in the store. */
#ifdef M_STORES_FRESH_ONLY
#define STORES(i, d) (r[i].again -> 0 : BIT(d))
#else
#define STORES(i, d) BIT(d)
#endif
/* The payload of an earlier vote stays until the height is certified. */
#ifdef M_DROPS_EARLIER_VOTE
#define STAYS(i) 0
#else
#define STAYS(i) r[i].stored
#endif
/* What is proposed now is not let go of. */
#ifdef M_EVICTS_PROPOSED
#define NEEDED(i) SET_OF(r[i].prepared)
#else
#define NEEDED(i) (SET_OF(r[i].proposed) | SET_OF(r[i].prepared))
#endif
/* A restart finds every payload of the store. */
#ifdef M_RESTART_LISTS_LAST_VOTE
#define BACK_LISTED(i) SET_OF(r[i].voted)
#else
#define BACK_LISTED(i) r[i].stored
#endif
/* The vote is written with its payload. */
#ifdef M_VOTES_BEFORE_PAYLOAD
#define MAY_VOTE(i) true
#else
#define MAY_VOTE(i) (r[i].memory & BIT(r[i].proposed))
#endif

typedef Replica {
    byte prepare[VIEWS]; /* signed: PREPARE of each view, its payload or 0 */
    byte view;
    byte proposed;       /* slot.digest */
    bool again;          /* it is a re-proposal */
    bool had;            /* its payload was in memory since */
    byte prepared;       /* payload of slot.prepared */
    byte memory;         /* slot.payloads */
    byte listed;         /* slot.stored */
    byte stored;         /* `p` rows on disk */
    byte voted           /* `a` row on disk: payload of the latest PREPARE */
};
Replica r[CORRECT];
byte may_return[VIEWS];  /* payloads of which a prepared certificate of each view can be assembled */
hidden byte j, k, x, found;

c_code {
\#include <string.h>
extern void (*uerror)(char *);
static void broken(char *words) { uerror(words); }

/* Correct replicas are interchangeable. */
static void sort(void) {
    struct Replica held;
    int i, j;
    for (i = 1; i < CORRECT; i++)
        for (j = i; j > 0 && memcmp(&now.r[j], &now.r[j - 1], sizeof held) < 0; j--) {
            held = now.r[j]; now.r[j] = now.r[j - 1]; now.r[j - 1] = held;
        }
}
};

#define PROMISE(that, words) if :: (that) :: else -> c_code { broken(words); } fi

/* A NEW-VIEW may propose again what is prepared in an earlier view. */
#define RETURNS(v, d) ((v > 0 && (may_return[0] & BIT(d))) || (v > 1 && (may_return[(v > 1 -> 1 : 0)] & BIT(d))))
#define SOMEBODY_ANSWERS(d) ((ANSWERS(0) | ANSWERS(1) | ANSWERS(2) | MORE_ANSWERS) & BIT(d))
#if CORRECT > 3
#define MORE_ANSWERS ANSWERS(3)
#else
#define MORE_ANSWERS 0
#endif

/* After each step: what can be prepared, and whether it can be had. */
inline settle() {
    for (k : 0 .. VIEWS - 1) {
        for (j : 1 .. PAYLOADS) {
            found = 1; /* the liar's PREPARE */
            for (x : 0 .. CORRECT - 1) { if :: r[x].prepare[k] == j -> found++ :: else fi }
            if :: found >= QUORUM -> may_return[k] = may_return[k] | BIT(j) :: else fi;
            PROMISE(!(may_return[k] & BIT(j)) || SOMEBODY_ANSWERS(j), "nobody answers FETCH for what must be proposed again")
        }
    }
    for (x : 0 .. CORRECT - 1) {
        for (k : 0 .. VIEWS - 1) {
            PROMISE((SET_OF(r[x].prepare[k]) & ~ANSWERS(x)) == 0, "a replica does not have what it voted for")
        }
        PROMISE(!r[x].had || (r[x].memory & SET_OF(r[x].proposed)), "the payload proposed now is driven out")
    }
    c_code { sort(); }
}

/* on_proposal */
inline propose(i, d) {
    r[i].proposed = d; r[i].again = false; r[i].had = true;
    r[i].memory = r[i].memory | BIT(d)
}

/* adopt_view: the payload may be unknown */
inline propose_again(i, d) {
    r[i].proposed = d; r[i].again = true;
    r[i].had = ((r[i].memory & BIT(d)) -> true : false)
}

/* Slot.keep_payload, of proposals for past views, more than memory takes */
inline flood(i) {
    r[i].memory = r[i].memory & NEEDED(i)
}

/* on_payload: after FETCH, or from the own store */
#define MAY_FETCH(i) (r[i].proposed && !(r[i].memory & BIT(r[i].proposed)) && SOMEBODY_ANSWERS(r[i].proposed))
inline fetch(i) {
    r[i].memory = r[i].memory | BIT(r[i].proposed); r[i].had = true
}

/* _prepare and store_payload */
#define MAY_PREPARE(i) (r[i].proposed && r[i].prepare[r[i].view] == 0 && MAY_VOTE(i))
inline cast_prepare(i) {
    r[i].prepare[r[i].view] = r[i].proposed;
    r[i].stored = STAYS(i) | (STORES(i, r[i].proposed) & r[i].memory);
    r[i].listed = r[i].stored;
    r[i].voted = r[i].proposed
}

/* _commit */
#define MAY_COMMIT(i) \
    (r[i].proposed && r[i].prepare[r[i].view] == r[i].proposed && (may_return[r[i].view] & BIT(r[i].proposed)) && \
     r[i].prepared != r[i].proposed)
inline cast_commit(i) {
    r[i].prepared = r[i].proposed
}

/* _ask_for and _enter */
inline next_view(i) {
    r[i].view++; r[i].proposed = 0; r[i].again = false; r[i].had = false
}

/* _restore_height: those we voted for first, of others what there is room for */
inline restart(i) {
    r[i].listed = BACK_LISTED(i);
    r[i].memory = r[i].stored & (SET_OF(r[i].voted) | SET_OF(r[i].prepared));
    if :: r[i].prepare[r[i].view] == 0 -> r[i].proposed = 0; r[i].again = false :: else fi;
    r[i].had = ((r[i].proposed && (r[i].memory & SET_OF(r[i].proposed))) -> true : false)
}

#define OF_PAYLOAD(i, d) \
    :: d_step { r[i].proposed == 0 -> propose(i, d); settle(); skip } \
    :: d_step { r[i].proposed == 0 && RETURNS(r[i].view, d) -> propose_again(i, d); settle(); skip }
#define STEPS(i) \
    OF_PAYLOAD(i, 1) OF_PAYLOAD(i, 2) \
    :: d_step { r[i].view > 0 -> flood(i); settle(); skip } \
    :: d_step { MAY_FETCH(i) -> fetch(i); settle(); skip } \
    :: d_step { MAY_PREPARE(i) -> cast_prepare(i); settle(); skip } \
    :: d_step { MAY_COMMIT(i) -> cast_commit(i); settle(); skip } \
    :: d_step { r[i].view < VIEWS - 1 -> next_view(i); settle(); skip } \
    :: d_step { restart(i); settle(); skip }

active proctype world() {
end:
    do
    STEPS(0)
    STEPS(1)
    STEPS(2)
#if CORRECT > 3
    STEPS(3)
#endif
    od
}
