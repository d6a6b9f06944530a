/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * lab-stress: processes that race on the lab's devices. Declares the interface between its
 * source files, and the memory that its processes share.
 *
 * Each device has an owner: the process that opens and closes it, toggles its decoding, resets and
 * unbinds it. The owner passes descriptors of the device and of its buffers to the other processes,
 * which use them like any process.
 *
 * A process may be killed at any time, so nothing here is locked.
 */
#ifndef STRESS_H
#define STRESS_H

#include <stdatomic.h>
#include <time.h>

#include "lab.h"
#include "raw-ioctl.h"

#define PROCESSES_MAX 16
#define THREADS	      2
#define DEVICES	      3
#define HOT	      2		 /* the device that is plugged and pulled */
#define NUMBERED      (16 * MIB) /* of each BAR: every page there has its number */

/* ---- operations ---- */

enum kind {
	OP_TOUCH,
	OP_WRITE,
	OP_FORK,
	OP_MMAP,
	OP_MUNMAP,
	OP_PARTIAL,
	OP_MREMAP,
	OP_MPROTECT,
	OP_COOKIE,
	OP_REGION,
	OP_EXPORT,
	OP_CLOSE,
	OP_QUERY,
	OP_INFO,
	OP_SET_MEMATTR,
	OP_GET_MEMATTR,
	OP_REVOKE,
	OP_REFUSALS,
	OP_POLL,
	OP_SEND,
	OP_RECEIVE,
	OP_SEND_DEVICE,
	OP_IOMMU_MAP,
	OP_IOMMU_UNMAP,
	OP_IOAS,
	OP_DUMP,
	OP_GET,
	OP_EVENTS,
	OP_IMPORT,
	OP_IMPORT_LATE,
	OP_TEST_EXPORT,
	OP_TEST_MOVE,
	OP_TEST_ACCESS,
	OP_DECODING,
	OP_POWER,
	OP_RESET,
	OP_HOT_RESET,
	OP_OPEN,
	OP_REOPEN,
	OP_REBIND,
	OP_PLUG,
	OP_KILL,
	OPS
};

extern const char *const op_names[OPS];

/* ---- a device ---- */

/*
 * The owner's operation on the device, in the low bits of a number that changes with each change.
 * If a process reads the same number before and after an access, the device did not change in
 * between.
 */
#define PHASE_ON       0 /* the memory is accessible */
#define PHASE_CHANGING 1
#define PHASE_OFF      2 /* decoding is off, or the device is in D3hot */
#define PHASE_MASK     3
#define PHASE_DOOMED   4 /* owner killed or device pulled: frozen until the next open */
#define PHASE_STEP     8

struct shared_device {
	char bdf[PB_BDF_LEN];
	unsigned int owner;
	_Atomic uint32_t phase;
	_Atomic uint32_t generation; /* number of opens; copied to its buffers */
	_Atomic uint32_t dead;	     /* buffers up to this generation are dead */
	_Atomic uint32_t drop;	     /* close descriptors up to this generation */
	atomic_bool present;
	atomic_bool leaving; /* must not be opened again */
};

/* ---- a thread ---- */

struct shared_thread {
	_Atomic int kind;	/* the operation; -1: none */
	_Atomic uint64_t since; /* its start, in ns */
	_Atomic uint64_t n;	/* its number in this thread */
	_Atomic int tid;
};

/* ---- the fates of buffers, by their id ---- */

#define IDS (1U << 22)

enum fate { ALIVE, DYING, DEAD };

struct shared {
	uint64_t seed;
	unsigned int processes;
	uint64_t limit; /* operations; 0: no limit */
	atomic_bool stop;
	atomic_bool failed;
	_Atomic uint64_t operations;
	_Atomic uint64_t done[OPS], refused[OPS], ns[OPS];
	struct shared_device devices[DEVICES];
	struct shared_thread threads[PROCESSES_MAX][THREADS];
	_Atomic uint8_t fate[IDS];
};

extern struct shared *shared;
/* For each process, its end of a pair of datagram sockets, and the end of the other processes. */
extern int inbox[PROCESSES_MAX], outbox[PROCESSES_MAX];

uint64_t now_ns(void);
/* Report a failure with the seed, and end the process. */
void failed(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Open the device, write the numbers to the pages of its BAR, and close it. */
void number_pages(unsigned int d);
/* Return the number that is written at @offset of a device's BAR, four times in each page. */
uint64_t page_number(unsigned int d, uint64_t offset);

/* Freeze the phase until the device is opened again. */
void doom(struct shared_device *d);

/* Run a worker. Never returns. */
void worker(unsigned int process, unsigned int incarnation) __attribute__((noreturn));
/* Discard the messages to a process that has ended. */
void drain_inbox(int sock);

#endif
