/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the peerbar modules share, and what other exporters and importers in the kernel may use.
 *
 * A buffer (struct peerbar_buffer) is a dma-buf whose memory can be taken away. The core knows dma-buf, page faults and
 * netlink; where the memory comes from, and when it goes away, is the exporter's business (struct peerbar_backing_ops).
 */
#ifndef _PEERBAR_KAPI_H
#define _PEERBAR_KAPI_H

#include <linux/dma-buf.h>
#include <linux/maple_tree.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/dma-buf.h>
#include <uapi/linux/peerbar.h>

struct p2pdma_provider;
struct peerbar_buffer;
struct peerbar_ns;
struct peerbar_user;
struct vm_area_struct;

/**
 * struct peerbar_range - physically contiguous memory of a buffer
 * @offset: where it begins in the buffer; the sum of the lengths before it
 * @paddr: physical address, page-aligned
 * @len: bytes, a multiple of the page size
 */
struct peerbar_range {
	u64 offset;
	phys_addr_t paddr;
	size_t len;
};

/**
 * struct peerbar_backing_ops - what an exporter does for its buffers; all are optional
 * @prepare: no lock of ours is held, mmap_lock may be, in faults. Do what has to be done before @enter can succeed and cannot be
 *	done under the reservation lock. Called before attachments, questions and faults, and often; 0 or an errno that they fail
 *	with.
 * @enter: reservation lock held. The memory is about to be reached: 0, or -ENODEV if it cannot be now. After 0 it must remain
 *	reachable until @leave, and for what was mapped meanwhile, until the exporter calls peerbar_buffer_revoke_locked() and,
 *	for DMA, importers have unmapped.
 * @leave: reservation lock held. The other end of @enter.
 * @attach: no lock held. An importer attaches; 0 or an errno.
 * @detach: no lock held. The importer of an @attach that succeeded goes.
 * @map: reservation lock held, entered. As map_dma_buf of &struct dma_buf_ops; without it the core maps the ranges.
 * @unmap: reservation lock held. The other end of @map.
 * @release: no lock held. The last reference to the buffer is gone; nothing of ours is called any more.
 * @iomem: reservation lock held, entered. For device memory: where the kernel reaches the range of that number, if the exporter
 *	keeps it mapped for as long as the buffer is not revoked; NULL if it does not.
 * @memattr_supported: whether mmap with this attribute is possible; without it only the default is.
 */
struct peerbar_backing_ops {
	int (*prepare)(struct peerbar_buffer *buf);
	int (*enter)(struct peerbar_buffer *buf);
	void (*leave)(struct peerbar_buffer *buf);
	int (*attach)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach);
	void (*detach)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach);
	struct sg_table *(*map)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach, enum dma_data_direction dir);
	void (*unmap)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach, struct sg_table *sgt,
		      enum dma_data_direction dir);
	void (*release)(struct peerbar_buffer *buf);
	void __iomem *(*iomem)(struct peerbar_buffer *buf, unsigned int range);
	bool (*memattr_supported)(struct peerbar_buffer *buf, u32 memattr);
};

/**
 * struct peerbar_buffer_info - what a buffer is made from
 * @owner: module of the exporter; held while the buffer exists
 * @dev: the device whose memory it is; may be NULL. The exporter holds it until @ops->release, since its name is told, and kills
 *	its buffers before the device goes away.
 * @name: what /proc/PID/maps and netlink call it; at most 31 characters
 * @ops: see there
 * @priv: the exporter's own
 * @model: PEERBAR_MODEL_PINNED, REVOCABLE or DYNAMIC
 * @memattr: the default attribute of mmaps
 * @first_memattr: the attribute of mmaps until somebody sets another
 * @open_flags: O_RDONLY, O_WRONLY or O_RDWR, and O_CLOEXEC
 * @resv: a reservation object to share, which must outlive the buffer; NULL for one of its own
 * @mapping: the address space that mmaps belong to, which must outlive the buffer; NULL for one of its own
 * @provider: the P2P provider of MMIO ranges; NULL if peers cannot reach them
 * @mmio: the ranges are a device's memory, not the system's
 * @any_uncached: a guest may map it with any uncached type (VM_ALLOW_ANY_UNCACHED): the exporter knows that no access to the
 *	memory can do harm, whatever the type
 * @unmappable: processes cannot map it
 * @revoked: it begins its life revoked, not live
 * @ranges: where it is; copied
 * @nr_ranges: at least 1
 */
struct peerbar_buffer_info {
	struct module *owner;
	struct device *dev;
	const char *name;
	const struct peerbar_backing_ops *ops;
	void *priv;
	enum peerbar_model model;
	u32 memattr;
	u32 first_memattr;
	int open_flags;
	struct dma_resv *resv;
	struct address_space *mapping;
	struct p2pdma_provider *provider;
	bool mmio;
	bool any_uncached;
	bool unmappable;
	bool revoked;
	const struct phys_vec *ranges;
	unsigned int nr_ranges;
};

/**
 * struct peerbar_buffer - a buffer; as old as its dma-buf, which holds the only reference
 *
 * States and who moves a buffer between them:
 *
 *	LIVE -> REVOKED		the exporter, peerbar_buffer_revoke_locked(); reservation lock
 *	REVOKED -> LIVE		any task for which @enter succeeds, peerbar_buffer_enter(); reservation lock
 *	any -> DEAD		peerbar_buffer_mark_dead(); no lock, so also under another task's; nothing leads out of it
 *
 * A buffer is killed in three steps, so that neither a late importer nor a task that keeps a reservation lock saves others:
 *
 *	DEAD		faults, attachments and DMA mappings are refused
 *	stopped		importers have been told, and the mappings of processes are gone; needs the reservation lock
 *	drained		the fences of importers have signalled, and they have unmapped: nothing reaches the memory
 *
 * Locks, outermost first:
 *
 *	mmap_lock, or the lock of a VMA		(faults)
 *	locks that @ops->prepare takes
 *	dmabuf->resv				LIVE or REVOKED, @stopped, @dma_maps, @pins, @ranges, the attachments, making PTEs
 *	locks that @ops->enter takes
 *	i_mmap_rwsem, page table locks		(zapping, making PTEs)
 *
 * The registry's mutex is a leaf: nothing but a reference is taken under it. Nobody waits for importers to unmap with a lock
 * held.
 *
 * @dmabuf: the dma-buf; its priv is the buffer
 * @info: what it was made from, without @info.ranges, which is below
 * @dentry: the dma-buf's; who holds it keeps the release from being called
 * @inode: keeps @mapping alive until the exporter has been told of the release
 * @mapping: where the VMAs of mmaps are found
 * @ranges: where it is. Changes only for DYNAMIC, under the reservation lock
 * @pgoff_base: subtracted from vm_pgoff to get the page in the buffer: 0 but for cookies
 * @state: enum peerbar_state
 * @stopped: importers have been told that it is DEAD, and processes have lost it
 * @flags: PEERBAR_STOP_QUEUED: @stop_later is queued, with a reference of its own
 * @stop_later: stops it for a killer that was interrupted before it had the lock
 * @revocations: how often the memory was taken away, under the reservation lock
 * @dma_maps: number of DMA mappings (map_dma_buf) that exist
 * @pins: pins of a DYNAMIC buffer
 * @unwilling: those of importers that have no invalidate_mappings(), and so keep what they have
 * @memattr: the attribute of the next mmap; a single word, read and written without a lock
 * @label: what it is called; unlike the dma-buf's name, which any holder may change, this is the exporter's
 * @drained: woken when @dma_maps reaches 0
 * @mmaps: number of VMAs
 * @faults: page faults that mapped a page, a PMD, a PUD
 * @id: never 0, never used twice
 * @ns: the network namespace it was created in, and which it does not keep alive
 * @user: the user who made it, whose limits it counts for
 * @creator: the process that made it
 */
struct peerbar_buffer {
	struct dma_buf *dmabuf;
	struct peerbar_buffer_info info;
	struct dentry *dentry;
	struct inode *inode;
	struct address_space *mapping;
	struct peerbar_range *ranges;
	unsigned long pgoff_base;
	enum peerbar_state state;
	bool stopped;
	unsigned long flags;
	struct delayed_work stop_later;
	u64 revocations;
	unsigned int dma_maps;
	unsigned int pins;
	unsigned int unwilling;
	u32 memattr;
	char label[DMA_BUF_NAME_LEN];
	wait_queue_head_t drained;
	atomic_t mmaps;
	atomic64_t faults[3];
	u64 id;
	struct peerbar_ns *ns;
	struct peerbar_user *user;
	pid_t creator;
};

#define PEERBAR_STOP_QUEUED	0 /* a bit of @flags */

/* ---- for exporters ---- */

/**
 * peerbar_buffer_create() - make a buffer
 * @info: see there
 *
 * The buffer's only reference is that of its dma-buf: dma_buf_put() or dma_buf_fd() ends the caller's. Sleeps; no lock may be
 * held that @info->ops take.
 *
 * Return: the buffer, or ERR_PTR: -EINVAL for ranges that are none, unaligned or overflow, or for system memory of 4 GiB and more
 * in one; -EDQUOT if the user of the current process has too many buffers or ranges; -ENOMEM; what dma_buf_export() says.
 */
struct peerbar_buffer *peerbar_buffer_create(const struct peerbar_buffer_info *info);

/** peerbar_buffer_of() - the buffer of a dma-buf; NULL if it is not one of ours */
struct peerbar_buffer *peerbar_buffer_of(struct dma_buf *dmabuf);

/**
 * peerbar_buffer_tryget() - a reference to a buffer that may be on its way out
 * @buf: kept from being freed by a lock that @ops->release takes
 *
 * It keeps the buffer and its dma-buf, but not the dma-buf's file, which must not be touched.
 *
 * Return: true if there is something to be given back with peerbar_buffer_put(), with no lock held that @ops->release takes.
 */
bool peerbar_buffer_tryget(struct peerbar_buffer *buf);
void peerbar_buffer_put(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_revoke_locked() - the memory goes away for now
 * @buf: reservation lock held
 *
 * Importers are told, mappings of processes are zapped, and new ones refused. What remains for the caller to wait for: the fences
 * of the reservation object, then until they have unmapped. Does nothing to a buffer that is not live.
 */
void peerbar_buffer_revoke_locked(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_revoke() - the same for a caller without the lock, and wait until importers have unmapped
 *
 * Return: as peerbar_buffer_kill(). After -ERESTARTSYS the buffer may not be revoked yet.
 */
int peerbar_buffer_revoke(struct peerbar_buffer *buf, bool interruptible);

/**
 * peerbar_buffer_enter() - reach for the memory; to be followed by peerbar_buffer_leave()
 * @buf: reservation lock held
 *
 * Return: 0, and the buffer is live; -ENODEV if the memory cannot be reached.
 */
int peerbar_buffer_enter(struct peerbar_buffer *buf);
void peerbar_buffer_leave(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_settle() - find out whether the memory can be reached now, and update the state
 * @buf: no lock held
 *
 * Return: the state.
 */
enum peerbar_state peerbar_buffer_settle(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_kill() - revoke for good: mark dead, stop, drain
 * @buf: no lock held, a reference; not PINNED
 * @interruptible: give up waiting on a signal
 *
 * Return: 0 when nothing reaches the memory any more; -EOPNOTSUPP for a PINNED buffer, which is left alone; -EBUSY if an
 * importer without invalidate_mappings() has pinned a DYNAMIC buffer: it is dead for all others; -ERESTARTSYS if interrupted: the
 * buffer is dead, new accesses are refused, processes' mappings are gone, but an importer may still have DMA under way. If
 * another task kept the reservation lock, a worker tells importers when the lock is free. Calling again waits again. Killing
 * twice is harmless.
 */
int peerbar_buffer_kill(struct peerbar_buffer *buf, bool interruptible);

/**
 * peerbar_buffer_mark_dead() - the first step of peerbar_buffer_kill(): from now on, the buffer is DEAD
 * @buf: in any context
 *
 * Importers and processes keep what they have until the buffer is stopped, which the caller must do.
 */
void peerbar_buffer_mark_dead(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_stop() - the second step: tell importers, zap processes' mappings
 * @buf: no lock held; DEAD
 * @interruptible: give up waiting for the reservation lock on a signal
 *
 * Processes lose the memory even while another task keeps the reservation lock.
 *
 * Return: 0 when both are done; -ERESTARTSYS.
 */
int peerbar_buffer_stop(struct peerbar_buffer *buf, bool interruptible);

/** peerbar_buffer_try_stop() - the same without waiting. Return: false if another task has the reservation lock. */
bool peerbar_buffer_try_stop(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_drain() - the last step: wait for importers' fences, then until they have unmapped
 * @buf: no lock held; REVOKED, or stopped
 * @interruptible: give up waiting on a signal
 *
 * Return: 0, -EBUSY or -ERESTARTSYS, as peerbar_buffer_kill().
 */
int peerbar_buffer_drain(struct peerbar_buffer *buf, bool interruptible);

/** peerbar_buffer_drained() - whether a buffer is dead, and nothing reaches its memory any more; no lock needed */
bool peerbar_buffer_drained(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_move() - put a DYNAMIC buffer elsewhere
 * @buf: no lock held
 * @ranges: the new place; as many ranges, of the same lengths
 * @copy: called when nobody reaches the old place for writing any more, reservation lock held; may be NULL; 0, after which
 *	nothing fails any more, or an errno that ends the move
 * @arg: for @copy
 *
 * Return: 0; -EINVAL if it is not DYNAMIC, or the lengths differ; -EBUSY while it is pinned; -ENODEV if it is not live;
 * -ERESTARTSYS if a signal came while it waited for fences.
 */
int peerbar_buffer_move(struct peerbar_buffer *buf, const struct phys_vec *ranges,
			int (*copy)(struct peerbar_buffer *buf, void *arg), void *arg);

/**
 * peerbar_map_mmio() - what map_dma_buf does for MMIO ranges: for @map of exporters that do something besides. Errnos as there.
 */
struct sg_table *peerbar_map_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach, enum dma_data_direction dir);
void peerbar_unmap_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach, struct sg_table *sgt,
			enum dma_data_direction dir);

/**
 * peerbar_buffer_mmap() - set up a VMA of a buffer, whose file must be the dma-buf's already. Errnos as mmap() of the dma-buf.
 */
int peerbar_buffer_mmap(struct peerbar_buffer *buf, struct vm_area_struct *vma);

/** peerbar_buffer_set_memattr() - Return: 0; -EOPNOTSUPP if @memattr is not supported; -ENODEV if the buffer is dead */
int peerbar_buffer_set_memattr(struct peerbar_buffer *buf, u32 memattr);

/* ---- the model of any dma-buf ---- */

/**
 * struct peerbar_exporter - how the exporter of other dma-bufs tells their model
 * @ops: its dma_buf_ops
 * @model: called with a dma-buf of @ops, and with a lock that registering takes
 */
struct peerbar_exporter {
	const struct dma_buf_ops *ops;
	enum peerbar_model (*model)(struct dma_buf *dmabuf);
	struct list_head node;
};

/** peerbar_exporter_register() - from now on, ask it. Return: 0; -EEXIST if @ops are registered. */
int peerbar_exporter_register(struct peerbar_exporter *exporter);
void peerbar_exporter_unregister(struct peerbar_exporter *exporter);

/**
 * peerbar_dma_buf_model() - the memory model of any dma-buf
 * @dmabuf: the caller holds a reference; no lock held
 * @declared: true if the exporter said so, false if its behaviour did; may be NULL
 *
 * Return: the model; PEERBAR_MODEL_UNKNOWN where neither tells. May be called before attaching; attaches briefly itself.
 */
enum peerbar_model peerbar_dma_buf_model(struct dma_buf *dmabuf, bool *declared);

/**
 * peerbar_dma_buf_revoked() - whether a dma-buf of any exporter is revoked, or was revoked for good
 * @dmabuf: the caller holds a reference; no lock held
 *
 * Distinguishes a buffer whose model is UNKNOWN because its exporter lets no importer attach now from one whose exporter never
 * tells. Attaches briefly, unless the buffer is one of peerbar's. The answer may change at once.
 *
 * Return: true if attaching fails with -ENODEV.
 */
bool peerbar_dma_buf_revoked(struct dma_buf *dmabuf);

/* ---- the memory itself, for importers that need no scatterlist ---- */

/**
 * struct peerbar_chunk - memory of one P2P provider
 * @provider: NULL for system memory
 * @nr_addrs: number of physical ranges
 * @addrs: the ranges, in the order of the buffer
 */
struct peerbar_chunk {
	struct p2pdma_provider *provider;
	unsigned int nr_addrs;
	struct phys_vec *addrs;
};

/**
 * peerbar_dma_buf_get_chunks() - where a buffer is
 * @attach: the importer's attachment, whose dma-buf's reservation lock is held; it must be revocable unless the model is PINNED
 * @chunks: receives an array, to be freed with peerbar_chunks_free()
 * @nr_chunks: receives the number of elements
 *
 * What it says is valid until the importer's invalidate_mappings() is called, or without one, until it detaches.
 *
 * Return: 0; -EOPNOTSUPP if the dma-buf is not ours or @attach cannot be revoked; -ENODEV if it is revoked; -ENOMEM.
 */
int peerbar_dma_buf_get_chunks(struct dma_buf_attachment *attach, struct peerbar_chunk **chunks, size_t *nr_chunks);
void peerbar_chunks_free(struct peerbar_chunk *chunks, size_t nr_chunks);

/**
 * peerbar_dma_buf_iomem() - where the kernel reaches device memory, for importers that copy
 * @attach: as above
 * @offset: bytes
 *
 * Return: the address of the byte at @offset, with what follows it in its range, for as long as what the chunks say; NULL if the
 * exporter does not keep it mapped, or there is no such byte: whoever needs it maps the physical range.
 */
void __iomem *peerbar_dma_buf_iomem(struct dma_buf_attachment *attach, u64 offset);

/**
 * peerbar_dma_buf_get_pfn() - the page frame at an offset, with as many neighbours as fit
 * @attach: as above
 * @offset: bytes; page-aligned
 * @max_order: the largest order that the caller can use
 * @pfn: receives the frame of the page at @offset
 * @order: receives the largest order, at most @max_order, such that the naturally aligned block of that order around @offset (in
 *	the buffer, and in physical memory) is all inside one range
 *
 * Return: 0; -ERANGE if @offset is past the end; -EINVAL if it is not aligned; otherwise as above.
 */
int peerbar_dma_buf_get_pfn(struct dma_buf_attachment *attach, u64 offset, unsigned int max_order, unsigned long *pfn,
			    unsigned int *order);

/**
 * peerbar_dma_buf_iommufd_map() - does for our buffers what vfio_pci_dma_buf_iommufd_map() does for the core's
 * @attach: iommufd's attachment, whose dma-buf's reservation lock is held
 * @phys: receives the one range
 *
 * Return: 0; -EOPNOTSUPP if the buffer is DYNAMIC, is no device's memory, or has several ranges; -ENODEV if it is revoked.
 */
int peerbar_dma_buf_iommufd_map(struct dma_buf_attachment *attach, struct phys_vec *phys);

/* ---- mmap cookies: opaque offsets of a file, each standing for a buffer ---- */

/**
 * struct peerbar_cookies - the cookies of one open device
 * @lock: protects the rest; a leaf, taken with mmap_lock held
 * @tree: buffers by page offset; each is a reference
 * @nr: how many there are
 * @first: the page offsets that cookies are taken from
 * @last: the last of them
 */
struct peerbar_cookies {
	struct mutex lock; /* a leaf */
	struct maple_tree tree;
	unsigned int nr;
	unsigned long first;
	unsigned long last;
};

void peerbar_cookies_init(struct peerbar_cookies *cookies, unsigned long first, unsigned long last);

/* as many cookies as a device may have: no descriptor stands for one, so nothing else limits them */
#define PEERBAR_COOKIES_MAX	1024

/**
 * peerbar_cookie_add() - a cookie for @buf, whose reference it takes over on success. Return: 0; -EBUSY if there is no room;
 * -ENOMEM
 */
int peerbar_cookie_add(struct peerbar_cookies *cookies, struct peerbar_buffer *buf, u64 *offset);

/** peerbar_cookie_del() - take back a cookie that nobody has been told of; the buffer's reference is the caller's again */
void peerbar_cookie_del(struct peerbar_cookies *cookies, struct peerbar_buffer *buf);

/**
 * peerbar_cookie_mmap() - mmap() of the device: -ENOENT if the VMA's offset is no cookie's; otherwise as peerbar_buffer_mmap()
 */
int peerbar_cookie_mmap(struct peerbar_cookies *cookies, struct vm_area_struct *vma);

/** peerbar_cookies_destroy() - forget all; the buffers' references are dropped. They are not killed: that is for the exporter. */
void peerbar_cookies_destroy(struct peerbar_cookies *cookies);

/* ---- among our modules ---- */

/** peerbar_set_cap() - say in PEERBAR_INFO that a capability is there, or not */
void peerbar_set_cap(u32 cap, bool there);

/**
 * peerbar_note_revocation() - count a revocation in the page that processes read
 *
 * The core does so for buffers of its own; an importer, for a dma-buf of another exporter that was taken from it, once it has let
 * go. In any context.
 */
void peerbar_note_revocation(void);

#endif
