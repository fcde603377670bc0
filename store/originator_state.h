/* The MSOAP session as its command files see it. Included by them and originator.c alone. */
#ifndef IM2000_STORE_ORIGINATOR_STATE_H
#define IM2000_STORE_ORIGINATOR_STATE_H

#include "session/server.h"
#include "session/waiters.h"
#include "store/addressees.h"
#include "store/service.h"
#include "store/submission.h"
#include "wire/msoap.h"

struct originator;
struct readdressing;

/*
 * The transaction, from an envelope that was answered ok to its last chunk's
 * answer. What may come:
 *   NO_SUBMISSION  anything; chunks are answered unexpectedCommand
 *   PREPARING      submitEnvelope is in hand: a number, or octets stored before, are waited for
 *   TAKING         chunks, or an envelope, which gives this submission up
 *   CHUNK          submitChunk is in hand: its octets come, or room for them is waited for
 *   FINISHING      the last chunk is in hand: the message is on its way to the disk
 *   BROKEN         an event told that it cannot go on: the next chunk learns why
 */
enum submitting_phase { NO_SUBMISSION, PREPARING, TAKING, CHUNK, FINISHING, BROKEN };

struct submitting {
	enum submitting_phase phase;
	struct service_waiter waiter; /* PREPARING: for a number */
	bool waits_number;
	struct loop_timer *pause; /* PREPARING: while another session has the submissionId */
	unsigned pauses;          /* so far; only the first envelope of a cut submission has any */
	struct submission_options options; /* PREPARING */
	struct submission *submission;
	bool complete;               /* PREPARING: answered before, nothing to send */
	uint64_t number, expires_us; /* of the message */
	uint16_t key;
	uint8_t *statuses; /* PREPARING: for the answer, as in struct addressees */
	uint32_t recipients, lists;
	uint64_t chunk_left;     /* CHUNK: octets of the chunk that are still to come */
	bool chunk_last;         /* CHUNK: it is the message's end */
	bool held;               /* CHUNK: the session gives us no more until ROOM */
	enum wire_status status; /* BROKEN */
	const char *text;        /* BROKEN; static storage */
};

/* A command's writer job, the beginning of a struct of the command's file. It may outlive its
 * session. */
struct originator_job {
	struct writer_job job; /* first */
	struct originator *o;  /* who waits for it; NULL: the session is over */
	struct service_worker *worker;
};

struct watching {
	struct waiter waiter; /* for the account; on only while the command is in hand */
	uint64_t after;       /* the cursor that it asks from */
};

struct originator {
	struct server_session *session;
	struct service_worker *worker;
	struct settings *settings; /* held */
	bool authenticated;
	uint32_t account;
	struct login_check *login; /* authenticate is in hand */
	uint32_t login_account;
	struct submitting submitting;
	struct watching watching;
	struct readdressing *readdressing; /* in hand, but not at the writer */
	struct originator_job *job;        /* of the command in hand */
};

/* Answers the command in hand: data by its kind, or none with an error. */
void originator_reply(struct originator *o, const struct msoap_response *r);
void originator_error(struct originator *o, enum wire_status status, bool abort, const char *text);
/* The same with the words for what went wrong here, which is logged. */
void originator_trouble(struct originator *o, int err, bool abort);

/* Commands. Each answers now or later. */
void submitting_envelope(struct originator *o, const struct msoap_command *c);
void submitting_chunk(struct originator *o, const struct msoap_command *c);
void tracking_track(struct originator *o, const struct msoap_command *c);
void tracking_archive(struct originator *o, const struct msoap_command *c);
void changing_cancel(struct originator *o, const struct msoap_command *c);
void changing_release(struct originator *o, const struct msoap_command *c);
void changing_extend(struct originator *o, const struct msoap_command *c);
void changing_forget(struct originator *o, const struct msoap_command *c);
void readdressing_readdress(struct originator *o, const struct msoap_command *c);
void watching_watch(struct originator *o, const struct msoap_command *c);

/* The watch in hand is to be answered now. */
void watching_wake(struct originator *o);

/* More octets of the chunk in hand. */
void submitting_data(struct originator *o, struct span octets, bool last);
/* Whether a submission is under way, so that `authenticate` must not come. */
bool submitting_busy(const struct originator *o);
/* The session is over. */
void submitting_close(struct originator *o);
void watching_close(struct originator *o);
void readdressing_close(struct originator *o);

/* What the originator is told of a delivery. The views of OUT are D's and ROOM's. 0 or
 * ERR_MALFORMED. */
struct tracking_room {
	uint8_t labels[WIRE_LABELS_MAX];
	struct mailbox name;
};
int tracking_delivery(const struct db_delivery *d, struct tracking_room *room,
                      struct msoap_delivery *out);

/* Hands K, with its apply and done, to the writer as the job of O's command in hand. */
void originator_submit(struct originator *o, struct originator_job *k);
/* K is done: the session that waits for it, NULL when that is over. */
struct originator *originator_done(struct originator_job *k);

/*
 * The message that the capability ID names for the session's account, in
 * transaction T. 0 or ERR_NOT_FOUND, also for other people's and for incomplete ones.
 */
int originator_message(const struct originator *o, struct kv_txn *t, const uint8_t id[16],
                       struct db_message *out);
/* The number of that message, in a transaction of its own; also other errors of db.h. */
int originator_number(const struct originator *o, const uint8_t id[16], uint64_t *number);

#endif
