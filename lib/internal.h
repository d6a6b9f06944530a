/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the parts of the library share.
 *
 * Locks, in the order in which they are taken:
 *
 *	pb_guest.lock		a guest's devices and address spaces, and what is mapped of the one in the other (iommufd/guest.h)
 *	pb_iommu.lock		which device is attached to which address space; held across attach and detach ioctls
 *	pb_ioas.lock		the address space's list of mappings, and how much of each is mapped; held across map and unmap ioctls
 *	pb_device.lock		read-modify-write of the device's command register, and its reset
 *	pb_origin.lock		who is to be told when the device's buffers are revoked; nothing is called with it held but
 *	pb_ioas.events_lock	the queue of revoked mappings (a leaf)
 *	pb_waitlist.lock	what was refused and may be possible soon (a leaf)
 *
 * Lifetimes are reference counts: a device holds its context, an address space holds its context, buffers and mappings hold the
 * origin of the device they came from, which is all that is left of a device once it is closed.
 */
#ifndef PB_INTERNAL_H
#define PB_INTERNAL_H

#include <errno.h>
#include <linux/peerbar.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include "peerbar.h"

/* ---- errors ---- */

/* fail with -code and a sentence */
int pb_fail(struct pb_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* the same, with ": " and the errno's own words behind the sentence */
int pb_fail_errno(struct pb_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* fail with -EOPNOTSUPP because the device @bdf ("" if not known) is not bound to our driver; behind the sentence, what to do */
int pb_fail_driver(struct pb_error *err, const char *bdf, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- small helpers ---- */

uint64_t pb_page_size(void);

static inline bool pb_aligned(uint64_t value, uint64_t to)
{
	return !(value & (to - 1));
}

/* fill in the caller's structure, which may be an older one than ours, or a newer one; see "structures that may grow" in peerbar.h */
static inline void pb_fill_sized(void *to, size_t size, const void *from, size_t ours)
{
	memcpy(to, from, size < ours ? size : ours);
	if (size > ours)
		memset((char *)to + ours, 0, size - ours);
}

/* the same of an array; a block to be freed with free(), never NULL but without memory */
void *pb_array_sized(const void *from, size_t ours, size_t n, size_t size);

/* ioctl() that is begun again after a signal, and says -errno */
static inline int pb_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

/* read a whole small file below a directory into a string: -errno, or its length; longer files are cut */
int pb_read_file(const char *path, char *text, size_t size);
int pb_write_file(const char *path, const char *text);
/* the last component of what a link points to, "" if there is no link */
void pb_read_link_name(const char *path, char *name, size_t size);
/* "0000:01:00.0" from what a person writes; -EINVAL */
int pb_parse_bdf(const char *text, char bdf[PB_BDF_LEN], struct pb_error *err);
/*
 * mmap(), shared, for reading and perhaps for writing: -errno. @place: where that begins in its BAR; the address is as far behind a
 * boundary of large pages, or the kernel could map small ones only
 */
int pb_mmap(int fd, uint64_t offset, size_t length, bool writable, uint64_t place, void **address);

/* ---- processes that have a device ---- */

/* whether /proc says so of a descriptor's target, of its fdinfo, of a line of maps; pure, for unit tests */
bool pb_link_is_buffer_of(const char *target, const char *bdf);
bool pb_fdinfo_is_device(const char *fdinfo, const char *bdf);
bool pb_map_is_device(const char *line, const char *cdev, const char *bdf);
/*
 * "process 1234 (qemu-system-x86), process 99 (vmm) and 2 more": those that have the device open or mapped, with @groups also those that have
 * its group open. False, and "", if there are none. Those of one process must be neighbours.
 */
bool pb_describe_holders(const struct pb_holder *list, size_t n, bool groups, char *text, size_t size);
/* fail to open a function with -EBUSY, and name the processes; @otherwise is added if none is known */
int pb_fail_in_use(struct pb_error *err, const struct pb_pci_function *f, const char *otherwise);
/* 0, or -EBUSY if a process holds the function, so that taking it from its VFIO driver would wait */
int pb_check_unused(const struct pb_pci_function *f, struct pb_error *err);

/* ---- /dev/peerbar; -errno, -ENOENT if it is not there ---- */

#define PB_DRIVER "peerbar-vfio-pci"

int pb_ask_info(struct peerbar_info *info);

/* ---- waiting for what was refused (wait.c) ---- */

/* tells, by an eventfd and once, that something may be possible that was refused */
struct pb_waiter {
	LIST_ENTRY(pb_waiter) in_list;
	struct pb_waitlist *list; /* the last it was put into, or NULL; the waiter's owner changes it */
	bool waiting; /* under the list's lock */
	const int *notify_fd;
	uint64_t first, last; /* what it waits for, as addresses */
};

struct pb_waitlist {
	pthread_mutex_t lock;
	LIST_HEAD(, pb_waiter) waiters;
	_Atomic uint64_t changes; /* changed under @lock */
};

void pb_waitlist_init(struct pb_waitlist *list);
void pb_waitlist_destroy(struct pb_waitlist *list);
/* the count before the attempt that was refused, for pb_wait_begin() after it */
uint64_t pb_wait_changes(const struct pb_waitlist *list);
/* wait, unless something has changed since @seen: then tell at once */
void pb_wait_begin(struct pb_waitlist *list, struct pb_waiter *waiter, uint64_t seen);
/* harmless if it does not wait */
void pb_wait_end(struct pb_waiter *waiter);
/* something became possible at these addresses: tell all that wait for one of them */
void pb_wait_wake(struct pb_waitlist *list, uint64_t first, uint64_t last);

/* ---- the iommufd context ---- */

struct pb_iommu {
	atomic_uint refs;
	int fd;
	pthread_mutex_t lock;
};

struct pb_iommu *pb_iommu_get(struct pb_iommu *iommu);

/* ---- devices ---- */

#define PB_MAX_REGIONS 64
#define PB_MAX_RANGES 65536 /* of a buffer; descriptors run out long before */

struct pb_dmabuf;

struct pb_device {
	struct pb_iommu *iommu;
	struct pb_origin *origin;
	pthread_mutex_t lock;
	int fd;
	struct pb_ioas *ioas; /* that it is attached to, or NULL; under pb_iommu.lock */
	LIST_ENTRY(pb_device) in_ioas;
	unsigned int nr_regions;
	struct {
		uint64_t offset;
		uint64_t size;
		uint32_t flags;
	} regions[PB_MAX_REGIONS];
	uint32_t flags;
	uint32_t iommufd_id;
	int iommu_group; /* -1 if not known; what attaches one function of a group attaches all */
	bool memory_bar[PB_BARS];
	uint8_t cap_pm, cap_exp, cap_af; /* capabilities by which a guest resets or sleeps; 0 if not there */
	uint8_t cap_msix;
	bool borrowed; /* bound and attached by somebody else, whose business its end is */
	char bdf[PB_BDF_LEN];
};

/*
 * What buffers and mappings remember of the device that they came from. @revocations counts how often the device's buffers were
 * revoked: a mapping that was made under another count than the present one may be dead. A buffer that came as a descriptor has an
 * origin of its own, of which nothing is known (@bdf is "").
 */
struct pb_origin {
	atomic_uint refs;
	atomic_int peerbar; /* of a device: /dev/peerbar, open from the first question on; -1 before, and where there is none */
	pthread_mutex_t lock;
	_Atomic uint64_t revocations; /* changed under @lock */
	LIST_HEAD(, pb_mapping) mappings;
	bool known; /* @kind is; both under @lock */
	struct pb_buffer_info kind; /* of the first buffer that was exported here: its driver makes them all alike */
	struct pb_waitlist restored; /* for the device's memory to decode again */
	char bdf[PB_BDF_LEN];
};

struct pb_origin *pb_origin_new(const char *bdf);
/* what a new buffer of @size bytes is, if another told: false if none has */
bool pb_origin_kind(struct pb_origin *origin, uint64_t size, struct pb_buffer_info *info);
void pb_origin_learn(struct pb_origin *origin, const struct pb_buffer_info *info);
struct pb_origin *pb_origin_get(struct pb_origin *origin);
void pb_origin_put(struct pb_origin *origin);
/* the count before a map ioctl, for pb_origin_watch() after it */
uint64_t pb_origin_revocations(struct pb_origin *origin);
/* tell the mapping of revocations from now on, and at once if there was one since @seen */
void pb_origin_watch(struct pb_origin *origin, struct pb_mapping *mapping, uint64_t seen);
void pb_origin_unwatch(struct pb_origin *origin, struct pb_mapping *mapping);
/* the device's buffers have been revoked: tell all mappings */
void pb_origin_revoke(struct pb_origin *origin);
/* one buffer has been revoked for good: tell its mappings */
void pb_origin_kill(struct pb_dmabuf *dmabuf);

/* ---- buffers ---- */

/* whether the ranges can be had of a BAR; @verb is what the sentence says of them, as "export" */
int pb_check_ranges(struct pb_device *device, unsigned int bar, const struct pb_range *ranges, unsigned int nr_ranges, const char *verb,
		    struct pb_error *err);

/* what /proc/self/fdinfo says of a dma-buf */
struct pb_fdinfo {
	bool is_dmabuf;
	uint64_t size;
	char exporter[PB_NAME_LEN];
	char name[PB_NAME_LEN];
};

void pb_parse_fdinfo(const char *text, struct pb_fdinfo *info);

/*
 * A dma-buf, shared by a buffer and its mappings, and but for @dead never changed once it is made. @pieces are single-range dma-bufs
 * that cover it in order, which is what iommufd can map; a buffer of one range, or whose ranges are not known, is its own only piece.
 */
struct pb_dmabuf {
	atomic_uint refs;
	int fd;
	struct pb_buffer_info info; /* as it was when this was made, but for the number */
	_Atomic uint64_t id; /* 0 until it is asked for */
	struct pb_origin *origin;
	atomic_bool dead; /* revoked for good, by pb_buffer_revoke(); set under pb_origin.lock */
	unsigned int nr_ranges; /* that are in @ranges; 0 if they are not known */
	struct pb_range *ranges;
	unsigned int nr_pieces;
	struct pb_piece {
		int fd;
		uint64_t size;
	} *pieces;
	struct pb_range only_range; /* most have one of each, which are here */
	struct pb_piece only_piece;
};

struct pb_buffer {
	struct pb_dmabuf *dmabuf;
};

struct pb_dmabuf *pb_dmabuf_get(struct pb_dmabuf *dmabuf);
void pb_dmabuf_put(struct pb_dmabuf *dmabuf);

/* the answer of /dev/peerbar, or of /proc if there is none; @shown is the number the caller knows the descriptor by */
int pb_identify(struct pb_origin *origin, int fd, int shown, struct pb_buffer_info *info, struct pb_error *err);

/* whether an importer that cannot follow moves may take a buffer of this model */
int pb_model_accept(enum pb_model model, bool accept_unknown, const char *exporter, struct pb_error *err);

/* ---- address spaces ---- */

TAILQ_HEAD(pb_mapping_queue, pb_mapping);

struct pb_ioas {
	struct pb_iommu *iommu;
	uint32_t id;
	bool borrowed; /* somebody else's, which only loses what was mapped here */
	uint32_t scratch_id; /* an IOAS without devices, to ask whether a buffer can be mapped; 0 until needed */
	LIST_HEAD(, pb_device) devices; /* that are attached; under pb_iommu.lock */
	pthread_mutex_t lock;
	LIST_HEAD(pb_mapping_list, pb_mapping) mappings; /* ascending by IOVA */
	pthread_mutex_t events_lock;
	struct pb_mapping_queue revoked;
	int event_fd;
	struct pb_waitlist room; /* for addresses that are taken or reserved */
};

struct pb_mapping {
	struct pb_ioas *ioas;
	LIST_ENTRY(pb_mapping) in_ioas;
	uint64_t iova;
	uint64_t length;
	uint32_t prot; /* of struct iommu_ioas_map.flags */
	atomic_int state;
	_Atomic(void *) data;
	bool mapped; /* iommufd has it, dead or alive; only a restore that failed half-way leaves a mapping without */
	struct pb_dmabuf *dmabuf; /* NULL for ordinary memory */
	uint64_t offset; /* in the buffer, or the address of ordinary memory */
	LIST_ENTRY(pb_mapping) in_origin;
	bool watched;
	TAILQ_ENTRY(pb_mapping) in_revoked; /* under events_lock */
	atomic_bool queued; /* changed under events_lock */
	const int *notify_fd; /* an eventfd that is told instead of the address space's queue; NULL if none */
};

/* the mapping is found to be revoked: note it, and queue the event, once */
void pb_mapping_revoked(struct pb_mapping *mapping);

/* ---- listing ---- */

/* from the attributes of a netlink message; what @listed points to is to be freed. -ENOMEM, or -EBADMSG if there is no number */
int pb_parse_listed(const void *attributes, size_t length, struct pb_listed *listed);
/* one block that holds the elements, of @size bytes each, and all they point to, which is freed; NULL without memory */
struct pb_listed *pb_pack_listed(struct pb_listed *list, size_t n, size_t size);

/*
 * The first part of @first to @last that the aperture, ascending, does not have: false if it has all of it. *@gap is as large as it
 * gets, beyond the two as well. Pure, for unit tests.
 */
bool pb_find_gap(const struct pb_iova_range *aperture, unsigned int n, uint64_t first, uint64_t last, struct pb_iova_range *gap);

/* a watch that hears nothing until pb_watch_only() says of what */
int pb_watch_open_silent(struct pb_watch **watch, struct pb_error *err);
/* from now on hear that these buffers were revoked or restored, by their numbers in the list, and nothing else; -errno */
int pb_watch_only(struct pb_watch *watch, const uint64_t *ids, unsigned int n);

/* the filter of that, for any socket whose datagrams are such messages */
int pb_filter_events(int fd, const uint64_t *ids, unsigned int n);

/* where to put @length bytes, given the aperture and what is taken; pure, for unit tests. 0, or -ENOSPC */
int pb_find_hole(const struct pb_iova_range *aperture, unsigned int nr_aperture, const struct pb_iova_range *taken,
		 unsigned int nr_taken, uint64_t from, uint64_t length, uint64_t alignment, uint64_t *iova);

#endif
