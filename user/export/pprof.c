// SPDX-License-Identifier: BSD-2-Clause
/*
 * pprof: a gzipped perftools.profiles.Profile, for `go tool pprof` and everything that reads it.
 * The format's source is google/pprof, proto/profile.proto; profile.proto here has what is used.
 *
 * The message is written piece by piece: two serialized messages one after the other are, by
 * protobuf's own rules (protobuf.dev, "Encoding", "Last one wins"), one message whose repeated
 * fields are concatenated. So each sample, location and string is packed as a Profile that holds
 * only it, and neither the whole tree nor the whole message is ever in memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "user/base/index.h"
#include "user/base/strbuf.h"
#include "user/export/export.h"
#include "user/export/profile.pb-c.h"

#define FLUSH_BYTES 65536 /* packed bytes that are compressed at once */
/* Strings that are no name of a function, process or thread: value types, units, label keys,
 * comments. Only bounds an allocation. */
#define OWN_STRINGS 16
#define MAPPING_ID 1
#define LABELS_MAX 5
#define EVENTS_MAX 256		    /* of a profile: profile_sample.event_idx has 8 bits */
#define VALUES_MAX (EVENTS_MAX + 1) /* of a sample: the CPU's clock has two */

typedef Perftools__Profiles__Profile Part;

struct pprof {
	const struct profile *profile;
	const struct export_opts *opts;
	FILE *out;
	z_stream gzip;
	struct strbuf packed;
	const char **strings; /* the string table */
	uint32_t string_cnt;
	struct index by_address; /* of strings: a profile's are interned */
	uint64_t *locations;	 /* of one stack */
	int err;
};

/* Compresses what is packed, and writes what comes of it. */
static void flush(struct pprof *w, int how)
{
	unsigned char bytes[16384];

	w->gzip.next_in = (unsigned char *)w->packed.buf;
	w->gzip.avail_in = w->packed.len;
	do {
		w->gzip.next_out = bytes;
		w->gzip.avail_out = sizeof(bytes);
		deflate(&w->gzip, how);
		fwrite(bytes, 1, sizeof(bytes) - w->gzip.avail_out, w->out);
	} while (w->gzip.avail_out == 0);
	strbuf_reset(&w->packed);
}

static void put(struct pprof *w, const Part *part)
{
	size_t bytes = perftools__profiles__profile__get_packed_size(part);

	if (!strbuf_reserve(&w->packed, bytes)) {
		w->err = -ENOMEM;
		return;
	}
	perftools__profiles__profile__pack(part, (uint8_t *)w->packed.buf + w->packed.len);
	w->packed.len += bytes;
	w->packed.buf[w->packed.len] = 0;
	if (w->packed.len >= FLUSH_BYTES)
		flush(w, Z_NO_FLUSH);
}

/* The index of text, which lives as long as the writer, in the string table. */
static int64_t string_idx(struct pprof *w, const char *text)
{
	uint64_t hash = hash_pair((uintptr_t)text, 0);
	struct index_iter it;

	/* The first string has to be "", and a field that is 0 is not written at all. */
	if (!text[0])
		return 0;
	for (it = index_first(&w->by_address, hash); it.num != INDEX_NONE;
	     index_next(&w->by_address, &it))
		if (w->strings[it.num] == text)
			return it.num;
	if (index_add(&w->by_address, hash, w->string_cnt)) {
		w->err = -ENOMEM;
		return 0;
	}
	w->strings[w->string_cnt] = text;
	return w->string_cnt++;
}

static void put_strings(struct pprof *w)
{
	Part part = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t i;

	part.n_string_table = 1;
	for (i = 0; i < w->string_cnt; i++) {
		part.string_table = (char **)&w->strings[i];
		put(w, &part);
	}
}

/* What the values of a sample are (room for VALUES_MAX): the ticks as such, then each event in its
 * unit. How many there are. */
static size_t make_types(struct pprof *w, Perftools__Profiles__ValueType *types,
			 Perftools__Profiles__ValueType **ptrs)
{
	const struct profile *p = w->profile;
	size_t cnt = 1 + p->event_cnt;

	for (size_t i = 0; i < cnt; i++) {
		perftools__profiles__value_type__init(&types[i]);
		types[i].type = string_idx(w, i ? p->events[i - 1].name : "samples");
		types[i].unit = string_idx(w, i ? p->events[i - 1].unit : "count");
		ptrs[i] = &types[i];
	}
	return cnt;
}

/* What the numbers mean, and what there is one of. */
static void put_head(struct pprof *w, const char *version, const char *target)
{
	const struct profile_meta *meta = &w->profile->meta;
	Perftools__Profiles__ValueType types[VALUES_MAX] = {}, *type_ptrs[VALUES_MAX];
	Perftools__Profiles__Mapping mapping = PERFTOOLS__PROFILES__MAPPING__INIT;
	int64_t comments[] = {string_idx(w, version), string_idx(w, target)};
	Part part = PERFTOOLS__PROFILES__PROFILE__INIT;

	part.sample_type = type_ptrs;
	part.n_sample_type = make_types(w, types, type_ptrs);
	part.period_type = &types[1];
	part.period = w->profile->events[0].period;
	part.default_sample_type = types[1].type;
	part.time_nanos = meta->start_unix_ns;
	part.duration_nanos = meta->duration_ns;
	part.comment = comments;
	part.n_comment = 2;
	/* Without these three `go tool pprof` would look for a binary to find symbols in. */
	mapping.id = MAPPING_ID;
	mapping.has_functions = mapping.has_filenames = mapping.has_line_numbers = true;
	part.mapping = (Perftools__Profiles__Mapping *[]){&mapping};
	part.n_mapping = 1;
	put(w, &part);
}

/*
 * system_name stays "": where it equals the name, go tool pprof takes the name for a C++ symbol yet
 * to be demangled, cuts out what stands in "<>" as template arguments, and shows "<module>" as an
 * empty string (google/pprof, internal/symbolizer/symbolizer.go, demangleSingleFunction).
 */
static void put_functions(struct pprof *w)
{
	Perftools__Profiles__Function function = PERFTOOLS__PROFILES__FUNCTION__INIT;
	Part part = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t i;

	part.function = (Perftools__Profiles__Function *[]){&function};
	part.n_function = 1;
	for (i = 0; i < w->profile->function_cnt; i++) {
		const struct profile_function *f = &w->profile->functions[i];

		function.id = i + 1ULL;
		function.name = string_idx(w, f->name);
		function.filename = string_idx(w, f->file);
		function.start_line = f->first_line > 0 ? f->first_line : 0;
		put(w, &part);
	}
}

/* A location is a frame; or a function where lines are merged or dropped. */
static bool is_location_function(const struct pprof *w)
{
	return w->opts->lines != EXPORT_LINES_EXECUTING;
}

static void put_location(struct pprof *w, uint64_t id, uint32_t function_idx, int32_t line_no)
{
	Perftools__Profiles__Location location = PERFTOOLS__PROFILES__LOCATION__INIT;
	Perftools__Profiles__Line line = PERFTOOLS__PROFILES__LINE__INIT;
	Part part = PERFTOOLS__PROFILES__PROFILE__INIT;

	line.function_id = function_idx + 1ULL;
	line.line = line_no > 0 ? line_no : 0;
	location.id = id;
	location.mapping_id = MAPPING_ID;
	location.line = (Perftools__Profiles__Line *[]){&line};
	location.n_line = 1;
	part.location = (Perftools__Profiles__Location *[]){&location};
	part.n_location = 1;
	put(w, &part);
}

static void put_locations(struct pprof *w)
{
	const struct profile *p = w->profile;
	bool has_line = w->opts->lines == EXPORT_LINES_FUNCTION;
	uint32_t i;

	if (is_location_function(w))
		for (i = 0; i < p->function_cnt; i++)
			put_location(w, i + 1ULL, i, has_line ? p->functions[i].first_line : 0);
	else
		for (i = 0; i < p->frame_cnt; i++)
			put_location(w, i + 1ULL, p->frames[i].function_idx, p->frames[i].line);
}

static void set_label(Perftools__Profiles__Label *label, int64_t key, int64_t str, int64_t num)
{
	perftools__profiles__label__init(label);
	label->key = key;
	label->str = str;
	label->num = num;
}

/* Fills labels (room for LABELS_MAX) and returns how many there are. */
static size_t make_labels(struct pprof *w, const struct profile_sample *sample,
			  Perftools__Profiles__Label *labels)
{
	const struct profile_thread *thread = &w->profile->threads[sample->thread_idx];
	const struct profile_process *process = &w->profile->processes[thread->process_idx];
	size_t cnt = 0;

	set_label(&labels[cnt++], string_idx(w, "pid"), 0, process->pid);
	set_label(&labels[cnt++], string_idx(w, "tid"), 0, thread->tid);
	if (thread->name[0])
		set_label(&labels[cnt++], string_idx(w, "thread"), string_idx(w, thread->name), 0);
	if (process->comm[0])
		set_label(&labels[cnt++], string_idx(w, "comm"), string_idx(w, process->comm), 0);
	if (thread->interp_id)
		set_label(&labels[cnt++], string_idx(w, "interpreter"), 0, thread->interp_id);
	return cnt;
}

static bool is_of_one(const struct profile_sample *a, const struct profile_sample *b)
{
	return a->thread_idx == b->thread_idx && a->stack_idx == b->stack_idx;
}

/* The values of what the thread had on the stack: the samples from this one on, of an event each.
 * How many of them there are. */
static uint32_t make_values(const struct profile *p, uint32_t first, int64_t *values)
{
	uint32_t i;

	memset(values, 0, (1 + p->event_cnt) * sizeof(*values));
	for (i = first; i < p->sample_cnt && is_of_one(&p->samples[first], &p->samples[i]); i++) {
		const struct profile_sample *s = &p->samples[i];

		values[1 + s->event_idx] = s->cnt * p->events[s->event_idx].period;
		if (s->event_idx == 0)
			values[0] = s->cnt;
	}
	return i - first;
}

/* Puts the samples of one thread on one stack as one; how many they are. */
static uint32_t put_sample(struct pprof *w, uint32_t first)
{
	const struct profile *p = w->profile;
	const struct profile_sample *sample = &p->samples[first];
	const struct profile_stack *stack = &p->stacks[sample->stack_idx];
	int64_t values[VALUES_MAX];
	uint32_t cnt = make_values(p, first, values);
	Perftools__Profiles__Label labels[LABELS_MAX], *label_ptrs[LABELS_MAX];
	Perftools__Profiles__Sample message = PERFTOOLS__PROFILES__SAMPLE__INIT;
	Part part = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t i;

	for (i = 0; i < stack->cnt; i++) {
		uint32_t frame = packed_get(&p->frame_idx, stack->first + i);

		w->locations[i] =
			1ULL + (is_location_function(w) ? p->frames[frame].function_idx : frame);
	}
	message.location_id = w->locations;
	message.n_location_id = stack->cnt;
	message.value = values;
	message.n_value = 1 + p->event_cnt;
	message.n_label = make_labels(w, sample, labels);
	for (i = 0; i < message.n_label; i++)
		label_ptrs[i] = &labels[i];
	message.label = label_ptrs;
	part.sample = (Perftools__Profiles__Sample *[]){&message};
	part.n_sample = 1;
	put(w, &part);
	return cnt;
}

static int pprof_init(struct pprof *w)
{
	const struct profile *p = w->profile;
	size_t string_max = OWN_STRINGS + 2UL * (p->function_cnt + p->event_cnt) + p->process_cnt +
			    p->thread_cnt;
	uint32_t i, depth = 0;

	for (i = 0; i < p->stack_cnt; i++)
		if (p->stacks[i].cnt > depth)
			depth = p->stacks[i].cnt;
	w->strings = calloc(string_max, sizeof(*w->strings));
	w->locations = calloc(depth + 1UL, sizeof(*w->locations));
	if (!w->strings || !w->locations)
		return -ENOMEM;
	w->strings[w->string_cnt++] = "";
	/* 16 more window bits ask for a gzip header (zlib.h, deflateInit2), whose time zlib leaves
	 * at 0: the same profile gives the same bytes. */
	if (deflateInit2(&w->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	return 0;
}

static void pprof_release(struct pprof *w)
{
	index_release(&w->by_address);
	deflateEnd(&w->gzip);
	strbuf_release(&w->packed);
	free(w->strings);
	free(w->locations);
}

static int pprof_write(const struct profile *profile, const struct export_opts *opts, FILE *out)
{
	struct pprof w = {.profile = profile, .opts = opts, .out = out};
	struct strbuf target = {};
	int err = pprof_init(&w);
	uint32_t i;

	strbuf_addf(&target, "target: %s", profile->meta.target);
	if (!err && target.failed)
		err = -ENOMEM;
	if (err)
		goto out;
	put_head(&w, "krait " KRAIT_VERSION, strbuf_text(&target));
	put_functions(&w);
	put_locations(&w);
	for (i = 0; i < profile->sample_cnt;)
		i += put_sample(&w, i);
	put_strings(&w);
	flush(&w, Z_FINISH);
	err = w.err;
out:
	pprof_release(&w);
	strbuf_release(&target);
	return err;
}

const struct exporter export_pprof = {
	.name = "pprof",
	.suffixes = (const char *const[]){".pb.gz", ".pprof", NULL},
	.is_binary = true,
	.help = "for go tool pprof, Pyroscope and other continuous profilers",
	.write = pprof_write,
};
