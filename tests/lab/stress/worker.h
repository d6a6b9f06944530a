/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A worker of lab-stress, see stress.h: two threads, which each run a sequence of operations chosen
 * by the seed, and check the results. Declares the interface between its source files.
 *
 * A thread may close a descriptor while the other uses it, which then gets EBADF. The descriptors
 * of buffers and devices get numbers that are not soon reused, so that such a number never refers
 * to another file.
 */
#ifndef WORKER_H
#define WORKER_H

#include <pthread.h>

#include "stress.h"

#define OURS	   "peerbar-vfio-pci"
#define RANGES	   4
#define TEST	   DEVICES /* "device" of the test exporter's buffers */
#define HUGE_PAGES 512

/* ---- worker.c: the current operation, and the loop ---- */

struct place {
	unsigned int incarnation, thread;
	uint64_t n;
	enum kind kind;
	uint64_t r[8]; /* random numbers for its choices */
};

extern unsigned int me;
extern __thread struct place place;
extern int peerbar, iommufd, importer, exporter;
extern uint32_t ioas;
extern struct raw_genl genl[THREADS], events[THREADS];
extern const char *importing_device;

/* Report a failure of the current operation, and end the process. */
void fail_operation(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
bool is_done(int ret, const char *call, ...);
/* Check that a call failed with errno @e. */
void refused(int ret, const char *call, int e);
void pause_us(uint64_t us);

/*
 * Return whether a call succeeded. If it failed, count it as refused if its errno is in the list,
 * which ends with 0; other errnos are failures. The list is evaluated after the call.
 */
#define done(call, ...)                      \
	({                                   \
		int done_ = (call);          \
		is_done(done_, __VA_ARGS__); \
	})

/* ---- objects.c: buffers, mappings and devices of this process ---- */

/* A buffer, or the object of a mapping. */
struct what {
	uint64_t id; /* 0: the mapping is not of a buffer */
	uint64_t size;
	uint32_t device;
	uint32_t generation;
	uint32_t model;
	uint32_t nr;
	uint64_t tag; /* of the test exporter's buffers */
	struct raw_range ranges[RANGES];
};

struct buffer {
	int fd; /* 0: none */
	struct what what;
};

#define BUFFERS 24

extern struct buffer buffers[BUFFERS];
/* Protects all tables here; must not be held across calls that wait. */
extern pthread_mutex_t table_lock;

enum map_kind { OF_BUFFER, OF_COOKIE, OF_REGION };

struct map {
	pthread_rwlock_t lock; /* protects everything below, and the mapping */
	bool used;
	enum map_kind kind;
	bool writable;
	char *p;
	uint64_t length;
	uint64_t offset; /* in the object */
	struct what what;
};

#define MAPS 32

extern struct map maps[MAPS];

struct held {
	bool used;
	uint64_t iova, length; /* in the IOAS; or .iova is the test importer's handle */
};

#define IOVAS	24
#define IMPORTS 8

extern struct held iovas[IOVAS], imports[IMPORTS];

/* A device's descriptor: its number, its generation in the upper half; 0 if there is none. */
extern _Atomic uint64_t slots[DEVICES];
extern uint64_t bar_offset[DEVICES], config_offset[DEVICES];
extern unsigned int pm_cap[DEVICES];
extern pthread_mutex_t control[DEVICES]; /* held during operations of the owner */

/* Move a descriptor to a number that is not soon reused. */
int stash(int fd);
int slot_fd(uint64_t slot);
uint32_t slot_generation(uint64_t slot);
/* Choose a device that this process has open, beginning at @r. */
bool pick_device(uint64_t r, unsigned int *d, uint64_t *slot);
bool pick_buffer(uint64_t r, unsigned int first_device, unsigned int last_device, struct buffer *b);
bool any_buffer(uint64_t r, struct buffer *b);
/* Allow EBADF if the other thread has closed the descriptor. */
int badf_if_closed(const struct buffer *b);
int badf_if_dropped(unsigned int d, uint64_t slot);
enum fate fate(uint64_t id);
void set_fate(uint64_t id, enum fate to);
bool is_dead(const struct what *w);
bool may_be_dead(const struct what *w);
void forget_map(struct map *m);
/* Mappings of regions keep the device open. Unmap those of generations that are to be closed. */
void unmap_regions(unsigned int d);
/* Replace another buffer if the table is full. */
void keep_buffer(int fd, const struct what *what);
/* Choose a mapping and lock it for reading or writing. */
struct map *pick_map(uint64_t r, bool write);
/* Replace another mapping if the table is full. Unmap the new one if all are locked. */
void keep_map(const struct map *new);
bool keep_held(struct held *table, unsigned int n, uint64_t iova, uint64_t length);
bool take_held(struct held *table, unsigned int n, uint64_t r, struct held *out);

/* ---- access.c: accesses to mapped memory, and what they must find ---- */

/* Four words of each page have its number; operations write to the others. */
extern const uint64_t numbered[4];

uint32_t phase_of(const struct what *w);
uint64_t number_at(const struct what *w, uint64_t offset);
void on_signal(int sig);
/*
 * Access a page of a mapping, whose lock the caller must hold, and check the result against the
 * buffer's state.
 */
void touch(struct map *m, uint64_t r, bool write);
/*
 * Access all mappings of a device, or of one buffer, in this process that the other thread is not
 * changing.
 */
void touch_all(unsigned int device, uint64_t id, uint64_t r, unsigned int most);

/* ---- mappings.c ---- */

/* Describe a range of a BAR like a buffer of one range. */
struct what one_range(unsigned int d, uint32_t generation, uint64_t offset, uint64_t length);
/* Choose some pages of a BAR, sometimes a range that a huge page can map. */
struct raw_range choose_range(uint64_t r);

/* ---- buffers.c ---- */

/* Check the state in a query's answer against the buffer's fate and the device's phase. */
void check_state(const struct what *w, uint32_t state, bool dead, uint32_t before);
/* Check that no mapping of this process reaches the memory any more. */
void check_dead(const struct buffer *b);

/* ---- passing.c: descriptors that processes pass to each other ---- */

/* Close this process's descriptor of a device, and unmap its regions. */
void release_device(unsigned int d);
/* Close descriptors soon after a process requests a drop. */
void obey_drop(void);

/* ---- operations: each returns false if there was nothing to do ---- */

bool op_touch(void);
bool op_write(void);
bool op_fork(void);
bool op_mmap(void);
bool op_munmap(void);
bool op_partial(void);
bool op_mremap(void);
bool op_mprotect(void);
bool op_cookie(void);
bool op_region(void);
bool op_export(void);
bool op_close(void);
bool op_query(void);
bool op_info(void);
bool op_set_memattr(void);
bool op_get_memattr(void);
bool op_revoke(void);
bool op_refusals(void);
bool op_poll(void);
bool op_dump(void);
bool op_get(void);
bool op_events(void);
bool op_send(void);
bool op_send_device(void);
bool op_receive(void);
bool op_iommu_map(void);
bool op_iommu_unmap(void);
bool op_import(void);
bool op_import_late(void);
bool op_test_export(void);
bool op_test_move(void);
bool op_test_access(void);
bool op_decoding(void);
bool op_power(void);
bool op_reset(void);
bool op_hot_reset(void);
bool op_ioas(void);
bool op_open(void);
bool op_reopen(void);
bool op_rebind(void);

#endif
