/* Assent's wiped validator: does it ever vote in an epoch in which votes of its own were lost?
 * docs/model.md maps each line to consensus/.
 *
 * One validator A loses its data directory, up to WIPES times, and counts as faulty. LIARS others are Byzantine and
 * CORRECT are not; n = CORRECT + LIARS + 1, and 1 + LIARS <= f. Height 1 ends epoch 0, all above is epoch 1. Statuses
 * stay on the network: whoever likes repeats old ones. After a wipe A hears statuses of a quorum, itself included,
 * that stand in its epoch, and is muted up to the end of that epoch.
 */
#ifndef CORRECT
#define CORRECT 3
#endif
#ifndef LIARS
#define LIARS 0
#endif
#ifndef QUORUM
#define QUORUM 3
#endif
#ifndef WIPES
#define WIPES 2
#endif

/* Where a validator stands: height 1 not delivered; delivered, but not certified here; certified. */
#define BELOW 0
#define DELIVERED 1
#define BEYOND 2

/* --- the rules that mutants undo ----------------------------------------------------------------- */
/* A status counts if it answers the question of this very start. */
#ifdef M_BELIEVES_OLD_STATUSES
#define OLDEST_QUESTION 0
#define BELIEVES_ANY 1
#elif defined(M_SAME_NONCE_AGAIN)
#define OLDEST_QUESTION 1
#define BELIEVES_ANY 0
#else
#define OLDEST_QUESTION starts
#define BELIEVES_ANY 0
#endif
/* It counts if its sender stands where A does: in the epoch, and with its next height in it. */
#ifdef M_NEXT_HEIGHT_IGNORED
#define STANDS_HERE(said) ((said == BEYOND) == a_beyond)
#elif defined(M_ANY_STANDING)
#define STANDS_HERE(said) 1
#else
#define STANDS_HERE(said) (said == (a_beyond -> BEYOND : BELOW))
#endif
/* A quorum, itself included. */
#ifdef M_HEARS_TOO_FEW
#define ENOUGH (QUORUM - 1)
#else
#define ENOUGH QUORUM
#endif
/* In which epoch it is muted becomes durable before it votes. */
#ifdef M_MUTED_NOT_KEPT
#define BACK_MUTED 0
#else
#define BACK_MUTED muted
#endif
/* It is muted in that epoch, too. */
#ifdef M_MUTED_BELOW_ITS_EPOCH
#define MUTED_BELOW (a_beyond)
#else
#define MUTED_BELOW (a_beyond + 1)
#endif

typedef Other {
    byte at;                 /* BELOW, DELIVERED or BEYOND */
    byte answered[WIPES + 1]; /* its answer to the question of each start: 1 + where it stood, or 0 */
    bool heard               /* A counts it */
};
Other o[CORRECT];
byte starts;         /* how often A started without memory */
bool a_delivered;    /* A delivered height 1, ever: it signed its CHECKPOINT */
bool a_beyond;       /* A stands in epoch 1 */
bool listening;
byte muted;         /* A gives no votes in epochs below this */
bool voted[2];       /* A voted in an epoch, with its present memory */
bool lost[2];        /* and with one that it lost */
hidden byte j, count;

c_code {
\#include <string.h>
extern void (*uerror)(char *);
static void broken(char *words) { uerror(words); }

static void sort(void) {
    struct Other held;
    int i, j;
    for (i = 1; i < CORRECT; i++)
        for (j = i; j > 0 && memcmp(&now.o[j], &now.o[j - 1], sizeof held) < 0; j--) {
            held = now.o[j]; now.o[j] = now.o[j - 1]; now.o[j - 1] = held;
        }
}

/* Whether the certificate of height 1 can exist: a quorum signed checkpoints, all liars among them. */
static int certified(void) {
    int j, found = LIARS + now.a_delivered;
    for (j = 0; j < CORRECT; j++)
        found += now.o[j].at != BELOW;
    return found >= QUORUM;
}
};

/* _listen: liars say what A wants to hear */
inline listen(i, said) {
    o[i].heard = STANDS_HERE(said);
    count = 1 + LIARS;
    for (j : 0 .. CORRECT - 1) { count = count + o[j].heard }
    if
    :: count >= ENOUGH -> /* settle_birth */
        listening = false; muted = MUTED_BELOW;
        for (j : 0 .. CORRECT - 1) { o[j].heard = false }
    :: else
    fi
}

#define SORT c_code { sort(); }
#define OTHER(i) \
    :: d_step { o[i].at == BELOW -> o[i].at = DELIVERED; SORT } \
    :: d_step { o[i].at == DELIVERED && c_expr { (certified()) } -> o[i].at = BEYOND; SORT } \
    :: d_step { listening && o[i].answered[starts] != 1 + o[i].at -> o[i].answered[starts] = 1 + o[i].at; SORT } \
    :: d_step { listening && OLDEST_QUESTION <= starts && o[i].answered[starts] -> listen(i, o[i].answered[starts] - 1); SORT } \
    :: d_step { listening && OLDEST_QUESTION < starts && starts > 1 && o[i].answered[1] -> listen(i, o[i].answered[1] - 1); SORT } \
    :: d_step { listening && BELIEVES_ANY -> listen(i, BELOW); SORT }

active proctype world() {
end:
    do
    OTHER(0) OTHER(1)
#if CORRECT > 2
    OTHER(2)
#endif
#if CORRECT > 3
    OTHER(3) OTHER(4)
#endif
    :: d_step { !a_delivered -> a_delivered = true }
    :: d_step { !a_beyond && c_expr { (certified()) } -> a_beyond = true; a_delivered = true }
    :: d_step { !listening && a_beyond >= muted && !voted[a_beyond] ->
        if :: lost[a_beyond] -> c_code { broken("a vote in an epoch in which votes were lost"); } :: else fi;
        voted[a_beyond] = true }
    :: d_step { starts < WIPES ->
        starts++; listening = true; muted = 0; a_beyond = false;
        for (j : 0 .. 1) { lost[j] = lost[j] || voted[j]; voted[j] = false };
        for (j : 0 .. CORRECT - 1) { o[j].heard = false };
        SORT }
    :: d_step { starts > 0 && !listening && muted != BACK_MUTED -> muted = BACK_MUTED } /* a restart */
    od
}
