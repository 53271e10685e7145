/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that C code starts, for cthreads.py: one that never enters Python, and two that spend
 * most of their time in C and call Python in between. A call through ctypes takes a thread state
 * for as long as it lasts (PyGILState_Ensure), unless the thread has one already.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of the interpreter that loads this; the same from 2.7 on (Include/pystate.h, ceval.h). */
int PyGILState_Ensure(void);
void PyGILState_Release(int state);
void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *tstate);
void *PyThreadState_Swap(void *tstate);
void *Py_NewInterpreter(void);
void Py_EndInterpreter(void *tstate);

enum kind { KIND_ONLY_C, KIND_NEW_STATE, KIND_OWN_STATE, KIND_CNT };

struct thread {
	enum kind kind;
	void (*call)(void);
	double seconds;	    /* of CPU time to use */
	double in_c, in_py; /* what it used, and where */
	long tid;
	pthread_t pthread;
};

struct thread threads[KIND_CNT];

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* 6 ms in C, then a call. */
static void take_turns(struct thread *t)
{
	double at = cpu_seconds(), now;

	while (at < t->seconds) {
		do
			now = cpu_seconds();
		while (now < at + 6e-3);
		t->in_c += now - at;
		at = now;
		if (!t->call)
			continue;
		t->call();
		now = cpu_seconds();
		t->in_py += now - at;
		at = now;
	}
}

static void *run(void *arg)
{
	struct thread *t = arg;
	void *saved;
	int state;

	t->tid = syscall(SYS_gettid);
	if (t->kind != KIND_OWN_STATE) {
		take_turns(t);
		return NULL;
	}
	state = PyGILState_Ensure();
	saved = PyEval_SaveThread();
	take_turns(t);
	PyEval_RestoreThread(saved);
	PyGILState_Release(state);
	return NULL;
}

int start(enum kind kind, void (*call)(void), double seconds)
{
	threads[kind] = (struct thread){.kind = kind, .call = call, .seconds = seconds};
	return pthread_create(&threads[kind].pthread, NULL, run, &threads[kind]);
}

void join(enum kind kind, long *tid, double *in_c, double *in_py)
{
	pthread_join(threads[kind].pthread, NULL);
	*tid = threads[kind].tid;
	*in_c = threads[kind].in_c;
	*in_py = threads[kind].in_py;
}

/* Leaves the thread with a state in a second interpreter, which runs nothing. With the GIL. */
void *idle_interpreter_new(void)
{
	void *mine = PyThreadState_Swap(NULL), *other;

	PyThreadState_Swap(mine);
	other = Py_NewInterpreter();
	PyThreadState_Swap(mine);
	return other;
}

void idle_interpreter_free(void *other)
{
	void *mine = PyThreadState_Swap(other);

	Py_EndInterpreter(other);
	PyThreadState_Swap(mine);
}
