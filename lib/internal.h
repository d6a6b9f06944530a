/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Internal interfaces of the library.
 *
 * Locks, in the order in which they are taken:
 *
 *	pb_guest.lock		a guest's devices, address spaces and mappings
 *				(iommufd/guest-state.h)
 *	pb_iommu.lock		attachments of devices to address spaces; held across
 *				attach and detach ioctls
 *	pb_ioas.lock		the address space's list of mappings, and how much of each
 *				is mapped; held across map and unmap ioctls
 *	pb_device.lock		read-modify-write of the device's command register, and its
 *				reset
 *	pb_origin.lock		the mappings to notify when the device's buffers are
 *				revoked; only the locks below are taken with it held
 *	pb_mapping_events.lock	the queue of revoked mappings (a leaf)
 *	pb_waitlist.lock	waiters for refused operations (a leaf)
 *
 * Objects are reference counted. A device and an address space hold a reference to their context.
 * Buffers and mappings hold a reference to the origin of their device, which outlives the closed
 * device.
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

/* Fill in the error, and return -code. */
int pb_fail(struct pb_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* pb_fail(), with ": " and the errno's description appended. */
int pb_fail_errno(struct pb_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * pb_fail() with EOPNOTSUPP because the device @bdf ("" if unknown) is not bound to
 * peerbar-vfio-pci, with the remedy appended.
 */
int pb_fail_driver(struct pb_error *err, const char *bdf, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- the debug log (debug-log.h) ---- */

bool pb_debug_wants_failures(void);
void pb_debug_failure(const struct pb_error *err);
void pb_debug_ioctl(int fd, const char *request, int ret);

/* ---- small helpers ---- */

static inline uint64_t pb_page_size(void)
{
	return (uint64_t)getpagesize();
}

static inline bool pb_aligned(uint64_t value, uint64_t to)
{
	return !(value & (to - 1));
}

/*
 * Fill in the caller's structure, which may be older or newer than the library's. See "structures
 * that may grow" in peerbar.h.
 */
static inline void pb_fill_sized(void *to, size_t size, const void *from, size_t ours)
{
	memcpy(to, from, size < ours ? size : ours);
	if (size > ours)
		memset((char *)to + ours, 0, size - ours);
}

/*
 * The same for an array. Returns a block to be freed with free(), even if @n is 0; NULL without
 * memory.
 */
static inline void *pb_array_sized(const void *from, size_t ours, size_t n, size_t size)
{
	char *to = calloc(n ? n : 1, size ? size : 1);
	size_t i;

	for (i = 0; to && i < n; i++)
		pb_fill_sized(to + i * size, size, (const char *)from + i * ours, ours);
	return to;
}

/* ioctl() that returns -errno on failure. @name is the request's, for the debug log. */
static inline int pb_ioctl_once(int fd, unsigned long request, const char *name, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		ret = -errno;
	pb_debug_ioctl(fd, name, ret);
	return ret;
}

/* The same, which restarts after a signal. */
static inline int pb_ioctl_restarting(int fd, unsigned long request, const char *name, void *arg)
{
	int ret;

	do {
		ret = pb_ioctl_once(fd, request, name, arg);
	} while (ret == -EINTR);
	return ret;
}

#define pb_ioctl(fd, request, arg) pb_ioctl_restarting(fd, request, #request, arg)

/* Read a whole small file into a string, truncated to @size. Returns its length, or -errno. */
int pb_read_file(const char *path, char *text, size_t size);
int pb_write_file(const char *path, const char *text);
/* The last component of a link's target; "" if there is no link. */
void pb_read_link_name(const char *path, char *name, size_t size);
/* Normalize an address to "0000:01:00.0". Fails with -EINVAL. */
int pb_parse_bdf(const char *text, char bdf[PB_BDF_LEN], struct pb_error *err);
/*
 * mmap(), shared, readable and with @writable also writable. Returns -errno on failure. @place is
 * the offset in the BAR: the address gets the same offset from a huge page boundary, so that the
 * kernel can use huge mappings.
 */
int pb_mmap(int fd, uint64_t offset, size_t length, bool writable, uint64_t place, void **address);
/* Returns the largest of the huge page sizes that fits into @length, or 0. @page: the page size. */
uint64_t pb_large_page_size(uint64_t length, uint64_t page);

/* ---- processes that have a device ---- */

/*
 * Whether a descriptor's link target, a fdinfo, or a line of maps in /proc belongs to the device.
 * Pure, for unit tests.
 */
bool pb_link_is_buffer_of(const char *target, const char *bdf);
bool pb_fdinfo_is_device(const char *fdinfo, const char *bdf);
bool pb_map_is_device(const char *line, const char *cdev, const char *bdf);
/*
 * Describe the processes that hold the device, or with @groups also its group: "process 1234
 * (qemu-system-x86), process 99 (vmm) and 2 more". Returns false, and "", if there are none.
 * Entries of the same process must be adjacent.
 */
bool pb_describe_holders(const struct pb_holder *list, size_t n, bool groups, char *text,
			 size_t size);
/*
 * Fail with -EBUSY because a function cannot be opened, and name the processes; append @otherwise
 * if none is known.
 */
int pb_fail_in_use(struct pb_error *err, const struct pb_pci_function *f, const char *otherwise);
/* Fails with -EBUSY if a process holds the function, since unbinding its VFIO driver would wait. */
int pb_check_unused(const struct pb_pci_function *f, struct pb_error *err);

/* ---- /dev/peerbar; -errno, -ENOENT if it is not there ---- */

#define PB_DRIVER "peerbar-vfio-pci"

/* Returns a descriptor of the module. */
int pb_open_module(void);
int pb_query_module(struct peerbar_info *info);

/* mapping-events.c: signal an eventfd */
void pb_signal(int fd);

/* ---- waiting for refused operations (waitlist.c) ---- */

/* Signals an eventfd, once, when a refused operation may succeed. */
struct pb_waiter {
	LIST_ENTRY(pb_waiter) in_list;
	/* The last list it was added to, or NULL. Only the owner of the waiter changes it. */
	struct pb_waitlist *list;
	bool waiting; /* under the list's lock */
	const int *notify_fd;
	uint64_t first, last; /* the addresses it waits for */
};

struct pb_waitlist {
	pthread_mutex_t lock;
	LIST_HEAD(, pb_waiter) waiters;
	_Atomic uint64_t changes; /* changed under @lock */
};

void pb_waitlist_init(struct pb_waitlist *list);
void pb_waitlist_destroy(struct pb_waitlist *list);
/* Get the count before the attempt, for pb_wait_begin() after its refusal. */
uint64_t pb_waitlist_get_changes(const struct pb_waitlist *list);
/* Add the waiter; signal it at once if the count has changed since @seen. */
void pb_wait_begin(struct pb_waitlist *list, struct pb_waiter *waiter, uint64_t seen);
/* May be called if it does not wait. */
void pb_wait_end(struct pb_waiter *waiter);
/* The addresses may be usable now: signal all that wait for one of them. */
void pb_waitlist_wake(struct pb_waitlist *list, uint64_t first, uint64_t last);

/* ---- the iommufd context ---- */

struct pb_iommu {
	atomic_uint refs;
	int fd;
	pthread_mutex_t lock;
};

struct pb_iommu *pb_iommu_get(struct pb_iommu *iommu);

/* ---- devices ---- */

#define PB_MAX_REGIONS 64
#define PB_MAX_RANGES  65536 /* of a buffer; descriptors run out long before */

struct pb_dmabuf;

struct pb_device {
	struct pb_iommu *iommu;
	struct pb_origin *origin;
	pthread_mutex_t lock;
	int fd;
	/* The one it is attached to, or NULL; and its waiters. Both under pb_iommu.lock. */
	struct pb_ioas *ioas;
	struct pb_waitlist *ioas_room;
	LIST_ENTRY(pb_device) in_ioas;
	unsigned int nr_regions;
	struct {
		uint64_t offset;
		uint64_t size;
		uint32_t flags;
	} regions[PB_MAX_REGIONS];
	uint32_t flags;
	uint32_t iommufd_id;
	int iommu_group; /* -1 if unknown; attaching one function of a group attaches all */
	bool memory_bar[PB_BARS];
	/* Capabilities by which a guest resets or suspends the device; 0 if missing. */
	uint8_t cap_pm, cap_exp, cap_af;
	uint8_t cap_msix;
	bool borrowed; /* bound and attached by the caller, not by the library */
	char bdf[PB_BDF_LEN];
};

/*
 * Take a device that the kernel detached off its address space, if any, and wake the waiters for
 * addresses that it reserved. The caller must hold pb_iommu.lock.
 */
void pb_device_leave_ioas(struct pb_device *device);

/*
 * The part of a device that its buffers and mappings keep. @revocations counts the revocations of
 * the device's buffers: a mapping made under an older count may be dead. A buffer from a descriptor
 * has its own origin, of which nothing is known (@bdf is "").
 */
struct pb_origin {
	atomic_uint refs;
	/* Of a device: /dev/peerbar, kept open from the first query on. Otherwise -1. */
	atomic_int peerbar;
	pthread_mutex_t lock;
	_Atomic uint64_t revocations; /* written under @lock */
	LIST_HEAD(, pb_mapping) mappings;
	bool known; /* @kind is valid; both under @lock */
	/* The properties of the device's first buffer; they depend on its driver only. */
	struct pb_buffer_info kind;
	struct pb_waitlist restored; /* waiters for the device's memory to decode again */
	char bdf[PB_BDF_LEN];
};

struct pb_origin *pb_origin_new(const char *bdf);
/*
 * Get the properties of a new buffer of @size bytes from an earlier one. Returns false if there was
 * none.
 */
bool pb_origin_get_kind(struct pb_origin *origin, uint64_t size, struct pb_buffer_info *info);
void pb_origin_store_kind(struct pb_origin *origin, const struct pb_buffer_info *info);
struct pb_origin *pb_origin_get(struct pb_origin *origin);
void pb_origin_put(struct pb_origin *origin);
/* Get the count before a map ioctl, for pb_origin_watch() after it. */
uint64_t pb_origin_get_revocations(struct pb_origin *origin);
/* Notify the mapping of revocations, also of one since @seen. */
void pb_origin_watch(struct pb_origin *origin, struct pb_mapping *mapping, uint64_t seen);
void pb_origin_unwatch(struct pb_origin *origin, struct pb_mapping *mapping);
/*
 * Replace what a mapping maps, by another bridge of the same dma-buf. Takes over the reference, and
 * returns that of the former bridge to the caller.
 */
struct pb_dmabuf *pb_origin_replace(struct pb_mapping *mapping, struct pb_dmabuf *bridged);
/* The device's buffers were revoked: notify all mappings. */
void pb_origin_revoke(struct pb_origin *origin);
/* One buffer was permanently revoked: notify its mappings. */
void pb_dmabuf_mark_dead(struct pb_dmabuf *dmabuf);

/* ---- buffers ---- */

/* Check ranges of a BAR; @verb is for the error sentence, for example "export". */
int pb_check_ranges(struct pb_device *device, unsigned int bar, const struct pb_range *ranges,
		    unsigned int nr_ranges, const char *verb, struct pb_error *err);

/* The fields of a dma-buf in /proc/self/fdinfo. */
struct pb_fdinfo {
	bool is_dmabuf;
	uint64_t size;
	char exporter[PB_NAME_LEN];
	char name[PB_NAME_LEN];
};

void pb_parse_fdinfo(const char *text, struct pb_fdinfo *info);

/*
 * A dma-buf, shared by a buffer and its mappings. Immutable after creation, except @id and @dead.
 * @pieces are single-range dma-bufs that cover it in order, for iommufd. With one range, or unknown
 * ranges, the only piece is the dma-buf itself. A bridge (iommufd/bridge.c) has only pieces, and
 * belongs to one mapping, which closes those that it does not need.
 */
struct pb_dmabuf {
	atomic_uint refs;
	int fd;
	struct pb_buffer_info info; /* at creation, without the number */
	_Atomic uint64_t id;	    /* 0 until it is queried */
	struct pb_origin *origin;
	/* Permanently revoked, by pb_buffer_revoke(). Set under pb_origin.lock. */
	atomic_bool dead;
	unsigned int nr_ranges; /* in @ranges; 0 if unknown */
	struct pb_range *ranges;
	unsigned int nr_pieces;
	struct pb_piece {
		int fd;
		uint64_t size;
	} *pieces;
	struct pb_range only_range; /* storage for the common case of one range and one piece */
	struct pb_piece only_piece;
};

struct pb_buffer {
	struct pb_dmabuf *dmabuf;
};

struct pb_dmabuf *pb_dmabuf_get(struct pb_dmabuf *dmabuf);
void pb_dmabuf_put(struct pb_dmabuf *dmabuf);

/*
 * Query /dev/peerbar, or /proc without it. @shown is the descriptor's number in the caller, for
 * error sentences. @probe allows that the memory moves.
 */
int pb_identify(struct pb_origin *origin, int fd, int shown, bool probe,
		struct pb_buffer_info *info, struct pb_error *err);
/*
 * The model of a buffer that a device is about to attach to. That may move the memory, as the
 * attachment will.
 */
enum pb_model pb_dmabuf_model(const struct pb_dmabuf *dmabuf);

/* Check that an importer that cannot follow moves may map a buffer of this model. */
int pb_model_accept(enum pb_model model, bool accept_unknown, const char *exporter,
		    struct pb_error *err);

/* ---- mappings of buffers ---- */

/* The revoked mappings of an address space that its user has not taken yet. */
struct pb_mapping_events {
	pthread_mutex_t lock;
	TAILQ_HEAD(, pb_mapping) revoked;
	int fd; /* an eventfd: readable while @revoked is not empty */
};

/* Returns -errno on failure. */
int pb_mapping_events_init(struct pb_mapping_events *events);
void pb_mapping_events_destroy(struct pb_mapping_events *events);
/* Returns NULL if there is none. */
struct pb_mapping *pb_mapping_events_take(struct pb_mapping_events *events);

/* A span of an address space. iommufd/map.c makes it; its origin marks it as revoked. */
struct pb_mapping {
	struct pb_ioas *ioas; /* iommufd/ioas.h */
	LIST_ENTRY(pb_mapping) in_ioas;
	struct pb_mapping_events *events; /* of the address space */
	uint64_t iova;
	uint64_t length;
	uint32_t prot; /* of struct iommu_ioas_map.flags */
	atomic_int state;
	_Atomic(void *) data;
	/*
	 * iommufd has the mapping, live or dead. False only after a restore that failed half-way.
	 */
	bool mapped;
	/* What iommufd maps; NULL for ordinary memory. Changed under pb_origin.lock, too. */
	struct pb_dmabuf *dmabuf;
	/* The buffer's dma-buf if @dmabuf is a bridge of it, otherwise NULL */
	struct pb_dmabuf *bridge_of;
	uint64_t offset; /* in the buffer; for ordinary memory the address */
	LIST_ENTRY(pb_mapping) in_origin;
	bool watched;
	TAILQ_ENTRY(pb_mapping) in_revoked; /* under pb_mapping_events.lock */
	atomic_bool queued;		    /* written under pb_mapping_events.lock */
	/* An eventfd to signal instead of queueing the event; NULL if none. */
	const int *notify_fd;
};

/* Mark the mapping as revoked, and queue one event. */
void pb_mapping_mark_revoked(struct pb_mapping *mapping);
/* Remove a mapping from the queue of events. */
void pb_mapping_forget_event(struct pb_mapping *mapping);

/* ---- listing ---- */

/*
 * Parse the attributes of a netlink message. The caller frees the arrays of @listed. Fails with
 * -ENOMEM, or with -EBADMSG if the buffer's number is missing.
 */
int pb_parse_listed(const void *attributes, size_t length, struct pb_listed *listed);
/*
 * Copy the elements, @size bytes each, and their arrays into one block. Frees @list. Returns NULL
 * without memory.
 */
struct pb_listed *pb_pack_listed(struct pb_listed *list, size_t n, size_t size);

struct pb_importer_list {
	struct pb_importer *list;
	size_t n, room;
	int ret;
};

/*
 * Append the importers in the attributes of a netlink message. Fails with -ENOMEM, or with -EBADMSG
 * if the buffer's number is missing. The caller frees the list.
 */
int pb_parse_importers(const void *attributes, size_t length, struct pb_importer_list *list);
void pb_importer_from_device(struct pb_importer *to, const struct peerbar_importer *from,
			     enum pb_buffer_state state, uint64_t now, uint64_t revoked);
void pb_importer_from_fence(struct pb_importer *to, const struct peerbar_fence *from,
			    enum pb_buffer_state state, uint64_t now, uint64_t revoked);

/* Open a watch that receives no event until pb_watch_set_filter(). */
int pb_watch_open_silent(struct pb_watch **watch, struct pb_error *err);
/*
 * Receive only the revocations and restorations of these buffers, by number in the list. Returns
 * -errno on failure.
 */
int pb_watch_set_filter(struct pb_watch *watch, const uint64_t *ids, unsigned int n);

/* The filter of pb_watch_set_filter(), for any socket whose datagrams are such messages. */
int pb_filter_events(int fd, const uint64_t *ids, unsigned int n);

#endif
