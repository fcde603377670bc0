/* The server's side of a session: from octets to commands. See server_state.h. */
#include "base/log.h"
#include "session/server_state.h"
#include "wire/early.h"
#include "wire/frame.h"

/* What one session has of one turn of the loop before the others have theirs. */
#define TURN_COMMANDS 64
#define TURN_OCTETS ((size_t)256 << 10)
/* One read of a session that says little, and of one that says much. */
#define READ_FIRST ((size_t)4 << 10)
#define READ_MORE ((size_t)64 << 10)
/* A frame that is collected must get on by this much in idle_us, a streamed one by anything. */
#define PACE_OCTETS ((size_t)16 << 10)

bool server_wants_read(const struct server_session *s)
{
	if (s->eof)
		return false;
	switch (s->phase) {
	case READING:
		return s->out.n == 0 || s->body_open;
	case IN_HAND:
		return s->body_open && !s->held;
	case REPLYING:
		return s->body_open;
	case WAITING:
		return true;
	default:
		return false;
	}
}

/* --- reading ----------------------------------------------------------------------------- */

/* The peer ended its side. What is in hand still gets its answer. */
static void at_eof(struct server_session *s)
{
	s->eof = true;
	if (s->phase == IN_HAND && s->body_open)
		server_cut(s, "closed inside a command");
	else if (s->phase == READING)
		server_finish(s);
}

/* Reads more into `in`; WANTED: how many octets are missing, where known. False: nothing came. */
static bool fill(struct server_session *s, uint64_t wanted)
{
	size_t n = s->much || wanted > READ_MORE ? READ_MORE : (size_t)wanted;
	uint8_t *at;
	ssize_t r;

	if (s->eof) {
		at_eof(s);
		return false;
	}
	if (s->drained)
		return false;
	if (n < READ_FIRST)
		n = READ_FIRST;
	if (buf_reserve(&s->in, n, &at) < 0) {
		server_cut(s, "out of memory");
		return false;
	}
	r = stream_read(s->stream, at, n);
	if (r <= 0) {
		s->drained = true;
		if (r == 0)
			at_eof(s);
		return false;
	}
	/* The first octets of a frame, progress in a streamed body, or enough of it in any other. */
	s->paced += (size_t)r;
	if (s->in.n == 0 || s->body_open || s->paced >= PACE_OCTETS)
		server_touch(s);
	buf_commit(&s->in, (size_t)r);
	s->turn_octets += (size_t)r;
	server_count_octets(s, (size_t)r, 0);
	s->much = (size_t)r >= READ_FIRST;
	/*
	 * A short read means that there is no more, or for TLS the end of a record: only who
	 * needs much asks again before the next turn.
	 */
	s->drained = (size_t)r < n && wanted == 0;
	return true;
}

/* Gives the frame in `in` (HEAD: what is here of its TOTAL octets) to the handler. */
static bool give(struct server_session *s, struct span head, uint64_t total, bool stream)
{
	if (s->shutdown) {
		server_refuse(s, WIRE_STATUS_SERVICE_SHUTDOWN, "shutting down");
		return true;
	}
	s->phase = IN_HAND;
	s->first_done = true;
	s->whole = false;
	s->held = false;
	s->turn_commands++;
	s->body_open = stream;
	s->body_left = total - head.n;
	server_touch(s);
	server_count_command(s, head, total);
	s->protocol->command(s->state, head, total);
	if (s->phase == OVER)
		return false;
	if (s->phase < CLOSING)
		buf_consume(&s->in, FRAME_PREFIX + head.n);
	return true;
}

/* How the frame is to be taken; where it breaks the protocol, refuses it. */
static enum server_frame classify(struct server_session *s, struct span head, uint64_t total)
{
	enum wire_pdu kind;
	enum server_frame how = SERVER_WHOLE;
	int rc = wire_pdu_kind(head, total, &kind);

	if (rc == ERR_AGAIN)
		return SERVER_MORE;
	if (rc < 0 || kind != WIRE_PDU_COMMAND) {
		server_refuse(s, WIRE_STATUS_MALFORMED_PDU,
		              rc < 0 ? "not a PDU" : "a response where a command must stand");
		return SERVER_TOO_BIG;
	}
	if (total > s->limits->command_octets && !s->whole)
		how = s->protocol->classify(s->state, head, total);
	if (how == SERVER_MORE && head.n < total && head.n < s->limits->command_octets)
		return SERVER_MORE;
	if ((how == SERVER_WHOLE && (total <= s->limits->command_octets ||
	                             total <= s->limits->large_octets)) ||
	    (how == SERVER_STREAM && total <= s->limits->stream_octets))
		return how;
	server_refuse(s, WIRE_STATUS_TOO_BIG, "frame over the limit");
	return SERVER_TOO_BIG;
}

/*
 * Early data may be somebody's copy of them: a command that is not harmless then waits until the
 * handshake is over. What a client may send before that is little, so `in` stays small.
 */
static bool must_wait(const struct server_session *s, struct span head, uint64_t total)
{
	return stream_is_early(s->stream) && !early_allowed(s->protocol->alpn, head, total);
}

/* Toward the next command. */
static bool step_frame(struct server_session *s)
{
	struct span in = buf_view(&s->in);
	struct span head = span_after(in, FRAME_PREFIX);
	uint64_t total;
	uint64_t most = s->limits->large_octets;
	enum server_frame how;

	if (s->shutdown && in.n == 0) {
		/* For the command that is perhaps on its way: its client reads why it was not done. */
		server_refuse(s, WIRE_STATUS_SERVICE_SHUTDOWN, "shutting down");
		return true;
	}
	if (in.n < FRAME_PREFIX)
		return fill(s, 0);
	total = frame_length(in.p);
	if (head.n > total)
		head.n = (size_t)total;
	if (most < s->limits->stream_octets)
		most = s->limits->stream_octets;
	if (most < s->limits->command_octets)
		most = s->limits->command_octets;
	if (total == 0 || total > most) {
		server_refuse(s, total == 0 ? WIRE_STATUS_MALFORMED_PDU : WIRE_STATUS_TOO_BIG,
		              total == 0 ? "empty frame" : "frame over the limit");
		return true;
	}
	how = classify(s, head, total);
	if (s->phase != READING)
		return s->phase != OVER;
	s->whole = how == SERVER_WHOLE;
	if (must_wait(s, head, total))
		return fill(s, 0) || !stream_is_early(s->stream);
	if (how == SERVER_STREAM || (how == SERVER_WHOLE && head.n == total))
		return give(s, head, total, how == SERVER_STREAM);
	return fill(s, how == SERVER_WHOLE ? total - head.n : 0);
}

/* The next octets of a streamed body: to the handler, or away when it has answered already. */
static bool step_body(struct server_session *s)
{
	struct span octets = buf_view(&s->in);
	bool last;

	if (s->phase == IN_HAND && s->held)
		return false;
	if (octets.n > s->body_left)
		octets.n = (size_t)s->body_left;
	last = octets.n == s->body_left;
	if (octets.n == 0 && !last)
		return fill(s, READ_MORE);
	s->body_left -= octets.n;
	s->body_open = !last;
	if (s->phase == IN_HAND)
		s->protocol->data(s->state, octets, last);
	if (s->phase == OVER)
		return false;
	if (s->phase < CLOSING)
		buf_consume(&s->in, octets.n);
	return true;
}

bool server_wake(struct server_session *s)
{
	s->phase = IN_HAND;
	s->woken = true;
	s->protocol->wake(s->state);
	return s->phase != OVER;
}

/* Does the next thing. False: nothing more can be done now. */
static bool step(struct server_session *s)
{
	if (s->phase >= FINISHING)
		return false;
	if (s->body_open)
		return step_body(s);
	if (s->out.n > 0)
		return false; /* the peer shall read before it asks for more */
	switch (s->phase) {
	case READING:
		return step_frame(s);
	case WAITING:
		if (s->in.n > 0 || s->eof || s->shutdown)
			return server_wake(s);
		/* False at the end of the peer's side too, which wakes. */
		return fill(s, 0) || (s->eof && s->phase == WAITING);
	case CLOSING:
		server_finish(s);
		return false;
	default:
		return false;
	}
}

void server_run(struct server_session *s)
{
	s->soon = false;
	s->turn_commands = 0;
	s->turn_octets = 0;
	while (step(s)) {
		if (s->turn_commands >= TURN_COMMANDS || s->turn_octets >= TURN_OCTETS) {
			s->soon = true;
			return;
		}
	}
}
