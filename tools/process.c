// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Signals, and other processes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

extern char **environ;

/* ---- waiting for a signal ---- */

void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

void block_signals(int also)
{
	sigset_t set;

	end_signals(&set);
	if (also)
		sigaddset(&set, also);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int wait_for_signal(int also, int seconds)
{
	struct timespec timeout = { .tv_sec = seconds };
	sigset_t set;
	int sig;

	end_signals(&set);
	if (also)
		sigaddset(&set, also);
	/*
	 * EINTR also occurs for stop and continue. With a timeout it ends the wait early, which is
	 * harmless.
	 */
	do {
		sig = sigtimedwait(&set, NULL, seconds < 0 ? NULL : &timeout);
	} while (sig < 0 && errno == EINTR && seconds < 0);
	return sig > 0 ? sig : 0;
}

int reader_fd(void)
{
	struct stat st;

	/* For a terminal, SIGHUP reports the hangup. */
	return !fstat(STDOUT_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) ?
		STDOUT_FILENO :
		-1;
}

int wait_while_read(int also, int seconds)
{
	struct pollfd p[] = {
		{ .fd = reader_fd() },
		{ .events = POLLIN },
	};
	struct signalfd_siginfo info;
	sigset_t set;
	int n, sig = 0;

	end_signals(&set);
	if (also)
		sigaddset(&set, also);
	p[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p[1].fd < 0)
		return wait_for_signal(also, seconds);
	do {
		n = poll(p, 2, seconds < 0 ? -1 : seconds * 1000);
	} while (n < 0 && errno == EINTR && seconds < 0);
	if (n > 0 && (p[1].revents & POLLIN) && read(p[1].fd, &info, sizeof(info)) == sizeof(info))
		sig = (int)info.ssi_signo;
	else if (n > 0 && (p[0].revents & (POLLERR | POLLHUP)))
		sig = READER_GONE;
	close(p[1].fd);
	return sig;
}

/* ---- running programs ---- */

/* @fd is inherited, unless negative. @quiet redirects stdout to stderr. Returns an errno. */
static int spawn_command(pid_t *pid, char *const argv[], int fd, bool quiet, const sigset_t *mask)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int code;

	code = posix_spawn_file_actions_init(&actions);
	if (code)
		return code;
	code = posix_spawnattr_init(&attr);
	if (code)
		goto out_actions;
	/* dup2() onto itself clears FD_CLOEXEC, in the child only. */
	if (fd >= 0)
		code = posix_spawn_file_actions_adddup2(&actions, fd, fd);
	if (!code && quiet)
		code = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	if (!code)
		code = posix_spawnattr_setsigmask(&attr, mask);
	if (!code)
		code = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	if (!code)
		code = posix_spawnp(pid, argv[0], &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return code;
}

static int get_exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * The signals that would end this process and leave the command without the buffer: all except
 * those of its own faults, and job control.
 */
static void get_command_signals(sigset_t *set)
{
	static const int others[] = { SIGSEGV, SIGBUS,	SIGFPE,	 SIGILL,  SIGTRAP, SIGSYS,
				      SIGABRT, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT };
	size_t i;

	sigfillset(set);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		sigdelset(set, others[i]);
}

/* A thread that calls @handle for each SIGUSR1: the call may wait for long. */
struct usr1_handler {
	void (*handle)(void *arg);
	void *arg;
	pthread_t thread;
	sem_t wakeups;	      /* one for each request, and one for the end */
	atomic_uint requests; /* not handled yet */
};

static void *handle_usr1(void *arg)
{
	struct usr1_handler *h = arg;

	for (;;) {
		while (sem_wait(&h->wakeups))
			;
		if (!atomic_load(&h->requests))
			return NULL;
		atomic_fetch_sub(&h->requests, 1);
		h->handle(h->arg);
	}
}

/* The caller must have blocked the signals, for the thread inherits that. Returns an errno. */
static int start_usr1_handler(struct usr1_handler *h)
{
	int code;

	if (!h->handle)
		return 0;
	atomic_init(&h->requests, 0);
	sem_init(&h->wakeups, 0, 0);
	code = pthread_create(&h->thread, NULL, handle_usr1, h);
	if (code)
		sem_destroy(&h->wakeups);
	return code;
}

static void request_usr1(struct usr1_handler *h)
{
	atomic_fetch_add(&h->requests, 1);
	sem_post(&h->wakeups);
}

/* Wait until all requests are handled. */
static void end_usr1_handler(struct usr1_handler *h)
{
	if (!h->handle)
		return;
	sem_post(&h->wakeups);
	pthread_join(h->thread, NULL);
	sem_destroy(&h->wakeups);
}

int run_command(char *const command[], int fd, void (*on_usr1)(void *arg), void *arg)
{
	struct usr1_handler handler = { .handle = on_usr1, .arg = arg };
	sigset_t set, before;
	int status, code;
	siginfo_t info;
	pid_t pid, ret;

	get_command_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &before);
	code = start_usr1_handler(&handler);
	if (code) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return fail(code, "cannot start a thread for SIGUSR1: %s", strerror(code));
	}
	code = spawn_command(&pid, command, fd, false, &before);
	if (code) {
		end_usr1_handler(&handler);
		sigprocmask(SIG_SETMASK, &before, NULL);
		fail(code, "cannot run '%.80s': %s", command[0], strerror(code));
		return code == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
	}
	while (!(ret = waitpid(pid, &status, WNOHANG))) {
		int sig = sigwaitinfo(&set, &info);

		if (sig <= 0 || sig == SIGCHLD)
			continue;
		/* Don't handle it here: the signals after it must not wait for that. */
		if (sig == SIGUSR1 && on_usr1)
			request_usr1(&handler);
		/*
		 * The command gets the terminal's signals too. Pass on signals that a process sent
		 * to this one only, except the SIGPIPE of an own write.
		 */
		else if (info.si_code <= 0 && info.si_pid != getpid())
			kill(pid, sig);
	}
	code = errno;
	/*
	 * Without a command to pass signals on to, they end this process, and the wait below. But a
	 * SIGUSR1 that comes too late does not replace the command's status.
	 */
	if (on_usr1)
		signal(SIGUSR1, SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, NULL);
	end_usr1_handler(&handler);
	if (ret < 0)
		return fail(code, "cannot wait for '%.80s': %s", command[0], strerror(code));
	return get_exit_status(status);
}

bool load_module(const char *name)
{
	char *argv[] = { "modprobe", "--", (char *)name, NULL };
	int status, code;
	sigset_t mask;
	pid_t pid;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	code = spawn_command(&pid, argv, -1, true, &mask);
	/* The environment of udev's programs has no PATH, and the default of PATH no /sbin. */
	if (code == ENOENT) {
		argv[0] = "/sbin/modprobe";
		code = spawn_command(&pid, argv, -1, true, &mask);
	}
	if (code) {
		fprintf(stderr, "peerbar: cannot run modprobe to load %s: %s\n", name,
			strerror(code));
		return false;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return !get_exit_status(status);
}

/* ---- descriptors of other processes ---- */

int copy_descriptor(int pid, int fd)
{
	int pidfd, copy, code;

	/* Both descriptors are created with FD_CLOEXEC. */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	code = errno;
	close(pidfd);
	return copy >= 0 ? copy : -code;
}

int fail_descriptor(int pid, int fd, int code)
{
	if (code == ESRCH)
		return fail(code,
			    "cannot take descriptor %d of process %d: there is no such process", fd,
			    pid);
	if (code == EBADF)
		return fail(code,
			    "cannot take descriptor %d of process %d: the process has no such descriptor open",
			    fd, pid);
	if (code == EPERM)
		return fail(code,
			    "cannot take descriptor %d of process %d: this needs the right to trace "
			    "it (CAP_SYS_PTRACE)",
			    fd, pid);
	return fail(code, "cannot take descriptor %d of process %d: %s", fd, pid, strerror(code));
}

int take_descriptor(int pid, int fd)
{
	int copy = copy_descriptor(pid, fd);

	if (copy >= 0)
		return copy;
	fail_descriptor(pid, fd, -copy);
	return -1;
}
