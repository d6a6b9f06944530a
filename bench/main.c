// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The rounds of the benchmark. In each, the GPU is on vfio-pci first, then on peerbar-vfio-pci. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

struct pb_error err;

static const struct measure *const measures[] = {
	&map_measure,	&register_measure, &path_measure,   &touch_measure, &revoke_measure,
	&cache_measure, &buffers_measure,  &memory_measure, &copy_measure,  &follow_measure,
};
#define MEASURES (sizeof(measures) / sizeof(measures[0]))

void sample(const struct bench *b, const char *what, const char *side, uint64_t size,
	    const char *unit, double value)
{
	if (b->round)
		printf("%s/%s/%llu\t%s\t%.6g\n", what, side, (unsigned long long)size, unit, value);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void *new_memory(size_t size, bool large)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must_errno(p != MAP_FAILED);
	must_errno(large || !madvise(p, size, MADV_NOHUGEPAGE));
	return memset(p, 1, size);
}

struct pb_buffer *new_buffer(const struct bench *b, uint64_t size)
{
	const struct pb_range range = { .length = size };
	struct pb_buffer *buffer;

	must(pb_buffer_export(b->gpu, GPU_BAR, &range, 1, 0, &buffer, &err));
	return buffer;
}

void many_files(void)
{
	const struct rlimit files = { 65536, 65536 };

	must_errno(!setrlimit(RLIMIT_NOFILE, &files));
}

/* ---- devices ---- */

static void gpu_on(struct bench *b, const char *driver)
{
	const char *bdf = lab_bdf(LAB_GPU);

	if (!bdf)
		lab_die("this machine has no GPU");
	must(pb_pci_bind(bdf, driver, &err));
	must(pb_device_open(b->iommu, bdf, &b->gpu, &err));
	b->driver = driver;
	b->ours = strcmp(driver, "vfio-pci");
}

static struct ibv_pd *open_verbs(const char *name)
{
	struct ibv_device **list;
	struct ibv_pd *pd = NULL;
	struct ibv_context *ctx;
	int i, n;

	list = ibv_get_device_list(&n);
	must_errno(list);
	for (i = 0; i < n && !pd; i++) {
		if (strcmp(ibv_get_device_name(list[i]), name))
			continue;
		ctx = ibv_open_device(list[i]);
		must_errno(ctx);
		pd = ibv_alloc_pd(ctx);
	}
	ibv_free_device_list(list);
	if (!pd)
		lab_die("there is no RDMA device %s; /lab/vm-bench makes it", name);
	return pd;
}

static void close_verbs(struct ibv_pd *pd)
{
	struct ibv_context *ctx = pd->context;

	ibv_dealloc_pd(pd);
	ibv_close_device(ctx);
}

static void bench_up(struct bench *b)
{
	must(pb_iommu_open(&b->iommu, &err));
	must(pb_ioas_create(b->iommu, &b->ioas, &err));
	must(pb_pci_bind(lab_bdf(LAB_EDU), "vfio-pci", &err));
	must(pb_device_open(b->iommu, lab_bdf(LAB_EDU), &b->edu, &err));
	must(pb_ioas_attach(b->ioas, b->edu, &err));
	b->pb = open_verbs("pb0");
	b->rxe = open_verbs("rxe0");
}

static void bench_down(struct bench *b)
{
	close_verbs(b->pb);
	close_verbs(b->rxe);
	pb_device_close(b->edu);
	pb_ioas_destroy(b->ioas);
	pb_iommu_close(b->iommu);
}

/* ---- rounds ---- */

static void half(struct bench *b, const char *driver, bool wanted[MEASURES])
{
	unsigned int i;

	gpu_on(b, driver);
	for (i = 0; i < MEASURES; i++) {
		void (*run)(struct bench *b) = b->ours ? measures[i]->ours : measures[i]->stock;

		if (!wanted[i] || !run || b->round < measures[i]->first ||
		    (measures[i]->most && b->round > measures[i]->most))
			continue;
		/*
		 * Wait: the kernel may still free memory of the previous measurement, and an
		 * emulator may still handle the change of driver.
		 */
		usleep(300000);
		run(b);
	}
	pb_device_close(b->gpu);
}

static void run_rounds(struct bench *b, bool wanted[MEASURES])
{
	uint64_t t0 = now_ns();

	/* A single round is a trial, without warm-up. */
	for (b->round = b->rounds > 1 ? 0 : 1; b->round <= b->rounds; b->round++) {
		half(b, "vfio-pci", wanted);
		half(b, "peerbar-vfio-pci", wanted);
		fflush(stdout);
		fprintf(stderr, "round %u of %u, %.0f s\n", b->round, b->rounds,
			us_since(t0) / 1e6);
	}
}

static void usage(FILE *out)
{
	unsigned int i;

	fprintf(out,
		"usage: lab-bench [--rounds N] [--only NAME] [--hits N]\n"
		"Measures, and writes samples to the standard output.\n"
		"  --rounds N   so often (default: 9), after one to warm up unless N is 1\n"
		"  --hits N     only N hits of a cache, for callgrind\n"
		"  --only NAME  one of");
	for (i = 0; i < MEASURES; i++)
		fprintf(out, " %s", measures[i]->name);
	fputc('\n', out);
}

static unsigned int number(const char *text)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || !n || n > 1000000)
		lab_die("'%s' is no number from 1 to 1000000", text);
	return (unsigned int)n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ "hits", required_argument, NULL, 'h' },
		{ "help", no_argument, NULL, '?' },
		{ NULL, 0, NULL, 0 },
	};
	struct bench b = { .rounds = 9 };
	bool wanted[MEASURES] = { false };
	const char *only = NULL;
	unsigned int i, n = 0, hits = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			b.rounds = number(optarg);
			break;
		case 'o':
			only = optarg;
			break;
		case 'h':
			hits = number(optarg);
			break;
		default:
			usage(optopt ? stderr : stdout);
			return optopt ? 2 : 0;
		}
	}
	for (i = 0; i < MEASURES; i++) {
		wanted[i] = !only || !strcmp(only, measures[i]->name);
		n += wanted[i];
	}
	if (!n) {
		usage(stderr);
		return 2;
	}
	bench_up(&b);
	if (hits) {
		gpu_on(&b, "peerbar-vfio-pci");
		count_hits(&b, hits);
		pb_device_close(b.gpu);
	} else {
		run_rounds(&b, wanted);
	}
	bench_down(&b);
	return 0;
}
