/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real interpreters, parked where their stack is known: a script goes down a known way, tells its
 * own stack as sys._getframe sees it, and waits. Its memory is then what the walker is run over.
 *
 * Which interpreters there are is tests/pythons.py's to know. Include after cmocka.h and host.h.
 */
#ifndef KRAIT_TESTS_HOST_PYTHON_H
#define KRAIT_TESTS_HOST_PYTHON_H

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "user/python/layout.h"
#include "user/target/discover.h"

#define PYTHONS_MAX 32

struct python {
	char name[64]; /* "3.11.7-pyenv" */
	char path[256];
	char root[256]; /* of the root tree it runs in, or "" */
	unsigned int major, minor;
};

struct truth {
	char name[128], file[128];
	int line;
};

/* A Python that waits. Frames are innermost first. */
struct parked {
	const struct python *py;
	pid_t pid;
	int in_fd; /* a byte here ends it */
	FILE *out;
	uint64_t thread_id;
	struct truth *frames;
	uint32_t frame_cnt, frame_cap;
	struct target target;
};

/* threading.get_ident is as old as 3.3. */
#define SCRIPT_GET_IDENT                                                                           \
	"try: from threading import get_ident\n"                                                   \
	"except ImportError: from thread import get_ident\n"

/*
 * argv: the depth. Every second frame is nest(); those between them are what a stack can have:
 * plain, generator, nested generator, method, lambda, coroutine, through C, other names and files,
 * a frame larger than a data-stack chunk. (2.7: as many of them as it has.)
 */
static const char script[] =
	"import os, sys\n" SCRIPT_GET_IDENT "sys.setrecursionlimit(1 << 16)\n"
	"is_2 = sys.version_info < (3,)\n"
	"def tell(frame):\n"
	"    lines = ['%x' % get_ident()]\n"
	"    while frame:\n"
	"        code = frame.f_code\n"
	"        name = getattr(code, 'co_qualname', code.co_name)\n"
	"        lines.append('%d\\t%s\\t%s' % (frame.f_lineno, name, code.co_filename))\n"
	"        frame = frame.f_back\n"
	"    data = '\\n'.join(lines) + '\\n.\\n'\n"
	"    data = data if is_2 else data.encode('utf-8')\n"
	"    while data:\n"
	"        data = data[os.write(1, data):]\n"
	"def park():\n"
	"    tell(sys._getframe()); os.read(0, 1)\n"
	"def plain(n):\n"
	"    return nest(\n"
	"        n)\n"
	"def gen(n):\n"
	"    yield nest(n)\n"
	"class Thing:\n"
	"    def method(self, n):\n"
	"        return nest(n)\n"
	"exec(compile('def wide(n):\\n ' + ''.join('x%d=' % i for i in range(2500)) +\n"
	"    '0\\n return nest(n)\\n', '/srv/\\xc3\\xa9.py' if is_2 else '/srv/\\u00e9.py', "
	"'exec'))\n"
	"kinds = [plain, lambda n: next(gen(n)), Thing().method, lambda n: list(map(nest, [n])),\n"
	"    lambda n: [nest(i) for i in [n]], wide]\n"
	"if not is_2:\n"
	"  exec(compile('def outer(n):\\n    yield from gen(n)\\n'\n"
	"    'async def co(n):\\n    return nest(n)\\n'\n"
	"    'def drive(n):\\n    try: co(n).send(None)\\n    except StopIteration: pass\\n'\n"
	"    'def n\\u00e4me(n):\\n\\n return nest(n)\\n'\n"
	"    'def \\u4e2d(n):\\n return nest(n)\\ndef \\U00020000(n): return nest(n)\\n',\n"
	"    '/srv/\\u00e9/fil\\u4e2d.py', 'exec'))\n"
	"  kinds += [lambda n: next(outer(n)), drive]\n"
	"  kinds += [globals()[name] for name in ('n\\u00e4me', '\\u4e2d', '\\U00020000')]\n"
	"def nest(n):\n"
	"    return kinds[n % len(kinds)](n - 1) if n else park()\n"
	"nest(int(sys.argv[1]))\n";

/* ---- Which there are ---- */

static inline bool python_parse(char *line, struct python *py)
{
	char *slash = strchr(line, '/'), *usr;

	*py = (struct python){0};
	line[strcspn(line, "\n")] = '\0';
	if (!slash || sscanf(line, "%63s", py->name) != 1 ||
	    sscanf(py->name, "%u.%u.", &py->major, &py->minor) != 2 ||
	    !layout_is_supported(py->major, py->minor))
		return false;
	usr = strstr(slash, "/usr/bin/");
	if (usr) {
		snprintf(py->root, sizeof(py->root), "%.*s", (int)(usr - slash), slash);
		slash = usr;
	}
	snprintf(py->path, sizeof(py->path), "%s", slash);
	return true;
}

/* Fills pythons (room for PYTHONS_MAX) and returns how many there are. */
static inline uint32_t pythons_find(struct python *pythons)
{
	FILE *in = popen("/usr/bin/python3 -B tests/pythons.py 2>/dev/null", "re");
	char line[512];
	uint32_t cnt = 0;

	while (in && cnt < PYTHONS_MAX && fgets(line, sizeof(line), in))
		cnt += python_parse(line, &pythons[cnt]);
	if (in)
		pclose(in);
	return cnt;
}

/* ---- One that waits ---- */

static inline void child_run(const struct python *py, int in_fd, int out_fd, const char *text,
			     const char *depth)
{
	const char *argv[] = {"chroot", py->root, py->path, "-S", "-E", "-c", text, depth, NULL};
	const char *const *from = py->root[0] ? argv : argv + 2;

	/* Dies with the test, whatever ends that. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in_fd, 0);
	dup2(out_fd, 1);
	execvp(from[0], (char *const *)from);
	_exit(127);
}

static inline void parked_read(struct parked *p)
{
	char line[1024];

	assert_non_null(fgets(line, sizeof(line), p->out));
	p->thread_id = strtoull(line, NULL, 16);
	while (fgets(line, sizeof(line), p->out) && strcmp(line, ".\n") != 0) {
		struct truth *t;

		assert_int_equal(array_reserve((void **)&p->frames, &p->frame_cap, p->frame_cnt + 1,
					       sizeof(*t)),
				 0);
		t = &p->frames[p->frame_cnt++];
		assert_int_equal(
			sscanf(line, "%d\t%127[^\t]\t%127[^\n]", &t->line, t->name, t->file), 3);
	}
	assert_true(p->frame_cnt > 0);
}

/* Whether every thread sleeps. All was told, so the next sleep is the one that it stays in. */
static inline bool is_asleep(pid_t pid)
{
	char path[64], line[512], *after;
	bool asleep = true;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		FILE *in;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, atoi(e->d_name));
		in = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!in)
			continue;
		after = fgets(line, sizeof(line), in) ? strrchr(line, ')') : NULL;
		asleep = asleep && after && after[2] == 'S';
		fclose(in);
	}
	closedir(dir);
	return asleep;
}

static inline void wait_asleep(pid_t pid)
{
	for (int ms = 0; ms < 10000; ms++) {
		if (is_asleep(pid))
			return;
		usleep(1000);
	}
	fail_msg("pid %d does not go to sleep", (int)pid);
}

static inline void parked_look(struct parked *p)
{
	struct discover *d = discover_new();
	char path[64];

	assert_non_null(d);
	assert_int_equal(discover_process(d, p->pid, &p->target), 0);
	discover_free(d);
	if (p->target.state != TARGET_READY)
		fail_msg("%s: not found ready: %s", p->py->name, p->target.why);
	host_init(&p->target.python.walk, p->target.python.addrs.interp_head,
		  p->target.python.addrs.code_type);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)p->pid);
	host.mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(host.mem_fd >= 0);
}

/* Starts it, waits until it is parked, and makes its memory the host's. */
static inline void parked_init(struct parked *p, const struct python *py, const char *text,
			       const char *depth)
{
	int in[2], out[2];

	*p = (struct parked){.py = py};
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	p->pid = fork();
	if (p->pid == 0)
		child_run(py, in[0], out[1], text, depth);
	assert_true(p->pid > 0);
	close(in[0]);
	close(out[1]);
	p->in_fd = in[1];
	p->out = fdopen(out[0], "r");
	parked_read(p);
	wait_asleep(p->pid);
	parked_look(p);
}

static inline void parked_release(struct parked *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->in_fd);
	fclose(p->out);
	free(p->frames);
	host_release();
}

/* ---- The comparison ---- */

/* Whether the symbol is that of the true frame; with `is_partial`, what could not be read may be
 * said to be unknown, but nothing may be other than it is. */
static inline bool is_true(const struct symbol *s, const struct truth *t, bool is_partial)
{
	const char *last = strrchr(t->name, '.');

	if (!strcmp(s->name, t->name) && !strcmp(s->file, t->file) && s->line == t->line)
		return true;
	if (!is_partial)
		return false;
	return (!strcmp(s->name, t->name) || !strcmp(s->name, "[name not readable]") ||
		/* The qualified name was not readable, the plain one was. */
		!strcmp(s->name, last ? last + 1 : t->name)) &&
	       (!strcmp(s->file, t->file) || !strcmp(s->file, "[file name not readable]")) &&
	       (s->line == t->line || s->line == 0);
}

/* The frames of the stack in the host are the true ones, as many as there are of `cnt`. */
static inline void assert_frames(const struct parked *p, uint32_t cnt)
{
	const struct krait_frame *frames = stack_frames(host.stack);

	assert_int_equal(host.scratch->walk.cnt, cnt);
	for (uint32_t i = 0; i < cnt; i++) {
		struct symbol s = symbolizer_frame(host.sym, OWNER, &frames[i]);

		if (frames[i].mark || !is_true(&s, &p->frames[i], false))
			fail_msg("%s: frame %u is %s (%s:%d), should be %s (%s:%d)", p->py->name, i,
				 s.name, s.file, s.line, p->frames[i].name, p->frames[i].file,
				 p->frames[i].line);
	}
}

/* Runs `test` once per interpreter; skips it, counted, where there is none. */
struct python_test {
	const char *name;
	void (*run)(const struct python *py);
};

struct python_case {
	const struct python_test *test;
	const struct python *py;
};

static inline void python_case_run(void **state)
{
	const struct python_case *c = *state;

	if (!c->py)
		skip();
	c->test->run(c->py);
}

static inline int python_tests_run(const char *group, const struct python_test *tests,
				   uint32_t test_cnt)
{
	static struct python pythons[PYTHONS_MAX];
	uint32_t py_cnt = pythons_find(pythons), cnt = 0;
	uint32_t max = test_cnt * (py_cnt ? py_cnt : 1);
	struct CMUnitTest *units = calloc(max, sizeof(*units));
	struct python_case *cases = calloc(max, sizeof(*cases));
	char **names = calloc(max, sizeof(*names));
	int failed;

	if (!py_cnt)
		print_message("%s: skipped: tests/pythons.py finds no CPython " LAYOUT_VERSIONS
			      "\n",
			      group);
	for (uint32_t t = 0; t < test_cnt; t++)
		for (uint32_t i = 0; i < (py_cnt ? py_cnt : 1); i++, cnt++) {
			cases[cnt] = (struct python_case){&tests[t], py_cnt ? &pythons[i] : NULL};
			assert_true(asprintf(&names[cnt], "%s %s", tests[t].name,
					     py_cnt ? pythons[i].name : "without a CPython") > 0);
			units[cnt] = (struct CMUnitTest){names[cnt], python_case_run, NULL, NULL,
							 &cases[cnt]};
		}
	failed = _cmocka_run_group_tests(group, units, cnt, NULL, NULL);
	while (cnt)
		free(names[--cnt]);
	free(names);
	free(units);
	free(cases);
	return failed;
}

#endif
