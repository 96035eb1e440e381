/* The parts of pbft.pml that are functions: what a NEW-VIEW may say (consensus/selection.py), what quorums follow
 * from the signatures there are, and the two reductions, `forget` and `sort`. Included into pan.c. */
#include <stddef.h>
#include <string.h>
#include "words.h"
#include "mutants.h"

extern void (*uerror)(char *);

#define AGREEMENT "two payloads decided at one height"

static void broken(char *words) {
#ifdef AGREEMENT_ALONE
    if (strcmp(words, AGREEMENT))
        return;
#endif
    uerror(words);
}

static int epoch_of(int i) { return EPOCH(now.r[i].STANDS + 1); }

/* --- selection.py ------------------------------------------------------------------------------- */

/* Everything that a NEW-VIEW depends on. */
typedef struct {
    unsigned char view, epoch, certified, change[CORRECT], shown[CORRECT][HEIGHTS], exists[SLOTS];
} Changes;

/* base_height and choose_reproposals: heights of base `base`, where best[h-1] is the latest prepared certificate. */
static int choose_reproposals(int base, const unsigned char *best) {
    int top = base, code = 0, h;
    for (h = base + 1; h <= HEIGHTS; h++)
        if (best[h - 1])
            top = h;
    for (h = 1; h <= HEIGHTS; h++) {
        int said = h <= base ? CERTIFIED : h > top ? OPEN : FILLED(best[h - 1], h, top);
        code |= said << (2 * (h - 1));
    }
    return code;
}

/* The Byzantine replica's view changes: any certificate, and for each height of the window any prepared certificate
 * of a lower view that can be assembled, or none. */
static unsigned long long with_liar(const Changes *at, int base, const unsigned char *best, int theirs, int h) {
    unsigned char more[HEIGHTS];
    unsigned long long found;
    int v, d;
    if (h > HEIGHTS || h > theirs + WINDOW || h > EPOCH_LAST(at->epoch))
        return 1ULL << choose_reproposals(NEW_BASE(theirs, base), best);
    found = with_liar(at, base, best, theirs, h + 1);
    for (v = 0; v < at->view; v++)
        for (d = 1; d <= 2; d++)
            if (at->exists[SLOT(v, h)] & d && BETTER(VOTE(v, d), best[h - 1])) {
                memcpy(more, best, HEIGHTS);
                more[h - 1] = VOTE(v, d);
                found |= with_liar(at, base, more, theirs, h + 1);
            }
    return found;
}

static unsigned long long of_changes(const Changes *at) {
    unsigned long long found = 0;
    int set, i, h, theirs;
    for (set = 0; set < 1 << CORRECT; set++) {
        unsigned char best[HEIGHTS] = {0};
        int count = 0, base = NO_BASE, genuine = 1;
        for (i = 0; i < CORRECT; i++) {
            if (!(set >> i & 1))
                continue;
            count++;
            genuine = genuine && at->change[i];
            base = NEW_BASE(at->change[i] - 1, base);
            for (h = 1; h <= HEIGHTS; h++)
                if (BETTER(at->shown[i][h - 1], best[h - 1]))
                    best[h - 1] = at->shown[i][h - 1];
        }
        if (!genuine || count > QUORUM_NEW_VIEW || count < QUORUM_NEW_VIEW - 1)
            continue;
        if (count == QUORUM_NEW_VIEW)
            found |= 1ULL << choose_reproposals(base, best);
        else
            for (theirs = EPOCH_FIRST(at->epoch) - 1; theirs <= at->certified && theirs < EPOCH_LAST(at->epoch); theirs++)
                found |= with_liar(at, base, best, theirs, theirs + 1);
    }
    return found;
}

/* The NEW-VIEWs of a view in the epoch of replica i: bit c for the one that says c, see `enter`. Remembered. */
static unsigned long long new_views(int i, int v) {
    static struct { Changes at; unsigned long long found; } known[1 << 16];
    Changes at;
    unsigned hash = 2166136261u;
    size_t b;
    int j, e = epoch_of(i);
    memset(&at, 0, sizeof at);
    at.view = v; at.epoch = e; at.certified = now.certified;
    for (j = 0; j < CORRECT; j++) {
        at.change[j] = now.r[j].change[ASK(ASKED_IN(j, e, v), v)];
        memcpy(at.shown[j], &now.r[j].shown[ASK_AT(ASKED_IN(j, e, v), v, 1)], HEIGHTS);
    }
    memcpy(at.exists, now.exists, SLOTS);
    for (b = 0; b < sizeof at; b++)
        hash = (hash ^ ((unsigned char *)&at)[b]) * 16777619u;
    hash = (hash ^ hash >> 16) & 0xffff;
    if (memcmp(&known[hash].at, &at, sizeof at)) {
        known[hash].at = at;
        known[hash].found = of_changes(&at);
    }
    return known[hash].found;
}

/* The first NEW-VIEW from code `from` on, or -1. */
static int next_new_view(int i, int v, int from) {
    unsigned long long found = from > 63 ? 0 : new_views(i, v) >> from;
    return found ? from + __builtin_ctzll(found) : -1;
}

static int more_new_views(int i, int v, int from) { return next_new_view(i, v, from) >= 0; }

/* --- what follows from the signatures ----------------------------------------------------------- */

static int prepares(int v, int h, int payload) {
    int i, found = 1; /* the Byzantine replica votes for everything */
    for (i = 0; i < CORRECT; i++)
        found += MEMBER_AT(i, h) && now.r[i].prepare[SLOT(v, h)] == payload;
    return found;
}

static int commits(int v, int h, int payload) {
    int i, at, found = 1;
    for (i = 0; i < CORRECT; i++)
        for (at = IN_ONE_VIEW ? v : 0; at <= v; at++)
            if (MEMBER_AT(i, h) && now.r[i].commit[SLOT(at, h)] == payload) {
                found++;
                break;
            }
    return found;
}

static void conclude(void) {
    int v, h, d, i, signers;
    for (h = 1; h <= HEIGHTS; h++)
        for (v = 0; v < VIEWS; v++)
            for (d = 1; d <= 2; d++) {
                if (prepares(v, h, d) >= QUORUM_PREPARED)
                    now.exists[SLOT(v, h)] |= d;
                if (commits(v, h, d) < QUORUM_DECIDED)
                    continue;
                if (now.decided[h - 1] && now.decided[h - 1] != d)
                    broken(AGREEMENT);
                if (!now.decided[h - 1])
                    now.decided_in[h - 1] = v;
                now.decided[h - 1] = d;
            }
    for (h = now.certified + 1; h <= HEIGHTS; h++) {
        for (i = 0, signers = 1; i < CORRECT; i++)
            signers += MEMBER_AT(i, h) && now.r[i].attested >= h;
        if (signers >= QUORUM)
            now.certified = h;
    }
}

/* _refuse: no view above that of a decision proposes anything else at its height. */
static void check_views(void) {
    int i, h;
    for (i = 0; i < CORRECT; i++)
        for (h = now.r[i].certified + 1; h <= HEIGHTS; h++)
            if (now.decided[h - 1] && now.r[i].in_view && now.r[i].view > now.decided_in[h - 1] &&
                EPOCH(h) == epoch_of(i) && now.r[i].said[h - 1] != CERTIFIED &&
                now.r[i].said[h - 1] != now.decided[h - 1])
                broken("a view proposes anew what was decided");
}

/* --- reductions --------------------------------------------------------------------------------- */

/* Certified on disk up to here: no crash brings lower heights back. */
static int kept(int i) { return now.r[i].row_k > now.r[i].ledger ? now.r[i].row_k : now.r[i].ledger; }

/* Whether correct replica i can neither vote in a slot any more nor count votes of it. */
static int past(int i, int v, int h) {
    return !MEMBER_AT(i, h) || now.r[i].muted > EPOCH(h) || kept(i) >= h || (epoch_of(i) == EPOCH(h) && now.r[i].view > v);
}

/* Whether it can no longer enter a view of an epoch. */
static int entered(int i, int e, int v) {
    return !MEMBER(i, e) || now.r[i].muted > e || kept(i) >= EPOCH_LAST(e) ||
           (epoch_of(i) == e && (now.r[i].view > v || (now.r[i].view == v && now.r[i].in_view)));
}

/* Whether all have certified a height, on disk, and no view change can lead below it. */
static int closed(int h) {
    int i, v, over = 1;
    for (i = 0; i < CORRECT; i++) {
        over = over && (!MEMBER_AT(i, h) || now.r[i].muted > EPOCH(h) || kept(i) >= h);
        for (v = 1; v < VIEWS; v++)
            over = over && (!now.r[i].change[ASK(EPOCH(h), v)] || now.r[i].change[ASK(EPOCH(h), v)] > h);
    }
    return over;
}

static void forget_rows(struct Replica *r) {
    int h;
    if (r->row_v <= r->row_n)
        r->row_v = 0;
    else
        r->row_n = 0;
    for (h = 1; h <= HEIGHTS; h++) {
        if (!r->row_n)
            r->row_n_said[h - 1] = OPEN;
        if (r->row_a[h - 1] && VIEW_OF(r->row_a[h - 1]) < r->view)
            r->row_a[h - 1] = 0;
        if (r->view == VIEWS - 1 && r->prepared[h - 1] && VIEW_OF(r->prepared[h - 1]) < r->view)
            r->prepared[h - 1] = 0;
        if (r->view == VIEWS - 1 && r->row_c[h - 1] && VIEW_OF(r->row_c[h - 1]) < r->view)
            r->row_c[h - 1] = r->committed[h - 1] = 0;
    }
}

/* The first epoch is over: only that there is a second one matters. */
static void forget_epoch(void) {
    int i, h, v;
    if (!ONE_EPOCH_AFTER_ANOTHER || now.certified < SETTLED_SET)
        return;
    for (i = 0; i < CORRECT; i++) {
        if (now.r[i].certified < SETTLED_SET && BEGINS_ANEW && !OLD_ROWS) {
            struct Replica left = {0};
            left.muted = now.r[i].muted;
            left.abstain_to = now.r[i].abstain_to;
            for (h = SETTLED_SET + 1; h <= HEIGHTS; h++)
                for (v = 0; v < VIEWS; v++) { /* a wiped replica may have been in the second epoch already */
                    left.prepare[SLOT(v, h)] = now.r[i].prepare[SLOT(v, h)];
                    left.commit[SLOT(v, h)] = now.r[i].commit[SLOT(v, h)];
                    if (EPOCHS > 1) {
                        left.change[ASK(EPOCHS - 1, v)] = now.r[i].change[ASK(EPOCHS - 1, v)];
                        left.shown[ASK_AT(EPOCHS - 1, v, h)] = now.r[i].shown[ASK_AT(EPOCHS - 1, v, h)];
                    }
                }
            left.attested = now.r[i].attested;
            now.r[i] = left;
        }
        memset(now.r[i].change, 0, VIEWS);
        memset(now.r[i].shown, 0, SLOTS);
        for (h = 1; h <= SETTLED_SET; h++)
            for (v = 0; v < VIEWS; v++)
                now.r[i].prepare[SLOT(v, h)] = now.r[i].commit[SLOT(v, h)] = now.exists[SLOT(v, h)] = 0;
    }
    for (h = 1; h <= SETTLED_SET; h++) {
        now.decided[h - 1] = 1;
        now.decided_in[h - 1] = 0;
    }
}

/* Clear what no step reads any more; docs/model.md says why. */
static void forget(void) {
    int i, v, h, d, e, over;
    forget_epoch();
    for (e = 0; e < EPOCHS; e++)
        for (v = 1; v < VIEWS; v++) {
            for (over = 1, i = 0; i < CORRECT; i++)
                over = over && entered(i, e, v);
            for (i = 0; over && i < CORRECT; i++) {
                now.r[i].change[ASK(e, v)] = 0;
                memset(&now.r[i].shown[ASK_AT(e, v, 1)], 0, HEIGHTS);
            }
        }
    for (i = 0; i < CORRECT; i++) {
        if (now.r[i].attested <= now.certified)
            now.r[i].attested = 0;
        if (!OLD_ROWS && now.r[i].row_epoch < EPOCH(kept(i) + 1)) {
            now.r[i].row_v = now.r[i].row_n = 0;
            now.r[i].row_epoch = EPOCH(kept(i) + 1);
        }
        forget_rows(&now.r[i]);
    }
    for (h = 1; h <= HEIGHTS; h++) {
        for (v = 0; v < VIEWS; v++) {
            for (over = 1, i = 0; i < CORRECT; i++)
                over = over && past(i, v, h);
            for (i = 0; i < CORRECT; i++) {
                d = now.r[i].prepare[SLOT(v, h)];
                if (over || now.exists[SLOT(v, h)] & d)
                    now.r[i].prepare[SLOT(v, h)] = 0;
                d = now.r[i].commit[SLOT(v, h)];
                if (IN_ONE_VIEW && (over || d == now.decided[h - 1]))
                    now.r[i].commit[SLOT(v, h)] = 0;
            }
        }
        if (closed(h)) {
            for (v = 0; v < VIEWS; v++) {
                now.exists[SLOT(v, h)] = 0;
                for (i = 0; i < CORRECT; i++)
                    now.r[i].commit[SLOT(v, h)] = 0;
            }
            now.decided[h - 1] = 1;
            now.decided_in[h - 1] = 0;
        }
    }
}

/* A state with replicas and payloads exchanged is the same state: keep one of each such set. Replicas that are members
 * of the same epochs are interchangeable, and so are the two payloads of the last height, which is never a gap. */
typedef struct {
    struct Replica r[CORRECT];
    unsigned char exists[VIEWS], decided, name[CORRECT];
} Image;

static void sort(Image *at) {
    struct Replica held;
    int i, j;
    for (i = 1; i < TWINS; i++)
        for (j = i; j > 0 && memcmp(&at->r[j], &at->r[j - 1], sizeof held) < 0; j--) {
            unsigned char who = at->name[j];
            held = at->r[j]; at->r[j] = at->r[j - 1]; at->r[j - 1] = held;
            at->name[j] = at->name[j - 1]; at->name[j - 1] = who;
        }
}

static unsigned char other(unsigned char payload) { return payload == 1 || payload == 2 ? 3 - payload : payload; }

static unsigned char other_vote(unsigned char vote) { return vote ? VOTE(VIEW_OF(vote), 3 - PAYLOAD_OF(vote)) : 0; }

static void exchange(Image *at) {
    int i, v, e, h = HEIGHTS;
    for (i = 0; i < CORRECT; i++) {
        struct Replica *r = &at->r[i];
        for (v = 0; v < VIEWS; v++) {
            r->prepare[SLOT(v, h)] = other(r->prepare[SLOT(v, h)]);
            r->commit[SLOT(v, h)] = other(r->commit[SLOT(v, h)]);
            for (e = 0; e < EPOCHS; e++)
                r->shown[ASK_AT(e, v, h)] = other_vote(r->shown[ASK_AT(e, v, h)]);
        }
        r->said[h - 1] = other(r->said[h - 1]);
        r->row_n_said[h - 1] = other(r->row_n_said[h - 1]);
        r->voted[h - 1] = other(r->voted[h - 1]);
        r->prepared[h - 1] = other_vote(r->prepared[h - 1]);
        r->row_a[h - 1] = other_vote(r->row_a[h - 1]);
        r->row_c[h - 1] = other_vote(r->row_c[h - 1]);
        r->committed[h - 1] = other_vote(r->committed[h - 1]);
    }
    for (v = 0; v < VIEWS; v++)
        at->exists[v] = other(at->exists[v]);
    at->decided = other(at->decided);
}

static void keep_one(void) {
    static Image here, there;
    int v;
    memcpy(here.r, now.r, sizeof here.r);
    memcpy(here.name, name, sizeof here.name);
    for (v = 0; v < VIEWS; v++)
        here.exists[v] = now.exists[SLOT(v, HEIGHTS)];
    here.decided = now.decided[HEIGHTS - 1];
    there = here;
    sort(&here);
    exchange(&there);
    sort(&there);
    if (memcmp(&there, &here, offsetof(Image, name)) < 0) {
        here = there;
        exchanged = !exchanged;
    }
    memcpy(now.r, here.r, sizeof here.r);
    memcpy(name, here.name, sizeof here.name);
    for (v = 0; v < VIEWS; v++)
        now.exists[SLOT(v, HEIGHTS)] = here.exists[v];
    now.decided[HEIGHTS - 1] = here.decided;
}

static void settle(void) {
    conclude();
    check_views();
#ifndef PLAIN
    forget();
    keep_one();
#endif
}
