/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The benchmark, in the machine. What is measured is told as samples, one line each: NAME, unit, value. The name has the form
 * what/side/size. All sides of a comparison are measured in every round, one after the other.
 */
#ifndef BENCH_H
#define BENCH_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#include "lab.h"
#include "peerbar-verbs.h"
#include "peerbar.h"

#define RW (PB_MAP_READ | PB_MAP_WRITE)
#define ALL_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)
/* of what takes a moment, so many samples of one side follow one another: the first finds caches that the other side filled */
#define BURST 5
/* where mappings begin: any large page fits */
#define FIRST_IOVA (4096 * MIB)

/**
 * struct bench - what measures work with
 * @ioas: edu is attached to it, so that mapping fills page tables of the IOMMU
 * @gpu: on vfio-pci or on peerbar-vfio-pci
 * @ours: on which of the two
 * @driver: its name
 * @pb: a protection domain of pb0
 * @rxe: one of rxe0
 * @round: 0 is for warming up, and leaves no samples
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
 * struct measure - something that is measured
 * @name: for --only
 * @stock: a round with the GPU on vfio-pci; may be NULL
 * @ours: a round with it on peerbar-vfio-pci; may be NULL
 * @first: the first round; 0 if it has to warm up
 * @most: the last round; 0 if in all
 */
struct measure {
	const char *name;
	void (*stock)(struct bench *b);
	void (*ours)(struct bench *b);
	unsigned int first;
	unsigned int most;
};

extern const struct measure map_measure, touch_measure, register_measure, revoke_measure, path_measure, buffers_measure,
	cache_measure, memory_measure, copy_measure;

extern struct pb_error err;
/* what returns nothing but 0, or ends the benchmark with the library's sentence */
#define must(call) do { if (call) lab_die("%s: %s", #call, err.text); } while (0)
/* the same for a system call or verb: no value that is negative or NULL */
#define must_errno(condition) do { if (!(condition)) lab_die("%s: %s", #condition, strerror(errno)); } while (0)

/* one sample of what/side/size */
void sample(const struct bench *b, const char *what, const char *side, uint64_t size, const char *unit, double value);
uint64_t now_ns(void);
static inline double us_since(uint64_t ns)
{
	return (double)(now_ns() - ns) / 1000;
}

/* memory that is there; with pages as the kernel likes them, or small ones. munmap() frees it */
void *new_memory(size_t size, bool large);
/* this process may open as many files as there will be buffers */
void many_files(void);
/* one range of the GPU's BAR, from its beginning */
struct pb_buffer *new_buffer(const struct bench *b, uint64_t size);

/* hits of a cache, each given back, for callgrind */
void count_hits(struct bench *b, unsigned int passes);

#endif
