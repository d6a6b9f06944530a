// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * lab-stress: processes that race on the lab's devices, see stress.h. The parent starts them, kills
 * them, checks that none hangs, and at the end checks that nothing is left.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

#define OURS	    "peerbar-vfio-pci"
#define HANGS_AFTER 120 /* seconds; longer than any operation, also on the debug kernel */

const char *const op_names[OPS] = {
	[OP_TOUCH] = "touch",
	[OP_WRITE] = "write",
	[OP_FORK] = "fork",
	[OP_MMAP] = "mmap",
	[OP_MUNMAP] = "munmap",
	[OP_PARTIAL] = "partial-munmap",
	[OP_MREMAP] = "mremap",
	[OP_MPROTECT] = "mprotect",
	[OP_COOKIE] = "cookie",
	[OP_REGION] = "region-mmap",
	[OP_EXPORT] = "export",
	[OP_CLOSE] = "close",
	[OP_QUERY] = "query",
	[OP_INFO] = "info",
	[OP_SET_MEMATTR] = "set-memattr",
	[OP_GET_MEMATTR] = "get-memattr",
	[OP_REVOKE] = "revoke",
	[OP_REFUSALS] = "refusals",
	[OP_POLL] = "poll",
	[OP_SEND] = "send",
	[OP_RECEIVE] = "receive",
	[OP_SEND_DEVICE] = "send-device",
	[OP_IOMMU_MAP] = "iommu-map",
	[OP_IOMMU_UNMAP] = "iommu-unmap",
	[OP_IOAS] = "ioas-detach-attach",
	[OP_DUMP] = "dump",
	[OP_GET] = "get",
	[OP_EVENTS] = "events",
	[OP_IMPORT] = "import",
	[OP_IMPORT_LATE] = "import-late",
	[OP_TEST_EXPORT] = "test-export",
	[OP_TEST_MOVE] = "test-move",
	[OP_TEST_ACCESS] = "test-revoke",
	[OP_DECODING] = "decoding-off-on",
	[OP_POWER] = "d3hot-d0",
	[OP_RESET] = "reset",
	[OP_HOT_RESET] = "hot-reset",
	[OP_OPEN] = "open",
	[OP_REOPEN] = "close-device",
	[OP_REBIND] = "unbind-bind",
	[OP_PLUG] = "plug-unplug",
	[OP_KILL] = "kill-9",
};

struct shared *shared;
int inbox[PROCESSES_MAX], outbox[PROCESSES_MAX];

static uint64_t began;

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

void failed(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	n = snprintf(line, sizeof(line),
		     "lab-stress: FAILED with seed %llu: ", (unsigned long long)shared->seed);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* Write the line at once, also from a child of fork(). */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(2);
	atomic_store(&shared->failed, true);
	_exit(1);
}

/* ---- the devices ---- */

uint64_t page_number(unsigned int d, uint64_t offset)
{
	return (uint64_t)(0xb0 + d) << 56 | offset / PAGE;
}

void number_pages(unsigned int d)
{
	static const uint64_t at[] = { 0, 1024, 2048, 4088 };
	const char *bdf = shared->devices[d].bdf;
	uint64_t bar, config, size, page;
	int fd, iommufd;
	unsigned int i;
	char *p;

	fd = raw_open_cdev(bdf);
	iommufd = raw_open("/dev/iommu");
	if (fd < 0 || iommufd < 0 || raw_bind_iommufd(fd, iommufd) ||
	    raw_region(fd, GPU_BAR, &bar, &size) ||
	    raw_region(fd, VFIO_PCI_CONFIG_REGION_INDEX, &config, &page) ||
	    raw_decoding(fd, config, true))
		failed("%s cannot be opened", bdf);
	if (size < NUMBERED)
		failed("BAR %u of %s is too small", GPU_BAR, bdf);
	p = mmap(NULL, NUMBERED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)bar);
	if (p == MAP_FAILED)
		failed("BAR %u of %s cannot be mapped", GPU_BAR, bdf);
	for (page = 0; page < NUMBERED; page += PAGE)
		for (i = 0; i < 4; i++)
			*(volatile uint64_t *)(void *)(p + page + at[i]) = page_number(d, page);
	munmap(p, NUMBERED);
	close(fd);
	close(iommufd);
}

static void bind_to_ours(unsigned int d)
{
	struct pb_error err;

	if (pb_pci_bind(shared->devices[d].bdf, OURS, &err))
		failed("%s", err.text);
}

/* ---- the hotplugged device ---- */

/*
 * QEMU releases a pulled device when the slot has lost its power, later than the kernel does. Retry
 * until then.
 */
__attribute__((format(printf, 1, 2))) static void qmp(const char *fmt, ...)
{
	uint64_t end = now_ns() + 30000000000;
	char command[256];
	char *answer;
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	for (;;) {
		answer = lab_qmp(command);
		ok = strstr(answer, "\"return\"");
		if (!ok && now_ns() > end)
			failed("%s: %s", command, answer);
		free(answer);
		if (ok)
			return;
		sleep_ms(200);
	}
}

static bool find_plugged(char bdf[PB_BDF_LEN])
{
	struct pb_pci_function *list;
	struct pb_error err;
	bool found = false;
	unsigned int i, n;

	if (pb_pci_list(&list, &n, &err))
		failed("%s", err.text);
	for (i = 0; i < n; i++) {
		if (list[i].vendor == 0x1af4 && list[i].device == 0x1110 &&
		    list[i].bars[GPU_BAR].size == NUMBERED) {
			strcpy(bdf, list[i].bdf);
			found = true;
		}
	}
	free(list);
	return found;
}

static void wait_plugged(char bdf[PB_BDF_LEN], bool there)
{
	uint64_t end = now_ns() + HANGS_AFTER * 1000000000ULL;

	while (find_plugged(bdf) != there) {
		if (now_ns() > end)
			failed("the plugged device did not %s in %d s", there ? "appear" : "go",
			       HANGS_AFTER);
		sleep_ms(100);
	}
}

/* Sleep for @ms, or until the run stops. */
static void live_on(unsigned int ms)
{
	uint64_t end = now_ns() + ms * 1000000ULL;

	while (!atomic_load(&shared->stop) && now_ns() < end)
		sleep_ms(50);
}

static void plug_and_pull(uint64_t *random, unsigned int nth)
{
	struct shared_device *d = &shared->devices[HOT];
	uint64_t begin = now_ns();
	char bdf[PB_BDF_LEN];

	qmp("{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-memfd\",\"id\":\"stressmem%u\",\"size\":%llu}}",
	    nth, NUMBERED);
	qmp("{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"ivshmem-plain\",\"id\":\"stress%u\",\"memdev\":\"stressmem%u\","
	    "\"bus\":\"spare1\"}}",
	    nth, nth);
	wait_plugged(bdf, true);
	strcpy(d->bdf, bdf);
	bind_to_ours(HOT);
	number_pages(HOT);
	atomic_store(&d->leaving, false);
	atomic_store(&d->present, true);
	live_on(5000 + (unsigned int)(raw_random(random) % 15000));

	/* Must be in this order: see op_open(). */
	atomic_store(&d->leaving, true);
	doom(d);
	qmp("{\"execute\":\"device_del\",\"arguments\":{\"id\":\"stress%u\"}}", nth);
	/*
	 * The slot's button blinks for 5 s. Let the owner close the device before or after the
	 * driver unbinds.
	 */
	live_on((unsigned int)(raw_random(random) % 10000));
	atomic_store(&d->drop, atomic_load(&d->generation));
	wait_plugged(bdf, false);
	atomic_store(&d->present, false);
	atomic_store(&d->dead, atomic_load(&d->generation));
	qmp("{\"execute\":\"object-del\",\"arguments\":{\"id\":\"stressmem%u\"}}", nth);
	atomic_fetch_add(&shared->done[OP_PLUG], 1);
	atomic_fetch_add(&shared->operations, 1);
	atomic_fetch_add(&shared->ns[OP_PLUG], now_ns() - begin);
}

static void plugger(void)
{
	uint64_t random = shared->seed ^ 0x706c7567;
	unsigned int nth = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&shared->stop)) {
		plug_and_pull(&random, nth++);
		live_on(500 + (unsigned int)(raw_random(&random) % 3000));
	}
	_exit(0);
}

/* ---- the processes ---- */

static pid_t workers[PROCESSES_MAX], plugger_pid;
static unsigned int incarnations[PROCESSES_MAX];

static void start_worker(unsigned int i)
{
	fflush(stdout);
	workers[i] = fork();
	if (workers[i] < 0)
		failed("fork: %s", strerror(errno));
	if (!workers[i])
		worker(i, incarnations[i]);
}

/* Reap workers, and children of killed workers. An unexpected end is a failure. */
static void reap(bool expected)
{
	unsigned int i;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < shared->processes; i++)
			if (workers[i] == pid)
				workers[i] = 0;
		if (pid == plugger_pid)
			plugger_pid = 0;
		else if (i == shared->processes && WIFEXITED(status) && !WEXITSTATUS(status))
			continue;
		if (atomic_load(&shared->failed) ||
		    (expected && WIFEXITED(status) && !WEXITSTATUS(status)))
			continue;
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			failed("a process was ended by %s", strsignal(WTERMSIG(status)));
		if (WIFEXITED(status) && WEXITSTATUS(status))
			failed("a process ended with status %d", WEXITSTATUS(status));
	}
}

/* Print a thread's stack in the kernel. */
static void print_stack(int tid)
{
	char path[64], text[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stack", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(2);
	if (fd >= 0)
		close(fd);
}

/*
 * Print the processes that have a device open or mapped, and their stacks: unbinding waits for
 * them.
 */
static void print_holders(void)
{
	struct dirent *process, *entry;
	char path[PATH_MAX], text[256];
	DIR *all = opendir("/proc"), *fds;
	unsigned int n, maps;
	ssize_t length;
	FILE *f;

	while (all && (process = readdir(all))) {
		if (process->d_name[0] < '1' || process->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd", process->d_name);
		fds = opendir(path);
		for (n = 0; fds && (entry = readdir(fds));) {
			snprintf(path, sizeof(path), "/proc/%s/fd/%s", process->d_name,
				 entry->d_name);
			length = readlink(path, text, sizeof(text) - 1);
			text[length < 0 ? 0 : length] = '\0';
			if (!strstr(text, "vfio"))
				continue;
			fprintf(stderr, "lab-stress: %s is %s\n", path, text);
			n++;
		}
		if (fds)
			closedir(fds);
		snprintf(path, sizeof(path), "/proc/%s/maps", process->d_name);
		f = fopen(path, "re");
		for (maps = 0; f && fgets(text, sizeof(text), f);)
			maps += !!strstr(text, "[vfio");
		if (f)
			fclose(f);
		if (!n && !maps)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", process->d_name);
		f = fopen(path, "re");
		if (f && fgets(text, 40, f))
			fprintf(stderr,
				"lab-stress: process %s: %u descriptors and %u mappings of devices; %s\n",
				process->d_name, n, maps, text);
		if (f)
			fclose(f);
		print_stack(atoi(process->d_name));
	}
	if (all)
		closedir(all);
}

static void print_listed(void *arg, const struct raw_buffer *b)
{
	(void)arg;
	fprintf(stderr, "lab-stress: buffer %llu: %s of %s, state %u, %u importers, %u mmaps\n",
		(unsigned long long)b->id, b->name, b->exporter, b->state, b->importers, b->mmaps);
}

__attribute__((format(printf, 1, 2), noreturn)) static void hang(const char *fmt, ...)
{
	char what[160];
	unsigned int i, t;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	fprintf(stderr, "lab-stress: %s\n", what);
	for (i = 0; i < shared->processes; i++) {
		for (t = 0; t < THREADS; t++) {
			int kind = atomic_load(&shared->threads[i][t].kind);

			fprintf(stderr, "process %u.%u thread %u, in %s:\n", i, incarnations[i], t,
				kind < 0 ? "nothing" : op_names[kind]);
			print_stack(atomic_load(&shared->threads[i][t].tid));
		}
	}
	print_holders();
	/* In a child, because this may hang too. */
	if (!fork()) {
		struct raw_genl g;

		if (!raw_genl_open(&g, false))
			raw_genl_dump(&g, print_listed, NULL);
		_exit(0);
	}
	sleep_ms(2000);
	/* The stacks of all tasks, and the locks that are held. */
	raw_write_file("/proc/sysrq-trigger", "t");
	raw_write_file("/proc/sysrq-trigger", "d");
	failed("%s", what);
}

static void kill_one(unsigned int i)
{
	uint64_t begin = now_ns();
	unsigned int d, t;
	int status;
	pid_t pid;

	for (d = 0; d < DEVICES; d++)
		if (shared->devices[d].owner == i)
			doom(&shared->devices[d]);
	kill(workers[i], SIGKILL);
	while (!(pid = waitpid(workers[i], &status, WNOHANG))) {
		if (now_ns() - begin > HANGS_AFTER * 1000000000ULL)
			hang("process %u.%u was killed, and does not end", i, incarnations[i]);
		sleep_ms(2);
	}
	if (WIFEXITED(status) && atomic_load(&shared->failed))
		return;
	for (t = 0; t < THREADS; t++)
		atomic_store(&shared->threads[i][t].kind, -1);
	for (d = 0; d < DEVICES; d++)
		if (shared->devices[d].owner == i)
			atomic_store(&shared->devices[d].drop,
				     atomic_load(&shared->devices[d].generation));
	incarnations[i]++;
	start_worker(i);
	atomic_fetch_add(&shared->done[OP_KILL], 1);
	atomic_fetch_add(&shared->operations, 1);
}

static void watch(void)
{
	unsigned int i, t;

	for (i = 0; i < shared->processes; i++) {
		for (t = 0; t < THREADS; t++) {
			struct shared_thread *thread = &shared->threads[i][t];
			int kind = atomic_load(&thread->kind);
			uint64_t since = atomic_load(&thread->since);

			if (kind < 0 || now_ns() - since < HANGS_AFTER * 1000000000ULL ||
			    kind != atomic_load(&thread->kind) ||
			    since != atomic_load(&thread->since))
				continue;
			hang("process %u.%u thread %u hangs in operation %llu, %s", i,
			     incarnations[i], t, (unsigned long long)atomic_load(&thread->n),
			     op_names[kind]);
		}
	}
}

static void progress(void)
{
	double seconds = (double)(now_ns() - began) / 1e9;
	uint64_t n = atomic_load(&shared->operations);

	fprintf(stderr,
		"lab-stress: %.0f s: %llu operations (%.0f/s), %llu killed, %llu plugged and pulled\n",
		seconds, (unsigned long long)n, (double)n / seconds,
		(unsigned long long)atomic_load(&shared->done[OP_KILL]),
		(unsigned long long)atomic_load(&shared->done[OP_PLUG]));
}

static void run(unsigned int seconds)
{
	uint64_t random = shared->seed ^ 0x6b696c6c, next_kill, next_progress;
	unsigned int i;

	next_kill = began + 4000000000;
	next_progress = began + 5000000000;
	while (!atomic_load(&shared->stop) && !atomic_load(&shared->failed)) {
		sleep_ms(100);
		reap(false);
		watch();
		if (seconds && now_ns() - began > seconds * 1000000000ULL)
			atomic_store(&shared->stop, true);
		if (now_ns() > next_kill && !atomic_load(&shared->stop) &&
		    !atomic_load(&shared->failed)) {
			kill_one((unsigned int)(raw_random(&random) % shared->processes));
			next_kill = now_ns() + 4000000000 + raw_random(&random) % 10000000000;
		}
		if (now_ns() > next_progress) {
			progress();
			next_progress = now_ns() + 5000000000;
		}
	}
	/* Wait until all processes have ended. */
	for (;;) {
		bool left = plugger_pid;

		if (atomic_load(&shared->failed))
			return;
		for (i = 0; i < shared->processes; i++) {
			left |= workers[i];
			drain_inbox(inbox[i]);
		}
		if (!left)
			return;
		reap(true);
		watch();
		sleep_ms(50);
	}
}

/* ---- leaks ---- */

static void nothing_left(bool unload)
{
	static const char *const modules[] = {
		"peerbar_test_importer",
		"peerbar_test_exporter",
		"peerbar_iommufd",
		"peerbar_vfio_pci",
		"peerbar",
	};
	struct raw_genl g;
	struct pb_error err;
	char path[96];
	unsigned int i;
	int n = 0, tries;

	for (i = 0; i < shared->processes; i++)
		drain_inbox(inbox[i]);
	if (raw_genl_open(&g, false))
		failed("netlink is gone");
	/* The kernel may release the last closed objects a little later. */
	for (tries = 0; tries < 50; tries++) {
		n = raw_genl_dump(&g, NULL, NULL);
		if (!n)
			break;
		sleep_ms(100);
	}
	if (n) {
		raw_genl_dump(&g, print_listed, NULL);
		failed("everything is closed, and %d buffers are listed", n);
	}
	close(g.fd);
	for (i = 0; i < HOT; i++)
		if (pb_pci_unbind(shared->devices[i].bdf, &err))
			failed("%s", err.text);
	for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		long users;

		snprintf(path, sizeof(path), "/sys/module/%s/refcnt", modules[i]);
		users = raw_read_number(path);
		/* The other modules use the core. */
		if (users > 0 && strcmp(modules[i], "peerbar"))
			failed("the module %s is in use %ld times", modules[i], users);
		if (unload && users >= 0 && syscall(SYS_delete_module, modules[i], O_NONBLOCK))
			failed("the module %s cannot be unloaded: %s", modules[i], strerror(errno));
	}
}

/* ---- the report ---- */

static void report(bool json)
{
	double seconds = (double)(now_ns() - began) / 1e9;
	unsigned long long n = atomic_load(&shared->operations);
	bool failure = atomic_load(&shared->failed), first = true;
	enum kind kind;

	if (json)
		printf("{\"seed\":%llu,\"processes\":%u,\"seconds\":%.1f,\"operations\":%llu,\"failed\":%s,\"kinds\":{",
		       (unsigned long long)shared->seed, shared->processes, seconds, n,
		       failure ? "true" : "false");
	else
		printf("lab-stress: %s: %llu operations in %.0f s (%.0f/s), seed %llu:",
		       failure ? "FAILED" : "ok", n, seconds, (double)n / seconds,
		       (unsigned long long)shared->seed);
	for (kind = 0; kind < OPS; kind++) {
		unsigned long long done = atomic_load(&shared->done[kind]),
				   refused = atomic_load(&shared->refused[kind]);

		if (json)
			printf("%s\"%s\":{\"done\":%llu,\"refused\":%llu,\"mean_us\":%llu}",
			       first ? "" : ",", op_names[kind], done, refused,
			       done ? (unsigned long long)atomic_load(&shared->ns[kind]) / 1000 /
					       done :
				      0);
		else if (done && refused)
			printf("%s %s %llu (%llu refused)", first ? "" : ",", op_names[kind], done,
			       refused);
		else if (done)
			printf("%s %s %llu", first ? "" : ",", op_names[kind], done);
		else
			continue;
		first = false;
	}
	printf(json ? "}}\n" : "\n");
}

static void usage(FILE *to)
{
	fprintf(to,
		"usage: lab-stress [--seed S] [--seconds N | --operations N] [--processes P] [--no-plug] [--unload] [--json]\n");
}

static uint64_t number(const char *what, const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (!*text || *end) {
		fprintf(stderr, "lab-stress: %s takes a number, not '%s'\n", what, text);
		exit(2);
	}
	return n;
}

static void prepare(void)
{
	static const enum lab_role roles[] = { LAB_GPU, LAB_NVME_CMB };
	unsigned int i;
	int sockets[2];

	/* The parent keeps the sockets, so that messages outlive their receiver. */
	for (i = 0; i < shared->processes; i++) {
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets))
			failed("socketpair: %s", strerror(errno));
		inbox[i] = sockets[0];
		outbox[i] = sockets[1];
	}
	for (i = 0; i < PROCESSES_MAX * THREADS; i++)
		atomic_store(&shared->threads[i / THREADS][i % THREADS].kind, -1);
	for (i = 0; i < DEVICES; i++) {
		shared->devices[i].owner = i % shared->processes;
		atomic_store(&shared->devices[i].phase, PHASE_CHANGING | PHASE_DOOMED);
	}
	for (i = 0; i < HOT; i++) {
		snprintf(shared->devices[i].bdf, sizeof(shared->devices[i].bdf), "%s",
			 lab_bdf(roles[i]));
		bind_to_ours(i);
		number_pages(i);
		atomic_store(&shared->devices[i].present, true);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
						 { "seconds", required_argument, NULL, 't' },
						 { "operations", required_argument, NULL, 'n' },
						 { "processes", required_argument, NULL, 'p' },
						 { "no-plug", no_argument, NULL, 'h' },
						 { "unload", no_argument, NULL, 'u' },
						 { "json", no_argument, NULL, 'j' },
						 {} };
	bool json = false, unload = false, plug = true;
	unsigned int seconds = 0, i;
	int c;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		lab_die("no memory");
	shared->seed = now_ns();
	shared->processes = 4;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			shared->seed = number("--seed", optarg);
			break;
		case 't':
			seconds = (unsigned int)number("--seconds", optarg);
			break;
		case 'n':
			shared->limit = number("--operations", optarg);
			break;
		case 'p':
			shared->processes = (unsigned int)number("--processes", optarg);
			break;
		case 'h':
			plug = false;
			break;
		case 'u':
			unload = true;
			break;
		case 'j':
			json = true;
			break;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc || !shared->processes || shared->processes > PROCESSES_MAX) {
		usage(stderr);
		return 2;
	}
	if (!seconds && !shared->limit)
		seconds = 30;
	if (access("/dev/peerbar", F_OK) || access("/sys/bus/pci/drivers/" OURS, F_OK)) {
		fprintf(stderr,
			"lab-stress: the modules peerbar and peerbar-vfio-pci are not loaded\n");
		return 2;
	}
	setvbuf(stderr, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fprintf(stderr, "lab-stress: seed %llu, %u processes\n", (unsigned long long)shared->seed,
		shared->processes);
	prepare();
	began = now_ns();
	if (plug) {
		plugger_pid = fork();
		if (!plugger_pid)
			plugger();
	}
	for (i = 0; i < shared->processes; i++)
		start_worker(i);
	run(seconds);
	if (!atomic_load(&shared->failed)) {
		/*
		 * Check in a child: failed() ends it, and the report must be printed in any case.
		 */
		pid_t pid = fork();

		if (!pid) {
			nothing_left(unload);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	for (i = 0; i < shared->processes; i++)
		if (workers[i])
			kill(workers[i], SIGKILL);
	if (plugger_pid > 0)
		kill(plugger_pid, SIGKILL);
	report(json);
	return atomic_load(&shared->failed) ? 1 : 0;
}
