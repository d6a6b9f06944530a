/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The benchmark's part in the lab's machine. It prints samples, one per line: NAME, unit, value.
 * NAME has the form what/side/size. Every round measures all sides of a comparison, one after the
 * other.
 */
#ifndef BENCH_H
#define BENCH_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#include "lab.h"
#include "peerbar-verbs.h"
#include "peerbar.h"

#define RW	   (PB_MAP_READ | PB_MAP_WRITE)
#define ALL_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)
/*
 * For short operations, take this many samples of a side in a row: the first one runs with the
 * caches of the other side.
 */
#define BURST	   5
/* The IOVA of mappings, aligned for any huge page. */
#define FIRST_IOVA (4096 * MIB)

/**
 * struct bench - the state of the benchmark
 * @ioas: edu is attached, so that mapping fills page tables of the IOMMU
 * @gpu: bound to vfio-pci or peerbar-vfio-pci
 * @ours: bound to peerbar-vfio-pci
 * @driver: the name of its driver
 * @pb: a protection domain of pb0
 * @rxe: a protection domain of rxe0
 * @round: 0 for the warm-up, which prints no samples
 */
struct bench {
	struct pb_iommu *iommu;
	struct pb_ioas *ioas;
	struct pb_device *edu;
	struct pb_device *gpu;
	bool ours;
	const char *driver;
	struct ibv_pd *pb;
	struct ibv_pd *rxe;
	unsigned int rounds;
	unsigned int round;
};

/**
 * struct measure - a measurement
 * @name: for --only
 * @stock: one round with the GPU on vfio-pci; may be NULL
 * @ours: one round with the GPU on peerbar-vfio-pci; may be NULL
 * @first: the first round; 0 to include the warm-up
 * @most: the last round; 0 for no limit
 */
struct measure {
	const char *name;
	void (*stock)(struct bench *b);
	void (*ours)(struct bench *b);
	unsigned int first;
	unsigned int most;
};

extern const struct measure map_measure, touch_measure, register_measure, revoke_measure,
	path_measure, buffers_measure, cache_measure, memory_measure, copy_measure, follow_measure;

extern struct pb_error err;
/* End the benchmark with the library's error sentence unless the call returns 0. */
#define must(call)                                          \
	do {                                                \
		if (call)                                   \
			lab_die("%s: %s", #call, err.text); \
	} while (0)
/* The same for a system call or verb, as a condition on its result. */
#define must_errno(condition)                                           \
	do {                                                            \
		if (!(condition))                                       \
			lab_die("%s: %s", #condition, strerror(errno)); \
	} while (0)

/* Print one sample of what/side/size. */
void sample(const struct bench *b, const char *what, const char *side, uint64_t size,
	    const char *unit, double value);
uint64_t now_ns(void);
static inline double us_since(uint64_t ns)
{
	return (double)(now_ns() - ns) / 1000;
}

/*
 * Allocate and populate memory; with @large in huge pages if the kernel prefers, otherwise in small
 * ones. Free it with munmap().
 */
void *new_memory(size_t size, bool large);
/* Raise the limit of open files. */
void many_files(void);
/* Export the first @size bytes of the GPU's BAR. */
struct pb_buffer *new_buffer(const struct bench *b, uint64_t size);

/* Get and put a region of the cache @passes times, for callgrind. */
void count_hits(struct bench *b, unsigned int passes);

#endif
