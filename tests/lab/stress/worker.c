// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The operations of a worker, and the loop that chooses them. */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker.h"

unsigned int me;
__thread struct place place;
int peerbar, iommufd, importer, exporter;
uint32_t ioas;
struct raw_genl genl[THREADS], events[THREADS];
const char *importing_device;

void fail_operation(const char *fmt, ...)
{
	char what[240];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	failed("process %u.%u thread %u operation %llu: %s: %s", me, place.incarnation,
	       place.thread, (unsigned long long)place.n, op_names[place.kind], what);
}

bool is_done(int ret, const char *call, ...)
{
	bool allowed = false;
	va_list ap;
	int e;

	if (ret >= 0)
		return true;
	va_start(ap, call);
	while ((e = va_arg(ap, int)))
		allowed |= ret == -e;
	va_end(ap);
	if (!allowed)
		fail_operation("%s: %s", call, strerror(-ret));
	atomic_fetch_add(&shared->refused[place.kind], 1);
	return false;
}

void refused(int ret, const char *call, int e)
{
	if (ret != -e)
		fail_operation("%s: %s, not %s", call, ret < 0 ? strerror(-ret) : "success",
			       strerror(e));
	atomic_fetch_add(&shared->refused[place.kind], 1);
}

void pause_us(uint64_t us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1000000),
			      .tv_nsec = (long)(us % 1000000 * 1000) };

	nanosleep(&t, NULL);
}

/* ---- the loop ---- */

static const struct {
	bool (*run)(void);
	unsigned int weight;
} ops[OPS] = {
	[OP_TOUCH] = { op_touch, 4200 },
	[OP_WRITE] = { op_write, 900 },
	[OP_FORK] = { op_fork, 10 },
	[OP_MMAP] = { op_mmap, 800 },
	[OP_MUNMAP] = { op_munmap, 420 },
	[OP_PARTIAL] = { op_partial, 180 },
	[OP_MREMAP] = { op_mremap, 90 },
	[OP_MPROTECT] = { op_mprotect, 90 },
	[OP_COOKIE] = { op_cookie, 50 },
	[OP_REGION] = { op_region, 80 },
	[OP_EXPORT] = { op_export, 330 },
	[OP_CLOSE] = { op_close, 240 },
	[OP_QUERY] = { op_query, 1300 },
	[OP_INFO] = { op_info, 150 },
	[OP_SET_MEMATTR] = { op_set_memattr, 250 },
	[OP_GET_MEMATTR] = { op_get_memattr, 150 },
	[OP_REVOKE] = { op_revoke, 90 },
	[OP_REFUSALS] = { op_refusals, 80 },
	[OP_POLL] = { op_poll, 200 },
	[OP_SEND] = { op_send, 200 },
	[OP_RECEIVE] = { op_receive, 220 },
	[OP_SEND_DEVICE] = { op_send_device, 30 },
	[OP_IOMMU_MAP] = { op_iommu_map, 250 },
	[OP_IOMMU_UNMAP] = { op_iommu_unmap, 200 },
	[OP_IOAS] = { op_ioas, 6 },
	[OP_DUMP] = { op_dump, 8 },
	[OP_GET] = { op_get, 150 },
	[OP_EVENTS] = { op_events, 50 },
	[OP_IMPORT] = { op_import, 180 },
	[OP_IMPORT_LATE] = { op_import_late, 40 },
	[OP_TEST_EXPORT] = { op_test_export, 25 },
	[OP_TEST_MOVE] = { op_test_move, 120 },
	[OP_TEST_ACCESS] = { op_test_access, 80 },
	[OP_DECODING] = { op_decoding, 25 },
	[OP_POWER] = { op_power, 8 },
	[OP_RESET] = { op_reset, 2 },
	[OP_HOT_RESET] = { op_hot_reset, 1 },
	[OP_OPEN] = { op_open, 300 },
	[OP_REOPEN] = { op_reopen, 3 },
	[OP_REBIND] = { op_rebind, 1 },
};

static enum kind choose(uint64_t r)
{
	static unsigned int total;
	unsigned int sum = 0;
	enum kind kind;

	if (!total) {
		for (kind = 0; kind < OPS; kind++)
			sum += ops[kind].weight;
		total = sum;
	}
	r %= total;
	for (kind = 0; r >= ops[kind].weight; kind++)
		r -= ops[kind].weight;
	return kind;
}

static void *run_thread(void *arg)
{
	unsigned int thread = (unsigned int)(uintptr_t)arg & 0xff, i;
	struct shared_thread *t = &shared->threads[me][thread];
	uint64_t state, begin;

	place.thread = thread;
	place.incarnation = (unsigned int)((uintptr_t)arg >> 8);
	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&shared->stop)) {
		obey_drop();
		/* The choices depend only on the position in the sequence. */
		state = shared->seed ^ (uint64_t)me << 56 ^ (uint64_t)place.incarnation << 40 ^
			(uint64_t)thread << 36;
		state = raw_random(&state) + place.n;
		place.kind = choose(raw_random(&state));
		for (i = 0; i < 8; i++)
			place.r[i] = raw_random(&state);
		begin = now_ns();
		atomic_store(&t->n, place.n);
		atomic_store(&t->since, begin);
		atomic_store(&t->kind, (int)place.kind);
		if (ops[place.kind].run()) {
			atomic_fetch_add(&shared->done[place.kind], 1);
			atomic_fetch_add(&shared->ns[place.kind], now_ns() - begin);
			if (atomic_fetch_add(&shared->operations, 1) + 1 == shared->limit)
				atomic_store(&shared->stop, true);
		}
		atomic_store(&t->kind, -1);
		place.n++;
	}
	return NULL;
}

void worker(unsigned int process, unsigned int incarnation)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
	struct rlimit files = { 65536, 65536 };
	pthread_t other;
	unsigned int i;

	me = process;
	place.incarnation = incarnation;
	place.kind = OP_OPEN;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (setrlimit(RLIMIT_NOFILE, &files))
		fail_operation("RLIMIT_NOFILE: %s", strerror(errno));
	for (i = 0; i < MAPS; i++)
		pthread_rwlock_init(&maps[i].lock, NULL);
	for (i = 0; i < DEVICES; i++)
		pthread_mutex_init(&control[i], NULL);
	peerbar = raw_open("/dev/peerbar");
	iommufd = raw_open("/dev/iommu");
	done(peerbar, "/dev/peerbar", 0);
	done(iommufd, "/dev/iommu", 0);
	done(raw_ioas(iommufd, &ioas), "IOAS", 0);
	importer = raw_open("/dev/" PEERBAR_TEST_IMPORTER);
	exporter = raw_open("/dev/" PEERBAR_TEST_EXPORTER);
	importing_device = lab_bdf(LAB_NIC);
	for (i = 0; i < THREADS; i++) {
		done(raw_genl_open(&genl[i], false), "netlink", 0);
		done(raw_genl_open(&events[i], true), "netlink", 0);
	}
	if (pthread_create(&other, NULL, run_thread, (void *)(uintptr_t)(1 | incarnation << 8)))
		fail_operation("no second thread");
	run_thread((void *)(uintptr_t)(incarnation << 8));
	pthread_join(other, NULL);
	_exit(0);
}
