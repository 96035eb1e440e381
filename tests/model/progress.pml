/* Assent's view changes: does a view with a correct leader get its NEW-VIEW, and how many views can a liar waste?
 * docs/model.md maps each line to consensus/.
 *
 * The primary changes between heights B and B+1, and a certificate of B exists which the Byzantine replica may have
 * kept to itself. Time is cut into views: one ends when all that correct replicas sent one another in it has arrived
 * and nobody can do more (timeouts grow until every view lasts that long). The Byzantine replica says to each correct
 * one what it likes, when it likes, or nothing.
 *
 * Replicas 0 .. CORRECT-1 are correct, replica CORRECT is Byzantine. Base 0 is height B-1, base 1 is height B.
 */
#ifndef CORRECT
#define CORRECT 3
#endif
#ifndef QUORUM
#define QUORUM 3
#endif
#ifndef WASTED_MAX
#define WASTED_MAX 2 /* views in a row without progress */
#endif
#define ALL (CORRECT + 1)
#define LIAR CORRECT
#define PRIMARY(base) ((view + base) % ALL)

/* --- the rules that mutants undo ----------------------------------------------------------------- */
/* The certificate in a view change is learnt. */
#ifdef M_CHANGES_NOT_LEARNT
#define LEARNS(shown) 0
#else
#define LEARNS(shown) (shown == 2)
#endif
/* Any quorum of the view changes held will do. */
#ifdef M_BASE_OVER_ALL
#define QUORUM_WITH(me, base) (below(me, base) == held_by(me) && held_by(me) >= QUORUM && at(me, base))
#elif defined(M_FIRST_QUORUM)
#define QUORUM_WITH(me, base) (below(me, base) == QUORUM && held_by(me) == QUORUM && at(me, base))
#else
#define QUORUM_WITH(me, base) (below(me, base) >= QUORUM && at(me, base))
#endif
/* A leader needs no certificate of its own. */
#ifdef M_LEADS_FROM_OWN_CERTIFICATE
#define LEADS(me, base) (now.r[me].highest == base)
#else
#define LEADS(me, base) 1
#endif
/* Statuses show the highest certificate known. */
#ifdef M_STATUSES_HIDE_CERTIFICATE
#define PASSES_ON 0
#else
#define PASSES_ON 1
#endif
/* View changes are repeated until they are answered. */
#ifdef M_CHANGES_SENT_ONCE
#define REPEATED 0
#else
#define REPEATED 1
#endif

typedef Replica {
    byte highest;   /* the certificate of B: 0 unknown, 1 known */
    byte asks;      /* what its VIEW-CHANGE shows: 1 + base */
    byte held[ALL]; /* view changes that it holds, by sender: 0 none, else 1 + base */
    byte sent;      /* the NEW-VIEW that it sent as leader: 0 none, else 1 + base */
    byte entered    /* the NEW-VIEW that it entered: 0 none, else 1 + 2 * leader + base */
};
Replica r[CORRECT];
byte view, wasted;
hidden byte j, k, shown, leader, known;

c_code {
\#include <string.h>
extern void (*uerror)(char *);
#define PROGRESS "too many views in a row bring no progress"

static void broken(char *words) {
#ifdef PROGRESS_ALONE
    if (strcmp(words, PROGRESS))
        return;
#endif
    uerror(words);
}

static int below(int me, int base) {
    int j, found = 0;
    for (j = 0; j < ALL; j++)
        found += now.r[me].held[j] && now.r[me].held[j] - 1 <= base;
    return found;
}

static int at(int me, int base) {
    int j, found = 0;
    for (j = 0; j < ALL; j++)
        found += now.r[me].held[j] == 1 + base;
    return found;
}

static int held_by(int me) { return below(me, 1); }

/* _quorum_to_lead */
static int may_lead(int me, int base) {
    return !now.r[me].entered && (now.view + base) % ALL == me && QUORUM_WITH(me, base) && LEADS(me, base);
}

/* A liar that is primary joins its own view change to those of correct replicas. */
static int liar_may_lead(int base) {
    int j, found = 0;
    for (j = 0; j < CORRECT; j++)
        found += now.r[j].asks - 1 <= base;
    return (now.view + base) % ALL == LIAR && found >= QUORUM - 1;
}

static int all_together(void) {
    int j, together = now.r[0].entered != 0 && (now.r[0].entered - 1) / 2 != LIAR;
    for (j = 1; j < CORRECT; j++)
        together = together && now.r[j].entered == now.r[0].entered;
    return together;
}

/* Whether all that correct replicas sent has arrived, and led to what it could lead to. */
static int quiet(void) {
    int i, j;
    for (i = 0; i < CORRECT; i++) {
        if (may_lead(i, 0) || may_lead(i, 1))
            return 0;
        for (j = 0; j < CORRECT; j++)
            if ((REPEATED && !now.r[i].held[j]) || (now.r[j].sent && !now.r[i].entered))
                return 0;
    }
    return 1;
}
};

#define PROMISE(that, words) if :: (that) :: else -> c_code { broken(words); } fi

inline hear(to, from, what) {
    printf("view %d: %d hears the VIEW-CHANGE of %d with base %d\n", view, to, from, what - 1);
    r[to].held[from] = what;
    if :: LEARNS(what) -> r[to].highest = 1 :: else fi;
    skip
}

inline enter(to, leader, base) {
    printf("view %d: %d enters the NEW-VIEW of %d with base %d\n", view, to, leader, base);
    r[to].entered = 1 + 2 * leader + base;
    if :: base == 1 -> r[to].highest = 1 :: else fi;
    skip
}

/* Timers run out: every correct replica asks for the next view. */
inline next_view() {
    view = (view + 1) % ALL;
    for (k : 0 .. CORRECT - 1) {
        r[k].asks = 1 + r[k].highest; r[k].sent = 0; r[k].entered = 0;
        for (j : 0 .. ALL - 1) { r[k].held[j] = 0 }
        r[k].held[k] = r[k].asks
    }
    /* Who leads from neither base may as well have heard the correct ones at once: nothing else hangs on when. */
    for (k : 0 .. CORRECT - 1) {
        for (j : 0 .. CORRECT - 1) {
            if
            :: PRIMARY(0) != k && PRIMARY(1) != k ->
                r[k].held[j] = r[j].asks;
                if :: LEARNS(r[j].asks) -> r[k].highest = 1 :: else fi
            :: else
            fi
        }
    }
    skip
}

inline end_view() {
    shown = 0; known = 0;
    for (k : 0 .. CORRECT - 1) {
        if :: r[k].asks == 2 -> shown = 1 :: else fi
    }
    /* Whom the view changes of correct replicas make the leader leads, unless it followed another. */
    leader = PRIMARY(shown);
    PROMISE(leader == LIAR || r[(leader == LIAR -> 0 : leader)].entered, "a correct leader cannot send its NEW-VIEW");
    /* Statuses go round. */
    for (k : 0 .. CORRECT - 1) {
        if :: r[k].held[LIAR] == 2 || r[k].highest -> shown = 1 :: else fi;
        if :: r[k].highest && PASSES_ON -> known = 1 :: else fi
    }
    for (k : 0 .. CORRECT - 1) {
        if :: known -> r[k].highest = 1 :: else fi;
        PROMISE(!shown || r[k].highest, "a certificate shown to one correct replica does not reach all")
    }
    wasted++;
    if :: wasted <= WASTED_MAX :: else -> c_code { broken(PROGRESS); } fi;
    printf("view %d ends without progress\n", view);
    next_view()
}

#define HEARS(to, from) \
    :: d_step { to != from && r[to].held[from] == 0 -> hear(to, from, r[from].asks) }
#define LIES(to) \
    :: d_step { r[to].held[LIAR] == 0 -> hear(to, LIAR, 1) } \
    :: d_step { r[to].held[LIAR] == 0 -> hear(to, LIAR, 2) }
#define LEADS_AT(me, base) \
    :: d_step { c_expr { (may_lead(me, base)) } -> r[me].sent = 1 + base; enter(me, me, base) }
#define ENTERS_OF(to, from) \
    :: d_step { to != from && r[to].entered == 0 && r[from].sent -> enter(to, from, r[from].sent - 1) }
#define ENTERS_LIE(to, base) \
    :: d_step { r[to].entered == 0 && c_expr { (liar_may_lead(base)) } -> enter(to, LIAR, base) }
#define STEPS(i) \
    LEADS_AT(i, 0) LEADS_AT(i, 1) LIES(i) ENTERS_LIE(i, 0) ENTERS_LIE(i, 1) \
    HEARS(i, 0) HEARS(i, 1) HEARS(i, 2) ENTERS_OF(i, 0) ENTERS_OF(i, 1) ENTERS_OF(i, 2) MORE_STEPS(i)
#if CORRECT > 3
#define MORE_STEPS(i) HEARS(i, 3) ENTERS_OF(i, 3)
#else
#define MORE_STEPS(i)
#endif

active proctype world() {
    atomic {
        /* Who leads first, and who knows the certificate already, is anyone's guess. */
        do :: view < ALL - 1 -> view++ :: break od;
        for (k : 0 .. CORRECT - 1) { if :: r[k].highest = 1 :: skip fi };
        d_step { next_view() }
    }
end:
    do
    STEPS(0)
    STEPS(1)
    STEPS(2)
#if CORRECT > 3
    STEPS(3)
#endif
    :: d_step { c_expr { (quiet()) } && !c_expr { (all_together()) } -> end_view() }
    :: c_expr { (quiet() && all_together()) } -> break /* progress: B is certified by all, or B+1 proposed to all */
    od
}
