// SPDX-License-Identifier: BSD-2-Clause
#include "user/session/scans.h"

#include <poll.h>

#include "user/base/clock.h"

/* Of a start, or of a burst of new processes, so many seconds' worth at once. */
#define BURST_S 5

void scans_init(struct scans *s, struct scanner *scanner, struct classifier *classifier,
		struct namer *namer, struct pager *pager, uint64_t ns_per_s, uint64_t now_ns)
{
	*s = (struct scans){
		.scanner = scanner,
		.classifier = classifier,
		.namer = namer,
		.pager = pager,
		.ns_per_s = ns_per_s,
		.credit_ns = BURST_S * ns_per_s,
		.refilled_ns = now_ns,
	};
}

static void refill(struct scans *s, uint64_t now_ns)
{
	int64_t max_ns = BURST_S * s->ns_per_s;
	uint64_t passed_ns = now_ns - s->refilled_ns;

	s->refilled_ns = now_ns;
	if (passed_ns > NS_PER_S)
		passed_ns = NS_PER_S;
	s->credit_ns += passed_ns * s->ns_per_s / NS_PER_S;
	if (s->credit_ns > max_ns)
		s->credit_ns = max_ns;
}

static int take(struct scans *s, const struct scan_result *r, uint64_t now_ns)
{
	s->credit_ns -= r->cost_ns;
	switch (s->kind) {
	case SCAN_NAMES:
		return namer_take(s->namer, r, now_ns);
	case SCAN_PAGES:
		pager_take(s->pager, r, now_ns);
		return 0;
	default:
		return classifier_take(s->classifier, r, now_ns);
	}
}

/* Fills in the request; names have every other turn at least, and pages what turns are left. */
static bool next(struct scans *s, uint64_t now_ns)
{
	struct scan_request *q = scanner_request(s->scanner);

	s->kind = SCAN_NAMES;
	if (s->namer && s->is_names_turn && namer_next(s->namer, now_ns, false, q)) {
		s->is_names_turn = false;
		return true;
	}
	if (classifier_next(s->classifier, now_ns, q)) {
		s->kind = SCAN_PROCESS;
		s->is_names_turn = true;
		return true;
	}
	if (s->namer && namer_next(s->namer, now_ns, false, q))
		return true;
	s->kind = SCAN_PAGES;
	return pager_next(s->pager, now_ns, q);
}

int scans_step(struct scans *s, uint64_t now_ns, bool is_ready)
{
	const struct scan_result *r = NULL;
	int err;

	if (is_ready || now_ns >= scanner_next_ns(s->scanner))
		r = scanner_take(s->scanner, now_ns);
	err = r ? take(s, r, now_ns) : 0;

	refill(s, now_ns);
	if (!err && s->credit_ns > 0 && !scanner_is_busy(s->scanner) && next(s, now_ns))
		scanner_start(s->scanner, now_ns);
	return err;
}

uint64_t scans_next_ns(const struct scans *s, uint64_t now_ns)
{
	uint64_t next_ns, names_ns, pages_ns;

	if (scanner_is_busy(s->scanner))
		return scanner_next_ns(s->scanner);
	next_ns = classifier_next_ns(s->classifier);
	names_ns = s->namer ? namer_next_ns(s->namer) : UINT64_MAX;
	pages_ns = pager_next_ns(s->pager);
	if (names_ns < next_ns)
		next_ns = names_ns;
	if (pages_ns < next_ns)
		next_ns = pages_ns;
	/* Without credit not before there is some: a little later than just now. */
	if (next_ns != UINT64_MAX && s->credit_ns <= 0) {
		uint64_t credit_ns = now_ns + (-s->credit_ns + 1) * NS_PER_S / s->ns_per_s;

		next_ns = next_ns > credit_ns ? next_ns : credit_ns;
	}
	return next_ns;
}

int scans_finish(struct scans *s, uint64_t end_ns)
{
	struct pollfd fd = {.fd = scanner_fd(s->scanner), .events = POLLIN};
	uint64_t now_ns;
	int err = 0;

	while (!err && s->namer && (now_ns = clock_ns(CLOCK_MONOTONIC)) < end_ns) {
		const struct scan_result *r = scanner_take(s->scanner, now_ns);

		if (r) {
			err = take(s, r, now_ns);
		} else if (!scanner_is_busy(s->scanner)) {
			s->kind = SCAN_NAMES;
			if (!namer_next(s->namer, now_ns, true, scanner_request(s->scanner)))
				break;
			scanner_start(s->scanner, now_ns);
		} else {
			poll(&fd, 1, (end_ns - now_ns) / NS_PER_MS);
		}
	}
	return err;
}
