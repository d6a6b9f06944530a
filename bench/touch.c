// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Touch a whole BAR for the first time: by the mmap() of a VFIO device, and of a dma-buf. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench.h"
#include "raw-ioctl.h"

#define SIZE (256 * MIB)

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/*
 * An emulator's TLB grows with each flush while it is full, and shrinks otherwise: ignore the first
 * samples of a side.
 */
#define FIRST_THAT_COUNTS BURST

static void touch(struct bench *b, const char *side, unsigned int nr, void *p)
{
	volatile uint8_t *bar = p;
	long before = faults();
	uint64_t t0 = now_ns(), at;
	double took;

	for (at = 0; at < SIZE; at += PAGE)
		bar[at] = 1;
	took = us_since(t0);
	if (nr >= FIRST_THAT_COUNTS) {
		sample(b, "touch", side, SIZE, "us", took);
		sample(b, "faults", side, SIZE, "faults", (double)(faults() - before));
	}
	munmap(p, SIZE);
}

static void device(struct bench *b)
{
	unsigned int i;
	void *p;

	for (i = 0; i < FIRST_THAT_COUNTS + BURST; i++) {
		must(pb_device_mmap(b->gpu, GPU_BAR, 0, SIZE, true, &p, &err));
		touch(b, b->driver, i, p);
	}
}

/* The device mapped without the library, at an address that the kernel chooses. */
static void stock(struct bench *b)
{
	uint64_t offset, size;
	void *p;

	device(b);
	must_errno(!raw_region(pb_device_fd(b->gpu), GPU_BAR, &offset, &size));
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, pb_device_fd(b->gpu),
		 (off_t)offset);
	must_errno(p != MAP_FAILED);
	touch(b, "vfio-pci-plain", FIRST_THAT_COUNTS, p);
}

static void ours(struct bench *b)
{
	struct pb_buffer *buffer = new_buffer(b, SIZE);
	unsigned int i;
	void *p;

	for (i = 0; i < FIRST_THAT_COUNTS + BURST; i++) {
		must(pb_buffer_mmap(buffer, 0, SIZE, true, &p, &err));
		touch(b, "dma-buf", i, p);
	}
	pb_buffer_close(buffer);
	device(b);
}

const struct measure touch_measure = { .name = "touch", .stock = stock, .ours = ours };
