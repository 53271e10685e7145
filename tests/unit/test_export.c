// SPDX-License-Identifier: BSD-2-Clause
/*
 * The exporters, over profiles built by hand. What is expected was derived by hand from the
 * formats' own rules, not from what the code printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "user/base/strbuf.h"
#include "user/export/export.h"
#include "user/export/frame.h"
#include "user/export/profile.pb-c.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Two processes; the second one's cmdline holds what folded can't. Stacks, innermost first:
 *	0: fib fib main	       (recursion)
 *	1: fib:3 fib main      (another line of fib)
 *	2: loads main	       (a library)
 *	3: [unreadable: ...] main
 *	4: no frames at all
 */
static const struct profile_function functions[] = {
	{"fib", "/srv/app/main.py", 10, FRAME_PYTHON},
	{"Main.run", "/srv/app/main.py", 20, FRAME_PYTHON},
	{"loads", "/usr/lib/python3.11/json/__init__.py", 299, FRAME_PYTHON},
	{"[unreadable: code object lost]", "", 0, FRAME_MARKER},
	/* The same function again, as a second code object of the same source. */
	{"fib", "/srv/app/main.py", 10, FRAME_PYTHON},
	{"<module>;evil 7", "<string>", 1, FRAME_PYTHON},
};

static const struct profile_frame frames[] = {
	{0, 11}, /* 0 */
	{0, 12}, /* 1 */
	{1, 21}, /* 2 */
	{2, 0},	 /* 3: no line */
	{3, 0},	 /* 4 */
	{4, 11}, /* 5 */
	{5, 1},	 /* 6 */
};

static uint16_t frame_idx[] = {0, 0, 2, 1, 0, 2, 3, 2, 4, 2, 5, 5, 2, 6};
static const struct profile_stack stacks[] = {
	{0, 3}, {3, 3}, {6, 2}, {8, 2}, {14, 0}, {10, 3}, {13, 1},
};

static const struct profile_process processes[] = {
	{100, 0x030b02f0, "python3", "python3 main.py", 0},
	{20, 0x030b02f0, "worker", "python3 -c \"a;b\"", 0},
};

static const struct profile_thread threads[] = {
	{.process_idx = 0, .tid = 100, .name = "python3"},
	{.process_idx = 0, .tid = 101, .main_idx = 1, .name = "pool;1"},
	{.process_idx = 1, .tid = 20, .main_idx = 2, .name = ""},
};

static const struct profile_sample samples[] = {
	{0, 0, 5, 0}, {0, 2, 1, 0}, {0, 5, 2, 0}, {1, 0, 3, 0},
	{1, 1, 4, 0}, {2, 3, 6, 0}, {2, 4, 7, 0}, {2, 6, 1, 0},
};

static const struct profile_event cpu_event = {
	.name = "cpu", .unit = "nanoseconds", .period = 10000000, .total_cnt = 29};

static const struct profile profile = {
	.meta = {.start_unix_ns = 1700000000123456789ULL,
		 .duration_ns = 2500000000ULL,
		 .freq_hz = 100,
		 .cpu_cnt = 2,
		 .host = "host",
		 .kernel = "6.1",
		 .target = "all"},
	.functions = functions,
	.frames = frames,
	.frame_idx = {.items = frame_idx, .cnt = COUNT(frame_idx)},
	.stacks = stacks,
	.processes = processes,
	.threads = threads,
	.samples = samples,
	.function_cnt = COUNT(functions),
	.frame_cnt = COUNT(frames),
	.stack_cnt = COUNT(stacks),
	.process_cnt = COUNT(processes),
	.thread_cnt = COUNT(threads),
	.sample_cnt = COUNT(samples),
	.events = &cpu_event,
	.event_cnt = 1,
};

static const struct profile_event no_event = {.name = "cpu", .unit = "nanoseconds"};

static const struct profile empty = {
	.meta = {.host = "", .kernel = "", .target = ""}, .events = &no_event, .event_cnt = 1};

struct output {
	char *bytes;
	size_t len;
};

/* With exporter NULL the table, of at most `rows`. The caller frees bytes. */
static struct output export_rows(const struct exporter *exporter, const struct profile *p,
				 struct export_opts opts, unsigned int rows)
{
	struct output output = {};
	FILE *out = open_memstream(&output.bytes, &output.len);

	assert_non_null(out);
	if (exporter)
		assert_int_equal(exporter->write(p, &opts, out), 0);
	else
		assert_int_equal(export_table(p, &opts, rows, out), 0);
	assert_int_equal(fclose(out), 0);
	return output;
}

static struct output export(const char *format, const struct profile *p, struct export_opts opts)
{
	return export_rows(export_find(NULL, format), p, opts, 0);
}

static void assert_folded(struct export_opts opts, const char *expected)
{
	struct output output = export("folded", &profile, opts);

	assert_string_equal(output.bytes, expected);
	free(output.bytes);
}

#define P100 "process 100:\"python3 main.py\";"
#define P20 "process 20:\"python3 -c 'a:b'\";"

static void test_folded(void **state)
{
	(void)state;
	/* Thread 100's and 101's fib;fib merge (5 + 3), and so does the second code object (2).
	 * By bytes: "100:" before "20:"; '(' before ':' before ';'. */
	assert_folded(
		(struct export_opts){},
		P100 "Main.run (app/main.py:21);fib (app/main.py:11);fib (app/main.py:11) 10\n" P100
		     "Main.run (app/main.py:21);fib (app/main.py:11);fib (app/main.py:12) 4\n" P100
		     "Main.run (app/main.py:21);loads (json/__init__.py:[line unknown]) 1\n" P20
		     "<module>:evil 7 (<string>:1) 1\n" P20
		     "Main.run (app/main.py:21);[unreadable: code object lost] 6\n" P20
		     "[no frames] 7\n");
}

static void test_folded_threads(void **state)
{
	(void)state;
	assert_folded(
		(struct export_opts){.threads = true, .lines = EXPORT_LINES_NONE}, P100
		"thread (100): python3;Main.run (app/main.py);fib (app/main.py);"
		"fib (app/main.py) 7\n" P100
		"thread (100): python3;Main.run (app/main.py);loads (json/__init__.py) 1\n" P100
		"thread (101): pool:1;Main.run (app/main.py);fib (app/main.py);"
		"fib (app/main.py) 7\n" P20 "thread (20);<module>:evil 7 (<string>) 1\n" P20
		"thread (20);Main.run (app/main.py);[unreadable: code object lost] 6\n" P20
		"thread (20);[no frames] 7\n");
}

static void test_folded_function_lines(void **state)
{
	(void)state;
	assert_folded((struct export_opts){.full_path = true, .lines = EXPORT_LINES_FUNCTION},
		      P100 "Main.run (/srv/app/main.py:20);fib (/srv/app/main.py:10);"
			   "fib (/srv/app/main.py:10) 14\n" P100 "Main.run (/srv/app/main.py:20);"
			   "loads (/usr/lib/python3.11/json/__init__.py:299) 1\n" P20
			   "<module>:evil 7 (<string>:1) 1\n" P20
			   "Main.run (/srv/app/main.py:20);[unreadable: code object lost] 6\n" P20
			   "[no frames] 7\n");
}

/* A stack that is the start of another comes first, also where its leaf goes on with a space. */
static void test_folded_order(void **state)
{
	static const struct profile_function names[] = {{"[a]", "", 0, FRAME_MARKER},
							{"[a] b]", "", 0, FRAME_MARKER},
							{"[a]!]", "", 0, FRAME_MARKER}};
	static const struct profile_frame words[] = {{0, 0}, {1, 0}, {2, 0}};
	/* Innermost first: b;a is the stack [a];[a] b]. */
	static uint16_t idx[] = {2, 1, 1, 0, 0};
	static const struct profile_stack each[] = {{0, 1}, {1, 1}, {2, 2}, {4, 1}};
	static const struct profile_sample some[] = {
		{0, 0, 1, 0}, {0, 1, 2, 0}, {0, 2, 3, 0}, {0, 3, 4, 0}};
	struct profile p = profile;
	struct output output;

	(void)state;
	p.functions = names;
	p.frames = words;
	p.frame_idx = (struct packed){.items = idx, .cnt = COUNT(idx)};
	p.stacks = each;
	p.samples = some;
	p.function_cnt = p.frame_cnt = 3;
	p.stack_cnt = p.sample_cnt = 4;
	output = export("folded", &p, (struct export_opts){});
	assert_string_equal(output.bytes, P100 "[a] 4\n" P100 "[a] b] 2\n" P100 "[a]!] 1\n" P100
					       "[a];[a] b] 3\n");
	free(output.bytes);
}

/* Of two lines one of which is the start of the other, whichever was seen first. */
static void test_folded_prefix(void **state)
{
	static const struct profile_function names[] = {{"[a]", "", 0, FRAME_MARKER},
							{"[b]", "", 0, FRAME_MARKER}};
	static const struct profile_frame words[] = {{0, 0}, {1, 0}};
	static uint16_t idx[] = {1, 0, 0};
	static const struct profile_stack each[] = {{0, 2}, {2, 1}};
	static const struct profile_sample some[] = {{0, 0, 1, 0}, {0, 1, 2, 0}, {0, 0, 3, 0}};
	struct profile p = profile;

	(void)state;
	p.functions = names;
	p.frames = words;
	p.frame_idx = (struct packed){.items = idx, .cnt = COUNT(idx)};
	p.stacks = each;
	p.function_cnt = p.frame_cnt = p.stack_cnt = p.sample_cnt = 2;
	for (int i = 0; i < 2; i++) {
		struct output output;

		p.samples = some + i;
		output = export("folded", &p, (struct export_opts){});
		assert_string_equal(output.bytes, i ? P100 "[a] 2\n" P100 "[a];[b] 3\n"
						    : P100 "[a] 2\n" P100 "[a];[b] 1\n");
		free(output.bytes);
	}
}

static void test_short_path(void **state)
{
	static const char *const paths[][2] = {
		{"/srv/app/main.py", "app/main.py"},
		{"/main.py", "/main.py"},
		{"main.py", "main.py"},
		{"app/main.py", "app/main.py"},
		{"", ""},
		{"/", "/"},
		{"<string>", "<string>"},
		{"<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"},
		{"<generated /a/b/c>", "<generated /a/b/c>"},
		{"/usr/lib/python3.11/json/decoder.py", "json/decoder.py"},
		{"/usr/lib64/python3.9/threading.py", "threading.py"},
		{"/opt/py/lib/python3.13t/asyncio/base/x.py", "asyncio/base/x.py"},
		{"/v/lib/python3.11/site-packages/a/b/c.py", "a/b/c.py"},
		{"/usr/lib/python3/dist-packages/a/b/c.py", "a/b/c.py"},
		/* The last one counts. */
		{"/v/site-packages/pip/lib/python3.8/x.py", "x.py"},
		/* Nothing follows, no version, no such folder. */
		{"/v/a/site-packages/", "site-packages/"},
		{"/usr/lib/pythonX/a/b.py", "a/b.py"},
		{"/x/my-site-packages/a/b/c.py", "b/c.py"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(paths); i++)
		assert_string_equal(frame_short_path(paths[i][0]), paths[i][1]);
}

/* A function of an empty file name is not taken for a marker, whose name is bare, whatever its own
 * name is. */
static void test_made_up_marker(void **state)
{
	static const struct profile_function made_up[] = {
		{"x 7", "", 0, FRAME_PYTHON}, {"[x]", "", 1, FRAME_PYTHON},
		{"[x", "", 0, FRAME_PYTHON},  {"", "", 0, FRAME_PYTHON},
		{"[x]", "", 0, FRAME_PYTHON}, {"[x]", "", 0, FRAME_MARKER}};
	static const char *const expected[] = {"x 7 (:[line unknown])", "[x] (:1)",
					       "[x (:[line unknown])",	" (:[line unknown])",
					       "[x] (:[line unknown])", "[x]"};
	const struct export_opts opts = {};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(made_up); i++) {
		struct strbuf text = {};

		frame_add_function(&text, &made_up[i], &opts);
		assert_string_equal(strbuf_text(&text), expected[i]);
		strbuf_release(&text);
	}
}

static void test_find(void **state)
{
	static const char *const found[][2] = {
		{"-", "folded"},      {"x.folded", "folded"},	 {"a/x.collapsed", "folded"},
		{"x.txt", "folded"},  {"x.pb.gz", "pprof"},	 {"x.txt.pprof", "pprof"},
		{"x.krait", "krait"}, {"x.krait.txt", "folded"},
	};
	char *too_short;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(found); i++)
		assert_string_equal(export_find(found[i][0], NULL)->name, found[i][1]);
	assert_null(export_find("x.gz", NULL));
	assert_null(export_find("", NULL));
	/* Shorter than any suffix; on the heap, where a sanitizer sees a read before its start. */
	too_short = strdup("z");
	assert_null(export_find(too_short, NULL));
	free(too_short);
	assert_string_equal(export_find("x.folded", "pprof")->name, "pprof");
	assert_null(export_find("x.folded", "nothing"));
	assert_null(export_find(NULL, "krait")->write);
}

/* The caller frees with perftools__profiles__profile__free_unpacked. */
static Perftools__Profiles__Profile *read_pprof(const struct profile *p, struct export_opts opts)
{
	struct output output = export("pprof", p, opts);
	static unsigned char raw[1 << 20];
	z_stream z = {.next_in = (unsigned char *)output.bytes,
		      .avail_in = (unsigned int)output.len,
		      .next_out = raw,
		      .avail_out = sizeof(raw)};
	Perftools__Profiles__Profile *message;

	/* RFC 1952, 2.3: the time is in bytes 4 to 7. */
	assert_memory_equal(output.bytes, "\x1f\x8b\x08\0\0\0\0\0", 8);
	assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	message = perftools__profiles__profile__unpack(NULL, z.total_out, raw);
	assert_non_null(message);
	inflateEnd(&z);
	free(output.bytes);
	return message;
}

#define STRING(m, idx) ((m)->string_table[idx])

static void test_pprof_head(void **state)
{
	Perftools__Profiles__Profile *m = read_pprof(&profile, (struct export_opts){});

	(void)state;
	assert_string_equal(STRING(m, 0), "");
	assert_int_equal(m->n_sample_type, 2);
	assert_string_equal(STRING(m, m->sample_type[0]->type), "samples");
	assert_string_equal(STRING(m, m->sample_type[0]->unit), "count");
	assert_string_equal(STRING(m, m->sample_type[1]->type), "cpu");
	assert_string_equal(STRING(m, m->sample_type[1]->unit), "nanoseconds");
	assert_string_equal(STRING(m, m->period_type->type), "cpu");
	assert_string_equal(STRING(m, m->period_type->unit), "nanoseconds");
	assert_string_equal(STRING(m, m->default_sample_type), "cpu");
	assert_int_equal(m->period, 10000000);
	assert_int_equal(m->time_nanos, 1700000000123456789LL);
	assert_int_equal(m->duration_nanos, 2500000000LL);
	assert_int_equal(m->n_comment, 2);
	assert_string_equal(STRING(m, m->comment[0]), "krait " KRAIT_VERSION);
	assert_string_equal(STRING(m, m->comment[1]), "target: all");
	assert_int_equal(m->n_mapping, 1);
	assert_true(m->mapping[0]->has_functions && m->mapping[0]->has_filenames &&
		    m->mapping[0]->has_line_numbers);
	assert_int_not_equal(m->mapping[0]->id, 0);
	perftools__profiles__profile__free_unpacked(m, NULL);
}

/*
 * Thread 100 has page faults where it has ticks, thread 101 alone on stack 5: as values of one
 * sample, of which the ticks have two. Formats of one number have the ticks.
 */
static void test_two_events(void **state)
{
	static const struct profile_event events[] = {
		{.name = "cpu", .unit = "nanoseconds", .period = 1000, .total_cnt = 9},
		{.name = "page-faults", .unit = "count", .period = 16, .total_cnt = 5}};
	static const struct profile_sample both[] = {
		{0, 0, 2, 0}, {0, 0, 3, 1}, {0, 2, 7, 0}, {1, 5, 2, 1}};
	static const int64_t expected[][3] = {{2, 2000, 48}, {7, 7000, 0}, {0, 0, 32}};
	struct profile p = profile;
	Perftools__Profiles__Profile *m;
	struct output output;

	(void)state;
	p.events = events;
	p.event_cnt = 2;
	p.samples = both;
	p.sample_cnt = COUNT(both);
	m = read_pprof(&p, (struct export_opts){});
	assert_int_equal(m->n_sample_type, 3);
	assert_string_equal(STRING(m, m->sample_type[2]->type), "page-faults");
	assert_string_equal(STRING(m, m->sample_type[2]->unit), "count");
	assert_int_equal(m->n_sample, COUNT(expected));
	for (size_t i = 0; i < COUNT(expected); i++) {
		assert_int_equal(m->sample[i]->n_value, 3);
		assert_memory_equal(m->sample[i]->value, expected[i], sizeof(expected[i]));
	}
	perftools__profiles__profile__free_unpacked(m, NULL);
	output = export("folded", &p, (struct export_opts){});
	assert_string_equal(
		output.bytes,
		P100 "Main.run (app/main.py:21);fib (app/main.py:11);fib (app/main.py:11) 2\n" P100
		     "Main.run (app/main.py:21);loads (json/__init__.py:[line unknown]) 7\n");
	free(output.bytes);
	output = export_rows(NULL, &p, (struct export_opts){}, 0);
	assert_non_null(strstr(output.bytes, "9 samples, 1 process, 1 thread, "));
	assert_non_null(strstr(output.bytes, " 77.8%          7    77.8%          7  loads "));
	free(output.bytes);
}

/* "name file start:line" of one of a sample's locations, found by its id as a reader does. */
static const char *location_text(const Perftools__Profiles__Profile *m, uint64_t id)
{
	static char text[256];
	const Perftools__Profiles__Location *location = NULL;
	const Perftools__Profiles__Function *f = NULL;
	size_t i;

	for (i = 0; i < m->n_location; i++)
		if (m->location[i]->id == id)
			location = m->location[i];
	assert_non_null(location);
	assert_int_equal(location->address, 0);
	assert_int_equal(location->mapping_id, m->mapping[0]->id);
	assert_int_equal(location->n_line, 1);
	for (i = 0; i < m->n_function; i++)
		if (m->function[i]->id == location->line[0]->function_id)
			f = m->function[i];
	assert_non_null(f);
	/* Else go tool pprof shows "<module>" as "". */
	assert_int_equal(f->system_name, 0);
	snprintf(text, sizeof(text), "%s %s %d:%d", STRING(m, f->name), STRING(m, f->filename),
		 (int)f->start_line, (int)location->line[0]->line);
	return text;
}

static void assert_label(const Perftools__Profiles__Profile *m,
			 const Perftools__Profiles__Sample *sample, const char *key,
			 const char *str, int64_t num)
{
	size_t i, found = 0;

	for (i = 0; i < sample->n_label; i++) {
		const Perftools__Profiles__Label *label = sample->label[i];

		if (strcmp(STRING(m, label->key), key))
			continue;
		found++;
		assert_string_equal(STRING(m, label->str), str);
		assert_int_equal(label->num, num);
	}
	assert_int_equal(found, 1);
}

static void test_pprof_samples(void **state)
{
	Perftools__Profiles__Profile *m = read_pprof(&profile, (struct export_opts){});
	Perftools__Profiles__Sample *sample;

	(void)state;
	assert_int_equal(m->n_sample, COUNT(samples));
	sample = m->sample[4]; /* thread 101 on fib:12 fib:11 main */
	assert_int_equal(sample->n_value, 2);
	assert_int_equal(sample->value[0], 4);
	assert_int_equal(sample->value[1], 40000000);
	assert_int_equal(sample->n_location_id, 3);
	assert_string_equal(location_text(m, sample->location_id[0]), "fib /srv/app/main.py 10:12");
	assert_string_equal(location_text(m, sample->location_id[1]), "fib /srv/app/main.py 10:11");
	assert_string_equal(location_text(m, sample->location_id[2]),
			    "Main.run /srv/app/main.py 20:21");
	assert_int_equal(sample->n_label, 4);
	assert_label(m, sample, "pid", "", 100);
	assert_label(m, sample, "tid", "", 101);
	assert_label(m, sample, "thread", "pool;1", 0);
	assert_label(m, sample, "comm", "python3", 0);
	sample = m->sample[5]; /* a thread without a name, and a marker */
	assert_string_equal(location_text(m, sample->location_id[0]),
			    "[unreadable: code object lost]  0:0");
	assert_int_equal(sample->n_label, 3);
	assert_label(m, sample, "comm", "worker", 0);
	assert_int_equal(m->sample[6]->n_location_id, 0);
	perftools__profiles__profile__free_unpacked(m, NULL);
}

static void test_pprof_lines(void **state)
{
	struct export_opts opts = {.lines = EXPORT_LINES_FUNCTION};
	Perftools__Profiles__Profile *m = read_pprof(&profile, opts);
	uint64_t *ids = m->sample[4]->location_id;

	(void)state;
	assert_int_equal(ids[0], ids[1]); /* two lines of fib are one location now */
	assert_string_equal(location_text(m, ids[0]), "fib /srv/app/main.py 10:10");
	perftools__profiles__profile__free_unpacked(m, NULL);
	opts.lines = EXPORT_LINES_NONE;
	m = read_pprof(&profile, opts);
	ids = m->sample[4]->location_id;
	assert_int_equal(ids[0], ids[1]);
	assert_string_equal(location_text(m, ids[0]), "fib /srv/app/main.py 10:0");
	perftools__profiles__profile__free_unpacked(m, NULL);
}

static void test_pprof_string_table(void **state)
{
	Perftools__Profiles__Profile *m = read_pprof(&profile, (struct export_opts){});
	size_t i, file_cnt = 0;

	(void)state;
	for (i = 0; i < m->n_string_table; i++) {
		assert_true(i == 0 || STRING(m, i)[0]);
		file_cnt += !strcmp(STRING(m, i), "/srv/app/main.py");
	}
	assert_int_equal(file_cnt, 1);
	perftools__profiles__profile__free_unpacked(m, NULL);
}

static void test_table(void **state)
{
	struct output output = export_rows(NULL, &profile, (struct export_opts){}, 0);

	(void)state;
	/* fib: the leaf of 5 + 2 + 3 + 4 samples, and counted once where it recurses. Of equal
	 * rows the larger total comes first. 14/29 = 48.28 %, 21/29 = 72.41 %. */
	assert_string_equal(
		output.bytes,
		"29 samples, 2 processes, 3 threads, 2.5 s at 100 Hz\n"
		"\n"
		"self %    samples  total %    samples  function\n"
		" 48.3%         14    48.3%         14  fib (app/main.py:10)\n"
		" 20.7%          6    20.7%          6  [unreadable: code object lost]\n"
		"  3.4%          1     3.4%          1  <module>;evil 7 (<string>:1)\n"
		"  3.4%          1     3.4%          1  loads (json/__init__.py:299)\n"
		"  0.0%          0    72.4%         21  Main.run (app/main.py:20)\n");
	free(output.bytes);
}

/* Of rows with the same self the one with the larger total comes first, whatever its name. */
static void test_table_order(void **state)
{
	/* Innermost first: Main.run loads; loads. */
	static const struct profile_stack two[] = {{5, 2}, {6, 1}};
	static const struct profile_sample one_each[] = {{0, 0, 1, 0}, {0, 1, 1, 0}};
	struct profile_event event = {.total_cnt = 2};
	struct profile p = profile;
	struct output output;

	(void)state;
	p.stacks = two;
	p.samples = one_each;
	p.stack_cnt = p.sample_cnt = 2;
	p.events = &event;
	output = export_rows(NULL, &p, (struct export_opts){}, 2);
	assert_non_null(strstr(output.bytes, "  2  loads (json/__init__.py:299)\n"
					     " 50.0%          1    50.0%          1  Main.run "));
	free(output.bytes);
}

static void test_table_cut(void **state)
{
	struct export_opts opts = {.full_path = true};
	struct output output = export_rows(NULL, &profile, opts, 1);

	(void)state;
	assert_non_null(
		strstr(output.bytes, "  fib (/srv/app/main.py:10)\n… and 4 more functions\n"));
	free(output.bytes);
	output = export_rows(NULL, &profile, opts, 4);
	assert_non_null(strstr(output.bytes, "… and 1 more function\n"));
	free(output.bytes);
	output = export_rows(NULL, &profile, opts, 5);
	assert_null(strstr(output.bytes, "more"));
	free(output.bytes);
}

static void test_empty(void **state)
{
	Perftools__Profiles__Profile *m = read_pprof(&empty, (struct export_opts){});
	struct output output = export("folded", &empty, (struct export_opts){.threads = true});

	(void)state;
	assert_int_equal(output.len, 0);
	free(output.bytes);
	assert_int_equal(m->n_sample, 0);
	perftools__profiles__profile__free_unpacked(m, NULL);
	output = export_rows(NULL, &empty, (struct export_opts){}, 10);
	assert_string_equal(output.bytes, "0 samples, 0 processes, 0 threads, 0.0 s at 0 Hz\n");
	free(output.bytes);
}

static void test_same_bytes_each_time(void **state)
{
	static const char *const formats[] = {"folded", "pprof"};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(formats); i++) {
		struct output a = export(formats[i], &profile, (struct export_opts){});
		struct output b = export(formats[i], &profile, (struct export_opts){});

		assert_int_equal(a.len, b.len);
		assert_memory_equal(a.bytes, b.bytes, a.len);
		free(a.bytes);
		free(b.bytes);
	}
}

static void test_help_names_each(void **state)
{
	struct output output = {};
	FILE *out = open_memstream(&output.bytes, &output.len);
	int i, j;

	(void)state;
	export_help(out);
	fclose(out);
	for (i = 0; exporters[i]; i++) {
		assert_non_null(strstr(output.bytes, exporters[i]->name));
		for (j = 0; exporters[i]->suffixes[j]; j++)
			assert_non_null(strstr(output.bytes, exporters[i]->suffixes[j]));
	}
	free(output.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folded),
		cmocka_unit_test(test_folded_threads),
		cmocka_unit_test(test_folded_function_lines),
		cmocka_unit_test(test_folded_order),
		cmocka_unit_test(test_folded_prefix),
		cmocka_unit_test(test_short_path),
		cmocka_unit_test(test_made_up_marker),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_pprof_head),
		cmocka_unit_test(test_pprof_samples),
		cmocka_unit_test(test_two_events),
		cmocka_unit_test(test_pprof_lines),
		cmocka_unit_test(test_pprof_string_table),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_order),
		cmocka_unit_test(test_table_cut),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_same_bytes_each_time),
		cmocka_unit_test(test_help_names_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
