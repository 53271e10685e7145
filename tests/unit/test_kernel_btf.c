// SPDX-License-Identifier: BSD-2-Clause
/*
 * The part of the kernel's BTF that a load takes: of kernels put together here with libbpf, whole
 * and damaged (run with SAN=address,undefined), and of this host's own, where libbpf's reading of
 * the whole file is the oracle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>

#include "bpf/abi/control.h"
#include "krait.skel.h"
#include "user/session/kernel_btf.h"

#define NOWHERE UINT32_MAX

/* A kernel in the making, with the types that the others are made of. */
struct kernel {
	struct btf *btf;
	int an_int, a_long, ptr, pid_t, atomic_t;
	uint32_t id_cnt; /* of the array at the end of struct pid, which may have no length */
};

static int add_upid(struct btf *btf, int an_int, int ptr)
{
	int id = btf__add_struct(btf, "upid", 16);

	btf__add_field(btf, "nr", an_int, 0, 0);
	btf__add_field(btf, "ns", ptr, 64, 0);
	return id;
}

/* What a program declares of the kernel, with the names of vmlinux/vmlinux.h. */
static struct btf *program(void)
{
	struct btf *btf = btf__new_empty();
	int an_int = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	int a_long = btf__add_int(btf, "unsigned long", 8, 0);
	int ptr = btf__add_ptr(btf, 0), thread, atomic, ids;

	thread = btf__add_struct(btf, "thread_struct", 8);
	btf__add_field(btf, "fsbase", a_long, 0, 0);
	btf__add_struct(btf, "task_struct", 24);
	btf__add_field(btf, "mm", ptr, 0, 0);
	btf__add_field(btf, "pid", an_int, 64, 0);
	btf__add_field(btf, "thread", thread, 128, 0);
	atomic = btf__add_struct(btf, NULL, 4);
	btf__add_field(btf, "counter", an_int, 0, 0);
	atomic = btf__add_typedef(btf, "atomic_t", atomic);
	btf__add_struct(btf, "signal_struct", 4);
	btf__add_field(btf, "live", atomic, 0, 0);
	ids = btf__add_array(btf, an_int, add_upid(btf, an_int, ptr), 0);
	btf__add_struct(btf, "pid", 8);
	btf__add_field(btf, "level", an_int, 0, 0);
	btf__add_field(btf, "numbers", ids, 64, 0);
	btf__add_struct(btf, "mm_struct", 8);
	btf__add_field(btf, "start_stack", a_long, 0, 0);
	return btf;
}

static struct kernel kernel_new(void)
{
	struct kernel k = {.btf = btf__new_empty()};

	k.an_int = btf__add_int(k.btf, "int", 4, BTF_INT_SIGNED);
	k.a_long = btf__add_int(k.btf, "unsigned long", 8, 0);
	k.ptr = btf__add_ptr(k.btf, btf__add_const(k.btf, k.an_int));
	k.pid_t = btf__add_typedef(k.btf, "__kernel_pid_t", k.an_int);
	k.pid_t = btf__add_volatile(k.btf, btf__add_typedef(k.btf, "pid_t", k.pid_t));
	k.atomic_t = btf__add_struct(k.btf, NULL, 4);
	btf__add_field(k.btf, "counter", k.an_int, 0, 0);
	k.atomic_t = btf__add_typedef(k.btf, "atomic_t", k.atomic_t);
	btf__add_struct(k.btf, "mm_struct", 16);
	btf__add_field(k.btf, "start_stack", k.a_long, 64, 0);
	return k;
}

static void add_pid(struct kernel *k)
{
	int ids = btf__add_array(k->btf, k->a_long, add_upid(k->btf, k->an_int, k->ptr), k->id_cnt);

	ids = btf__add_const(k->btf, ids);
	btf__add_struct(k->btf, "pid", 96 + k->id_cnt * 16);
	btf__add_field(k->btf, "count", k->atomic_t, 0, 0);
	btf__add_field(k->btf, "level", k->an_int, 32, 0);
	btf__add_field(k->btf, "numbers", ids, 768, 0);
}

/* And what else each of them has. */
static void add_signal(struct kernel *k, const char *name)
{
	btf__add_struct(k->btf, name, 16);
	btf__add_field(k->btf, "sigcnt", k->atomic_t, 0, 0);
	btf__add_field(k->btf, "live", k->atomic_t, 64, 0);
	if (btf__find_by_name_kind(k->btf, "pid", BTF_KIND_STRUCT) < 0)
		add_pid(k);
}

static int add_thread(struct kernel *k)
{
	int id = btf__add_struct(k->btf, "thread_struct", 24);

	btf__add_field(k->btf, "sp", k->a_long, 0, 0);
	btf__add_field(k->btf, "fsbase", k->a_long, 128, 0);
	return id;
}

/* A structure with the members of task_struct; its id. */
static int add_task(struct kernel *k, const char *name)
{
	int thread = add_thread(k), id = btf__add_struct(k->btf, name, 64);

	btf__add_field(k->btf, "usage", k->atomic_t, 0, 0);
	btf__add_field(k->btf, "pid", k->pid_t, 64, 0);
	btf__add_field(k->btf, "mm", k->ptr, 128, 0);
	btf__add_field(k->btf, "thread", thread, 256, 0);
	return id;
}

static struct kernel plain_kernel(void)
{
	struct kernel k = kernel_new();

	add_task(&k, "task_struct");
	add_signal(&k, "signal_struct");
	return k;
}

static int file_with(const void *data, size_t bytes)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	return fd;
}

/* The part that is made of this file, or NULL and the error. */
static struct btf *part_of_file(int fd, const struct btf *ours, int *err)
{
	int part_fd = kernel_btf_part(fd, ours);
	struct btf *part;
	char path[32];

	*err = part_fd < 0 ? part_fd : 0;
	if (part_fd < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", part_fd);
	part = btf__parse(path, NULL);
	assert_non_null(part);
	close(part_fd);
	return part;
}

static struct btf *part_of_bytes(const void *data, size_t bytes, int *err)
{
	struct btf *ours = program(), *part;
	int fd = file_with(data, bytes);

	part = part_of_file(fd, ours, err);
	close(fd);
	btf__free(ours);
	return part;
}

/* The same of a kernel, which is freed. */
static struct btf *part_of(struct kernel *k, int *err)
{
	uint32_t bytes;
	const void *data = btf__raw_data(k->btf, &bytes);
	struct btf *part = part_of_bytes(data, bytes, err);

	btf__free(k->btf);
	return part;
}

static const struct btf_type *plain(const struct btf *btf, uint32_t id)
{
	return btf__type_by_id(btf, btf__resolve_type(btf, id));
}

/* The bit offset of a member, found through anonymous structures, and its type; NOWHERE if there is
 * none. */
static uint32_t place_in(const struct btf *btf, const struct btf_type *t, const char *name,
			 uint32_t *type_id)
{
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		uint32_t at = btf_member_bit_offset(t, i), inner = NOWHERE;

		*type_id = m->type;
		if (m->name_off && strcmp(btf__name_by_offset(btf, m->name_off), name) == 0)
			return at;
		if (!m->name_off && btf_is_composite(plain(btf, m->type)))
			inner = place_in(btf, plain(btf, m->type), name, type_id);
		if (inner != NOWHERE)
			return at + inner;
	}
	return NOWHERE;
}

static uint32_t place(const struct btf *btf, const char *in, const char *name)
{
	int id = btf__find_by_name_kind(btf, in, BTF_KIND_STRUCT);
	uint32_t type_id;

	return id > 0 ? place_in(btf, btf__type_by_id(btf, id), name, &type_id) : NOWHERE;
}

/* Whether the part says of the plain kernel what that says of itself, each offset of task_struct
 * being so much greater. */
static void check_part(struct btf *part, uint32_t further)
{
	assert_non_null(part);
	assert_int_equal(place(part, "task_struct", "pid"), 64 + further);
	assert_int_equal(place(part, "task_struct", "mm"), 128 + further);
	assert_int_equal(place(part, "task_struct", "thread"), 256 + further);
	assert_int_equal(place(part, "task_struct", "usage"), NOWHERE);
	assert_int_equal(place(part, "thread_struct", "fsbase"), 128);
	assert_int_equal(place(part, "signal_struct", "live"), 64);
	assert_int_equal(place(part, "pid", "level"), 32);
	assert_int_equal(place(part, "pid", "numbers"), 768);
	assert_int_equal(place(part, "upid", "ns"), 64);
	assert_int_equal(place(part, "mm_struct", "start_stack"), 64);
	btf__free(part);
}

static void test_members_are_found(void **state)
{
	struct kernel k = plain_kernel();
	int err;

	(void)state;
	check_part(part_of(&k, &err), 0);
}

/* What a member is, as far as a relocation looks. */
static void test_types_of_members(void **state)
{
	struct kernel k = plain_kernel();
	const struct btf_type *task, *t;
	struct btf *part;
	uint32_t id;
	int err;

	(void)state;
	part = part_of(&k, &err);
	task = btf__type_by_id(part, btf__find_by_name_kind(part, "task_struct", BTF_KIND_STRUCT));
	assert_int_equal(task->size, 64);
	place_in(part, task, "pid", &id);
	t = plain(part, id);
	assert_true(btf_is_int(t) && t->size == 4 && btf_int_encoding(t) == BTF_INT_SIGNED);
	place_in(part, task, "mm", &id);
	assert_true(btf_is_ptr(plain(part, id)));
	place_in(part, task, "thread", &id);
	t = plain(part, id);
	assert_true(btf_is_struct(t) && t->size == 24);
	place_in(part, t, "fsbase", &id);
	t = plain(part, id);
	assert_true(btf_is_int(t) && t->size == 8 && btf_int_encoding(t) == 0);
	btf__free(part);
}

/* The same by either of the two ways to write an array of any length. */
static void test_arrays(void **state)
{
	(void)state;
	for (uint32_t cnt = 0; cnt < 2; cnt++) {
		struct kernel k = kernel_new();
		const struct btf_type *t;
		struct btf *part;
		uint32_t id;
		int err;

		k.id_cnt = cnt;
		add_task(&k, "task_struct");
		add_signal(&k, "signal_struct");
		part = part_of(&k, &err);
		assert_non_null(part);
		id = btf__find_by_name_kind(part, "pid", BTF_KIND_STRUCT);
		place_in(part, btf__type_by_id(part, id), "numbers", &id);
		t = plain(part, id);
		assert_true(btf_is_array(t));
		assert_int_equal(btf_array(t)->nelems, cnt);
		t = plain(part, btf_array(t)->type);
		assert_true(btf_is_struct(t) && t->size == 16);
		check_part(part, 0);
	}
}

/* A kernel that randomizes its structures puts them into an anonymous one; and a union more. */
static void test_members_of_anonymous_structures(void **state)
{
	struct kernel k = kernel_new();
	int inner = add_task(&k, NULL), outer, err;

	(void)state;
	outer = btf__add_union(k.btf, NULL, 64);
	btf__add_field(k.btf, "not_it", k.ptr, 0, 0);
	btf__add_field(k.btf, NULL, inner, 0, 0);
	inner = btf__add_struct(k.btf, NULL, 72);
	btf__add_field(k.btf, NULL, k.an_int, 0, 0);
	btf__add_field(k.btf, NULL, outer, 64, 0);
	outer = btf__add_const(k.btf, inner);
	btf__add_struct(k.btf, "task_struct", 80);
	btf__add_field(k.btf, "state", k.an_int, 0, 0);
	btf__add_field(k.btf, NULL, outer, 64, 0);
	add_signal(&k, "signal_struct");
	check_part(part_of(&k, &err), 128);
}

/* With so many types before that the index has several steps, of every kind. */
static void test_among_many_types(void **state)
{
	struct kernel k = kernel_new();
	int err;

	(void)state;
	for (int i = 0; i < 400; i++) {
		btf__add_array(k.btf, k.an_int, k.a_long, 16);
		btf__add_enum(k.btf, NULL, 4);
		btf__add_enum_value(k.btf, "ONE", 1);
		btf__add_enum64(k.btf, NULL, 8, false);
		btf__add_enum64_value(k.btf, "TWO", 2);
		btf__add_func(k.btf, "f", BTF_FUNC_STATIC, btf__add_func_proto(k.btf, k.an_int));
		btf__add_func_proto(k.btf, k.an_int);
		btf__add_func_param(k.btf, "a", k.ptr);
		btf__add_var(k.btf, "v", BTF_VAR_STATIC, k.an_int);
		btf__add_datasec(k.btf, ".data", 4);
		btf__add_datasec_var_info(k.btf, k.an_int, 0, 4);
		btf__add_float(k.btf, "double", 8);
		btf__add_decl_tag(k.btf, "tag", k.pid_t, -1);
		btf__add_type_tag(k.btf, "rcu", k.an_int);
		btf__add_restrict(k.btf, k.ptr);
		btf__add_fwd(k.btf, "task_struct", BTF_FWD_STRUCT);
		add_task(&k, "another_task");
	}
	add_task(&k, "task_struct");
	add_signal(&k, "signal_struct");
	btf__add_func_proto(k.btf, 0);
	check_part(part_of(&k, &err), 0);
}

/* Whatever the numbers of the wanted types: also at the steps of the index, 1,024 types long. */
static void test_types_anywhere(void **state)
{
	(void)state;
	for (int first = 1010; first < 1030; first++) {
		struct kernel k = kernel_new();
		int err;

		while ((int)btf__type_cnt(k.btf) < first)
			btf__add_const(k.btf, k.an_int);
		add_task(&k, "task_struct");
		add_signal(&k, "signal_struct");
		check_part(part_of(&k, &err), 0);
	}
}

/* Wherever the names lie among the strings: also across what is read at a time. */
static void test_names_anywhere(void **state)
{
	char filler[4200];

	(void)state;
	memset(filler, 'x', sizeof(filler));
	for (uint32_t len = 3900; len < 4180; len++) {
		struct kernel k = kernel_new();
		int err;

		filler[len] = '\0';
		btf__add_fwd(k.btf, filler, BTF_FWD_STRUCT);
		filler[len] = 'x';
		btf__add_fwd(k.btf, "my_task_struct", BTF_FWD_STRUCT);
		add_task(&k, "task_struct");
		btf__add_fwd(k.btf, "task_struct_2", BTF_FWD_STRUCT);
		add_signal(&k, "signal_struct");
		check_part(part_of(&k, &err), 0);
	}
}

static int error_of(struct kernel *k)
{
	int err;

	assert_null(part_of(k, &err));
	return err;
}

static void test_what_is_missing(void **state)
{
	struct kernel k = kernel_new();

	(void)state;
	add_task(&k, "task_struct");
	add_signal(&k, "signal_struct_of_another_kind");
	assert_int_equal(error_of(&k), -ENOENT);

	k = kernel_new();
	add_task(&k, "task_struct");
	btf__add_fwd(k.btf, "signal_struct", BTF_FWD_STRUCT);
	assert_int_equal(error_of(&k), -ENOENT);

	k = kernel_new();
	add_task(&k, "task_struct");
	btf__add_struct(k.btf, "signal_struct", 16);
	btf__add_field(k.btf, "liver", k.atomic_t, 0, 0);
	assert_int_equal(error_of(&k), -ENOENT);

	k = kernel_new();
	assert_int_equal(error_of(&k), -ENOENT);
}

/* Which of the two? libbpf would ask that both say the same. */
static void test_two_of_a_name(void **state)
{
	struct kernel k = plain_kernel();

	(void)state;
	add_signal(&k, "signal_struct");
	assert_int_equal(error_of(&k), -ENOTUNIQ);
}

static int error_of_live(struct kernel *k, int type, int bits)
{
	add_task(k, "task_struct");
	btf__add_struct(k->btf, "signal_struct", 16);
	btf__add_field(k->btf, "live", type, 8, bits);
	return error_of(k);
}

static void test_members_of_other_kinds(void **state)
{
	struct kernel k = kernel_new();

	(void)state;
	assert_int_equal(error_of_live(&k, k.an_int, 3), -EOPNOTSUPP);
	k = kernel_new();
	assert_int_equal(error_of_live(&k, btf__add_array(k.btf, k.an_int, k.an_int, 2), 0),
			 -EOPNOTSUPP);
	k = kernel_new();
	assert_int_equal(error_of_live(&k, btf__add_enum(k.btf, "e", 4), 0), -EOPNOTSUPP);
	k = kernel_new();
	assert_int_equal(error_of_live(&k, 1000, 0), -EBADMSG);
	k = kernel_new();
	assert_int_equal(error_of_live(&k, 0, 0), -ENOENT);
}

/* Types that lead to themselves end, in an error. */
static void test_cycles(void **state)
{
	struct kernel k = kernel_new();
	int next = btf__type_cnt(k.btf);

	(void)state;
	assert_int_equal(error_of_live(&k, btf__add_typedef(k.btf, "t", next), 0), -ELOOP);

	k = kernel_new();
	next = btf__type_cnt(k.btf);
	btf__add_struct(k.btf, "task_struct", 64);
	for (int i = 0; i < 100; i++)
		btf__add_field(k.btf, NULL, next, 0, 0);
	add_signal(&k, "signal_struct");
	assert_int_equal(error_of(&k), -ELOOP);
}

/* The raw bytes of a plain kernel, to be damaged; the caller frees. */
static uint8_t *plain_bytes(uint32_t *bytes)
{
	struct kernel k = plain_kernel();
	const void *data = btf__raw_data(k.btf, bytes);
	uint8_t *copy = malloc(*bytes);

	assert_non_null(copy);
	memcpy(copy, data, *bytes);
	btf__free(k.btf);
	return copy;
}

static void test_every_truncation(void **state)
{
	uint32_t bytes;
	uint8_t *data = plain_bytes(&bytes);
	int err;

	(void)state;
	for (uint32_t n = 0; n < bytes; n++) {
		assert_null(part_of_bytes(data, n, &err));
		assert_int_equal(err, -EBADMSG);
	}
	check_part(part_of_bytes(data, bytes, &err), 0);
	free(data);
}

/* A kind or a bit that is not known yet, in a type that is of no interest. */
static void test_types_of_the_future(void **state)
{
	static const uint32_t infos[] = {31U << 24, 0, 1U << 16, 1U << 29, 1U << 30};
	uint32_t bytes;
	uint8_t *data = plain_bytes(&bytes);
	struct btf_type *first = (void *)(data + sizeof(struct btf_header));
	int err;

	(void)state;
	for (size_t i = 0; i < sizeof(infos) / sizeof(*infos); i++) {
		first->info = i < 2 ? infos[i] : BTF_KIND_INT << 24 | infos[i];
		assert_null(part_of_bytes(data, bytes, &err));
		assert_int_equal(err, -EBADMSG);
	}
	free(data);
}

/* Any byte wrong: an error or a part that libbpf takes, and an end. */
static void test_random_damage(void **state)
{
	uint32_t bytes;
	uint8_t *good = plain_bytes(&bytes), *data = malloc(bytes);

	(void)state;
	assert_non_null(data);
	srand(1);
	for (int round = 0; round < 20000; round++) {
		int err;

		memcpy(data, good, bytes);
		for (int i = 0; i <= round % 4; i++)
			data[rand() % bytes] = rand() % 4 ? rand() : 0xff;
		btf__free(part_of_bytes(data, bytes, &err));
	}
	free(data);
	free(good);
}

/* Every member in the part is where the whole has it, of the same kind and size. */
static uint32_t check_against(const struct btf *part, const struct btf_type *in_part,
			      const struct btf *whole, const struct btf_type *in_whole)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < btf_vlen(in_part); i++) {
		const struct btf_member *m = btf_members(in_part) + i;
		const struct btf_type *a = plain(part, m->type), *b;
		uint32_t id, at;

		at = place_in(whole, in_whole, btf__name_by_offset(part, m->name_off), &id);
		assert_int_equal(m->offset, at);
		b = plain(whole, id);
		assert_int_equal(btf_kind(a), btf_kind(b));
		assert_true(btf_is_ptr(a) || a->size == b->size);
		assert_true(!btf_is_int(a) || btf_int_encoding(a) == btf_int_encoding(b));
		cnt += btf_is_composite(a) ? check_against(part, a, whole, b) : 1;
	}
	return cnt;
}

static void test_this_hosts_kernel(void **state)
{
	static const char *const roots[] = {"task_struct", "signal_struct", "pid", "upid",
					    "mm_struct"};
	struct krait_bpf *skel = krait_bpf__open();
	int fd = open(KERNEL_BTF_PATH, O_RDONLY | O_CLOEXEC), err;
	struct btf *whole, *part;
	uint32_t cnt = 0;

	(void)state;
	assert_non_null(skel);
	if (fd < 0) {
		printf("skipped: this host has no " KERNEL_BTF_PATH "\n");
		krait_bpf__destroy(skel);
		skip();
	}
	whole = btf__parse(KERNEL_BTF_PATH, NULL);
	assert_non_null(whole);
	part = part_of_file(fd, bpf_object__btf(skel->obj), &err);
	assert_int_equal(err, 0);
	for (int i = 0; i < 4; i++) {
		int id = btf__find_by_name_kind(part, roots[i], BTF_KIND_STRUCT);
		int whole_id = btf__find_by_name_kind(whole, roots[i], BTF_KIND_STRUCT);

		assert_true(id > 0 && whole_id > 0);
		cnt += check_against(part, btf__type_by_id(part, id), whole,
				     btf__type_by_id(whole, whole_id));
	}
	assert_in_range(cnt, 8, 100); /* mm, pid, tgid, ... */
	btf__free(part);
	btf__free(whole);
	krait_bpf__destroy(skel);
	close(fd);
}

static int silence(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level, (void)fmt, (void)args;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members_are_found),
		cmocka_unit_test(test_types_of_members),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_members_of_anonymous_structures),
		cmocka_unit_test(test_among_many_types),
		cmocka_unit_test(test_types_anywhere),
		cmocka_unit_test(test_names_anywhere),
		cmocka_unit_test(test_what_is_missing),
		cmocka_unit_test(test_two_of_a_name),
		cmocka_unit_test(test_members_of_other_kinds),
		cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_types_of_the_future),
		cmocka_unit_test(test_random_damage),
		cmocka_unit_test(test_this_hosts_kernel),
	};

	libbpf_set_print(silence);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
