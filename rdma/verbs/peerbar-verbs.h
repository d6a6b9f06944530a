/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/**
 * DOC: libpeerbar-verbs - buffers of libpeerbar as memory regions of RDMA devices
 *
 * Works with every provider of libibverbs whose device can register dma-bufs, not only peerbar's.
 * It adds to ibv_reg_dmabuf_mr(3):
 *
 * - A buffer that the device could not follow is refused, with a reason, before anything attaches
 *   to it.
 * - The program that registered a buffer is notified of its revocation (&struct pbv_watch).
 * - Registrations are cached by buffer, and never returned after a revocation (&struct pbv_cache).
 * - An address in a mapping is resolved to its buffer (pbv_lookup(), pbv_reg_address()).
 *
 * The conventions are those of <peerbar.h>. Free all objects made from a protection domain or a
 * context before it. This header only declares the names of libibverbs: a program that calls it
 * includes <infiniband/verbs.h>.
 */
#ifndef PEERBAR_VERBS_H
#define PEERBAR_VERBS_H

#include <peerbar.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ibv_context;
struct ibv_mr;
struct ibv_pd;

/* ---- models that a device can register ------------------------------------------------------- */

/**
 * enum pbv_model_bits - the bits of pbv_models()
 * @PBV_TAKES_PINNED: the device can register PB_PINNED buffers
 * @PBV_TAKES_REVOCABLE: it can register PB_REVOCABLE buffers
 * @PBV_TAKES_DYNAMIC: it can register PB_DYNAMIC buffers without PBV_PIN
 * @PBV_MAY_TAKE_PINNED: unknown for PB_PINNED, until a buffer is registered
 * @PBV_MAY_TAKE_REVOCABLE: likewise for PB_REVOCABLE
 * @PBV_MAY_TAKE_DYNAMIC: likewise for PB_DYNAMIC
 * @PBV_FOLLOWS: regions of PB_DYNAMIC buffers follow the memory when it moves (on-demand paging)
 * @PBV_PINS: with PBV_PIN, the device registers PB_DYNAMIC buffers by pinning them, so that they do
 *	not move
 * @PBV_MAY_PIN: unknown whether it does, until a buffer is registered
 */
enum pbv_model_bits {
	PBV_TAKES_PINNED = 1 << 1,
	PBV_TAKES_REVOCABLE = 1 << 2,
	PBV_TAKES_DYNAMIC = 1 << 3,
	PBV_MAY_TAKE_PINNED = 1 << 9,
	PBV_MAY_TAKE_REVOCABLE = 1 << 10,
	PBV_MAY_TAKE_DYNAMIC = 1 << 11,
	PBV_FOLLOWS = 1 << 16,
	PBV_PINS = 1 << 17,
	PBV_MAY_PIN = 1 << 18
};

/* The bits for an enum pb_model in a variable. */
#define PBV_TAKES(model)    (1u << (model))
#define PBV_MAY_TAKE(model) (1u << ((model) + 8))

/**
 * pbv_models() - get the memory models that a device can register
 * @context: the device
 * @models: receives the bits
 * @err: may be NULL
 *
 * The sources:
 *
 * - Whether the device registers dma-bufs at all is tried, with an invalid descriptor. If so, it
 *   takes PB_PINNED.
 * - Following PB_DYNAMIC buffers needs on-demand paging, a capability of the device. A device that
 *   follows moves can also stop, so it takes PB_REVOCABLE too.
 * - Pinning PB_DYNAMIC buffers is what drivers without on-demand paging do, but not all of them.
 *   PBV_MAY_PIN is reported, and PBV_MAY_TAKE(PB_DYNAMIC). peerbar's own device pins.
 * - peerbar's own device takes PB_REVOCABLE.
 * - For other devices, PB_REVOCABLE is unknown: some drivers pin the memory they register, and
 *   exporters of PB_REVOCABLE buffers refuse those. PBV_MAY_TAKE(PB_REVOCABLE) is reported; trying
 *   it with a buffer is harmless.
 *
 * Whether the device reaches a particular buffer also depends on the topology: some host bridges do
 * not forward P2P DMA.
 *
 * Return: 0; @models is 0 if the device or its provider cannot register dma-bufs.
 */
PB_API int pbv_models(struct ibv_context *context, unsigned int *models, struct pb_error *err);

/* ---- memory regions -------------------------------------------------------------------------- */

struct pbv_mr;

/**
 * enum pbv_reg_flags - flags of a registration
 * @PBV_UNKNOWN_MODEL: accept a buffer whose model is PB_UNKNOWN
 * @PBV_PIN: pin a PB_DYNAMIC buffer while the region exists. Not the default, because it is at the
 *	expense of others: the exporter can neither move nor evict the memory, a GPU's memory is
 *	small, and no user of it sees why it is full. Some exporters first move the memory to system
 *	memory; pb_buffer_query() may report where it is. Ignored for other models
 */
enum pbv_reg_flags { PBV_UNKNOWN_MODEL = 1 << 0, PBV_PIN = 1 << 1 };

/**
 * pbv_reg_buffer() - register a buffer as a memory region
 * @pd: the protection domain
 * @buffer: the buffer; it may be closed while the region exists
 * @offset: the region's offset in the buffer, in bytes; any alignment
 * @length: its length; not 0
 * @iova: the address of its first byte in work requests; must equal @offset modulo the page size
 * @access: of &enum ibv_access_flags
 * @flags: of &enum pbv_reg_flags
 * @mr: receives the region
 * @err: may be NULL
 *
 * A region of a PB_DYNAMIC buffer follows it if the device has on-demand paging, with or without
 * IBV_ACCESS_ON_DEMAND in @access. With PBV_PIN it does not: the device's driver pins the buffer,
 * if it can. Attaching may move the memory of some exporters, see pb_buffer_probe().
 *
 * The sentence in @err has the errno of the kernel, which is the exporter's if that failed. ENOTSUPP
 * (524), which is no errno of user space, becomes -EOPNOTSUPP.
 *
 * Return: 0; -EINVAL if @length is 0, @iova does not match @offset or wraps around, @flags are
 * unknown or contradict @access, @access allows peers to write without IBV_ACCESS_LOCAL_WRITE, the
 * device does not support @access, or it cannot reach the buffer; -EREMOTEIO also if it cannot
 * reach the buffer; -ERANGE if the part is not inside the buffer; -EOPNOTSUPP if the model is
 * PB_DYNAMIC, the device has no on-demand paging and PBV_PIN is not given, or the exporter cannot
 * pin; if the model is PB_UNKNOWN without PBV_UNKNOWN_MODEL; or if the device cannot register
 * dma-bufs or invalidate its mapping of one, or the exporter refuses the device; -ENODEV if the
 * buffer is revoked; -EBUSY or -EAGAIN if the exporter cannot have the memory where the device
 * reaches it now.
 */
PB_API int pbv_reg_buffer(struct ibv_pd *pd, struct pb_buffer *buffer, uint64_t offset,
			  uint64_t length, uint64_t iova, int access, unsigned int flags,
			  struct pbv_mr **mr, struct pb_error *err);

/**
 * pbv_dereg() - deregister and free a region; NULL is allowed
 * @mr: the region; not one of a cache
 * @err: may be NULL
 *
 * A revoked region must be deregistered like any other; until then its keys are not reused.
 *
 * Return: 0; -EINVAL if it is a cache's region; -EBUSY while a memory window is bound to it. After
 * a failure the region still exists.
 */
PB_API int pbv_dereg(struct pbv_mr *mr, struct pb_error *err);

/**
 * pbv_mr_verbs() - the region's ibv_mr, which has its keys
 * @mr: the region
 *
 * Return: pointer to it; it remains the region's, do not deregister it.
 */
PB_API struct ibv_mr *pbv_mr_verbs(const struct pbv_mr *mr);

/** pbv_mr_iova() - the address of its first byte in work requests */
PB_API uint64_t pbv_mr_iova(const struct pbv_mr *mr);

/** pbv_mr_offset() - the offset of its first byte in the buffer; 0 for ordinary memory */
PB_API uint64_t pbv_mr_offset(const struct pbv_mr *mr);

/** pbv_mr_length() - its length */
PB_API uint64_t pbv_mr_length(const struct pbv_mr *mr);

/** pbv_mr_buffer() - its buffer, which remains the region's; NULL for ordinary memory */
PB_API struct pb_buffer *pbv_mr_buffer(const struct pbv_mr *mr);

/** pbv_mr_set_data() - attach a pointer of the caller's to a region, to identify it in events */
PB_API void pbv_mr_set_data(struct pbv_mr *mr, void *data);

/** pbv_mr_data() - the pointer of pbv_mr_set_data(); NULL initially */
PB_API void *pbv_mr_data(const struct pbv_mr *mr);

/**
 * enum pbv_state - whether DMA through a region reaches its memory
 * @PBV_LIVE: it does
 * @PBV_REVOKED: it never will again. Work requests that use its keys complete with an error
 * @PBV_UNKNOWN: unknown
 */
enum pbv_state { PBV_LIVE, PBV_REVOKED, PBV_UNKNOWN };

/**
 * pbv_mr_state() - query whether DMA through a region reaches its memory
 * @mr: the region
 *
 * Ordinary memory and PB_PINNED buffers are PBV_LIVE. For a buffer exported through peerbar's
 * modules, the module reports any revocation since the registration, also if the buffer is live
 * again. For other buffers on peerbar's own device, the state is PBV_REVOKED once a watch has taken
 * the revocation from the device; otherwise it is PBV_UNKNOWN, unless the provider has
 * peerbardv_mr_revoked(). With another device, or without the module, the state is PBV_UNKNOWN.
 * Each call queries the kernel; &struct pbv_cache avoids that.
 *
 * Return: PBV_LIVE, PBV_REVOKED or PBV_UNKNOWN.
 */
PB_API enum pbv_state pbv_mr_state(struct pbv_mr *mr);

/* ---- notification of revocation -------------------------------------------------------------- */

struct pbv_watch;

/**
 * pbv_watch_open() - receive the revoked regions of a device
 * @context: the device
 * @watch: receives the watch
 * @err: may be NULL
 *
 * Reports regions of buffers that were exported through peerbar's modules, on every device. On
 * peerbar's own device, reports regions of all other dma-bufs too. That device reports each
 * revocation of a region once, so open only one watch for a context, and do not read them from the
 * device directly.
 *
 * Return: 0; -EOPNOTSUPP if there is no source: the kernel module peerbar is not loaded, and the
 * device is not peerbar's.
 */
PB_API int pbv_watch_open(struct ibv_context *context, struct pbv_watch **watch,
			  struct pb_error *err);

/**
 * pbv_watch_add() - watch a region
 * @watch: the watch
 * @mr: a region of the watch's device; pbv_dereg() removes it
 * @err: may be NULL
 *
 * A revocation between the registration and this call is reported too.
 *
 * Return: 0; -EXDEV if the region belongs to another context; -EBUSY if it is watched already;
 * -EOPNOTSUPP if there is no source for its buffer.
 */
PB_API int pbv_watch_add(struct pbv_watch *watch, struct pbv_mr *mr, struct pb_error *err);

/**
 * pbv_watch_fd() - a descriptor that polls readable while a report may be pending
 * @watch: the watch
 *
 * Do not read from it.
 *
 * Return: descriptor; it remains the watch's.
 */
PB_API int pbv_watch_fd(const struct pbv_watch *watch);

/**
 * pbv_next_revoked() - take the next revoked region, without waiting
 * @watch: the watch
 * @mr: receives the region; NULL if none was revoked
 * @err: may be NULL
 *
 * Each region is reported once. When the descriptor polls readable, take regions until NULL. The
 * caller must ensure that no other thread deregisters the returned region. If peerbar's own device
 * lost keys of revoked regions, every region that is not known to be live is reported:
 * pbv_mr_state() may then return PBV_UNKNOWN, and the region should be replaced.
 *
 * Return: 0.
 */
PB_API int pbv_next_revoked(struct pbv_watch *watch, struct pbv_mr **mr, struct pb_error *err);

/** pbv_watch_close() - close a watch; NULL is allowed. The regions remain. */
PB_API void pbv_watch_close(struct pbv_watch *watch);

/* ---- a cache of regions ---------------------------------------------------------------------- */

struct pbv_cache;

/**
 * enum pbv_cache_flags - flags of a cache
 * @PBV_CACHE_UNKNOWN_MODEL: as PBV_UNKNOWN_MODEL
 * @PBV_CACHE_WHOLE: register the whole buffer for any part of it: one region for each buffer and
 *	access. Peers that receive the key of a part can then access all of the buffer
 * @PBV_CACHE_PIN: as PBV_PIN. A buffer stays pinned while the cache has a region of it, also when the
 *	region is not in use
 * @PBV_CACHE_CALLER_TELLS: if revocations of a buffer have no other source, the caller reports them
 *	with pbv_cache_forget(). Without this flag, each pbv_cache_get() registers such a buffer
 *	again
 */
enum pbv_cache_flags {
	PBV_CACHE_UNKNOWN_MODEL = 1 << 0,
	PBV_CACHE_WHOLE = 1 << 1,
	PBV_CACHE_CALLER_TELLS = 1 << 2,
	PBV_CACHE_PIN = 1 << 3
};

/**
 * pbv_cache_create() - create a cache of regions
 * @pd: the protection domain that they are registered in
 * @capacity: the number of regions to keep; 1 to 2^20
 * @flags: of &enum pbv_cache_flags
 * @cache: receives the cache
 * @err: may be NULL
 *
 * Regions are found by the dma-buf's number (pb_buffer_id()), not by an address: another descriptor
 * of the same dma-buf finds them, and another dma-buf mapped at the same address does not.
 *
 * With the kernel module peerbar, the cache validates a region without a system call. It keeps the
 * module loaded.
 *
 * Return: 0; -EINVAL if @capacity is 0 or more than 2^20, or @flags are unknown.
 */
PB_API int pbv_cache_create(struct ibv_pd *pd, unsigned int capacity, unsigned int flags,
			    struct pbv_cache **cache, struct pb_error *err);

/**
 * pbv_cache_get() - get a region for a part of a buffer, cached or newly registered
 * @cache: the cache
 * @buffer: the buffer
 * @offset: the offset in the buffer
 * @length: the length; not 0
 * @access: of &enum ibv_access_flags; the region has exactly this access
 * @mr: receives the region; release it with pbv_cache_put()
 * @err: may be NULL
 *
 * The region covers the part, and may be larger. Its addresses are offsets in the buffer: in work
 * requests the byte at @offset has the address @offset.
 *
 * A region whose buffer was revoked before the call, temporarily or permanently, is never returned.
 * A region revoked later stops working while in use.
 *
 * Return: 0; otherwise as pbv_reg_buffer().
 */
PB_API int pbv_cache_get(struct pbv_cache *cache, struct pb_buffer *buffer, uint64_t offset,
			 uint64_t length, int access, struct pbv_mr **mr, struct pb_error *err);

/**
 * pbv_cache_put() - release a region
 * @cache: the cache
 * @mr: the region; put it as often as it was returned by pbv_cache_get()
 *
 * It stays registered until it is found stale, or evicted as the least recently used.
 */
PB_API void pbv_cache_put(struct pbv_cache *cache, struct pbv_mr *mr);

/**
 * pbv_cache_forget() - remove all regions of a buffer from the cache
 * @cache: the cache
 * @buffer: the buffer
 *
 * Unused regions are deregistered now, the others when they are put.
 */
PB_API void pbv_cache_forget(struct pbv_cache *cache, struct pb_buffer *buffer);

/**
 * struct pbv_cache_stats - statistics of a cache
 * @regions: regions that are registered now, including those in use
 * @in_use: regions that are in use
 * @hits: regions that were found, and valid
 * @misses: regions that were not found, and registered
 * @checks: regions that were found, and checked with the kernel
 * @stale: regions that were found, but not valid; each was registered again
 * @evicted: regions that were evicted
 */
struct pbv_cache_stats {
	unsigned int regions;
	unsigned int in_use;
	uint64_t hits;
	uint64_t misses;
	uint64_t checks;
	uint64_t stale;
	uint64_t evicted;
};

/**
 * pbv_cache_stats_sized() - get the statistics of a cache
 * @cache: the cache
 * @stats: filled in
 * @size: sizeof(*@stats), as the caller was compiled with: &struct pbv_cache_stats may grow, see
 *	<peerbar.h>
 */
PB_API void pbv_cache_stats_sized(struct pbv_cache *cache, struct pbv_cache_stats *stats,
				  size_t size);

/** pbv_cache_stats() - pbv_cache_stats_sized() with this header's size */
static inline void pbv_cache_stats(struct pbv_cache *cache, struct pbv_cache_stats *stats)
{
	pbv_cache_stats_sized(cache, stats, sizeof(*stats));
}

/**
 * pbv_cache_destroy() - destroy a cache and deregister its regions; NULL is allowed
 * @cache: the cache
 * @err: may be NULL
 *
 * Return: 0; -EBUSY if a region is in use, and then nothing is changed; -EBUSY also if a memory
 * window is bound to one.
 */
PB_API int pbv_cache_destroy(struct pbv_cache *cache, struct pb_error *err);

/* ---- from an address to a buffer ------------------------------------------------------------- */

struct pbv_space;

/**
 * pbv_space_create() - create a table of mappings, in which pbv_lookup() finds an address quickly
 * @space: receives the table
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pbv_space_create(struct pbv_space **space, struct pb_error *err);

/**
 * pbv_space_add() - add a mapping to the table
 * @space: the table
 * @address: the mapping's address; page-aligned
 * @length: its length; not 0, rounded up to whole pages
 * @buffer: the buffer that is mapped; it may be closed
 * @offset: the offset in the buffer of the byte at @address; page-aligned
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if @address or @offset is not aligned, or @length is 0; -ERANGE if the part is
 * not inside the buffer, or wraps around; -EEXIST if the table has a mapping of some of the
 * addresses.
 */
PB_API int pbv_space_add(struct pbv_space *space, void *address, size_t length,
			 struct pb_buffer *buffer, uint64_t offset, struct pb_error *err);

/**
 * pbv_space_remove() - remove a mapping; call it before munmap()
 * @space: the table
 * @address: the address at which the mapping begins
 * @err: may be NULL
 *
 * Return: 0; -ENOENT if none begins there.
 */
PB_API int pbv_space_remove(struct pbv_space *space, void *address, struct pb_error *err);

/** pbv_space_mmap() - pb_buffer_mmap() and pbv_space_add() */
PB_API int pbv_space_mmap(struct pbv_space *space, struct pb_buffer *buffer, uint64_t offset,
			  size_t length, bool writable, void **address, struct pb_error *err);

/** pbv_space_munmap() - pbv_space_remove(), and munmap() of the whole mapping */
PB_API int pbv_space_munmap(struct pbv_space *space, void *address, struct pb_error *err);

/** pbv_space_destroy() - destroy a table; NULL is allowed. Mappings remain. */
PB_API void pbv_space_destroy(struct pbv_space *space);

/**
 * pbv_lookup() - find the buffer that is mapped at an address
 * @space: a table to search first; may be NULL
 * @address: the address; any alignment
 * @length: the number of bytes that must belong to the buffer; not 0
 * @buffer: receives the buffer, to be closed with pb_buffer_close(); NULL if none is mapped there:
 *	ordinary memory, or nothing
 * @offset: receives the address's offset in the buffer; may be NULL
 * @err: may be NULL
 *
 * Without a table, or if the table does not have the address, /proc/self/maps identifies the
 * dma-buf, and the library searches this process's open descriptors for one of it, which must
 * exist. That takes some tenths of a millisecond, and longer in a process with many mappings and
 * descriptors.
 *
 * Return: 0; -EINVAL if @length is 0; -ERANGE if the part begins in a mapping of a buffer but ends
 * outside it; -ENOENT if a dma-buf is mapped there, but this process has no descriptor of it, as
 * for a cookie of a device.
 */
PB_API int pbv_lookup(struct pbv_space *space, const void *address, size_t length,
		      struct pb_buffer **buffer, uint64_t *offset, struct pb_error *err);

/**
 * pbv_reg_address() - ibv_reg_mr() for any address: ordinary memory, or a mapping of a buffer
 * @space: as for pbv_lookup(); may be NULL
 * @pd: the protection domain
 * @address: the address; any alignment
 * @length: the length; not 0
 * @access: of &enum ibv_access_flags
 * @flags: of &enum pbv_reg_flags
 * @mr: receives the region
 * @err: may be NULL
 *
 * Its addresses in work requests are those of the process, as with ibv_reg_mr(). The mapping may be
 * unmapped while the region exists.
 *
 * Return: 0; -EACCES if @access allows writes, and the mapping does not; -EFAULT if the memory is
 * not mapped, is read-only, or belongs to a device and is mapped without a dma-buf; otherwise as
 * pbv_lookup() and pbv_reg_buffer().
 */
PB_API int pbv_reg_address(struct pbv_space *space, struct ibv_pd *pd, void *address, size_t length,
			   int access, unsigned int flags, struct pbv_mr **mr,
			   struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
