// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A program without knowledge of BARs that registers memory in ways that are difficult for 'peerbar
 * run'. vm/perftest runs it below 'peerbar run'. The first argument is the case. /lab/gpu.mem is
 * the host's view of the BAR; the memory for regions is at its start. Exits with 0 if the behaviour
 * is the same as without 'peerbar run', and the memory was in the BAR.
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE   ((size_t)4096)
#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)

#define MUST(what)                                                                              \
	do {                                                                                    \
		if (!(what)) {                                                                  \
			printf("line %d: not so: %s (%s)\n", __LINE__, #what, strerror(errno)); \
			exit(1);                                                                \
		}                                                                               \
	} while (0)

static struct ibv_pd *pd;

static struct ibv_mr *reg(void *p, size_t length)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, p, length, ACCESS);

	MUST(mr);
	MUST(mr->addr == p && mr->length == length);
	return mr;
}

/*
 * Return whether the host sees @length bytes, at least 64, in the first 4 MiB. Each case searches
 * for new bytes.
 */
static bool host_sees(const void *bytes, size_t length)
{
	size_t size = (size_t)4 << 20;
	char *view = malloc(size), *at;
	bool found = false;
	int fd;

	fd = open("/lab/gpu.mem", O_RDONLY | O_CLOEXEC);
	MUST(view && fd >= 0);
	MUST(read(fd, view, size) == (ssize_t)size);
	close(fd);
	/* Search for 64 bytes: a long needle is slow. */
	at = memmem(view, size, bytes, 64);
	if (at && length <= size - (size_t)(at - view))
		found = !memcmp(at, bytes, length);
	free(view);
	return found;
}

/* Fill memory with bytes that were not used before, by this process or another. */
static void fill(void *p, size_t length)
{
	static uint64_t state;
	unsigned char *c = p;
	size_t i;

	if (!state)
		MUST(!getentropy(&state, sizeof(state)));
	for (i = 0; i < length; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		c[i] = (unsigned char)(state >> 56);
	}
}

static bool same(const void *p, const void *q, size_t length)
{
	return !memcmp(p, q, length);
}

/* ---- the cases ---- */

/* The contents stay, the host sees writes, and after deregistration it is ordinary memory again. */
static void contents(void)
{
	size_t length = 300001, before = 77;
	char *block = malloc(length + before), *p = block + before, *copy = malloc(length);
	struct ibv_mr *mr;

	MUST(block && copy);
	fill(p, length);
	memcpy(copy, p, length);
	MUST(!host_sees(p, 64));
	mr = reg(p, length);
	MUST(same(p, copy, length));
	MUST(host_sees(copy, length));
	fill(p, length);
	memcpy(copy, p, length);
	MUST(host_sees(copy, length));
	MUST(!ibv_dereg_mr(mr));
	MUST(same(p, copy, length));
	fill(p, length);
	MUST(!host_sees(p, 64));
	free(block);
	free(copy);
}

/* Small heap blocks, which share pages with each other and with other data. */
static void neighbours(void)
{
	struct ibv_mr *mrs[64];
	char *blocks[64], copy[64][200];
	unsigned int i;

	for (i = 0; i < 64; i++) {
		blocks[i] = malloc(200);
		MUST(blocks[i]);
		fill(blocks[i], 200);
		memcpy(copy[i], blocks[i], 200);
	}
	for (i = 0; i < 64; i++)
		mrs[i] = reg(blocks[(i * 5) % 64], 200);
	for (i = 0; i < 64; i++)
		MUST(same(blocks[i], copy[i], 200));
	MUST(host_sees(copy[7], 200));
	for (i = 0; i < 63; i++)
		MUST(!ibv_dereg_mr(mrs[i]));
	/* The last region's page is still in the BAR. */
	i = (63 * 5) % 64;
	fill(blocks[i], 200);
	memcpy(copy[i], blocks[i], 200);
	MUST(host_sees(copy[i], 200));
	MUST(!ibv_dereg_mr(mrs[63]));
	for (i = 0; i < 64; i++) {
		MUST(same(blocks[i], copy[i], 200));
		free(blocks[i]);
	}
}

/* Regions that overlap in all ways, deregistered in another order. */
static void overlap(void)
{
	static const struct {
		size_t from;
		size_t length;
	} parts[] = {
		{ 8, 2 }, { 9, 4 }, { 4, 5 }, { 8, 1 }, { 0, 16 }, { 15, 1 }, { 2, 10 },
	};
	enum { N = sizeof(parts) / sizeof(parts[0]) };
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     *copy = malloc(16 * PAGE);
	struct ibv_mr *mrs[N];
	unsigned int i;

	MUST(p != MAP_FAILED && copy);
	fill(p, 16 * PAGE);
	memcpy(copy, p, 16 * PAGE);
	for (i = 0; i < N; i++) {
		mrs[i] = reg(p + parts[i].from * PAGE + 10, parts[i].length * PAGE - 20);
		MUST(same(p, copy, 16 * PAGE));
	}
	MUST(host_sees(copy, 16 * PAGE));
	for (i = 0; i < N; i++) {
		MUST(!ibv_dereg_mr(mrs[(i * 3) % N]));
		MUST(same(p, copy, 16 * PAGE));
	}
	fill(p, 16 * PAGE);
	MUST(!host_sees(p, 64));
}

/*
 * The child has its own copy, also of data beside the buffer. The parent's pages stay in the BAR.
 */
static void forked(void)
{
	char *p = malloc(3 * PAGE), *copy = malloc(3 * PAGE), *other;
	struct ibv_mr *mr;
	int status, i;
	pid_t pid;

	MUST(p && copy);
	fill(p, 3 * PAGE);
	mr = reg(p, 3 * PAGE);
	memcpy(copy, p, 3 * PAGE);
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		for (i = 0; i < 1000; i++) {
			other = malloc((size_t)i * 7 + 1);
			MUST(other);
			memset(other, i, (size_t)i * 7 + 1);
			free(other);
		}
		if (!same(p, copy, 3 * PAGE))
			_exit(1);
		memset(p, 0, 3 * PAGE);
		_exit(0);
	}
	for (i = 0; i < 1000; i++) {
		other = malloc((size_t)i * 5 + 1);
		MUST(other);
		memset(other, i, (size_t)i * 5 + 1);
		free(other);
	}
	MUST(waitpid(pid, &status, 0) == pid && !status);
	MUST(same(p, copy, 3 * PAGE));
	fill(p, 3 * PAGE);
	memcpy(copy, p, 3 * PAGE);
	MUST(host_sees(copy, 3 * PAGE));
	MUST(!system("exit 0"));
	MUST(!ibv_dereg_mr(mr));
	MUST(same(p, copy, 3 * PAGE));
}

static void *register_often(void *arg)
{
	size_t length = 3 * PAGE;
	char *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     *copy = malloc(length);
	struct ibv_mr *mr;
	int i;

	MUST(p != MAP_FAILED && copy);
	memset(p, (int)(intptr_t)arg, length);
	memcpy(copy, p, length);
	for (i = 0; i < 100; i++) {
		mr = reg(p + i, length - 200);
		p[i] = copy[i] = (char)i;
		MUST(!ibv_dereg_mr(mr));
		MUST(same(p, copy, length));
	}
	free(copy);
	return NULL;
}

static void threads(void)
{
	pthread_t t[4];
	intptr_t i;

	for (i = 0; i < 4; i++)
		MUST(!pthread_create(&t[i], NULL, register_often, (void *)(i + 1)));
	for (i = 0; i < 4; i++)
		MUST(!pthread_join(t[i], NULL));
}

/* Memory mapped in place of a region's is not touched. */
static void unmapped(void)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     zero[64] = { 0 };
	struct ibv_mr *mr, *other;

	MUST(p != MAP_FAILED);
	fill(p, 4 * PAGE);
	mr = reg(p, 4 * PAGE);
	MUST(!munmap(p, 4 * PAGE));
	MUST(mmap(p, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		  0) == p);
	other = ibv_reg_mr(pd, p, PAGE, ACCESS);
	MUST(!other && errno == EBUSY);
	MUST(!ibv_dereg_mr(mr));
	MUST(same(p, zero, sizeof(zero)));
	other = reg(p, PAGE);
	MUST(!ibv_dereg_mr(other));
}

/* Memory that cannot be moved into the BAR can be registered nevertheless. */
static void ordinary(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	     here[3000];
	struct ibv_mr *mr;

	MUST(p != MAP_FAILED);
	fill(here, sizeof(here));
	mr = reg(here, sizeof(here));
	MUST(!host_sees(here, sizeof(here)));
	MUST(!ibv_dereg_mr(mr));
	fill(p, PAGE);
	mr = reg(p, PAGE);
	MUST(!host_sees(p, PAGE));
	MUST(!ibv_dereg_mr(mr));
	MUST(!munmap(p, PAGE));
	MUST(!ibv_reg_mr(pd, p, PAGE, ACCESS));
}

/*
 * With 64 KiB of the BAR: a region that does not fit fails, and its pages are moved back.
 * Reregistering fails, too.
 */
static void full(void)
{
	char *p = mmap(NULL, 17 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     *copy = malloc(17 * PAGE);
	struct ibv_mr *mrs[16], *mr;
	unsigned int i, round;

	MUST(p != MAP_FAILED && copy);
	fill(p, 17 * PAGE);
	memcpy(copy, p, 17 * PAGE);
	MUST(!ibv_reg_mr(pd, p, 17 * PAGE, ACCESS) && errno == ENOMEM);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 16; i++)
			mrs[i] = reg(p + i * PAGE, PAGE);
		MUST(!ibv_reg_mr(pd, p + 16 * PAGE, 1, ACCESS) && errno == ENOMEM);
		mr = reg(p + 5, 16 * PAGE - 10);
		MUST(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, p, PAGE, 0) ==
		     IBV_REREG_MR_ERR_INPUT);
		MUST(errno == EOPNOTSUPP);
		MUST(!ibv_dereg_mr(mr));
		for (i = 0; i < 16; i++)
			MUST(!ibv_dereg_mr(mrs[i]));
		MUST(same(p, copy, 17 * PAGE));
	}
	/* Pages that are adjacent in the BAR, but not in this order in memory. */
	mrs[0] = reg(p + PAGE, PAGE);
	mrs[1] = reg(p, PAGE);
	MUST(!ibv_reg_mr(pd, p, 2 * PAGE, ACCESS) && errno == EOPNOTSUPP);
	MUST(!ibv_dereg_mr(mrs[0]) && !ibv_dereg_mr(mrs[1]));
	/* Access flags that the kernel does not support for dma-bufs. */
	MUST(!ibv_reg_mr(pd, p, PAGE, ACCESS | IBV_ACCESS_MW_BIND) && errno == EINVAL);
	MUST(same(p, copy, 17 * PAGE));
	MUST(getenv("PEERBAR_FD") && !close(atoi(getenv("PEERBAR_FD"))));
	MUST(!ibv_reg_mr(pd, p, PAGE, ACCESS) && errno == EBADF);
	MUST(same(p, copy, 17 * PAGE));
}

/*
 * The exporter, whose PID is an argument, revokes the buffer. The region can be deregistered, and
 * no other can be registered.
 */
static void revoked(const char *exporter)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ibv_mr *mr;
	int fd, i;

	MUST(p != MAP_FAILED && exporter);
	mr = reg(p, PAGE);
	MUST(!kill(atoi(exporter), SIGUSR1));
	/* Probe with a system call, which fails where an access raises SIGBUS. */
	fd = memfd_create("probe", MFD_CLOEXEC);
	MUST(fd >= 0);
	for (i = 0; i < 100 && pwrite(fd, p, 1, 0) == 1; i++)
		usleep(50000);
	MUST(i < 100);
	close(fd);
	MUST(!ibv_dereg_mr(mr));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(p != MAP_FAILED);
	MUST(!ibv_reg_mr(pd, p, PAGE, ACCESS) && errno == ENODEV);
	MUST(!*p);
}

int main(int argc, char **argv)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *context = NULL;
	const char *name = argc > 1 ? argv[1] : "";
	int i;

	for (i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), "pb0"))
			context = ibv_open_device(list[i]);
	MUST(context);
	pd = ibv_alloc_pd(context);
	MUST(pd);
	if (!strcmp(name, "contents"))
		contents();
	else if (!strcmp(name, "neighbours"))
		neighbours();
	else if (!strcmp(name, "overlap"))
		overlap();
	else if (!strcmp(name, "forked"))
		forked();
	else if (!strcmp(name, "threads"))
		threads();
	else if (!strcmp(name, "unmapped"))
		unmapped();
	else if (!strcmp(name, "ordinary"))
		ordinary();
	else if (!strcmp(name, "full"))
		full();
	else if (!strcmp(name, "revoked"))
		revoked(argv[2]);
	else
		MUST(!"there is such a case");
	/* Fails if a region is still registered. */
	MUST(!ibv_dealloc_pd(pd));
	MUST(!ibv_close_device(context));
	return 0;
}
