/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * drain/records.h and what is behind it, aggregate and symbolizer: a stream of records. In life it
 * comes out of the rings, where the BPF program has put a target's bytes into it.
 *
 * Any stream: what record_check takes is read within its length by all that follows, each piece in
 * memory of exactly its size. The profile adds up, at the end and in between.
 *
 * Input: records one after another; 8 bytes that start none are skipped, and a kind of 0 asks for
 * the profile, a few times, after which more may come.
 */
#include "tests/fuzz/profile.h"
#include "user/drain/records.h"

#define ASKS_MAX 4 /* it takes as long as all the rest */

static void ask_profile(struct aggregate *agg)
{
	static const uint64_t counters[KRAIT_CNT_CNT];
	const struct profile_meta meta = {.freq_hz = 1, .host = "", .kernel = "", .target = ""};

	profile_check(aggregate_profile(agg, &meta, counters));
}

/* The record that starts at `data` goes to the aggregate if it is one. Its length, or 0. */
static size_t add_record(struct aggregate *agg, const struct krait_hdr *h, const uint8_t *data,
			 size_t size)
{
	size_t len = h->bytes >= sizeof(*h) && h->bytes < size ? h->bytes : size, taken;
	struct krait_hdr *rec = fuzz_copy(data, len);

	taken = record_check(rec, len);
	FUZZ_CHECK(!taken || (taken == rec->bytes && taken <= len));
	if (taken)
		FUZZ_CHECK(aggregate_add(agg, rec) == 0);
	free(rec);
	return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aggregate *agg = aggregate_new();
	struct krait_hdr h;
	int asks = 0;

	FUZZ_CHECK(agg);
	for (size_t at = 0; size - at >= sizeof(h);) {
		size_t taken;

		memcpy(&h, data + at, sizeof(h));
		if (!h.kind && asks++ < ASKS_MAX)
			ask_profile(agg);
		taken = add_record(agg, &h, data + at, size - at);
		at += taken ? taken : sizeof(h);
	}
	ask_profile(agg);
	aggregate_free(agg);
	return 0;
}
