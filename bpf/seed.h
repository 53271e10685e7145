/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The seed of a process: what makes its ids and keys differ from those of any other, in the tables
 * that all processes share (sent_codes, sent_stacks, known_codes, known_stacks).
 *
 * A target decides what is in its memory, so nearly all that goes into a hash, and mix64 is no
 * secret and can be solved. What it must not know is the seed: with its own and a victim's it could
 * make code whose id or key is the victim's. Then the victim's code would pass for sent, or for
 * known under an id that is not its own, and show as lost (never under the attacker's name: user
 * space asks for an id with the process that a sample is of, user/aggregate).
 *
 * So a seed is a keyed hash, SipHash-2-4 with 128 bits of getrandom() that are made at each load,
 * of the process's pid and birth. Of that function nobody can tell an output, whatever other
 * outputs he knows, without the key (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input
 * PRF", 2012). Even a target that found out its own seed, say by timing which of its functions
 * collide, would know nothing of another's; and blind tries succeed with 2^-63 each, of which a run
 * at 10 kHz makes 2^24 a second at most. No seed leaves krait but inside ids, in a recording, which
 * targets do not read.
 */
#ifndef KRAIT_SEED_H
#define KRAIT_SEED_H

#include "bpf/platform.h"

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotate_left(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

/* Rounds after each word, and at the end. */
#define SIP_C 2
#define SIP_D 4

/* SipHash-2-4 of two words, little-endian, so of 16 bytes. As one loop over all rounds: it is not
 * often that a process is born, and instructions are counted. */
KRAIT_GLOBAL __u64 sip_hash(__u64 key0, __u64 key1, __u64 a, __u64 b)
{
	const __u64 last = 16ULL << 56; /* no more bytes, and their number */
	struct sip s = {
		.v0 = key0 ^ 0x736f6d6570736575ULL,
		.v1 = key1 ^ 0x646f72616e646f6dULL,
		.v2 = key0 ^ 0x6c7967656e657261ULL,
		.v3 = key1 ^ 0x7465646279746573ULL,
	};

#ifdef __clang__
#pragma clang loop unroll(disable)
#endif
	for (__u32 i = 0; i < 3 * SIP_C + SIP_D; i++) {
		__u64 word = i < SIP_C ? a : i < 2 * SIP_C ? b : last;

		if (i == 3 * SIP_C)
			s.v2 ^= 0xff;
		if (i < 3 * SIP_C && i % SIP_C == 0)
			s.v3 ^= word;
		sip_round(&s);
		if (i < 3 * SIP_C && i % SIP_C == SIP_C - 1)
			s.v0 ^= word;
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
