/* Assent's consensus: are two payloads ever decided at one height? docs/model.md maps each line to consensus/.
 *
 * There are CORRECT correct replicas, and a Byzantine one that signs whatever could be genuine. What a correct
 * replica has signed stays on the network for ever and reaches anybody at any time, or never: messages have no
 * place of their own, each step says which signatures must exist. Every primary is treated as if it were
 * Byzantine: agreement rests on quorums alone, and so correct replicas are interchangeable.
 */
#include "words.h"
#include "mutants.h"

typedef Replica {
    /* Signed: the network keeps it. */
    byte prepare[SLOTS];                 /* PREPARE of each slot: its payload, or 0 */
    byte commit[SLOTS];                  /* COMMIT of each slot */
    byte change[ASKS];         /* VIEW-CHANGE of each view: 1 + the height certified in it, or 0 */
    byte shown[ASKS_AT]; /* the prepared certificates in it: VOTE, or 0 */
    /* In memory. */
    byte view, in_view, certified;
    byte said[HEIGHTS];                  /* OPEN, a payload or CERTIFIED: state.reproposals and fresh_from */
    byte voted[HEIGHTS];                 /* slot.prepares[me]: payload of our PREPARE in this view */
    byte prepared[HEIGHTS];              /* slot.prepared: VOTE */
    /* On disk, in vote store and ledger. */
    byte row_a[HEIGHTS], row_c[HEIGHTS]; /* `a` our latest PREPARE, `c` our latest COMMIT of a height: VOTE */
    byte row_v, row_n;                   /* views of `v` our latest VIEW-CHANGE, `n` the latest NEW-VIEW entered */
    byte row_n_said[HEIGHTS], row_epoch; /* and the epoch that they are of */
    byte row_k;                          /* `k` certified height with which the latest epoch was entered */
    byte muted;                         /* `b` no votes in epochs below this, as some were lost */
    byte abstain_to;                     /* in a mutant: no votes up to this height */
    byte executed, ledger;               /* executed up to; certified up to */
    byte attested;                       /* signed: CHECKPOINTs up to here */
    /* History, for promises alone. */
    byte reached;                        /* highest view asked for or entered in this epoch */
    byte committed[HEIGHTS]              /* latest COMMIT of a height above the certified one: VOTE */
};

Replica r[CORRECT];
byte exists[SLOTS];      /* prepared certificates that can be assembled: bit d-1 for payload d */
byte decided[HEIGHTS];   /* payload that a quorum committed */
byte decided_in[HEIGHTS]; /* view of the first such quorum */
byte certified;          /* the height up to which a quorum signed checkpoints */
byte wipes;              /* data directories lost so far */
byte pick;               /* inside a step only: the NEW-VIEW being entered, see `chosen` */

hidden byte me, k;
hidden byte name[CORRECT]; /* for traces: which replica stands where after the reductions, */
hidden byte exchanged;     /* and whether the payloads of the last height are exchanged */

c_code {
\#include "pbft.c"
};

#define PROMISE(that, words) if :: (that) :: else -> c_code { broken(words); } fi
#define WHO(i) ('A' + name[i])
#define WHAT(h, d) (exchanged && h == HEIGHTS && (d == 1 || d == 2) -> 3 - d : d)

/* --- questions ---------------------------------------------------------------------------------- */
#define IN_EPOCH(i) EPOCH(r[i].STANDS + 1)
#define LEFT_BEHIND(i) (ONE_EPOCH_AFTER_ANOTHER && certified >= SETTLED_SET && r[i].certified < SETTLED_SET)
#define VOTES(i) (r[i].certified < HEIGHTS && MEMBER_AT(i, r[i].STANDS + 1) && !LEFT_BEHIND(i) && !MUTED(i) && \
    r[i].certified >= r[i].abstain_to)
#define MUTED(i) (r[i].muted > IN_EPOCH(i))
#define IN_FLIGHT(i, h) \
    (r[i].certified < h && WITHIN(i, h) && TOGETHER(i, h) && MEMBER_AT(i, h) && !LEFT_BEHIND(i) && !MUTED(i) && \
     h > r[i].abstain_to)
#define BELOW(h) ((h + HEIGHTS - 2) % HEIGHTS)
#define PARENT_VALID(i, h) (h <= r[i].executed + 1 || r[i].voted[BELOW(h)] || decided[BELOW(h)])

/* --- the normal case ---------------------------------------------------------------------------- */
/* What the view leaves open or proposes again, and nothing but what was executed, where that is known. */
#define PROPOSED(i, h, d) \
    (LEFT_OR_AGAIN(i, h, d) && AS_EXECUTED(i, h, d))
/* The application judges a payload in a step of its own, unless it is decided or a gap. */
#define CHECKED(i, h, d) (r[i].ledger == r[i].certified || decided[h - 1] == d || (d == GAP && r[i].said[h - 1] == GAP && h < HEIGHTS))
#define MAY_PREPARE(i, h, d) \
    (r[i].in_view && IN_FLIGHT(i, h) && NOT_YET_PREPARED(i, h, d) && PARENT_VALID(i, h) && \
     PROPOSED(i, h, d) && CHECKED(i, h, d))

inline cast_prepare(i, h, d) {
    printf("%c: PREPARE view %d height %d payload %d\n", WHO(i), r[i].view, h, WHAT(h, d));
    PROMISE(r[i].prepare[SLOT(r[i].view, h)] == 0 || r[i].prepare[SLOT(r[i].view, h)] == d, "two PREPAREs in a slot");
    PROMISE(r[i].reached <= r[i].view, "a PREPARE below a view left for good");
    r[i].prepare[SLOT(r[i].view, h)] = d;
    r[i].voted[h - 1] = d;
    r[i].row_a[h - 1] = VOTE(r[i].view, d)
}

#define MAY_COMMIT(i, h) \
    (r[i].in_view && IN_FLIGHT(i, h) && r[i].voted[h - 1] && \
     (r[i].prepared[h - 1] == 0 || VIEW_OF(r[i].prepared[h - 1]) != r[i].view) && \
     (exists[SLOT(r[i].view, h)] & r[i].voted[h - 1]))

inline cast_commit(i, h) {
    printf("%c: COMMIT view %d height %d payload %d\n", WHO(i), r[i].view, h, WHAT(h, r[i].voted[h - 1]));
    PROMISE(r[i].reached <= r[i].view, "a COMMIT below a view left for good");
    r[i].commit[SLOT(r[i].view, h)] = r[i].voted[h - 1];
    r[i].prepared[h - 1] = VOTE(r[i].view, r[i].voted[h - 1]);
    r[i].row_c[h - 1] = r[i].prepared[h - 1];
    r[i].committed[h - 1] = r[i].prepared[h - 1]
}

/* --- execution, checkpoints --------------------------------------------------------------------- */
#define MAY_EXECUTE(i, h) (FOLLOWS(i) && r[i].executed == h - 1 && decided[h - 1])

inline execute(i, h) {
    printf("%c: execute height %d\n", WHO(i), h);
    r[i].executed = h;
    if :: h > r[i].attested -> r[i].attested = h :: else fi
}

#define MAY_LEARN(i, h) (FOLLOWS(i) && r[i].certified < h && h <= r[i].executed && h <= certified)

inline learn(i, h) {
    printf("%c: learn the certificate of height %d\n", WHO(i), h);
    if
    :: h == HEIGHTS || EPOCH(h + 1) != EPOCH(r[i].certified + 1) -> /* follow_epoch */
        if :: BEGINS_ANEW -> r[i].view = 0; r[i].in_view = 1 :: else fi;
        r[i].reached = 0;
        r[i].row_k = EPOCH_ROW(h); /* written by this very step */
        for (k : 0 .. HEIGHTS - 1) { r[i].said[k] = OPEN; r[i].voted[k] = 0 }
    :: else
    fi;
    r[i].certified = h;
    r[i].muted = STILL_MUTED(i);
    for (k : 0 .. h - 1) { /* _collect_garbage */
        r[i].said[k] = CERTIFIED; r[i].voted[k] = 0; r[i].prepared[k] = 0;
        if :: DELETES_FIRST -> r[i].row_a[k] = 0; r[i].row_c[k] = 0 :: else fi
    }
}

/* A replica outside the set, or left behind by its epoch, follows by blocks: to where it votes again. */
#define MAY_SYNC(i, h) (!VOTES(i) && r[i].certified < h && h <= certified && h == SETTLED_SET && MEMBER_AT(i, h + 1))

inline sync(i, h) {
    r[i].executed = h;
    learn(i, h);
    keep(i)
}

#define MAY_KEEP(i) (r[i].ledger < r[i].certified)

inline keep(i) {
    printf("%c: certificate of height %d is on disk\n", WHO(i), r[i].certified);
    r[i].ledger = r[i].certified;
    for (k : 0 .. r[i].ledger - 1) { /* forget */
        r[i].row_a[k] = 0; r[i].row_c[k] = 0; r[i].row_n_said[k] = CERTIFIED; r[i].committed[k] = 0
    }
}

/* Rows of another epoch count no longer when one of this epoch is written. */
#define WRITES_ROWS(i) \
    if :: r[i].row_epoch != IN_EPOCH(i) -> r[i].row_epoch = IN_EPOCH(i); r[i].row_v = 0; r[i].row_n = 0 :: else fi;

/* --- view change -------------------------------------------------------------------------------- */
#ifdef CERTIFICATE_FIRST
#define NOT_GENUINE c_code { broken("a VIEW-CHANGE of a correct replica is not genuine"); };
#else
#define NOT_GENUINE
#endif
#define MAY_ASK(i, v) (MAY_SPEAK(i) && v > r[i].view)

inline ask_for(i, v) {
    printf("%c: VIEW-CHANGE view %d certified %d\n", WHO(i), v, r[i].certified);
    PROMISE(r[i].change[ASK(IN_EPOCH(i), v)] == 0, "two VIEW-CHANGEs for a view");
    r[i].change[ASK(IN_EPOCH(i), v)] = 1 + r[i].certified;
    for (k : 0 .. HEIGHTS - 1) {
        PROMISE(k < r[i].certified || SHOWS(i, k) >= r[i].committed[k], "a VIEW-CHANGE hides a COMMIT");
        if
        :: r[i].prepared[k] == 0 || k < r[i].certified + WINDOW || !SHOWABLE(i, k)
        :: else -> NOT_GENUINE r[i].change[ASK(IN_EPOCH(i), v)] = 0 /* nobody takes it */
        fi;
        r[i].voted[k] = 0;
        if :: r[i].said[k] != CERTIFIED -> r[i].said[k] = OPEN :: else fi
    }
    for (k : 0 .. HEIGHTS - 1) {
        if
        :: r[i].change[ASK(IN_EPOCH(i), v)] && SHOWABLE(i, k) -> r[i].shown[ASK_AT(IN_EPOCH(i), v, k + 1)] = SHOWS(i, k)
        :: else
        fi
    }
    WRITES_ROWS(i)
    r[i].reached = v; r[i].row_v = v;
    LEAVES_VIEW(i, v)
}

#define MAY_ENTER(i, v) (VOTES(i) && (v > r[i].view || (v == r[i].view && !r[i].in_view)))

inline enter(i, v) {
    printf("%c: enter NEW-VIEW view %d, heights", WHO(i), v);
    WRITES_ROWS(i)
    r[i].view = v; r[i].in_view = 1; r[i].reached = v; r[i].row_n = v;
    for (k : 0 .. HEIGHTS - 1) {
        if :: k >= r[i].certified -> r[i].said[k] = ((pick - 1) >> (2 * k)) & 3 :: else fi;
        r[i].row_n_said[k] = r[i].said[k];
        r[i].voted[k] = 0;
        printf(" %d", WHAT(k + 1, r[i].said[k]))
    }
    pick = 0;
    printf("\n")
}

/* --- crashes ------------------------------------------------------------------------------------ */
/* Memory goes and comes back from the disk: nothing changes where each row was written before it was needed. */
#define MAY_RESTART(i) (FOLLOWS(i) || r[i].ledger < r[i].certified)

inline restart(i, blocks) {
    printf("%c: restart, executed %d\n", WHO(i), blocks);
    r[i].muted = BACK_MUTED(i);
    r[i].certified = (r[i].row_k > r[i].ledger -> r[i].row_k : r[i].ledger);
    r[i].executed = (r[i].certified > blocks -> r[i].certified : blocks);
    r[i].view = 0; r[i].in_view = 1;
    if :: ROWS_COUNT(i) -> r[i].view = r[i].row_n :: else fi;
    if
    :: ROWS_COUNT(i) && BACK_VIEW_CHANGE(i) > r[i].row_n -> r[i].view = BACK_VIEW_CHANGE(i); r[i].in_view = 0
    :: else
    fi;
    for (k : 0 .. HEIGHTS - 1) {
        r[i].voted[k] = 0;
        if
        :: k < r[i].certified ->
            r[i].said[k] = CERTIFIED; r[i].prepared[k] = 0
        :: else ->
            r[i].said[k] = (r[i].in_view && ROWS_COUNT(i) -> BACK_SAID(i, k) : OPEN); r[i].prepared[k] = BACK_PREPARED(i, k);
            if
            :: r[i].in_view && BACK_PREPARE(i, k) && VIEW_OF(BACK_PREPARE(i, k)) == r[i].view ->
                r[i].voted[k] = PAYLOAD_OF(BACK_PREPARE(i, k))
            :: else
            fi
        fi
    }
}

/* The data directory goes, votes and ledger. From the others it hears in which epoch that was, and is muted in it. */
#define MAY_WIPE(i) (wipes < WIPES && VOTES(i))

inline wipe(i) {
    printf("%c: loses its data directory\n", WHO(i));
    wipes++;
    r[i].muted = MUTED_BELOW(i);
    for (k : 0 .. CORRECT - 1) {
        if
        :: ABSTAINS && r[k].certified + ABSTAINS > r[i].abstain_to -> r[i].abstain_to = r[k].certified + ABSTAINS
        :: else
        fi
    }
    r[i].view = 0; r[i].in_view = 1; r[i].certified = 0; r[i].executed = 0; r[i].ledger = 0;
    r[i].row_v = 0; r[i].row_n = 0; r[i].row_epoch = 0; r[i].row_k = 0;
    for (k : 0 .. HEIGHTS - 1) {
        r[i].said[k] = OPEN; r[i].voted[k] = 0; r[i].prepared[k] = 0;
        r[i].row_a[k] = 0; r[i].row_c[k] = 0; r[i].row_n_said[k] = OPEN
    }
}

/* --- every step there is ------------------------------------------------------------------------ */
#ifdef CERTIFICATE_FIRST
#define KEEP(i) keep(i);
#define KEEPS(i)
#else
#define KEEP(i)
#define KEEPS(i) :: d_step { MAY_KEEP(i) -> keep(i); SETTLE }
#endif
#ifdef BLOCKS_KEPT
#define LOSES(i)
#else
#define LOSES(i) :: d_step { MAY_RESTART(i) && r[i].executed > r[i].ledger -> restart(i, r[i].ledger); SETTLE }
#endif
#if WIPES > 0
#define WIPES_OF(i) :: d_step { MAY_WIPE(i) -> wipe(i); SETTLE }
#else
#define WIPES_OF(i)
#endif
#define SETTLE c_code { settle(); }
#if EPOCHS > 1
#define SYNCS(i, h) :: d_step { MAY_SYNC(i, h) -> sync(i, h); SETTLE }
#else
#define SYNCS(i, h)
#endif
#define STEPS_AT(i, h) \
    :: d_step { MAY_PREPARE(i, h, 2) -> cast_prepare(i, h, 2); SETTLE } \
    :: d_step { MAY_PREPARE(i, h, 1) -> cast_prepare(i, h, 1); SETTLE } \
    :: d_step { MAY_COMMIT(i, h) -> cast_commit(i, h); SETTLE } \
    :: d_step { MAY_EXECUTE(i, h) -> execute(i, h); SETTLE } \
    :: d_step { MAY_LEARN(i, h) -> learn(i, h); KEEP(i) SETTLE } SYNCS(i, h)
#define STEPS_TO(i, v) \
    :: d_step { MAY_ASK(i, v) -> ask_for(i, v); SETTLE } \
    :: atomic { MAY_ENTER(i, v) && c_expr { (new_views(i, v) != 0) } -> c_code { now.pick = 1 + next_new_view(i, v, 0); }; \
        do \
        :: c_expr { (more_new_views(i, v, now.pick)) } -> c_code { now.pick = 1 + next_new_view(i, v, now.pick); } \
        :: break \
        od; \
        d_step { enter(i, v); SETTLE } }
#if HEIGHTS == 1
#define STEPS_HEIGHTS(i) STEPS_AT(i, 1)
#elif HEIGHTS == 2
#define STEPS_HEIGHTS(i) STEPS_AT(i, 1) STEPS_AT(i, 2)
#else
#define STEPS_HEIGHTS(i) STEPS_AT(i, 1) STEPS_AT(i, 2) STEPS_AT(i, 3)
#endif
#if VIEWS == 2
#define STEPS_VIEWS(i) STEPS_TO(i, 1)
#elif VIEWS == 3
#define STEPS_VIEWS(i) STEPS_TO(i, 1) STEPS_TO(i, 2)
#else
#define STEPS_VIEWS(i) STEPS_TO(i, 1) STEPS_TO(i, 2) STEPS_TO(i, 3)
#endif
#define STEPS(i) STEPS_HEIGHTS(i) STEPS_VIEWS(i) :: d_step { MAY_RESTART(i) -> restart(i, r[i].executed); SETTLE } \
    LOSES(i) \
    KEEPS(i) WIPES_OF(i)

active proctype world() {
    d_step {
        for (k : 0 .. CORRECT - 1) { r[k].in_view = 1; name[k] = k }
    }
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
