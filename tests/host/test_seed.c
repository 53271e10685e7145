/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keeps the processes apart in the tables that they share: the hash that makes their seeds,
 * and what happens if a target has made its keys equal to another's after all.
 *
 * The collision is built with the knowledge of both seeds, which no target has: a code object of
 * the forger lies where its key in known_codes is that of a code object of the victim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bpf/seed.h"
#include "tests/host/host.h"
#include "user/python/layout.h"

#define CODE_TYPE 0x7000ULL
#define FORGER 66
#define VICTIM 7
#define FORGED_ADDR 0x10000ULL
#define HONEST_ADDR 0x20000ULL
#define SEED_VICTIM 0x0123456789abcdefULL
/* What makes the two keys equal: code.h, code_know. */
#define SEED_FORGER (SEED_VICTIM ^ FORGED_ADDR ^ HONEST_ADDR)

static const struct krait_layout *layout;

/* A str of up to seven characters, in 3.11's layout. */
static void put_str(uint64_t at, const char *text)
{
	uint64_t word = 0;

	memcpy(&word, text, strlen(text));
	host_put(at + layout->str_length_off, strlen(text));
	host_put(at + layout->str_state_off, 0x64); /* compact, ASCII, a byte a character */
	host_put(at + layout->str_ascii_bytes, word);
	host_put(at + layout->str_ascii_bytes + 64, 0);
}

static void put_code(uint64_t at, const char *name)
{
	host_put(at + layout->ob_type_off, CODE_TYPE);
	host_put(at + layout->co_first_line_off, 1);
	host_put(at + layout->co_name_off, at + 0x400);
	host_put(at + layout->co_qualname_off, at + 0x400);
	host_put(at + layout->co_file_off, at + 0x600);
	host_put(at + layout->co_lines_off, at + 0x800);
	host_put(at + 0x800 + layout->bytes_size_off, 2);
	host_put(at + 0x800 + layout->bytes_data_off, 0);
	put_str(at + 0x400, name);
	put_str(at + 0x600, "f.py");
}

static void become(uint32_t pid, uint64_t seed)
{
	recent_of(host.scratch)->pid = pid;
	host_proc()->seed = seed;
	host_proc()->addrs.code_type = CODE_TYPE;
}

/* The name that the walker and user space find for that code in a frame, at this time. */
static const char *name_of_code(uint64_t addr, uint64_t now_ns)
{
	struct krait_frame frame = {.code_id = addr};

	host.scratch->now_ns = now_ns;
	code_resolve(host.scratch, 0, &frame);
	return symbolizer_frame(host.sym, recent_of(host.scratch)->pid, &frame).name;
}

static void start(void)
{
	layout = &layout_of_version(3, 11)->walk;
	host_init(layout, 0, CODE_TYPE);
	put_code(FORGED_ADDR, "forged");
	put_code(HONEST_ADDR, "honest");
}

/* The authors' test vector for 16 bytes: vectors_sip64[16] of their reference implementation. */
static void test_siphash(void **state)
{
	(void)state;
	assert_int_equal(sip_hash(0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x0706050403020100,
				  0x0f0e0d0c0b0a0908),
			 0x3f2acc7f57c29bdb);
}

/* Every bit of the key, of the pid and of the time of birth makes another seed. */
static void test_seeds_depend_on_all(void **state)
{
	uint64_t words[4] = {1, 2, 3, 4}, seed = sip_hash(1, 2, 3, 4);

	(void)state;
	for (int bit = 0; bit < 256; bit++) {
		words[bit / 64] ^= 1ULL << bit % 64;
		assert_true(sip_hash(words[0], words[1], words[2], words[3]) != seed);
		words[bit / 64] ^= 1ULL << bit % 64;
	}
}

/* The forger's code is known under the victim's key when that comes to be asked for. */
static void test_forged_key_names_nobody_else(void **state)
{
	const char *name;

	(void)state;
	start();
	become(FORGER, SEED_FORGER);
	assert_string_equal(name_of_code(FORGED_ADDR, 1), "forged");
	become(VICTIM, SEED_VICTIM);
	/* In the same tick, when what was read is not read again. So the collision is one: */
	name = name_of_code(HONEST_ADDR, 1);
	assert_string_equal(name, "[unreadable: code object lost]");
	/* And at the next tick it is over. */
	assert_string_equal(name_of_code(HONEST_ADDR, 2), "honest");
	become(FORGER, SEED_FORGER);
	assert_string_equal(name_of_code(FORGED_ADDR, 3), "forged");
	host_release();
}

/* With other seeds the same two have keys of their own. */
static void test_seed_keeps_keys_apart(void **state)
{
	(void)state;
	start();
	become(FORGER, sip_hash(1, 2, 1, FORGER));
	assert_string_equal(name_of_code(FORGED_ADDR, 1), "forged");
	become(VICTIM, sip_hash(1, 2, 1, VICTIM));
	assert_string_equal(name_of_code(HONEST_ADDR, 1), "honest");
	host_release();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash),
		cmocka_unit_test(test_seeds_depend_on_all),
		cmocka_unit_test(test_forged_key_names_nobody_else),
		cmocka_unit_test(test_seed_keeps_keys_apart),
	};

	return cmocka_run_group_tests_name("host seed", tests, NULL, NULL);
}
