/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Random calls with invalid arguments: the ioctls of /dev/peerbar, the features of the driver,
 * mmap() and netlink.
 *
 * Where peerbar defines the rules, the test computes the expected result of each call. Elsewhere a
 * call must return, with a valid errno if it fails. No call may change bytes of the caller outside
 * its structure, or leak an object. LAB_SEED repeats a run.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "fixture.h"

#define BUFFER_PAGES 16ULL /* of the buffers that the calls use */

/* ---- random numbers ---- */

extern unsigned long long seed;
extern unsigned int call; /* its number in the test */

/*
 * Check a condition. If it is false, abort the test, with the seed and the call that reproduce it.
 */
#define must(cond, fmt, ...)                                                                 \
	do {                                                                                 \
		if (!(cond))                                                                 \
			ck_abort_msg("seed %llu, call %u: " fmt, seed, call, ##__VA_ARGS__); \
	} while (0)

uint64_t any(void);
uint32_t below(uint32_t n);
bool one_in(uint32_t n);
/* Return random bits, often a single one. */
uint32_t any_bits(void);
uint64_t any_number(void);
/* Check that this is an errno. */
void sane(int code, const char *what);

/* ---- state before a test, which must be the same afterwards ---- */

/* Draw the seed, and remember the state. */
void begin(void);
/* Check for leaks. @cookies were created, and end when the device's descriptor is closed. */
void finish(unsigned int cookies);

/* Export a buffer of a device's BAR without the library. */
int export_raw(struct pb_device *device, uint32_t bar, uint64_t offset, uint64_t length,
	       uint32_t open_flags);

/* ---- descriptors of all kinds, and the errnos for them ---- */

enum {
	OURS,
	READ_ONLY,
	DEAD,
	EDUS,
	UDMABUF,
	NO_DMA_BUF,
	NO_DMA_BUF_LAST = NO_DMA_BUF + 4,
	PATH,
	BAD,
	BAD_LAST = BAD + 3,
	FDS
};

extern int fds[FDS];

void fds_up(void);
void fds_down(void);
/* The result of dma_buf_get(). */
int dma_buf_error(unsigned int kind);
/* The result of the driver's check that the GPU exported it. */
int owner_error(unsigned int kind);
unsigned int any_fd(void);

/*
 * ---- the caller's memory: two pages and a read-only mapping of them, each with a guard page ----
 */

#define ARENA (2 * PAGE)

struct place {
	uint8_t *at; /* for the test's accesses; NULL if there is no memory */
	void *user;  /* the kernel's argument */
	size_t room; /* readable bytes there */
	bool writable;
};

void arena_up(void);
void arena_down(void);
/*
 * Choose an address for @want bytes: usually with enough room, sometimes with less, sometimes
 * invalid.
 */
struct place any_place(size_t want);
/* Write as much as there is room for. */
void put(const struct place *place, size_t at, const void *data, size_t length);
/* Remember all bytes of the arena. */
void remember(void);
/* Check that no byte changed since, except @length bytes at @at. */
void untouched(const uint8_t *at, size_t length, const char *what);

struct span {
	const uint8_t *at;
	size_t length;
};

/* The same, except the bytes of @n spans. */
void untouched_outside(const struct span *spans, unsigned int n, const char *what);

#endif
