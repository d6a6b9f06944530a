/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/**
 * DOC: libpeerbar-verbs - buffers of libpeerbar as memory regions of RDMA devices
 *
 * It works with every provider of libibverbs whose device can register dma-bufs, and needs none of peerbar's own. What it adds to
 * ibv_reg_dmabuf_mr(3): a buffer that the device could not follow is refused before anything is attached to it, with a reason;
 * who registered a buffer is told when it is revoked (&struct pbv_watch); registrations are kept and found again by the buffer,
 * and never handed out after a revocation (&struct pbv_cache); and an address in a mapping is led back to its buffer
 * (pbv_lookup(), pbv_reg_address()).
 *
 * The conventions are those of <peerbar.h>. What is made from a protection domain or a context must be gone before that is.
 * The names of libibverbs are declared here and no more: a program includes <infiniband/verbs.h> for what it does itself.
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

/* ---- what a device can take ----------------------------------------------------------------------------------------------- */

/**
 * enum pbv_model_bits - the bits of pbv_models()
 * @PBV_TAKES_PINNED: the device takes PB_PINNED buffers
 * @PBV_TAKES_REVOCABLE: it takes PB_REVOCABLE ones
 * @PBV_TAKES_DYNAMIC: it takes PB_DYNAMIC ones
 * @PBV_MAY_TAKE_PINNED: it may take PB_PINNED ones, which only registering one tells
 * @PBV_MAY_TAKE_REVOCABLE: likewise
 * @PBV_MAY_TAKE_DYNAMIC: likewise
 */
enum pbv_model_bits {
	PBV_TAKES_PINNED = 1 << 1,
	PBV_TAKES_REVOCABLE = 1 << 2,
	PBV_TAKES_DYNAMIC = 1 << 3,
	PBV_MAY_TAKE_PINNED = 1 << 9,
	PBV_MAY_TAKE_REVOCABLE = 1 << 10,
	PBV_MAY_TAKE_DYNAMIC = 1 << 11
};

/* the same, for a model that is a variable */
#define PBV_TAKES(model) (1u << (model))
#define PBV_MAY_TAKE(model) (1u << ((model) + 8))

/**
 * pbv_models() - which memory models a device can register
 * @context: the device
 * @models: receives the bits
 * @err: may be NULL
 *
 * How sure the answer is:
 *
 * - That the device registers dma-bufs at all is tried, with a descriptor that is none. Then it takes PB_PINNED.
 * - PB_DYNAMIC takes on-demand paging, and that the device says of itself. A device that follows moves can also stop, so it
 *   takes PB_REVOCABLE too.
 * - peerbar's own device takes PB_REVOCABLE.
 * - Of any other nobody tells whether it can stop. Some drivers pin what they register, and exporters of PB_REVOCABLE buffers
 *   refuse those: PBV_MAY_TAKE(PB_REVOCABLE). Trying it with a buffer costs nothing but the try.
 *
 * Whether the device reaches a certain buffer is another question, which depends on where both are: peers behind some host
 * bridges cannot reach one another.
 *
 * Return: 0, and @models is 0 if the device or its provider cannot register dma-bufs.
 */
PB_API int pbv_models(struct ibv_context *context, unsigned int *models, struct pb_error *err);

/* ---- memory regions ------------------------------------------------------------------------------------------------------- */

struct pbv_mr;

/**
 * enum pbv_reg_flags - how to register
 * @PBV_UNKNOWN_MODEL: take a buffer whose model is PB_UNKNOWN
 */
enum pbv_reg_flags {
	PBV_UNKNOWN_MODEL = 1 << 0
};

/**
 * pbv_reg_buffer() - register a buffer as a memory region
 * @pd: the protection domain
 * @buffer: the buffer; it may be closed while the region lives
 * @offset: where in the buffer the region begins; any byte
 * @length: its length; not 0
 * @iova: the address that the region's first byte has in work requests; it must lie in its page where @offset lies in its own
 * @access: of &enum ibv_access_flags
 * @flags: of &enum pbv_reg_flags
 * @mr: receives the region
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if @length is 0, @iova does not fit @offset, @flags are unknown, or @access lets peers write without
 * IBV_ACCESS_LOCAL_WRITE, or the device knows it not, or cannot reach the buffer; -ERANGE if the part is not inside the buffer;
 * -EOPNOTSUPP if the model is PB_DYNAMIC and the device has no on-demand paging, or PB_UNKNOWN without PBV_UNKNOWN_MODEL, or if
 * the device cannot register dma-bufs, or cannot let go of one, or the exporter refuses the device; -ENODEV if the buffer is
 * revoked.
 */
PB_API int pbv_reg_buffer(struct ibv_pd *pd, struct pb_buffer *buffer, uint64_t offset, uint64_t length, uint64_t iova,
			  int access, unsigned int flags, struct pbv_mr **mr, struct pb_error *err);

/**
 * pbv_dereg() - end a region, and free it; NULL is allowed
 * @mr: the region; not one of a cache
 * @err: may be NULL
 *
 * A revoked one has to be ended like any other; until then its keys are not used again.
 *
 * Return: 0. After a failure, as -EBUSY while a memory window is bound to it, the region is still there.
 */
PB_API int pbv_dereg(struct pbv_mr *mr, struct pb_error *err);

/** pbv_mr_verbs() - the region as libibverbs knows it: its keys. It stays the region's, and is not to be deregistered. */
PB_API struct ibv_mr *pbv_mr_verbs(const struct pbv_mr *mr);

/** pbv_mr_iova() - the address of its first byte in work requests */
PB_API uint64_t pbv_mr_iova(const struct pbv_mr *mr);

/** pbv_mr_offset() - where in the buffer its first byte is; for ordinary memory 0 */
PB_API uint64_t pbv_mr_offset(const struct pbv_mr *mr);

/** pbv_mr_length() - its length */
PB_API uint64_t pbv_mr_length(const struct pbv_mr *mr);

/** pbv_mr_buffer() - its buffer, which stays the region's; NULL for ordinary memory */
PB_API struct pb_buffer *pbv_mr_buffer(const struct pbv_mr *mr);

/** pbv_mr_set_data() - keep a pointer of the caller's with a region, to recognise it in events */
PB_API void pbv_mr_set_data(struct pbv_mr *mr, void *data);

/** pbv_mr_data() - that pointer; NULL at first */
PB_API void *pbv_mr_data(const struct pbv_mr *mr);

/**
 * enum pbv_state - whether a region reaches its memory
 * @PBV_LIVE: it does
 * @PBV_REVOKED: it does not, and never will again. Work that uses its keys completes with an error
 * @PBV_UNKNOWN: nobody tells
 */
enum pbv_state {
	PBV_LIVE,
	PBV_REVOKED,
	PBV_UNKNOWN
};

/**
 * pbv_mr_state() - ask whether a region reaches its memory
 *
 * Ordinary memory and PB_PINNED buffers are PBV_LIVE. Of a buffer that was exported through peerbar's modules the module tells
 * whether it was ever revoked since the registration, also if it is back. Of other buffers peerbar's own device tells. With
 * another device, or without the module, nobody tells. This asks the kernel; see &struct pbv_cache for a way without.
 */
PB_API enum pbv_state pbv_mr_state(struct pbv_mr *mr);

/* ---- being told of revocation --------------------------------------------------------------------------------------------- */

struct pbv_watch;

/**
 * pbv_watch_open() - be told of regions of a device that are revoked
 * @context: the device
 * @watch: receives the watch
 * @err: may be NULL
 *
 * What is told: regions of buffers that were exported through peerbar's modules, with every device; with peerbar's own device,
 * those of every other dma-buf too. peerbar's own device tells each revocation of a region once, so there should be one
 * watch for a context, and nobody who takes them from the device himself.
 *
 * Return: 0; -EOPNOTSUPP if nobody would tell anything: the kernel module peerbar is not loaded, and the device is not peerbar's.
 */
PB_API int pbv_watch_open(struct ibv_context *context, struct pbv_watch **watch, struct pb_error *err);

/**
 * pbv_watch_add() - tell of this region from now on
 * @watch: the watch
 * @mr: a region of the watch's device; pbv_dereg() takes it out
 * @err: may be NULL
 *
 * A revocation since the registration is told too.
 *
 * Return: 0; -EXDEV if it is a region of another context; -EBUSY if it is being watched; -EOPNOTSUPP if nobody would tell of it.
 */
PB_API int pbv_watch_add(struct pbv_watch *watch, struct pbv_mr *mr, struct pb_error *err);

/** pbv_watch_fd() - a descriptor that polls readable while something may wait; it stays the watch's, and is not to be read */
PB_API int pbv_watch_fd(const struct pbv_watch *watch);

/**
 * pbv_next_revoked() - take the next region that was revoked; it does not wait for one
 * @watch: the watch
 * @mr: receives the region; NULL if none was revoked
 * @err: may be NULL
 *
 * Each region is told once. After the descriptor polled readable, take regions until there is none. It is the caller's business
 * that no other thread ends the one that is returned. If so many were revoked that peerbar's own device could not tell which,
 * every region that nobody knows to be good is told: pbv_mr_state() then says PBV_UNKNOWN, and it is best replaced.
 *
 * Return: 0.
 */
PB_API int pbv_next_revoked(struct pbv_watch *watch, struct pbv_mr **mr, struct pb_error *err);

/** pbv_watch_close() - end a watch; NULL is allowed. The regions stay. */
PB_API void pbv_watch_close(struct pbv_watch *watch);

/* ---- a cache of regions --------------------------------------------------------------------------------------------------- */

struct pbv_cache;

/**
 * enum pbv_cache_flags - how a cache works
 * @PBV_CACHE_UNKNOWN_MODEL: as PBV_UNKNOWN_MODEL
 * @PBV_CACHE_WHOLE: register the whole buffer, whatever part is asked for: one region for each buffer and access. Peers that are
 *	given the key of a part can then reach all of the buffer
 * @PBV_CACHE_CALLER_TELLS: where nobody else tells of a revocation, the caller will, with pbv_cache_forget(). Without this, such
 *	a region counts as stale at once, and is registered anew by every pbv_cache_get() that finds it
 */
enum pbv_cache_flags {
	PBV_CACHE_UNKNOWN_MODEL = 1 << 0,
	PBV_CACHE_WHOLE = 1 << 1,
	PBV_CACHE_CALLER_TELLS = 1 << 2
};

/**
 * pbv_cache_create() - make a cache of regions
 * @pd: the protection domain that they are registered in
 * @capacity: how many to keep; not 0
 * @flags: of &enum pbv_cache_flags
 * @cache: receives the cache
 * @err: may be NULL
 *
 * Regions are known by their buffer, that is the dma-buf's number (pb_buffer_id()), and not by an address: another descriptor of
 * the same dma-buf finds them, and another dma-buf that is mapped where one was does not.
 *
 * With the kernel module peerbar the cache sees without a system call that nothing was revoked. It keeps the module from being
 * unloaded.
 *
 * Return: 0; -EINVAL if @capacity is 0 or more than 2^20, or @flags are unknown.
 */
PB_API int pbv_cache_create(struct ibv_pd *pd, unsigned int capacity, unsigned int flags, struct pbv_cache **cache,
			    struct pb_error *err);

/**
 * pbv_cache_get() - a region for a part of a buffer, from the cache, or registered now
 * @cache: the cache
 * @buffer: the buffer
 * @offset: where in the buffer
 * @length: how much; not 0
 * @access: of &enum ibv_access_flags; a region has exactly this access
 * @mr: receives the region, to be given back with pbv_cache_put()
 * @err: may be NULL
 *
 * The region covers the part, and may be larger. Its addresses are offsets in the buffer: work requests give the byte at @offset
 * the address @offset.
 *
 * A region whose buffer was revoked, for now or for good, before the call is never returned; one that is revoked later stops
 * working in the hands of whoever has it.
 *
 * Return: 0; otherwise as pbv_reg_buffer().
 */
PB_API int pbv_cache_get(struct pbv_cache *cache, struct pb_buffer *buffer, uint64_t offset, uint64_t length, int access,
			 struct pbv_mr **mr, struct pb_error *err);

/**
 * pbv_cache_put() - give a region back
 * @cache: the cache
 * @mr: the region, as often as it was got
 *
 * It stays registered until room is needed, the one that was not used for longest going first, or until it is found stale.
 */
PB_API void pbv_cache_put(struct pbv_cache *cache, struct pbv_mr *mr);

/**
 * pbv_cache_forget() - let no region of a buffer be found any more
 * @cache: the cache
 * @buffer: the buffer
 *
 * Those that nobody has are deregistered now, the others when they are given back.
 */
PB_API void pbv_cache_forget(struct pbv_cache *cache, struct pb_buffer *buffer);

/**
 * struct pbv_cache_stats - what a cache did
 * @regions: that are registered now, those in use included
 * @in_use: that somebody has
 * @hits: that were found, and good
 * @misses: that were not found, and registered
 * @checks: that were found, and the kernel asked about
 * @stale: that were found, and not good any more; each was registered anew
 * @evicted: that made room
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
 * pbv_cache_stats_sized() - what a cache did so far
 * @cache: the cache
 * @stats: filled in
 * @size: sizeof(*@stats), as the caller was compiled with: &struct pbv_cache_stats may grow, see <peerbar.h>
 */
PB_API void pbv_cache_stats_sized(struct pbv_cache *cache, struct pbv_cache_stats *stats, size_t size);

/** pbv_cache_stats() - pbv_cache_stats_sized() with the size that this header knows */
static inline void pbv_cache_stats(struct pbv_cache *cache, struct pbv_cache_stats *stats)
{
	pbv_cache_stats_sized(cache, stats, sizeof(*stats));
}

/**
 * pbv_cache_destroy() - end a cache and deregister all it has; NULL is allowed
 * @cache: the cache
 * @err: may be NULL
 *
 * Return: 0; -EBUSY if a region was not given back, and then nothing happened; -EBUSY too if a memory window is bound to one.
 */
PB_API int pbv_cache_destroy(struct pbv_cache *cache, struct pb_error *err);

/* ---- from an address to a buffer ------------------------------------------------------------------------------------------ */

struct pbv_space;

/**
 * pbv_space_create() - make a register of mappings, in which pbv_lookup() finds an address quickly
 * @space: receives it
 * @err: may be NULL
 *
 * Return: 0.
 */
PB_API int pbv_space_create(struct pbv_space **space, struct pb_error *err);

/**
 * pbv_space_add() - register a mapping
 * @space: the register
 * @address: where it is; page-aligned
 * @length: how much; not 0, counted up to whole pages
 * @buffer: what is mapped; it may be closed
 * @offset: the offset in the buffer of what is at @address; page-aligned
 * @err: may be NULL
 *
 * Return: 0; -EINVAL if something is not aligned, or @length is 0; -ERANGE if the part is not inside the buffer, or wraps around;
 * -EEXIST if a mapping is registered for some of the addresses.
 */
PB_API int pbv_space_add(struct pbv_space *space, void *address, size_t length, struct pb_buffer *buffer, uint64_t offset,
			 struct pb_error *err);

/**
 * pbv_space_remove() - forget the mapping that was registered for @address; to be called before munmap()
 *
 * Return: 0; -ENOENT if none begins there.
 */
PB_API int pbv_space_remove(struct pbv_space *space, void *address, struct pb_error *err);

/** pbv_space_mmap() - pb_buffer_mmap() and pbv_space_add() */
PB_API int pbv_space_mmap(struct pbv_space *space, struct pb_buffer *buffer, uint64_t offset, size_t length, bool writable,
			  void **address, struct pb_error *err);

/** pbv_space_munmap() - pbv_space_remove(), and munmap() of all that was registered for @address */
PB_API int pbv_space_munmap(struct pbv_space *space, void *address, struct pb_error *err);

/** pbv_space_destroy() - end a register; NULL is allowed. Mappings stay. */
PB_API void pbv_space_destroy(struct pbv_space *space);

/**
 * pbv_lookup() - which buffer is mapped at an address
 * @space: a register to look in first; NULL if there is none
 * @address: the address; any byte
 * @length: how much must be of the buffer, at least; not 0
 * @buffer: receives the buffer, to be closed with pb_buffer_close(); NULL if there is none: ordinary memory, or nothing
 * @offset: receives where in the buffer the address is; may be NULL
 * @err: may be NULL
 *
 * Without a register, or if it does not know the address, /proc/self/maps is read, which tells of a mapping of a dma-buf which
 * one it is, and then a descriptor of it is looked for among those that this process has open: one must be. That takes some
 * tenths of a millisecond, and longer in a process with many mappings and descriptors.
 *
 * Return: 0; -EINVAL if @length is 0; -ERANGE if it begins in a mapping of a buffer, and ends elsewhere; -ENOENT if a dma-buf is
 * mapped there, but this process has no descriptor of it any more, or never had, as with a cookie of a device.
 */
PB_API int pbv_lookup(struct pbv_space *space, const void *address, size_t length, struct pb_buffer **buffer, uint64_t *offset,
		      struct pb_error *err);

/**
 * pbv_reg_address() - ibv_reg_mr() for any address: ordinary memory, or a mapping of a buffer
 * @space: as for pbv_lookup(); may be NULL
 * @pd: the protection domain
 * @address: the address; any byte
 * @length: how much; not 0
 * @access: of &enum ibv_access_flags
 * @flags: of &enum pbv_reg_flags
 * @mr: receives the region
 * @err: may be NULL
 *
 * Its addresses in work requests are those of the process, as ibv_reg_mr() has them. The mapping may be unmapped while the region
 * lives.
 *
 * Return: 0; -EACCES if @access allows to write, and the mapping does not; -EFAULT if the memory is not mapped, or read-only, or
 * a device's without a dma-buf; otherwise as pbv_lookup() and pbv_reg_buffer().
 */
PB_API int pbv_reg_address(struct pbv_space *space, struct ibv_pd *pd, void *address, size_t length, int access,
			   unsigned int flags, struct pbv_mr **mr, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
