// SPDX-License-Identifier: BSD-2-Clause
#include "user/cmd/live.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "user/base/clock.h"
#include "user/cmd/progress.h"

struct live {
	struct session *session;
	const struct live_opts *opts;
	struct progress progress;
	uint64_t second_at_ns;
	int signal_fd;
	sigset_t old_mask;
	bool is_over;
};

/* What ends the run, and what asks for a snapshot. A SIGHUP that is ignored (nohup) stays so: while
 * it is blocked, the kernel would keep one for us all the same. */
static void fill_mask(sigset_t *mask)
{
	struct sigaction hangup;

	sigemptyset(mask);
	sigaddset(mask, SIGINT);
	sigaddset(mask, SIGQUIT);
	sigaddset(mask, SIGTERM);
	sigaddset(mask, SIGUSR1);
	if (sigaction(SIGHUP, NULL, &hangup) || hangup.sa_handler != SIG_IGN)
		sigaddset(mask, SIGHUP);
}

static int take_signals(struct live *l)
{
	sigset_t mask;

	fill_mask(&mask);
	sigprocmask(SIG_BLOCK, &mask, &l->old_mask);
	l->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return l->signal_fd < 0 ? -errno : 0;
}

/* A login that ends sends several SIGHUP: not even the second one abandons the writing. */
static void leave_signals(struct live *l)
{
	if (l->signal_fd < 0)
		return;
	close(l->signal_fd);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_SETMASK, &l->old_mask, NULL);
}

static void take_snapshot(struct live *l)
{
	if (session_drain(l->session) == 0) /* or the next step ends the run with that error */
		l->opts->on_snapshot(l->opts->arg);
}

static void on_signal(struct live *l)
{
	struct signalfd_siginfo info;

	while (read(l->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1) {
			take_snapshot(l);
			continue;
		}
		/* One from the terminal the command has got already. */
		if (info.ssi_code == SI_USER)
			session_forward(l->session, info.ssi_signo);
		l->opts->on_stop(l->opts->arg);
		l->is_over = true;
	}
}

/* 0 or the error of who is told. */
static int each_second(struct live *l)
{
	const struct session_result *r = session_result(l->session);
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	if (now_ns < l->second_at_ns)
		return 0;
	progress_show(&l->progress, now_ns - r->start_mono_ns, session_sample_cnt(l->session),
		      r->python_cnt);
	l->second_at_ns = now_ns + NS_PER_S;
	return l->opts->on_second(now_ns, l->opts->arg);
}

static int loop(struct live *l)
{
	/* For a reader that goes (POLLERR, POLLHUP) nothing has to be asked. */
	struct pollfd fds[] = {{.fd = session_fd(l->session), .events = POLLIN},
			       {.fd = l->signal_fd, .events = POLLIN},
			       {.fd = l->opts->reader_fd}};
	int ret = 1, err = 0;

	while (ret == 1 && !err && !l->is_over) {
		if (poll(fds, 3, session_timeout_ms(l->session)) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			on_signal(l);
		l->is_over |= fds[2].revents != 0; /* what is written then fails, and says why */
		ret = session_step(l->session, fds[0].revents != 0);
		if (ret >= 0)
			err = each_second(l);
	}
	return ret < 0 ? ret : err;
}

int live_run(struct session *s, const struct live_opts *opts)
{
	struct live live = {.session = s, .opts = opts, .signal_fd = -1};
	int err = take_signals(&live), err2;

	progress_init(&live.progress, opts->show_progress, opts->duration_ns);
	err = err ?: session_start(s);
	live.second_at_ns = clock_ns(CLOCK_MONOTONIC) + NS_PER_S;
	err = err ?: loop(&live);
	err2 = session_finish(s);
	progress_clear(&live.progress);
	leave_signals(&live);
	return err ?: err2;
}
