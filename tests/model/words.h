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
#ifndef MEMBER
#define MEMBER(i, e) 1 /* whether correct replica i votes in epoch e */
#endif
#ifndef TWINS
#define TWINS CORRECT /* replicas 0 .. TWINS-1 are members of the same epochs: any two may be exchanged */
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
