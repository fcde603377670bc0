/*
 * A wire of a given length between two network namespaces: each gets an interface `delay0`, and
 * what goes into one comes out of the other --delay milliseconds later, in order. --a and --b are
 * the namespaces' files (ip-netns(8): /run/netns/NAME); their interfaces get the addresses
 * 10.77.0.1 and 10.77.0.2. Prints a line once the wire is there, and runs until it is ended.
 * Needs root. (The kernel's own netem is not in every kernel.)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/bench/tool.h"

#define PACKET_MAX 2048
#define PACKETS 8192 /* on the way in one direction; more are lost */

struct packet {
	uint64_t due_us;
	size_t n;
	uint8_t octets[PACKET_MAX];
};

/* One direction: a ring, since all are as long on the way. */
struct way {
	int from, to;
	struct packet *ring;
	size_t first, count;
};

static void need(int rc, const char *what)
{
	if (rc < 0)
		tool_fatal("%s: %s", what, strerrordesc_np(errno));
}

static void set_address(int s, const char *name, unsigned long request, const char *text)
{
	struct ifreq r = { 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };

	snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
	inet_pton(AF_INET, text, &in.sin_addr);
	memcpy(&r.ifr_addr, &in, sizeof in);
	need(ioctl(s, request, &r), text);
}

static void bring_up(int s, const char *name)
{
	struct ifreq r = { 0 };

	snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
	need(ioctl(s, SIOCGIFFLAGS, &r), name);
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP | IFF_RUNNING);
	need(ioctl(s, SIOCSIFFLAGS, &r), name);
}

/* The tun device of the namespace NAMESPACE, with ADDRESS. */
static int make_end(const char *namespace, const char *address)
{
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int ns = open(namespace, O_RDONLY | O_CLOEXEC), fd, s;

	need(ns, namespace);
	need(setns(ns, CLONE_NEWNET), namespace);
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	need(fd, "/dev/net/tun");
	snprintf(r.ifr_name, sizeof r.ifr_name, "delay0");
	need(ioctl(fd, TUNSETIFF, &r), "TUNSETIFF");
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	need(s, "socket");
	set_address(s, "delay0", SIOCSIFADDR, address);
	set_address(s, "delay0", SIOCSIFNETMASK, "255.255.255.0");
	bring_up(s, "delay0");
	bring_up(s, "lo");
	close(s);
	return fd;
}

/* Takes all that waits at FROM. */
static void take(struct way *w, uint64_t delay_us)
{
	for (;;) {
		struct packet *p = &w->ring[(w->first + w->count) % PACKETS];
		ssize_t n = read(w->from, p->octets, sizeof p->octets);

		if (n < 0 && errno == EAGAIN)
			return;
		need((int)n, "read");
		if (w->count == PACKETS - 1)
			continue;
		p->n = (size_t)n;
		p->due_us = clock_mono_us() + delay_us;
		w->count++;
	}
}

/* Gives out what has arrived; how long until the next one does, -1: none is on its way. */
static int64_t give(struct way *w)
{
	uint64_t now_us = clock_mono_us();

	while (w->count > 0) {
		struct packet *p = &w->ring[w->first];

		if (p->due_us > now_us)
			return (int64_t)(p->due_us - now_us);
		if (write(w->to, p->octets, p->n) < 0 && errno != EAGAIN && errno != EINVAL)
			need(-1, "write");
		w->first = (w->first + 1) % PACKETS;
		w->count--;
	}
	return -1;
}

static void run(struct way ways[2], uint64_t delay_us)
{
	for (;;) {
		struct pollfd files[2];
		int64_t wait_us = -1;
		struct timespec time;

		for (int i = 0; i < 2; i++) {
			int64_t us = give(&ways[i]);

			if (us >= 0 && (wait_us < 0 || us < wait_us))
				wait_us = us;
			files[i] = (struct pollfd) { .fd = ways[i].from, .events = POLLIN };
		}
		time = (struct timespec) { wait_us / 1000000, wait_us % 1000000 * 1000 };
		if (ppoll(files, 2, wait_us < 0 ? NULL : &time, NULL) < 0 && errno != EINTR)
			need(-1, "ppoll");
		for (int i = 0; i < 2; i++)
			take(&ways[i], delay_us);
	}
}

int main(int argc, char **argv)
{
	const char *a, *b;
	uint64_t delay_ms = 50;
	const struct tool_option options[] = {
		{ "a", TOOL_TEXT, &a, true },
		{ "b", TOOL_TEXT, &b, true },
		{ "delay", TOOL_NUMBER, &delay_ms, false },
		{ NULL, 0, NULL, false },
	};
	struct way ways[2] = { { 0 } };

	tool_options(argc, argv, options);
	for (int i = 0; i < 2; i++)
		ways[i].ring = tool_zero(PACKETS * sizeof *ways[i].ring);
	ways[0].from = ways[1].to = make_end(a, "10.77.0.1");
	ways[0].to = ways[1].from = make_end(b, "10.77.0.2");
	puts("ready");
	fflush(stdout);
	run(ways, delay_ms * 1000);
}
