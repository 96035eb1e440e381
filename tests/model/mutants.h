/* The rules that mutants undo: each name below is used once in pbft.pml or pbft.c, and -DM_… replaces it. */

/* A VIEW-CHANGE shows the latest prepared certificate of each height. */
#ifdef M_HIDES_PREPARED
#define SHOWS(i, k) 0
#else
#define SHOWS(i, k) r[i].prepared[k]
#endif

/* A replica that asks for a view leaves its own. */
#ifdef M_VOTES_AFTER_ASKING
#define LEAVES_VIEW(i, v)
#else
#define LEAVES_VIEW(i, v) r[i].view = v; r[i].in_view = 0;
#endif

/* A replica PREPAREs once per slot. */
#ifdef M_PREPARES_TWICE
#define NOT_YET_PREPARED(i, h, d) (r[i].voted[h - 1] != d)
#else
#define NOT_YET_PREPARED(i, h, d) (r[i].voted[h - 1] == 0)
#endif

/* Nothing but the re-proposal is accepted where there is one. */
#ifdef M_FRESH_AT_REPROPOSED
#define LEFT_OR_AGAIN(i, h, d) (r[i].said[h - 1] != CERTIFIED)
#else
#define LEFT_OR_AGAIN(i, h, d) (r[i].said[h - 1] == OPEN || r[i].said[h - 1] == d)
#endif

/* What was executed is the only payload for its height. */
#ifdef M_EXECUTED_UNCHECKED
#define AS_EXECUTED(i, h, d) (h > r[i].executed || decided[h - 1] == d || r[i].said[h - 1] == d)
#else
#define AS_EXECUTED(i, h, d) (h > r[i].executed || decided[h - 1] == d)
#endif

/* Heights in flight lie in the window, and a VIEW-CHANGE shows that window. */
#ifdef M_VOTES_BEYOND_WINDOW
#define WITHIN(i, h) (h <= HEIGHTS)
#define SHOWABLE(i, k) (k < r[i].certified + WINDOW)
#else
#define WITHIN(i, h) (h <= r[i].certified + WINDOW)
#define SHOWABLE(i, k) 1
#endif

/* Of a height, the prepared certificate of the highest view counts. */
#ifdef M_LOWEST_VIEW_WINS
#define BETTER(vote, than) ((vote) && (!(than) || (vote) < (than)))
#else
#define BETTER(vote, than) ((vote) > (than))
#endif

/* The base is the highest certificate of the quorum. */
#ifdef M_LOWEST_BASE
#define NEW_BASE(theirs, base) ((theirs) < (base) ? (theirs) : (base))
#define NO_BASE HEIGHTS
#else
#define NEW_BASE(theirs, base) ((theirs) > (base) ? (theirs) : (base))
#define NO_BASE 0
#endif

/* A gap fills only a height of which nothing prepared was shown. */
#ifdef M_GAPS_BELOW_TOP
#define FILLED(vote, h, top) ((vote) && (h) == (top) ? PAYLOAD_OF(vote) : GAP)
#else
#define FILLED(vote, h, top) ((vote) ? PAYLOAD_OF(vote) : GAP)
#endif

/* COMMITs of one view decide. */
#ifdef M_DECIDES_ACROSS_VIEWS
#define IN_ONE_VIEW 0
#else
#define IN_ONE_VIEW 1
#endif

/* Vote rows go once the certificate in their place is on disk. */
#ifdef M_DELETES_FIRST
#define DELETES_FIRST 1
#else
#define DELETES_FIRST 0
#endif

/* What a restart brings back. */
#ifdef M_RESTART_LOSES_PREPARED
#define BACK_PREPARED(i, k) 0
#else
#define BACK_PREPARED(i, k) r[i].row_c[k]
#endif
#ifdef M_RESTART_LOSES_PREPARE
#define BACK_PREPARE(i, k) 0
#else
#define BACK_PREPARE(i, k) r[i].row_a[k]
#endif
#ifdef M_RESTART_LOSES_VIEW_CHANGE
#define BACK_VIEW_CHANGE(i) 0
#else
#define BACK_VIEW_CHANGE(i) r[i].row_v
#endif
#ifdef M_RESTART_LOSES_NEW_VIEW
#define BACK_SAID(i, k) OPEN
#else
#define BACK_SAID(i, k) r[i].row_n_said[k]
#endif

/* Heights in flight belong to one epoch. */
#ifdef M_WINDOW_SPANS_SETS
#define TOGETHER(i, h) 1
#else
#define TOGETHER(i, h) (EPOCH(h) == IN_EPOCH(i))
#endif

/* A replica votes on the heights of its epoch, with the certificate below them. */
#ifdef M_VOTES_UNCERTIFIED
#define STANDS executed
#define FOLLOWS(i) 1
#else
#define STANDS certified
#define FOLLOWS(i) (VOTES(i) || r[i].muted || r[i].abstain_to)
#endif

/* Who has left the set votes no more, and is not counted. */
#ifdef M_LEAVERS_VOTE
#define MEMBER_AT(i, h) (MEMBER(i, EPOCH(h)) || MEMBER(i, 0))
#else
#define MEMBER_AT(i, h) MEMBER(i, EPOCH(h))
#endif

/* Views begin anew with each epoch. */
#ifdef M_EPOCH_KEEPS_VIEW
#define BEGINS_ANEW 0
#else
#define BEGINS_ANEW 1
#endif

/* The certificate with which an epoch is entered is written with the first votes in it. */
#ifdef M_EPOCH_NOT_KEPT
#define EPOCH_ROW(h) 0
#else
#define EPOCH_ROW(h) (h)
#endif

/* Rows of an earlier epoch do not say in which view a restarted replica is. */
#ifdef M_RESTART_IN_OLD_VIEW
#define ROWS_COUNT(i) 1
#define OLD_ROWS 1
#else
#define ROWS_COUNT(i) (r[i].row_epoch == IN_EPOCH(i))
#define OLD_ROWS 0
#endif

/* A VIEW-CHANGE counts in the epoch that it names. */
#ifdef M_VIEW_CHANGES_OF_ANY_EPOCH
#define ASKED_IN(j, e, v) (now.r[j].change[ASK(e, v)] || !(e) ? (e) : 0)
#else
#define ASKED_IN(j, e, v) (e)
#endif

/* Whose data directory is lost, and with it its votes, is muted until its epoch ends. */
#if defined(M_VOTES_AFTER_WIPE) || defined(M_ABSTAINS_BY_HEIGHT)
#define MUTED_BELOW(i) 0
#elif defined(M_BELIEVES_OLD_STATUSES)
#define MUTED_BELOW(i) 1
#else
#define MUTED_BELOW(i) (1 + IN_EPOCH(i))
#endif
#ifdef M_ABSTAINS_BY_HEIGHT
#define ABSTAINS 2 * WINDOW
#else
#define ABSTAINS 0
#endif
#ifdef M_ASKS_WHILE_MUTED
#define MAY_SPEAK(i) (VOTES(i) || MUTED(i))
#else
#define MAY_SPEAK(i) VOTES(i)
#endif
#ifdef M_RESTART_FORGETS_WIPE
#define BACK_MUTED(i) 0
#else
#define BACK_MUTED(i) r[i].muted
#endif
#ifdef M_MUTED_UNTIL_CERTIFIED
#define STILL_MUTED(i) 0
#else
#define STILL_MUTED(i) r[i].muted
#endif
