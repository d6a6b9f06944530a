// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The memory that objects take. For the kernel: the difference in the machine's used memory before
 * and after making many of them. For the process: that of malloc().
 */
#include <errno.h>
#include <glob.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "raw-ioctl.h"

#define NR     10000
#define NR_QPS 1000
#define SIZE   (2 * MIB)

struct used {
	double kernel;
	double process;
};

static unsigned long long meminfo(const char *field)
{
	unsigned long long kb = 0;
	char line[128];
	FILE *f;

	f = fopen("/proc/meminfo", "re");
	must_errno(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			sscanf(line + strlen(field) + 1, "%llu", &kb);
	fclose(f);
	return kb * 1024;
}

/* The size of the objects in use, of all slab caches. */
static unsigned long long slabs(void)
{
	unsigned long long used = 0, active, size;
	char line[512];
	FILE *f;

	f = fopen("/proc/slabinfo", "re");
	must_errno(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %llu %*u %llu", &active, &size) == 2)
			used += active * size;
	fclose(f);
	return used;
}

/* Release freed objects that the slab allocator keeps and counts as used. */
static void shrink_slabs(void)
{
	glob_t found;
	size_t i;

	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++)
		raw_write_file(found.gl_pathv[i], "1");
	globfree(&found);
}

/* Free pages on the per-CPU lists, which MemFree does not include. */
static unsigned long long kept_pages(void)
{
	unsigned long long pages = 0, n;
	char line[256];
	FILE *f;

	f = fopen("/proc/zoneinfo", "re");
	must_errno(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %llu", &n) == 1)
			pages += n;
	fclose(f);
	return pages;
}

/* Slab objects by their size, everything else by pages. */
static double kernel_memory(void)
{
	static const char *const others[] = { "MemFree", "Slab", "AnonPages", "Cached", "Buffers" };
	double used = (double)(slabs() + meminfo("MemTotal")) - (double)(kept_pages() * PAGE);
	unsigned int i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		used -= (double)meminfo(others[i]);
	return used;
}

/* Measure after the kernel has freed caches and objects that it frees later. */
static struct used used(void)
{
	struct used used = { .kernel = 0 };
	double before;
	unsigned int i;

	sync();
	for (i = 0; i < 30; i++) {
		usleep(250000);
		must_errno(!raw_write_file("/proc/sys/vm/drop_caches", "3"));
		must_errno(!raw_write_file("/proc/sys/vm/compact_memory", "1"));
		shrink_slabs();
		before = used.kernel;
		used.kernel = kernel_memory();
		if (i > 3 && fabs(used.kernel - before) < 32 * KIB)
			break;
	}
	used.process = (double)mallinfo2().uordblks;
	return used;
}

static void *objects[NR];

/* @make makes one object; @side is the series' name. */
static void many(struct bench *b, const char *side, unsigned int nr,
		 void *(*make)(struct bench *b, unsigned int i), void (*end)(void *object))
{
	struct used before, after;
	char name[64];
	unsigned int i;

	/* A single round is a trial. */
	if (b->rounds == 1)
		nr /= 10;
	/* Exclude allocations that happen once. */
	memset(objects, 0, sizeof(objects));
	end(make(b, 0));
	before = used();
	for (i = 0; i < nr; i++)
		objects[i] = make(b, i);
	after = used();
	for (i = 0; i < nr; i++)
		end(objects[i]);
	snprintf(name, sizeof(name), "kernel-%s", side);
	sample(b, "memory", name, 0, "bytes", (after.kernel - before.kernel) / nr);
	snprintf(name, sizeof(name), "user-%s", side);
	sample(b, "memory", name, 0, "bytes", (after.process - before.process) / nr);
}

static struct pb_buffer *shared_buffer;
static struct ibv_pd *pd;
static struct ibv_cq *cq;

static void *make_buffer(struct bench *b, unsigned int i)
{
	(void)i;
	return new_buffer(b, SIZE);
}

static void end_buffer(void *object)
{
	pb_buffer_close(object);
}

static void *make_mapping(struct bench *b, unsigned int i)
{
	struct pb_mapping *mapping;

	must(pb_map_buffer(b->ioas, shared_buffer, 0, SIZE, RW | PB_MAP_FIXED,
			   FIRST_IOVA + i * SIZE, &mapping, &err));
	return mapping;
}

static void end_mapping(void *object)
{
	must(pb_unmap(object, &err));
}

static void *make_mr(struct bench *b, unsigned int i)
{
	struct pbv_mr *mr;

	(void)i;
	must(pbv_reg_buffer(b->pb, shared_buffer, 0, SIZE, 0, ALL_ACCESS, 0, &mr, &err));
	return mr;
}

static void end_mr(void *object)
{
	must(pbv_dereg(object, &err));
}

static void *some_memory;

static void *make_memory_mr(struct bench *b, unsigned int i)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, some_memory, SIZE, ALL_ACCESS);

	(void)b;
	(void)i;
	must_errno(mr);
	return mr;
}

static void end_memory_mr(void *object)
{
	must_errno(!ibv_dereg_mr(object));
}

static void *make_qp(struct bench *b, unsigned int i)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = cq,
		.recv_cq = cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 64,
			 .max_recv_wr = 64,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};
	struct ibv_qp *qp = ibv_create_qp(pd, &attr);

	(void)b;
	(void)i;
	must_errno(qp);
	return qp;
}

static void end_qp(void *object)
{
	must_errno(!ibv_destroy_qp(object));
}

static void verbs(struct bench *b, struct ibv_pd *of, const char *mr, const char *qp)
{
	pd = of;
	some_memory = new_memory(SIZE, true);
	many(b, mr, NR, make_memory_mr, end_memory_mr);
	munmap(some_memory, SIZE);
	cq = ibv_create_cq(pd->context, 256, NULL, NULL, 0);
	must_errno(cq);
	many(b, qp, NR_QPS, make_qp, end_qp);
	must_errno(!ibv_destroy_cq(cq));
}

static void stock(struct bench *b)
{
	many_files();
	many(b, "vfio-pci-buffer", NR, make_buffer, end_buffer);
	verbs(b, b->rxe, "rxe-mr", "rxe-qp");
}

static void ours(struct bench *b)
{
	many(b, "peerbar-buffer", NR, make_buffer, end_buffer);
	shared_buffer = new_buffer(b, SIZE);
	many(b, "mapping", NR, make_mapping, end_mapping);
	many(b, "bar-mr", NR, make_mr, end_mr);
	pb_buffer_close(shared_buffer);
	verbs(b, b->pb, "memory-mr", "qp");
}

const struct measure memory_measure = {
	.name = "memory", .stock = stock, .ours = ours, .first = 1, .most = 2
};
