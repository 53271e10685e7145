// SPDX-License-Identifier: BSD-2-Clause
/*
 * A program that passes for a CPython 3.11, by its symbols and by structures that hold where krait
 * proves them, and then lies: forger MODE [SHARE [FILE]]. It says "ready", and runs until its stdin
 * is closed, on a CPU for SHARE percent of the time (100). Without arguments it lists the modes.
 *
 * Offsets: user/python/layout.c, whose 3.11 is checked against the headers by tests/layouts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define MANY 1000000
#define DEEP 1000

/* PyASCIIObject.state: compact, ASCII, and the kind. */
#define STATE(kind) ((kind) << 2 | 1 << 5 | 1 << 6)

struct frame {
	uint64_t unused[4];
	uint64_t code, func, prev, instr;
	uint32_t stacktop;
	uint8_t is_entry, owner;
};

struct code {
	uint64_t refs, type, unused[7];
	uint32_t first_line, pad;
	uint64_t unused2[4];
	uint64_t file, name, qualname, lines;
	uint64_t unused3[5];
	uint8_t bytecode[256];
};

struct str {
	uint64_t refs, type, length, hash;
	uint32_t state, pad;
	uint64_t wstr;
	char text[2 * PAGE];
};

struct bytes {
	uint64_t refs, type, size, hash;
	uint8_t data[PAGE];
};

struct cframe {
	uint64_t use_tracing, frame, prev;
};

struct thread {
	uint64_t prev, next, interp, unused[4], cframe, unused2[11];
	uint64_t thread_id, native_id, unused3[16], chunk;
	struct cframe root;
};

struct interp {
	uint64_t next, unused, threads, unused2[3], id, unused3[250];
};

_Static_assert(__builtin_offsetof(struct frame, owner) == 69, "3.11: owner");
_Static_assert(__builtin_offsetof(struct code, first_line) == 72, "3.11: co_firstlineno");
_Static_assert(__builtin_offsetof(struct code, file) == 112, "3.11: co_filename");
_Static_assert(__builtin_offsetof(struct code, bytecode) == 184, "3.11: co_code_adaptive");
_Static_assert(__builtin_offsetof(struct thread, thread_id) == 152, "3.11: thread_id");
_Static_assert(__builtin_offsetof(struct thread, chunk) == 296, "3.11: datastack_chunk");
_Static_assert(__builtin_offsetof(struct interp, id) == 48, "3.11: id");

/* What an embedding program exports. */
uint64_t _PyRuntime[256];
unsigned long Py_Version = 0x030b07f0;
uint64_t PyCode_Type[64];

static struct interp interp;
static struct thread thread;
static struct cframe cframe;
static struct str file, name;
static struct bytes lines;
static struct frame frames[3];
static struct code codes[3];
static unsigned int share = 100;

static uint64_t addr_of(const void *p)
{
	return (uintptr_t)p;
}

static void set_str(struct str *s, const char *text)
{
	s->length = strlen(text);
	s->state = STATE(1);
	memcpy(s->text, text, s->length + 1);
}

static void set_code(struct code *c)
{
	c->type = addr_of(PyCode_Type);
	c->first_line = 7;
	c->file = addr_of(&file);
	c->name = c->qualname = addr_of(&name);
	c->lines = addr_of(&lines);
}

static void set_frame(struct frame *f, struct code *c, const struct frame *prev)
{
	f->code = addr_of(c);
	f->instr = addr_of(c->bytecode + 2);
	f->prev = addr_of(prev);
	f->is_entry = !prev;
}

/* An interpreter of one thread, three frames deep, in which everything is as it must be. */
static void make_interpreter(void)
{
	PyCode_Type[3] = addr_of("code");
	_PyRuntime[2] = 1; /* initialized */
	_PyRuntime[5] = addr_of(&interp);
	interp.threads = addr_of(&thread);
	thread.interp = addr_of(&interp);
	thread.cframe = addr_of(&cframe);
	thread.thread_id = pthread_self();
	thread.native_id = syscall(SYS_gettid);
	cframe.frame = addr_of(&frames[0]);
	cframe.prev = addr_of(&thread.root);
	set_str(&file, "/srv/forged.py");
	set_str(&name, "forged");
	lines.size = 2;
	lines.data[0] = 0x80 | 10 << 3 | 7; /* eight units on the first line */
	for (int i = 0; i < 3; i++) {
		set_code(&codes[i]);
		set_frame(&frames[i], &codes[i], i < 2 ? &frames[i + 1] : NULL);
	}
}

/* ---- Running ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int is_wanted(void)
{
	struct pollfd fd = {.fd = 0, .events = POLLIN};

	return poll(&fd, 1, 0) == 0;
}

/* Runs for a slice of 10 ms, with the rest of it slept away; fn is called all the time. */
static void run_slice(void (*fn)(void))
{
	uint64_t from_ns = now_ns(), busy_ns = 100000ull * share;

	while (now_ns() - from_ns < busy_ns)
		fn();
	if (share < 100) {
		struct timespec rest = {.tv_nsec = 10000000 - busy_ns};

		nanosleep(&rest, NULL);
	}
}

static void idle(void)
{
}

static void *run(void *fn)
{
	while (is_wanted())
		run_slice(fn ? *(void (**)(void))fn : idle);
	return NULL;
}

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* ---- Modes ---- */

/* The innermost frame is a call's of its own, which is proven to be the current one; so the walk
 * goes on to what is wrong further out. */
static void make_entry(void)
{
	static struct cframe outer;

	outer = (struct cframe){.frame = addr_of(&frames[1]), .prev = addr_of(&thread.root)};
	cframe.prev = addr_of(&outer);
	frames[0].is_entry = 1;
	frames[2].is_entry = 0;
}

static void frames_self(void)
{
	make_entry();
	frames[2].prev = addr_of(&frames[2]);
}

static void frames_two(void)
{
	make_entry();
	frames[2].prev = addr_of(&frames[1]);
}

/* So many frames; `back` is what the outermost leads to: NULL, or one of them. */
static struct frame *make_frames(size_t cnt, struct frame *last_to)
{
	struct frame *all = map(cnt * sizeof(*all));

	for (size_t i = 0; i < cnt; i++)
		set_frame(&all[i], &codes[i % 3], i + 1 < cnt ? &all[i + 1] : last_to);
	cframe.frame = addr_of(all);
	return all;
}

static void frames_long_circle(void)
{
	struct frame *all = make_frames(MANY / 10, NULL);

	all[MANY / 10 - 1].prev = addr_of(all);
}

static void frames_million(void)
{
	make_frames(MANY, NULL);
}

/* Frames of no code, which count as none, on a page each. */
static void frames_empty(void)
{
	size_t pages = 20000;
	char *all = map(pages * PAGE);

	make_entry();
	for (size_t i = 0; i < pages; i++)
		((struct frame *)(all + i * PAGE))->prev = addr_of(all + (i + 1) % pages * PAGE);
	frames[2].prev = addr_of(all);
}

/* The list holds the main thread, and others who are none; the busy thread is not among them. */
static struct thread *make_threads(size_t cnt)
{
	struct thread *all = map(cnt * sizeof(*all));

	for (size_t i = 0; i < cnt; i++)
		all[i] = (struct thread){.prev = i ? addr_of(&all[i - 1]) : addr_of(&thread),
					 .next = i + 1 < cnt ? addr_of(&all[i + 1]) : 0,
					 .interp = addr_of(&interp),
					 .thread_id = pthread_self(),
					 .cframe = addr_of(&thread.root)};
	thread.next = addr_of(all);
	return all;
}

static void run_beside(void)
{
	pthread_t other;

	pthread_create(&other, NULL, run, NULL);
	pthread_join(other, NULL);
}

static void threads_circle(void)
{
	struct thread *all = make_threads(100);

	all[99].next = addr_of(&thread);
}

static void threads_long(void)
{
	make_threads(MANY / 10);
}

static void interps_circle(void)
{
	interp.next = addr_of(&interp);
}

/* What takes longest to disprove: every thread is one, each is many frames deep, none leads to
 * code, and the interpreters have no end. */
static void proof_long(void)
{
	struct thread *all = make_threads(4000);
	struct frame *deep = make_frames(4000, NULL);

	for (int i = 0; i < 4000; i++) {
		all[i].cframe = addr_of(&cframe);
		deep[i].code = addr_of(&name);
	}
	interp.next = addr_of(&interp);
}

/* The name's text ends with the memory that is there, whatever its length says. (Behind a text in
 * memory that was never used there would be zeroes.) */
static void name_at_the_end(uint64_t length)
{
	char *two = map(2 * PAGE);
	struct str *s = (struct str *)(two + PAGE - 56);

	munmap(two + PAGE, PAGE);
	s->length = length;
	s->state = STATE(1);
	codes[0].name = codes[0].qualname = addr_of(s);
}

static void str_4g(void)
{
	name_at_the_end(4ull << 30);
	file.length = 1ull << 32 | 5;
}

static void str_endless(void)
{
	name_at_the_end(INT64_MAX);
	file.length = UINT64_MAX;
}

static void str_kind_7(void)
{
	name.state = STATE(7);
}

static void str_at_the_end(void)
{
	name_at_the_end(1000);
}

/* UCS-4 beyond Unicode, surrogates, and what a terminal would obey. */
static void names_odd(void)
{
	static const uint32_t odd[] = {0x110000, 0xffffffff, 0xd800, 0x1b, '[', '2',   'J',
				       0x9b,	 0x202e,     '\n',   ';',  0,	0xfeff};

	set_str(&file, "/tmp/\033]0;owned\007\r\n;x.py");
	name.state = 4 << 2 | 1 << 5;
	name.length = sizeof(odd) / sizeof(*odd);
	memcpy((char *)&name + 72, odd, sizeof(odd));
	prctl(PR_SET_NAME, "\033[31m)\n) R 1", 0, 0, 0);
}

static void lines_endless(void)
{
	struct bytes *b = map(600000);

	b->size = 512 << 10;
	memset(b->data, 0x40, b->size); /* a varint whose every byte says: more */
	b->data[0] = 0x80 | 14 << 3;
	for (int i = 0; i < 3; i++)
		codes[i].lines = addr_of(b);
}

static void lines_4g(void)
{
	lines.size = 4ull << 30;
}

static void lines_no_end(void)
{
	lines.size = UINT64_MAX;
}

/* As long as krait takes it; DEEP frames, of which none is where another one is, nor where it was.
 */
static struct frame *all_deep;

static void move_instructions(void)
{
	static uint32_t unit;

	for (int i = 0; i < DEEP; i++)
		all_deep[i].instr = addr_of(codes[i % 3].bytecode + 2 * (400000 + unit++ % 100000));
}

static void lines_dear(void)
{
	struct bytes *b = map(600000);

	b->size = 512 << 10;
	memset(b->data, 0x80 | 15 << 3, b->size); /* one unit each, of no line */
	for (int i = 0; i < 3; i++)
		codes[i].lines = addr_of(b);
	all_deep = make_frames(DEEP, NULL);
}

/* DEEP code objects, which all are others at every tick, and have long texts and long tables. */
static void rename_all(void)
{
	static uint64_t cnt;

	memcpy(file.text, &(uint64_t){0x2020202020202020ull + cnt}, 8);
	cnt++;
}

static void codes_change(void)
{
	struct frame *all = make_frames(DEEP, NULL);
	struct code *many = map(DEEP * sizeof(*many));
	struct bytes *b = map(600000);

	memset(file.text, 'f', sizeof(file.text));
	file.length = sizeof(file.text);
	memset(name.text, 'n', sizeof(name.text));
	name.length = sizeof(name.text);
	/* cppcheck-suppress bufferAccessOutOfBounds ; map() makes it as large */
	memset(b->data, 0x80 | 15 << 3, 500000); /* present: a page that is not can not be read */
	b->size = 500000;
	for (int i = 0; i < DEEP; i++) {
		set_code(&many[i]);
		many[i].lines = addr_of(b);
		all[i].code = addr_of(&many[i]);
	}
}

/* Each pointer that the walker follows, wrong in each way, for a moment each. */
static void lie(void)
{
	static char *unmapped;
	static int n;
	uint64_t *fields[] = {
		&_PyRuntime[5],	  &interp.next,	      &interp.threads, &thread.prev,
		&thread.next,	  &thread.interp,     &thread.cframe,  &thread.chunk,
		&cframe.frame,	  &cframe.prev,	      &frames[0].code, &frames[0].prev,
		&frames[0].instr, &frames[1].prev,    &codes[0].type,  &codes[0].file,
		&codes[0].name,	  &codes[0].qualname, &codes[0].lines, &name.length,
		&file.length,	  &lines.size};
	uint64_t wrong[] = {0,
			    1,
			    4096,
			    addr_of(unmapped),
			    addr_of(unmapped) - 8,
			    0x4141414141414141,
			    0xffff888000000000,
			    0xffffffff81000000,
			    0xffffffffff600000,
			    0x7ffffffff000 - 8,
			    0x7fffffffffff,
			    UINT64_MAX,
			    addr_of(&interp) + 1,
			    addr_of(&thread),
			    addr_of(&frames[0]),
			    addr_of(&codes[1])};
	uint64_t *field = fields[n % (sizeof(fields) / sizeof(*fields))];
	uint64_t right = *field, from_ns = now_ns();

	if (!unmapped) {
		unmapped = map(PAGE);
		munmap(unmapped, PAGE);
		return;
	}
	*(volatile uint64_t *)field = wrong[n / 3 % (sizeof(wrong) / sizeof(*wrong))];
	while (now_ns() - from_ns < 1000000)
		;
	*(volatile uint64_t *)field = right;
	n++;
}

/* Mappings that come and go, tens of thousands of them at a time. */
static void remap(void)
{
	static char *all;
	static size_t at;

	if (!all)
		all = map((size_t)60000 * PAGE);
	/* Every second page has other rights than its neighbours: a mapping of its own. */
	mprotect(all + at * PAGE, PAGE, PROT_READ);
	at = (at + 2) % 60000;
	if (!at)
		munmap(all, (size_t)60000 * PAGE), all = NULL;
}

/* Frames in memory that is a file's, and is given back all the time: it is there, and not present.
 */
static char *paged;

static void page_out(void)
{
	madvise(paged, PAGE, 21 /* MADV_PAGEOUT */);
}

static void paged_out(void)
{
	char path[] = "/var/tmp/krait-forger-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || unlink(path) || ftruncate(fd, PAGE))
		exit(1);
	paged = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (paged == MAP_FAILED)
		exit(1);
	make_entry();
	memcpy(paged, &frames[2], sizeof(frames[2]));
	frames[1].prev = addr_of(paged);
	msync(paged, PAGE, MS_SYNC);
}

static void *absent_page = MAP_FAILED;
static volatile sig_atomic_t is_told;

static void on_signal(int signo)
{
	(void)signo;
	is_told = 1;
}

/* The page is not mapped in again, when SIGUSR1 says so: another krait may have got it back. */
static void drop_when_told(void)
{
	if (!is_told)
		return;
	is_told = 0;
	madvise(absent_page, PAGE, MADV_DONTNEED);
}

/* The outermost frame in memory that the process has, but does not have mapped in now. Nobody but
 * krait gets it back, and that takes no disk. */
static void frame_absent_in(int fd)
{
	make_entry();
	signal(SIGUSR1, on_signal);
	if (fd >= 0 && !ftruncate(fd, PAGE) &&
	    pwrite(fd, &frames[2], sizeof(frames[2]), 0) == sizeof(frames[2]))
		absent_page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (absent_page == MAP_FAILED)
		exit(1);
	frames[1].prev = addr_of(absent_page);
}

static void absent(void)
{
	frame_absent_in(memfd_create("frames", 0));
}

static void absent_file(void)
{
	char path[] = "/var/tmp/krait-forger-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	frame_absent_in(fd);
}

/* Memory that nobody serves: who touches it waits for ever, if it may wait. */
static void *unserved_page(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = syscall(SYS_userfaultfd, 0);
	void *page = map(PAGE);

	reg.range.start = addr_of(page);
	reg.range.len = PAGE;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		exit(3);
	return page;
}

static void unserved(void)
{
	_PyRuntime[5] = addr_of(unserved_page());
}

static void unserved_frame(void)
{
	make_entry();
	frames[1].prev = addr_of(unserved_page());
}

/* The outermost frame in a file, which is not looked at. */
static const char *file_path;

static void frame_in_file(void)
{
	int fd = file_path ? open(file_path, O_RDONLY) : -1;
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);

	if (page == MAP_FAILED)
		exit(1);
	make_entry();
	frames[1].prev = addr_of(page);
}

static const struct mode {
	const char *name;
	void (*begin)(void);
	void (*always)(void);
	int is_beside; /* a thread that is in no list is the busy one */
} modes[] = {
	{"honest", idle, idle, 0},
	{"frames-self", frames_self, idle, 0},
	{"frames-two", frames_two, idle, 0},
	{"frames-long-circle", frames_long_circle, idle, 0},
	{"frames-million", frames_million, idle, 0},
	{"frames-empty", frames_empty, idle, 0},
	{"threads-circle", threads_circle, idle, 1},
	{"threads-long", threads_long, idle, 1},
	{"interps-circle", interps_circle, idle, 1},
	{"str-4g", str_4g, idle, 0},
	{"str-endless", str_endless, idle, 0},
	{"str-kind-7", str_kind_7, idle, 0},
	{"str-at-the-end", str_at_the_end, idle, 0},
	{"names-odd", names_odd, idle, 0},
	{"lines-endless", lines_endless, idle, 0},
	{"lines-4g", lines_4g, idle, 0},
	{"lines-no-end", lines_no_end, idle, 0},
	{"lines-dear", lines_dear, move_instructions, 0},
	{"codes-change", codes_change, rename_all, 0},
	{"pointers", idle, lie, 0},
	{"mappings", idle, remap, 0},
	{"proof-long", proof_long, idle, 0},
	{"paged-out", paged_out, page_out, 0},
	{"absent", absent, drop_when_told, 0},
	{"absent-file", absent_file, drop_when_told, 0},
	{"unserved", unserved, idle, 0},
	{"unserved-frame", unserved_frame, idle, 0},
	{"frame-in-file", frame_in_file, idle,
	 0}, /* the last: it is not listed, for it takes FILE */
};

int main(int argc, char **argv)
{
	const struct mode *mode = modes;
	const struct mode *end = modes + sizeof(modes) / sizeof(*modes);

	if (argc < 2) {
		while (mode < end - 1)
			puts(mode++->name);
		return 0;
	}
	while (mode < end && strcmp(mode->name, argv[1]))
		mode++;
	if (mode == end)
		return 2;
	if (argc > 2)
		share = atoi(argv[2]);
	if (argc > 3)
		file_path = argv[3];
	make_interpreter();
	mode->begin();
	puts("ready");
	fflush(stdout);
	if (mode->is_beside)
		run_beside();
	else
		run((void *)&mode->always);
	return 0;
}
