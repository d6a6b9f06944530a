/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * lab-stress: processes that race on the lab's devices. What the parts of it share, and what its processes share in memory.
 *
 * Each device has an owner, the process that opens and closes it, turns its decoding off and on, resets it, and unbinds it. Descriptors
 * of the device and of its buffers are passed to the others, who do with them what anybody may.
 *
 * A process may be killed at any time, so nothing here is locked.
 */
#ifndef STRESS_H
#define STRESS_H

#include <stdatomic.h>
#include <time.h>

#include "lab.h"
#include "raw.h"

#define PROCESSES_MAX 16
#define THREADS 2
#define DEVICES 3
#define HOT 2 /* the device that is plugged and pulled */
#define NUMBERED (16 * MIB) /* of each BAR: every page there carries its number */

/* ---- what is done ---- */

enum kind {
	OP_TOUCH, OP_WRITE, OP_FORK,
	OP_MMAP, OP_MUNMAP, OP_PARTIAL, OP_MREMAP, OP_MPROTECT, OP_COOKIE, OP_REGION,
	OP_EXPORT, OP_CLOSE, OP_QUERY, OP_INFO, OP_SET_MEMATTR, OP_GET_MEMATTR, OP_REVOKE, OP_REFUSALS, OP_POLL,
	OP_SEND, OP_RECEIVE, OP_SEND_DEVICE,
	OP_IOMMU_MAP, OP_IOMMU_UNMAP, OP_IOAS,
	OP_DUMP, OP_GET, OP_EVENTS,
	OP_IMPORT, OP_IMPORT_LATE, OP_TEST_EXPORT, OP_TEST_MOVE, OP_TEST_ACCESS,
	OP_DECODING, OP_POWER, OP_RESET, OP_HOT_RESET, OP_OPEN, OP_REOPEN, OP_REBIND,
	OP_PLUG, OP_KILL,
	OPS
};

extern const char * const op_names[OPS];

/* ---- a device ---- */

/*
 * What the owner is doing to the device, in the low bits of a number that changes with each change: whoever reads the same number
 * before and after an access knows that it did not change in between.
 */
#define PHASE_ON	0 /* its memory is there */
#define PHASE_CHANGING	1
#define PHASE_OFF	2 /* decoding is off, or it is in D3hot */
#define PHASE_MASK	3
#define PHASE_DOOMED	4 /* the owner is being killed, or the device pulled: the phase does not change any more until it is opened again */
#define PHASE_STEP	8

struct shared_device {
	char bdf[PB_BDF_LEN];
	unsigned int owner;
	_Atomic uint32_t phase;
	_Atomic uint32_t generation; /* how often it was opened; of its buffers, too */
	_Atomic uint32_t dead; /* buffers up to this generation are dead */
	_Atomic uint32_t drop; /* descriptors up to this generation shall be closed */
	atomic_bool present;
	atomic_bool leaving; /* not to be opened again */
};

/* ---- a thread ---- */

struct shared_thread {
	_Atomic int kind; /* what it does; -1: nothing */
	_Atomic uint64_t since; /* when it began, in ns */
	_Atomic uint64_t n; /* how manieth operation of the thread */
	_Atomic int tid;
};

/* ---- what is known of buffers by their id ---- */

#define IDS (1U << 22)

enum fate { ALIVE, DYING, DEAD };

struct shared {
	uint64_t seed;
	unsigned int processes;
	uint64_t limit; /* operations; 0: none */
	atomic_bool stop;
	atomic_bool failed;
	_Atomic uint64_t operations;
	_Atomic uint64_t done[OPS], refused[OPS], ns[OPS];
	struct shared_device devices[DEVICES];
	struct shared_thread threads[PROCESSES_MAX][THREADS];
	_Atomic uint8_t fate[IDS];
};

extern struct shared *shared;
/* for each process, its end of a pair of datagram sockets, and the others' */
extern int inbox[PROCESSES_MAX], outbox[PROCESSES_MAX];

uint64_t now_ns(void);
/* a failure, with the seed; ends the process */
void failed(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* bind, and write the numbers to the pages of a BAR; the device is closed afterwards */
void number_pages(unsigned int d);
/* what is written at @offset of a device's BAR, at four places in each page */
uint64_t page_number(unsigned int d, uint64_t offset);

/* the phase stays what it is until the device is opened again */
void doom(struct shared_device *d);

/* never returns */
void worker(unsigned int process, unsigned int incarnation) __attribute__((noreturn));
/* what came to a process that is no more */
void drain_inbox(int sock);

#endif
