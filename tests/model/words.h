/* Bounds, and the words that pbft.pml and pbft.c share. The runner sets bounds and mutants with -D for both. */
#ifndef CORRECT
#define CORRECT 3 /* correct replicas; one Byzantine one comes on top */
#endif
#ifndef QUORUM
#define QUORUM 3
#endif
#ifndef VIEWS
#define VIEWS 2 /* views 0 .. VIEWS-1 of each epoch */
#endif
#ifndef HEIGHTS
#define HEIGHTS 1 /* heights 1 .. HEIGHTS */
#endif
#ifndef WINDOW
#define WINDOW 2
#endif
#ifndef SETTLED_SET
#define SETTLED_SET HEIGHTS /* last height of the first validator set; a second one follows if heights are left */
#endif
#ifndef WIPES
#define WIPES 0 /* how many data directories are lost */
#endif
#ifdef CHANGES_SET
/* {A, B, D, Byzantine} gives way to {A, B, E, Byzantine}: replica 2 is D, replica 3 is E. */
#define MEMBER(i, e) ((i) < 2 || (i) == 2 + (e))
#define TWINS 2 /* replicas 0 .. TWINS-1 may be exchanged */
#else
#define MEMBER(i, e) 1
#define TWINS CORRECT
#endif

/* Quorums, so that a mutant can lower one of them. */
#ifndef QUORUM_PREPARED
#define QUORUM_PREPARED QUORUM
#endif
#ifndef QUORUM_DECIDED
#define QUORUM_DECIDED QUORUM
#endif
#ifndef QUORUM_NEW_VIEW
#define QUORUM_NEW_VIEW QUORUM
#endif

#if SETTLED_SET < HEIGHTS
#define EPOCHS 2
#else
#define EPOCHS 1
#endif
#define ASKS (EPOCHS * VIEWS)
#define ASKS_AT (EPOCHS * VIEWS * HEIGHTS)
#define EPOCH(h) ((h) > SETTLED_SET)
#define EPOCH_FIRST(e) ((e) ? SETTLED_SET + 1 : 1)
#define EPOCH_LAST(e) ((e) || SETTLED_SET >= HEIGHTS ? HEIGHTS : SETTLED_SET)

/* When the last height of the first epoch is certified, nothing that is still done in that epoch is read by a step of
 * the next: it is left out. Some mutants make it be read. */
#if defined(M_WINDOW_SPANS_SETS) || defined(M_VOTES_UNCERTIFIED) || defined(M_LEAVERS_VOTE) || \
    defined(M_EPOCH_NOT_KEPT) || defined(M_VIEW_CHANGES_OF_ANY_EPOCH) || defined(PLAIN) || SETTLED_SET >= HEIGHTS
#define ONE_EPOCH_AFTER_ANOTHER 0
#else
#define ONE_EPOCH_AFTER_ANOTHER 1
#endif

/* Where the arrays keep a slot (view, height); a view of an epoch; a height shown in a view change. */
#define SLOTS (VIEWS * HEIGHTS)
#define SLOT(v, h) ((v) * HEIGHTS + (h) - 1)
#define ASK(e, v) ((e) * VIEWS + (v))
#define ASK_AT(e, v, h) (ASK(e, v) * HEIGHTS + (h) - 1)

/* A payload is 1 or 2, and 1 is also the gap. One number names a view and what was voted for in it: the higher
 * view is the higher number, and 0 is none. */
#define GAP 1
#define VOTE(v, d) (2 * (v) + (d))
#define VIEW_OF(vote) (((vote) - 1) / 2)
#define PAYLOAD_OF(vote) (((vote) - 1) % 2 + 1)

/* What the view says of a height: left to fresh proposals, a payload (1, 2) to be proposed again, or certified. */
#define OPEN 0
#define CERTIFIED 3
