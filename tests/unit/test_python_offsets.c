/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * _Py_DebugOffsets with hostile values. The tables start from what 3.14.10 publishes on x86-64;
 * tests/layouts compares all versions with their headers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "user/python/debug_offsets.h"
#include "user/python/pyversion.h"
#include "user/target/discover.h"

struct entry {
	uint16_t pos;
	uint64_t value;
};

/* Positions from pycore_debug_offsets.h of 3.14, values from the Debian build of 3.14.10. */
static const struct entry py314[] = {
	{8, 0x030e0af0}, {16, 0},    {24, 316616}, {32, 784},	{40, 808},  {48, 225864},
	{64, 7264},	 {72, 7336}, {176, 832},   {184, 0},	{192, 8},   {200, 16},
	{208, 72},	 {216, 152}, {224, 160},   {232, 232},	{248, 88},  {256, 8},
	{264, 0},	 {272, 56},  {280, 80},	   {288, 74},	{312, 216}, {320, 112},
	{328, 120},	 {336, 128}, {344, 136},   {352, 68},	{384, 208}, {400, 16},
	{408, 8},	 {416, 416}, {424, 24},	   {592, 40},	{600, 16},  {56, 7280},
	{88, 7408},	 {120, 16},  {128, 7784},  {152, 7792}, {656, 192}, {608, 32},
	{616, 64},	 {624, 32},  {632, 16},	   {640, 40},	{96, 7688},
};
#define ENTRY_CNT (sizeof(py314) / sizeof(py314[0]))

static void fill(char *bytes)
{
	memset(bytes, 0xee, DEBUG_OFFSETS_BYTES);
	memcpy(bytes, "xdebugpy", 8);
	for (size_t i = 0; i < ENTRY_CNT; i++)
		memcpy(bytes + py314[i].pos, &py314[i].value, 8);
}

static int parse_with(uint16_t pos, uint64_t value, struct py_layout *l)
{
	/* On the heap in exactly its size, so that SAN=address sees a read past the end. */
	char *bytes = malloc(DEBUG_OFFSETS_BYTES);
	const char *why = NULL;
	int err;

	fill(bytes);
	memcpy(bytes + pos, &value, 8);
	err = debug_offsets_parse(bytes, l, &why);
	assert_true(!err == !why);
	free(bytes);
	return err;
}

/* What all versions that publish offsets have, and what none has. */
static void assert_facts(const struct krait_layout *l)
{
	assert_true(l->has_interp_id && l->interp_collects && l->has_prev && l->has_native_id);
	assert_true(l->has_chunks && l->has_shims && l->has_qualname);
	assert_false(l->fork_keeps_states || l->has_cframe || l->names_are_bytes);
	assert_int_equal(l->runner_kind, KRAIT_RUNNER_ID);
}

static void test_good(void **state)
{
	struct py_layout l;

	(void)state;
	assert_int_equal(parse_with(16, 0, &l), 0);
	assert_int_equal(l.interp_head_off, 808);
	assert_int_equal(l.initialized_off, 776);
	assert_int_equal(l.walk.interp_threads_off, 7336);
	assert_int_equal(l.walk.interp_id_off, 7280);
	assert_int_equal(l.walk.interp_collecting_off, 7600);
	assert_int_equal(l.walk.interp_gil_off, 16);
	assert_int_equal(l.walk.collector_kind, KRAIT_COLLECTOR_GIL);
	assert_int_equal(l.walk.gil_holder_off, 8);
	assert_int_equal(l.walk.ts_frame_off, 72);
	assert_int_equal(l.walk.ts_read_bytes, 240);
	assert_int_equal(l.walk.fr_owner_off, 74);
	assert_int_equal(l.walk.fr_read_bytes, 75);
	assert_int_equal(l.walk.co_bytecode_off, 208);
	assert_int_equal(l.walk.co_read_bytes, 144);
	assert_int_equal(l.walk.str_compact_bytes, 56);
	assert_int_equal(l.walk.shim_owner, 3);
	assert_facts(&l.walk);
	assert_false(l.walk.has_base_frame);
	assert_false(l.walk.has_tlbc);
}

static void test_version(void **state)
{
	char bytes[DEBUG_OFFSETS_HEAD_BYTES] = "xdebugpy";

	(void)state;
	assert_int_equal(debug_offsets_version(bytes), 0);
	memcpy(bytes + 8, &(uint64_t){0x030d00f0}, 8);
	assert_int_equal(debug_offsets_version(bytes), 0x030d00f0);
	memcpy(bytes + 8, &(uint64_t){0x1030d00f0}, 8);
	assert_int_equal(debug_offsets_version(bytes), 0);
	memcpy(bytes, "xdebugpz", 8);
	memcpy(bytes + 8, &(uint64_t){0x030d00f0}, 8);
	assert_int_equal(debug_offsets_version(bytes), 0);
}

static void test_refused(void **state)
{
	struct py_layout l;

	(void)state;
	assert_int_equal(parse_with(16, 1, &l), -95); /* free-threaded, with others' offsets */
	assert_int_equal(parse_with(16, 2, &l), -95);
	assert_int_equal(parse_with(8, 0x030c00f0, &l), -95);
	assert_int_equal(parse_with(8, 0x031000f0, &l), -95);
	assert_int_equal(parse_with(8, 0x040e00f0, &l), -95);
	assert_int_equal(parse_with(8, 0, &l), -95);
	/* A 3.14 table that calls itself another version does not fit the other's places. */
	assert_int_equal(parse_with(8, 0x030d00f0, &l), -95);
	assert_int_equal(parse_with(8, 0x030f00f0, &l), -95);
	assert_int_equal(parse_with(0, 0, &l), -95);
}

/* Positions from pycore_runtime.h of 3.13, values from a build of 3.13.5 with --disable-gil. */
static const struct entry py313t[] = {
	{8, 0x030d05f0}, {16, 1},    {24, 328320}, {32, 608},	{40, 632},  {48, 215616},
	{64, 7264},	 {72, 7344}, {152, 304},   {160, 0},	{168, 8},   {176, 16},
	{184, 72},	 {192, 152}, {200, 160},   {208, 232},	{224, 80},  {232, 8},
	{240, 0},	 {248, 56},  {264, 70},	   {272, 224},	{280, 128}, {288, 136},
	{296, 144},	 {304, 152}, {312, 84},	   {344, 216},	{352, 32},  {360, 24},
	{368, 432},	 {376, 40},  {512, 56},	   {520, 32},	{528, 48},  {56, 7272},
	{80, 7400},	 {112, 16},  {120, 7760},  {144, 7776}, {576, 200}, {536, 80},
	{544, 48},	 {552, 32},  {560, 56},	   {88, 7664},
};

/* Positions as above, values that the headers of 3.14.10 and 3.15.2 give with Py_GIL_DISABLED. */
static const struct entry py314t[] = {
	{8, 0x030e0af0}, {16, 1},    {24, 365624}, {32, 784},  {40, 808},  {48, 249976},
	{56, 7280},	 {64, 7272}, {72, 7344},   {88, 7408}, {120, 16},  {128, 7808},
	{152, 7824},	 {656, 192}, {176, 832},   {184, 0},   {192, 8},   {200, 16},
	{208, 72},	 {216, 152}, {224, 160},   {232, 232}, {248, 88},  {256, 8},
	{264, 0},	 {272, 56},  {288, 78},	   {304, 72},  {312, 240}, {320, 128},
	{328, 136},	 {336, 144}, {344, 152},   {352, 84},  {384, 232}, {392, 224},
	{400, 32},	 {408, 24},  {416, 432},   {424, 40},  {592, 56},  {600, 32},
	{608, 48},	 {616, 80},  {624, 48},	   {632, 32},  {640, 56},  {96, 7712},
};
static const struct entry py315t[] = {
	{8, 0x030f02f0}, {16, 1},    {24, 409296}, {32, 912},  {40, 936},  {48, 250328},
	{56, 7272},	 {64, 7264}, {72, 7336},   {88, 7400}, {120, 16},  {128, 7736},
	{152, 7752},	 {760, 112}, {176, 888},   {184, 0},   {192, 8},   {200, 16},
	{208, 72},	 {216, 80},  {240, 176},   {248, 184}, {256, 256}, {312, 88},
	{320, 8},	 {328, 0},   {336, 56},	   {352, 78},  {368, 72},  {376, 240},
	{384, 128},	 {392, 136}, {400, 144},   {408, 152}, {416, 84},  {448, 232},
	{456, 224},	 {464, 32},  {472, 24},	   {480, 440}, {488, 40},  {688, 56},
	{696, 32},	 {704, 48},  {712, 80},	   {720, 48},  {728, 32},  {736, 56},
	{96, 7592},	 {768, 120},
};
#define TABLE(entries) entries, sizeof(entries) / sizeof((entries)[0])

static void fill_with(char *bytes, const struct entry *entries, size_t cnt, uint16_t pos,
		      uint64_t value)
{
	memset(bytes, 0xee, DEBUG_OFFSETS_BYTES);
	memcpy(bytes, "xdebugpy", 8);
	for (size_t i = 0; i < cnt; i++)
		memcpy(bytes + entries[i].pos, &entries[i].value, 8);
	memcpy(bytes + pos, &value, 8);
}

static int parse_table(const struct entry *entries, size_t cnt, uint16_t pos, uint64_t value,
		       struct py_layout *l)
{
	char bytes[DEBUG_OFFSETS_BYTES];
	const char *why = NULL;
	int err;

	fill_with(bytes, entries, cnt, pos, value);
	err = debug_offsets_parse(bytes, l, &why);
	assert_true(!err == !why);
	return err;
}

/* Longer objects, and the same state of a str; no GIL to tell the collector by. */
static void test_free_threaded(void **state)
{
	struct py_layout l;

	(void)state;
	assert_int_equal(parse_table(TABLE(py313t), 16, 1, &l), 0);
	assert_int_equal(l.walk.ob_type_off, 24);
	assert_int_equal(l.walk.bytes_size_off, 32);
	assert_int_equal(l.walk.str_length_off, 32);
	assert_int_equal(l.walk.str_ascii_bytes, 56);
	assert_int_equal(l.walk.str_compact_bytes, 72);
	assert_int_equal(l.walk.str_kind_shift, 2);
	assert_int_equal(l.walk.interp_collecting_off, 7600);
	assert_int_equal(l.walk.interp_gil_off, 10760);
	assert_int_equal(l.walk.collector_kind, KRAIT_COLLECTOR_STOPPER);
	assert_int_equal(l.walk.interp_gc_stats_off, 7528);
	assert_facts(&l.walk);
	assert_false(l.walk.has_tlbc);
	assert_int_equal(parse_table(TABLE(py313t), 16, 2, &l), -95);
	/* No room for the numbers of collections before the flag. */
	assert_int_equal(parse_table(TABLE(py313t), 576, 64, &l), -95);
}

/* From 3.15 on a frame tells the collector, and what told it before is not used. */
static void test_gc_frame(void **state)
{
	struct py_layout l;

	(void)state;
	assert_int_equal(parse_table(TABLE(py315t), 16, 1, &l), 0);
	assert_int_equal(l.walk.collector_kind, KRAIT_COLLECTOR_FRAME);
	assert_int_equal(l.walk.interp_gc_frame_off, 7520);
	assert_true(l.walk.has_base_frame);
	assert_facts(&l.walk);
	assert_int_equal(parse_table(TABLE(py315t), 16, 0, &l), 0);
	assert_int_equal(l.walk.collector_kind, KRAIT_COLLECTOR_FRAME);
	assert_int_equal(l.walk.interp_gc_frame_off, 7520);
	assert_int_equal(parse_table(TABLE(py315t), 768, 124, &l), -95);
	assert_int_equal(parse_table(TABLE(py315t), 768, UINT64_MAX - 7, &l), -95);
	assert_int_equal(parse_table(TABLE(py314t), 16, 1, &l), 0);
	assert_int_equal(l.walk.collector_kind, KRAIT_COLLECTOR_STOPPER);
	assert_int_equal(l.walk.interp_gc_stats_off, 7528);
	assert_false(l.walk.has_base_frame);
}

static void assert_copies(const struct py_layout *l)
{
	assert_true(l->walk.has_tlbc);
	assert_int_equal(l->walk.fr_tlbc_off, 72);
	assert_int_equal(l->walk.co_tlbc_off, 224);
	assert_int_equal(l->walk.co_bytecode_off, 232);
	assert_int_equal(l->walk.fr_owner_off, 78);
	assert_int_equal(l->walk.fr_read_bytes, 79);
	assert_int_equal(l->walk.str_ascii_bytes, 56);
	assert_int_equal(l->walk.str_kind_shift, 8);
}

/* From 3.14 on also a copy of the bytecode for each thread, and another state of a str. */
static void test_bytecode_copies(void **state)
{
	struct py_layout l;

	(void)state;
	assert_int_equal(parse_table(TABLE(py314t), 16, 1, &l), 0);
	assert_copies(&l);
	assert_int_equal(parse_table(TABLE(py315t), 16, 1, &l), 0);
	assert_copies(&l);
	assert_int_equal(parse_table(TABLE(py314t), 16, 2, &l), -95);
	/* With the GIL there are none, whatever stands there. */
	assert_int_equal(parse_table(TABLE(py314t), 16, 0, &l), 0);
	assert_false(l.walk.has_tlbc);
	assert_int_equal(l.walk.str_kind_shift, 2);
	/* tlbc_index behind the owner is read too; none, unaligned, or at the frame's end. */
	assert_int_equal(parse_table(TABLE(py314t), 304, 80, &l), 0);
	assert_int_equal(l.walk.fr_read_bytes, 84);
	assert_int_equal(parse_table(TABLE(py314t), 304, 0, &l), -95);
	assert_int_equal(parse_table(TABLE(py314t), 304, 74, &l), -95);
	assert_int_equal(parse_table(TABLE(py314t), 304, 88, &l), -95);
	/* co_tlbc the same. */
	assert_int_equal(parse_table(TABLE(py314t), 392, 0, &l), -95);
	assert_int_equal(parse_table(TABLE(py314t), 392, 228, &l), -95);
	assert_int_equal(parse_table(TABLE(py314t), 392, 240, &l), -95);
	assert_int_equal(parse_table(TABLE(py314t), 392, UINT64_MAX - 7, &l), -95);
}

/* No offset of the table may be huge, and none but a byte's or text's may be odd. */
static void test_hostile_values(void **state)
{
	static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63,
					(uint64_t)1 << 32, 1u << 25};
	struct py_layout l;

	(void)state;
	for (size_t i = 2; i < ENTRY_CNT; i++) {
		for (size_t j = 0; j < sizeof(huge) / sizeof(huge[0]); j++) {
			if (py314[i].pos == 280)
				continue; /* localsplus is not read */
			assert_int_equal(parse_with(py314[i].pos, huge[j], &l), -95);
		}
	}
	assert_int_equal(parse_with(208, 73, &l), -95);	 /* current_frame, unaligned */
	assert_int_equal(parse_with(208, 832, &l), -95); /* at the end of the thread state */
	assert_int_equal(parse_with(208, 824, &l), 0);	 /* the last that fits */
	assert_int_equal(parse_with(176, 64, &l), -95);	 /* a size that its fields exceed */
	assert_int_equal(parse_with(288, 88, &l), -95);	 /* owner at the end of the frame */
	assert_int_equal(parse_with(640, 32, &l), -95);	 /* text before the state's end */
	assert_int_equal(parse_with(640, 44, &l), -95);
	assert_int_equal(parse_with(32, 0, &l), -95);
}

/* What passes this program off as a CPython. */
extern char _PyRuntime[];
__attribute__((section(".PyRuntime"), used, aligned(8))) char _PyRuntime[1 << 15] = {1};

static void look(uint64_t free_threaded, struct target *t)
{
	struct discover *d = discover_new();

	fill_with(_PyRuntime, TABLE(py314t), 16, free_threaded);
	assert_non_null(d);
	assert_int_equal(discover_process(d, getpid(), t), 0);
	discover_free(d);
}

/* PyInterpreterState is large; what the walker has 16 bits for must not be cut to them. */
static void test_offset_that_does_not_fit(void **state)
{
	struct py_layout l;

	(void)state;
	assert_int_equal(parse_with(56, 65528, &l), 0);
	assert_int_equal(l.walk.interp_id_off, 65528);
	assert_int_equal(parse_with(56, 65536, &l), -95);
	assert_int_equal(parse_with(56, 65536 + 7280, &l), -95);
	assert_int_equal(parse_with(120, 65536 + 16, &l), -95);
	/* This one has 32. */
	assert_int_equal(parse_with(72, 65536 + 7336, &l), 0);
	assert_int_equal(l.walk.interp_threads_off, 65536 + 7336);
}

/* A process that shows such offsets is one that has no interpreter yet, with a GIL or without. */
static void test_offsets_of_a_process(void **state)
{
	(void)state;
	for (uint64_t free_threaded = 0; free_threaded < 2; free_threaded++) {
		struct target t;

		look(free_threaded, &t);
		assert_int_equal(t.python.version, 0x030e0af0);
		assert_int_equal(t.state, TARGET_STARTING);
	}
	/* And no build that there can be has another flag. */
	struct target t;

	look(2, &t);
	assert_int_equal(t.state, TARGET_UNSUPPORTED);
}

static void test_version_strings(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		int major, minor, micro; /* -1: must not be found */
	} cases[] = {
#define S(text) text, sizeof(text)
		{S("x\0"
		   "3.10.13\0y"),
		 3, 10, 13},
		{S("3.10.13"), 3, 10, 13},
		{S("3.10.0rc2+"), 3, 10, 0},
		{S("/opt/versions/3.10.4"), 3, 10, 4},
		{S("/opt/3.10.4\0"
		   "3.10.5"),
		 3, 10, -1}, /* which of them is not known */
		{S("/opt/3.10.4\0"
		   "3.9.5\0"
		   "3.10.4"),
		 3, 10, 4},
		{S("libx-3.10.4.so"), -1, -1, -1},
		{S("3.10"), -1, -1, -1},
		{S("3.11.2"), -1, -1, -1},
		{S("13.10.2"), -1, -1, -1},
		{S("3.10.1234"), -1, -1, -1},
		{S("3.10.13.1"), -1, -1, -1},
		{S("1.3.10.13"), -1, -1, -1},
		{"3.10.13", 7, -1, -1, -1}, /* does not end within the data */
		{"", 0, -1, -1, -1},
#undef S
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *data = malloc(cases[i].len ? cases[i].len : 1);
		int major = 3, minor = 10, micro = -1;
		bool is_found;

		memcpy(data, cases[i].data, cases[i].len);
		is_found = pyversion_find(data, cases[i].len, &major, &minor, &micro);
		assert_int_equal(is_found, cases[i].major >= 0);
		assert_int_equal(micro, cases[i].micro);
		free(data);
	}
	for (size_t i = 0; i < 2; i++) {
		const char *text = i ? "3.9.1\0003.11.7" : "2.7.1\0003.11.7";
		int major = -1, minor = -1, micro = -1;

		assert_true(pyversion_find(text, 13, &major, &minor, &micro));
		assert_int_equal(major, i ? 3 : -1);
		assert_int_equal(minor, -1);
		assert_int_equal(micro, -1);
	}
	assert_int_equal(pyversion_hex(3, 10, 13), 0x030a0df0);
	assert_int_equal(pyversion_hex(3, 10, -1), 0x030a00f0);
	assert_int_equal(pyversion_hex(3, -1, -1), 0);
	assert_int_equal(pyversion_minor(0x030a0df0), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_free_threaded),
		cmocka_unit_test(test_gc_frame),
		cmocka_unit_test(test_hostile_values),
		cmocka_unit_test(test_offset_that_does_not_fit),
		cmocka_unit_test(test_version_strings),
		cmocka_unit_test(test_bytecode_copies),
		cmocka_unit_test(test_offsets_of_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
