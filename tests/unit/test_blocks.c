/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks that are written by a second thread, into a pipe that is read late: who fills them does
 * not wait, unless for the bound of what may wait; and an error reaches whoever does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "user/drain/blocks.h"
#include "user/drain/recording.h"

#define PATIENCE_MS 60000 /* a test fails after it */
#define FILE_BYTES_MAX (64 << 20)
#define PIPE_BYTES 4096

struct stall {
	int read_fd;
	FILE *out;
	struct blocks *blocks;
};

/* A block that does not deflate, so that one fills the pipe. */
static struct block *fill(struct block *b)
{
	uint64_t word = 1;

	for (size_t i = 0; i < BLOCK_FILL_BYTES / sizeof(*b->raw); i++) {
		word = word * 6364136223846793005ULL + 1442695040888963407ULL;
		b->raw[i] = word ^ word >> 33;
	}
	b->len = BLOCK_FILL_BYTES;
	return b;
}

static int set_up(void **state)
{
	static struct stall stall;
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	alarm(PATIENCE_MS / 1000); /* who waits for ever fails */
	if (pipe2(fds, O_CLOEXEC) || fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) != PIPE_BYTES)
		return -1;
	stall = (struct stall){.read_fd = fds[0], .out = fdopen(fds[1], "w")};
	stall.blocks = blocks_new(stall.out);
	*state = &stall;
	return stall.out && stall.blocks ? 0 : -1;
}

static int tear_down(void **state)
{
	struct stall *s = *state;

	if (s->read_fd >= 0)
		close(s->read_fd);
	blocks_free(s->blocks);
	fclose(s->out);
	return 0;
}

/* Until the thread is in the middle of the first block, and can't go on. */
static void wait_stalled(const struct stall *s)
{
	struct pollfd room = {.fd = fileno(s->out), .events = POLLOUT};
	struct pollfd text = {.fd = s->read_fd, .events = POLLIN};

	assert_int_equal(poll(&text, 1, PATIENCE_MS), 1);
	while (poll(&room, 1, 0))
		;
}

static void leave(struct stall *s)
{
	close(s->read_fd);
	s->read_fd = -1;
}

/* ---- Reading, late ---- */

struct reading {
	int fd;
	struct blocks *held; /* reads once who fills these waits; NULL: at once */
	char *bytes;	     /* room for FILE_BYTES_MAX */
	size_t len;
	pthread_t thread;
};

static void *read_all(void *arg)
{
	struct reading *r = arg;
	ssize_t got;

	while (r->held && !blocks_held_ns(r->held))
		poll(NULL, 0, 1);
	while ((got = read(r->fd, r->bytes + r->len, FILE_BYTES_MAX - r->len)) > 0)
		r->len += got;
	return NULL;
}

static void begin_reading(struct reading *r, int fd, struct blocks *held)
{
	*r = (struct reading){.fd = fd, .held = held, .bytes = malloc(FILE_BYTES_MAX)};
	assert_non_null(r->bytes);
	assert_int_equal(pthread_create(&r->thread, NULL, read_all, r), 0);
}

/* Of these bytes so many blocks, numbered as they came, nothing else. */
static void assert_blocks(const struct reading *r, size_t at, uint32_t cnt)
{
	struct krait_block head;

	for (uint32_t i = 0; i < cnt; i++) {
		assert_true(at + sizeof(head) <= r->len);
		memcpy(&head, r->bytes + at, sizeof(head));
		assert_int_equal(head.number, i);
		at += sizeof(head) + head.packed_bytes;
	}
	assert_int_equal(at, r->len);
}

static void end_reading(struct stall *s, struct reading *r)
{
	assert_int_equal(fclose(s->out), 0);
	s->out = fopen("/dev/null", "w");
	pthread_join(r->thread, NULL);
}

/* ---- Filling ---- */

/* As many blocks as may be got, and more, while nothing is read. */
struct filler {
	struct blocks *blocks;
	uint32_t goal, cnt, most_waiting;
};

static void *fill_blocks(void *arg)
{
	struct filler *f = arg;
	struct block *b;

	while (f->cnt < f->goal && (b = blocks_get(f->blocks))) {
		uint32_t waiting = blocks_waiting(f->blocks);

		f->most_waiting = waiting > f->most_waiting ? waiting : f->most_waiting;
		b->number = f->cnt++;
		blocks_put(f->blocks, fill(b));
	}
	return NULL;
}

static void wait_full(struct blocks *blocks)
{
	while (blocks_waiting(blocks) < BLOCKS_WAITING_MAX)
		poll(NULL, 0, 1);
}

static void test_what_waits_has_a_bound(void **state)
{
	struct stall *s = *state;
	struct filler f = {.blocks = s->blocks, .goal = 2 * BLOCKS_WAITING_MAX};
	struct reading reading;
	pthread_t thread;

	assert_int_equal(blocks_held_ns(s->blocks), 0);
	begin_reading(&reading, s->read_fd, s->blocks);
	assert_int_equal(pthread_create(&thread, NULL, fill_blocks, &f), 0);
	pthread_join(thread, NULL);
	assert_int_equal(f.cnt, f.goal);
	assert_int_equal(f.most_waiting, BLOCKS_WAITING_MAX - 1);
	assert_int_equal(blocks_sync(s->blocks), 0);
	assert_int_equal(blocks_waiting(s->blocks), 0);
	assert_int_equal(blocks_stop(s->blocks), 0);
	assert_true(blocks_cpu_ns(s->blocks) > 0);
	end_reading(s, &reading);
	assert_blocks(&reading, 0, f.goal);
	free(reading.bytes);
}

static void test_a_reader_that_leaves_while_it_is_waited_for(void **state)
{
	struct stall *s = *state;
	struct filler f = {.blocks = s->blocks, .goal = 2 * BLOCKS_WAITING_MAX};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fill_blocks, &f), 0);
	wait_full(s->blocks);
	leave(s);
	pthread_join(thread, NULL);
	assert_int_equal(f.cnt, BLOCKS_WAITING_MAX);
	assert_int_equal(blocks_err(s->blocks), -EPIPE);
	assert_int_equal(blocks_sync(s->blocks), -EPIPE);
	assert_int_equal(blocks_stop(s->blocks), -EPIPE);
	assert_null(blocks_get(s->blocks));
}

static void *sync_blocks(void *arg)
{
	return (void *)(intptr_t)blocks_sync(arg);
}

static void test_a_wait_for_the_file_ends_with_an_error(void **state)
{
	struct stall *s = *state;
	pthread_t thread;
	void *err;

	blocks_put(s->blocks, fill(blocks_get(s->blocks)));
	wait_stalled(s);
	assert_int_equal(pthread_create(&thread, NULL, sync_blocks, s->blocks), 0);
	leave(s);
	pthread_join(thread, &err);
	assert_int_equal((intptr_t)err, -EPIPE);
}

/* ---- A recording ---- */

static void add_stack(struct recording_writer *w)
{
	static struct {
		struct krait_stack_rec rec;
		struct krait_frame frames[1024];
	} stack;

	stack.rec.h = (struct krait_hdr){.kind = KRAIT_STACK, .bytes = sizeof(stack)};
	stack.rec.frame_cnt = sizeof(stack.frames) / sizeof(stack.frames[0]);
	for (uint32_t i = 0; i < stack.rec.frame_cnt; i++)
		stack.frames[i].code_id = (i + 1) * 0x9e3779b97f4a7c15;
	recording_add(w, &stack.rec.h);
}

/* Many times what the pipe holds, seven stacks a block. While some wait, a second that goes by
 * makes no block of what has come: it would be a small one. */
static void test_a_recording_goes_on_while_nothing_is_read(void **state)
{
	const struct krait_head_rec head = {.freq_hz = 99};
	static const uint64_t counters[KRAIT_CNT_CNT];
	struct stall *s = *state;
	struct recording_writer *w = recording_start(s->out, &head);
	struct reading reading;

	assert_non_null(w);
	for (uint32_t i = 0; i < 7 * 12; i++) {
		add_stack(w);
		if (i == 7)
			wait_stalled(s);
		if (i >= 7)
			recording_tick(w, UINT64_MAX);
	}
	assert_int_equal(recording_err(w), 0);
	begin_reading(&reading, s->read_fd, NULL);
	assert_int_equal(recording_finish(w, 1, counters), 0);
	recording_free(w);
	end_reading(s, &reading);
	/* The head; the stacks; the tail with the last. */
	assert_blocks(&reading, sizeof(struct krait_recording_start), 1 + 12);
	free(reading.bytes);
}

/* What waits then is freed. */
static void test_given_up_in_the_middle(void **state)
{
	const struct krait_head_rec head = {.freq_hz = 99};
	struct stall *s = *state;
	struct recording_writer *w = recording_start(s->out, &head);

	assert_non_null(w);
	for (uint32_t i = 0; i < 100; i++)
		add_stack(w);
	leave(s);
	recording_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_waits_has_a_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_reader_that_leaves_while_it_is_waited_for,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_wait_for_the_file_ends_with_an_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_recording_goes_on_while_nothing_is_read,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_given_up_in_the_middle, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
