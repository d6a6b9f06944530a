/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between the peerbar modules, also for other exporters and importers in the kernel.
 *
 * A buffer (struct peerbar_buffer) is a dma-buf whose memory can be revoked. The core implements
 * dma-buf, page faults and netlink. The exporter provides the memory and decides when to revoke it
 * (struct peerbar_backing_ops).
 */
#ifndef _PEERBAR_KAPI_H
#define _PEERBAR_KAPI_H

#include <linux/dma-buf.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/printk.h>
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
 * @offset: offset in the buffer: the sum of the lengths of the ranges before it
 * @paddr: physical address, page-aligned
 * @len: bytes, a multiple of the page size
 */
struct peerbar_range {
	u64 offset;
	phys_addr_t paddr;
	size_t len;
};

/**
 * struct peerbar_backing_ops - operations of an exporter on its buffers; all are optional
 * @prepare: called before attachments, queries and faults, and often. None of the core's locks is
 *	held; in faults, mmap_lock may be. Do what @enter requires and cannot do under the
 *	reservation lock. Returns 0, or the errno that the caller fails with.
 * @enter: begin an access to the memory; reservation lock held. Returns 0, or -ENODEV if the memory
 *	is unreachable now. After 0 the memory must remain reachable until @leave. What was mapped
 *	meanwhile must remain reachable until the exporter calls peerbar_buffer_revoke_locked()
 *	and, for DMA, importers have unmapped.
 * @leave: end the access that @enter began; reservation lock held
 * @attach: an importer attaches; no lock held. Returns 0 or an errno. The core uses @attach->priv:
 *	the exporter's data of an attachment is peerbar_attachment_of(attach)->priv.
 * @detach: the importer of a successful @attach detaches; no lock held
 * @map: as map_dma_buf of &struct dma_buf_ops; reservation lock held, entered. Without it the core
 *	maps the ranges.
 * @unmap: undo @map; reservation lock held
 * @release: the last reference to the buffer is gone; no lock held. The core makes no further
 *	calls.
 * @iomem: kernel address of a range of device memory, by its index; reservation lock held, entered.
 *	Returns NULL unless the exporter keeps the range mapped while the buffer is not revoked.
 * @memattr_supported: whether mmap with this attribute is possible; without it only the default is
 */
struct peerbar_backing_ops {
	int (*prepare)(struct peerbar_buffer *buf);
	int (*enter)(struct peerbar_buffer *buf);
	void (*leave)(struct peerbar_buffer *buf);
	int (*attach)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach);
	void (*detach)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach);
	struct sg_table *(*map)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
				enum dma_data_direction dir);
	void (*unmap)(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
		      struct sg_table *sgt, enum dma_data_direction dir);
	void (*release)(struct peerbar_buffer *buf);
	void __iomem *(*iomem)(struct peerbar_buffer *buf, unsigned int range);
	bool (*memattr_supported)(struct peerbar_buffer *buf, u32 memattr);
};

/**
 * struct peerbar_buffer_info - parameters of a new buffer
 * @owner: module of the exporter; held while the buffer exists
 * @dev: the device whose memory it is; may be NULL. The exporter holds a reference until
 *	@ops->release, since netlink reports its name, and kills its buffers before the device goes
 *	away.
 * @name: name in /proc/PID/maps and netlink; at most 31 characters
 * @ops: operations of the exporter
 * @priv: private to the exporter
 * @model: PEERBAR_MODEL_PINNED, REVOCABLE or DYNAMIC
 * @memattr: the default attribute of mmaps, and the only one without @ops->memattr_supported
 * @first_memattr: with it, the attribute of mmaps until peerbar_buffer_set_memattr()
 * @open_flags: O_RDONLY, O_WRONLY or O_RDWR, and O_CLOEXEC
 * @resv: a reservation object to share, which must outlive the buffer; NULL for one of its own
 * @mapping: the address space of its mmaps, which must outlive the buffer; NULL for one of its own
 * @provider: the P2P provider of MMIO ranges; NULL if peers cannot reach them
 * @mmio: the ranges are device memory, not system memory
 * @any_uncached: a guest may map it with any uncached type (VM_ALLOW_ANY_UNCACHED). The exporter
 *	guarantees that no access to the memory does harm, whatever the type.
 * @unmappable: processes cannot map it
 * @addresses_only: importers get physical addresses, and must stop using them before their
 *	invalidate_mappings() returns; mapping for DMA fails. So no revoke waits for importers, and
 *	none reports the fences of a shared @resv
 * @revoked: the initial state is REVOKED, not LIVE
 * @ranges: its memory; copied
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
	bool addresses_only;
	bool revoked;
	const struct phys_vec *ranges;
	unsigned int nr_ranges;
};

/**
 * struct peerbar_buffer - a buffer; its dma-buf holds the only reference, and both live equally
 * long
 *
 * State transitions, and the task that makes each:
 *
 *	LIVE -> REVOKED		the exporter, peerbar_buffer_revoke_locked(); reservation lock
 *	REVOKED -> LIVE		a task for which @enter succeeds, peerbar_buffer_enter();
 *				reservation lock
 *	any -> DEAD		peerbar_buffer_mark_dead(); takes no lock, so possible while another
 *				task holds it; final
 *
 * A kill has three steps, so that neither a late importer nor a task that holds a reservation lock
 * keeps the memory reachable for others:
 *
 *	DEAD		faults, attachments and DMA mappings are refused
 *	stopped		importers are invalidated, and the mappings of processes are zapped; needs
 *			the reservation lock
 *	drained		the fences of importers have signalled, and importers have unmapped: nothing
 *			reaches the memory
 *
 * Locks, outermost first:
 *
 *	mmap_lock, or the lock of a VMA		(faults)
 *	locks that @ops->prepare takes
 *	dmabuf->resv				LIVE or REVOKED, @stopped, @dma_maps, @pins,
 *						@ranges, the attachments, making PTEs
 *	locks that @ops->enter takes
 *	i_mmap_rwsem, page table locks		(zapping, making PTEs)
 *
 * The registry's mutex is a leaf: under it the core takes references and nothing else. So is
 * @importers_lock, under which the core reads and writes memory of its own, and reads what a PCI
 * function's BARs are. No task waits for importers to unmap with a lock held.
 *
 * @dmabuf: the dma-buf; its priv is the buffer
 * @info: its parameters, except @info.ranges: @ranges replaces them
 * @dentry: the dma-buf's; a reference to it delays the release
 * @inode: keeps @mapping alive until @ops->release has returned
 * @mapping: the address space that holds the VMAs of mmaps
 * @ranges: its memory. Changes only for DYNAMIC, under the reservation lock and @importers_lock:
 *	either protects a reader
 * @pgoff_base: subtracted from vm_pgoff to get the page in the buffer; 0 except for cookies
 * @state: enum peerbar_state
 * @stopped: the stop of a DEAD buffer is complete: importers invalidated, mappings zapped
 * @flags: PEERBAR_STOP_QUEUED: @stop_later is queued, with a reference of its own
 * @stop_later: stops the buffer for a killer that was interrupted before it got the lock
 * @put_last: puts a reference that was the last at peerbar_buffer_put_later()
 * @slow_revoke: reports a revoke that importers hold up. Without a reference: the release cancels
 * it
 * @revocations: number of revocations; under the reservation lock
 * @revoked_ns: the time of the last revocation, CLOCK_BOOTTIME; written under the reservation lock
 * @importers_lock: protects @importers, @last_importer_id and @last_unmapped, and readers of
 *	@ranges that must not wait for the reservation lock; a leaf
 * @importers: the attachments, oldest first: struct peerbar_attachment.node
 * @last_importer_id: of the newest attachment
 * @last_unmapped: the device whose unmap was the last one while the buffer was not LIVE; under
 *	@importers_lock
 * @dma_maps: number of existing DMA mappings (map_dma_buf)
 * @pins: pins of a DYNAMIC buffer
 * @unwilling: pins by importers without invalidate_mappings(), which keep their mappings
 * @memattr: the attribute of the next mmap; a single word, read and written without a lock
 * @label: the exporter's name for it; the dma-buf's name can be changed by any holder
 * @drained: woken when @dma_maps reaches 0
 * @mmaps: number of VMAs
 * @faults: page faults that mapped a page, a PMD, a PUD
 * @id: never 0, never reused
 * @ns: the network namespace of its creator; does not keep the namespace alive
 * @user: the user of its creator; counts it against the user's limits
 * @creator: the process that created it
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
	struct work_struct put_last;
	struct delayed_work slow_revoke;
	u64 revocations;
	u64 revoked_ns;
	struct mutex importers_lock; /* protects the next three, and readers of @ranges */
	struct list_head importers;
	u64 last_importer_id;
	char last_unmapped[64];
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

#define PEERBAR_STOP_QUEUED 0 /* bit in @flags */

/**
 * struct peerbar_attachment - an importer's attachment to a buffer
 *
 * Exists from before @ops->attach until after @ops->detach.
 *
 * @priv: private to the exporter
 * @attach: the attachment
 * @node: in the importers of the buffer, once attached; under importers_lock
 * @id: number among the buffer's attachments
 * @attached_ns: the time of attaching, CLOCK_BOOTTIME
 * @mapped_ns: the time of the first access while it had none, CLOCK_BOOTTIME. Written under the
 *	reservation lock, as the fields below, and read without
 * @maps: number of its DMA mappings
 * @pins: number of its pins
 * @addresses: it got physical addresses since it was last invalidated
 * @driver: the driver of its device when it attached
 */
struct peerbar_attachment {
	void *priv;
	struct dma_buf_attachment *attach;
	struct list_head node;
	u64 id;
	u64 attached_ns;
	u64 mapped_ns;
	unsigned int maps;
	unsigned int pins;
	bool addresses;
	char driver[32];
};

/** peerbar_attachment_of() - the core's data of an attachment to a buffer */
static inline struct peerbar_attachment *peerbar_attachment_of(struct dma_buf_attachment *attach)
{
	return attach->priv;
}

/* ---- exporters ---- */

/**
 * peerbar_buffer_create() - create a buffer
 * @info: its parameters
 *
 * The dma-buf holds the only reference to the buffer; the caller gives its own up with
 * dma_buf_put() or dma_buf_fd(). Sleeps. The caller must not hold a lock that @info->ops take.
 *
 * Return: the buffer, or ERR_PTR: -EINVAL if there are no ranges, if a range is empty, unaligned or
 * overflows, or if a range of system memory has 4 GiB or more; -EDQUOT if the user of the current
 * process has too many buffers or ranges; -ENOMEM; the errno of dma_buf_export().
 */
struct peerbar_buffer *peerbar_buffer_create(const struct peerbar_buffer_info *info);

/** peerbar_buffer_of() - the buffer of a dma-buf; NULL unless peerbar exported it */
struct peerbar_buffer *peerbar_buffer_of(struct dma_buf *dmabuf);

/**
 * peerbar_buffer_tryget() - get a reference to a buffer that may be about to be released
 * @buf: a lock that @ops->release takes must keep it from being freed
 *
 * The reference keeps the buffer and its dma-buf, but not the dma-buf's file: don't access the
 * file.
 *
 * Return: true if the caller got a reference. It must drop it with peerbar_buffer_put(), without a
 * lock that @ops->release takes, or with peerbar_buffer_put_later().
 */
bool peerbar_buffer_tryget(struct peerbar_buffer *buf);
void peerbar_buffer_put(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_put_later() - put a reference, with locks that @ops->release takes
 * @buf: a buffer
 *
 * The last reference is put by a worker. Does not sleep.
 */
void peerbar_buffer_put_later(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_revoke_locked() - revoke a buffer, until a later peerbar_buffer_enter() succeeds
 * @buf: reservation lock held
 *
 * Invalidates importers' mappings, zaps those of processes, and makes new ones fail. The caller
 * must then wait for the fences of the reservation object, and after that for importers to unmap.
 * Does nothing to a buffer that is REVOKED, or DEAD and stopped; stops one that is DEAD and not
 * stopped.
 */
void peerbar_buffer_revoke_locked(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_revoke() - take the lock, revoke a buffer, and wait until importers have unmapped
 * @buf: no lock held, a reference; not PINNED
 * @interruptible: return early on a signal
 *
 * Return: as peerbar_buffer_kill(). After -ERESTARTSYS the buffer may not be revoked yet.
 */
int peerbar_buffer_revoke(struct peerbar_buffer *buf, bool interruptible);

/**
 * peerbar_buffer_enter() - begin an access to the memory; end it with peerbar_buffer_leave()
 * @buf: reservation lock held
 *
 * Return: 0, and the buffer is LIVE; -ENODEV if the memory is unreachable; other errnos of
 * @ops->enter.
 */
int peerbar_buffer_enter(struct peerbar_buffer *buf);
void peerbar_buffer_leave(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_settle() - check whether the memory is reachable now, and update the state
 * @buf: no lock held
 *
 * Return: the state.
 */
enum peerbar_state peerbar_buffer_settle(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_kill() - revoke permanently: mark dead, stop, drain
 * @buf: no lock held, a reference; not PINNED
 * @interruptible: return early on a signal
 *
 * A repeated call waits again and is harmless.
 *
 * Return:
 * * 0: nothing reaches the memory any more.
 * * -EOPNOTSUPP: the buffer is PINNED, and unchanged.
 * * -EBUSY: an importer without invalidate_mappings() has pinned a DYNAMIC buffer. The buffer is
 *   dead for all others.
 * * -ERESTARTSYS: interrupted. The buffer is dead, new accesses fail, and the mappings of processes
 *   are gone, but an importer may still have DMA under way. If another task held the reservation
 *   lock, a worker invalidates importers once the lock is free.
 */
int peerbar_buffer_kill(struct peerbar_buffer *buf, bool interruptible);

/**
 * peerbar_buffer_mark_dead() - first step of peerbar_buffer_kill(): set the state DEAD
 * @buf: in any context
 *
 * Existing mappings remain until the caller stops the buffer, which it must do.
 */
void peerbar_buffer_mark_dead(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_stop() - second step: invalidate importers, zap the mappings of processes
 * @buf: no lock held; DEAD
 * @interruptible: stop waiting for the reservation lock on a signal
 *
 * Zaps the mappings of processes even while another task holds the reservation lock.
 *
 * Return: 0 when both are done; -ERESTARTSYS.
 */
int peerbar_buffer_stop(struct peerbar_buffer *buf, bool interruptible);

/**
 * peerbar_buffer_try_stop() - peerbar_buffer_stop() without waiting
 * @buf: no lock held; DEAD
 *
 * Return: false if another task holds the reservation lock.
 */
bool peerbar_buffer_try_stop(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_drain() - last step: wait for importers' fences, then for importers to unmap
 * @buf: no lock held; REVOKED, or stopped
 * @interruptible: return early on a signal
 *
 * Return: 0, -EBUSY or -ERESTARTSYS, as peerbar_buffer_kill().
 */
int peerbar_buffer_drain(struct peerbar_buffer *buf, bool interruptible);

/**
 * peerbar_buffer_drained() - whether a buffer is dead and nothing reaches its memory; takes no lock
 */
bool peerbar_buffer_drained(struct peerbar_buffer *buf);

/**
 * peerbar_buffer_move() - move a DYNAMIC buffer
 * @buf: no lock held
 * @ranges: the new memory; as many ranges, of the same lengths
 * @copy: called when nothing writes to the old memory any more, reservation lock held; may be NULL.
 *	Returns 0, after which the move cannot fail, or an errno that aborts the move.
 * @arg: for @copy
 *
 * Return: 0; -EINVAL if the buffer is not DYNAMIC, a length differs or an address is not aligned;
 * -EBUSY while it is pinned; -ENODEV if it is not LIVE; -ERESTARTSYS if a signal interrupted the
 * wait for the lock or fences; the errno of @copy.
 */
int peerbar_buffer_move(struct peerbar_buffer *buf, const struct phys_vec *ranges,
			int (*copy)(struct peerbar_buffer *buf, void *arg), void *arg);

/**
 * peerbar_map_mmio() - map_dma_buf for MMIO ranges, for the @map of an exporter that does more
 *
 * Return: as map_dma_buf.
 */
struct sg_table *peerbar_map_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
				  enum dma_data_direction dir);
void peerbar_unmap_mmio(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
			struct sg_table *sgt, enum dma_data_direction dir);

/**
 * peerbar_buffer_mmap() - set up a VMA of a buffer
 * @vma: its file must be the dma-buf's already
 *
 * Return: as mmap() of the dma-buf.
 */
int peerbar_buffer_mmap(struct peerbar_buffer *buf, struct vm_area_struct *vma);

/**
 * peerbar_buffer_set_memattr() - set the attribute of the next mmap
 * @buf: the buffer
 * @memattr: PEERBAR_MEMATTR_*
 *
 * Return: 0; -EOPNOTSUPP if @memattr is not supported; -ENODEV if the buffer is dead.
 */
int peerbar_buffer_set_memattr(struct peerbar_buffer *buf, u32 memattr);

/* ---- memory models ---- */

/**
 * struct peerbar_facts - what is known about a dma-buf; the fields of struct peerbar_query
 * @model: the model
 * @model_basis: how it is known
 * @state: whether the memory is reachable
 * @state_basis: how that is known
 * @can_pin: whether importers can pin the memory
 * @can_pin_basis: how that is known
 * @can_revoke: whether the memory can be revoked
 * @can_revoke_basis: how that is known
 * @place: where the memory is
 * @place_basis: how that is known
 * @device: the device whose memory it is; "" if unknown
 * @bar: its BAR; valid if @place is PEERBAR_PLACE_BAR and @device is not ""
 * @bar_offset: offset in the BAR of the first byte; valid as @bar
 * @migrates: attaching moves the memory to system memory
 */
struct peerbar_facts {
	enum peerbar_model model;
	enum peerbar_basis model_basis;
	enum peerbar_state state;
	enum peerbar_basis state_basis;
	enum peerbar_answer can_pin;
	enum peerbar_basis can_pin_basis;
	enum peerbar_answer can_revoke;
	enum peerbar_basis can_revoke_basis;
	enum peerbar_place place;
	enum peerbar_basis place_basis;
	char device[32];
	unsigned int bar;
	u64 bar_offset;
	bool migrates;
};

/**
 * struct peerbar_exporter - declares the model of another exporter's dma-bufs
 * @ops: the exporter's dma_buf_ops
 * @model: returns the model of a dma-buf of @ops; called under a lock that registration takes
 * @describe: optional: reports what else the exporter knows about a dma-buf of @ops in @state,
 *	@can_pin, @can_revoke, @place, @device, @bar and @bar_offset of @facts; the other fields
 *	remain as they are. Must not move the memory. Called as @model
 */
struct peerbar_exporter {
	const struct dma_buf_ops *ops;
	enum peerbar_model (*model)(struct dma_buf *dmabuf);
	void (*describe)(struct dma_buf *dmabuf, struct peerbar_facts *facts);
	struct list_head node;
};

/**
 * peerbar_exporter_register() - start using @exporter. Return: 0; -EEXIST if @ops are registered.
 */
int peerbar_exporter_register(struct peerbar_exporter *exporter);
void peerbar_exporter_unregister(struct peerbar_exporter *exporter);

/**
 * peerbar_dma_buf_describe() - what is known about any dma-buf
 * @dmabuf: the caller holds a reference; no lock held
 * @probe: attach briefly where that reveals more, although it may move the memory. Without it, the
 *	memory does not move
 * @facts: filled in; may be out of date at once
 *
 * Return: 0; -EINTR if a signal came while waiting for the reservation lock.
 */
int peerbar_dma_buf_describe(struct dma_buf *dmabuf, bool probe, struct peerbar_facts *facts);

/**
 * peerbar_facts_locate() - set the place of @facts to a BAR
 * @facts: the result
 * @dev: the device whose memory it is; not only PCI functions
 * @paddr: physical address of the first byte
 */
void peerbar_facts_locate(struct peerbar_facts *facts, struct device *dev, phys_addr_t paddr);

/**
 * peerbar_dma_buf_model() - the memory model of any dma-buf, for an importer that will attach
 * @dmabuf: the caller holds a reference; no lock held
 * @declared: set to true if the exporter declares the model, to false if it is derived from the
 *	exporter's behaviour, or known by its name; may be NULL
 *
 * May attach briefly itself, which may move the memory as the importer's attachment will.
 * peerbar_dma_buf_describe() need not.
 *
 * Return: the model; PEERBAR_MODEL_UNKNOWN if it is neither declared nor can be derived. A dma-buf
 * that is revoked now is REVOCABLE.
 */
enum peerbar_model peerbar_dma_buf_model(struct dma_buf *dmabuf, bool *declared);

/**
 * peerbar_dma_buf_revoked() - whether a dma-buf of any exporter is revoked, temporarily or not
 * @dmabuf: the caller holds a reference; no lock held
 *
 * Attaches briefly, unless peerbar exported the dma-buf. The result may be stale at once.
 *
 * Return: true if attaching fails with -ENODEV.
 */
bool peerbar_dma_buf_revoked(struct dma_buf *dmabuf);

/* ---- importers without a scatterlist ---- */

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
 * peerbar_dma_buf_get_chunks() - get the physical memory of a buffer
 * @attach: the importer's attachment, whose dma-buf's reservation lock is held; it must be
 *	revocable unless the model is PINNED
 * @chunks: receives an array, which the caller frees with peerbar_chunks_free()
 * @nr_chunks: receives the number of elements
 *
 * The result is valid until the importer's invalidate_mappings() is called. Without that callback,
 * it is valid until the importer detaches.
 *
 * Return: 0; -EOPNOTSUPP if the dma-buf is not peerbar's or @attach cannot be revoked; -ENODEV if
 * it is revoked; -ENOMEM.
 */
int peerbar_dma_buf_get_chunks(struct dma_buf_attachment *attach, struct peerbar_chunk **chunks,
			       size_t *nr_chunks);
void peerbar_chunks_free(struct peerbar_chunk *chunks, size_t nr_chunks);

/**
 * peerbar_dma_buf_iomem() - kernel address of device memory, for importers that copy
 * @attach: as for peerbar_dma_buf_get_chunks()
 * @offset: bytes
 *
 * Return: the address of the byte at @offset; the rest of its range follows. Valid for as long as
 * the chunks are. NULL if the exporter does not keep the range mapped, in which case the caller
 * must map the physical range itself, or if there is no such byte.
 */
void __iomem *peerbar_dma_buf_iomem(struct dma_buf_attachment *attach, u64 offset);

/**
 * peerbar_dma_buf_get_pfn() - the page frame at an offset, and the largest block around it
 * @attach: as for peerbar_dma_buf_get_chunks()
 * @offset: bytes; page-aligned
 * @max_order: the largest order that the caller can use
 * @pfn: receives the frame of the page at @offset
 * @order: receives the largest order, at most @max_order, such that the block of that order around
 *	@offset is inside one range, and naturally aligned in the buffer and in physical memory
 *
 * Return: 0; -ERANGE if @offset is past the end; -EINVAL if it is not aligned; otherwise as
 * peerbar_dma_buf_get_chunks().
 */
int peerbar_dma_buf_get_pfn(struct dma_buf_attachment *attach, u64 offset, unsigned int max_order,
			    unsigned long *pfn, unsigned int *order);

/**
 * peerbar_dma_buf_iommufd_map() - vfio_pci_dma_buf_iommufd_map() for peerbar's buffers
 * @attach: iommufd's attachment, whose dma-buf's reservation lock is held
 * @phys: receives the one range
 *
 * Return: 0; -EOPNOTSUPP if the dma-buf is not peerbar's, or if the buffer is DYNAMIC, is not
 * device memory, or has several ranges; -ENODEV if it is revoked.
 */
int peerbar_dma_buf_iommufd_map(struct dma_buf_attachment *attach, struct phys_vec *phys);

/* ---- mmap cookies: opaque file offsets, one for each buffer ---- */

/**
 * struct peerbar_cookies - the cookies of one open device
 * @lock: protects the rest; a leaf, taken with mmap_lock held
 * @tree: buffers by page offset; each entry holds a reference
 * @nr: number of cookies
 * @first: first page offset available to cookies
 * @last: last page offset available to cookies
 */
struct peerbar_cookies {
	struct mutex lock; /* a leaf */
	struct maple_tree tree;
	unsigned int nr;
	unsigned long first;
	unsigned long last;
};

void peerbar_cookies_init(struct peerbar_cookies *cookies, unsigned long first, unsigned long last);

/* Limit per open device: cookies take no descriptor, so no other limit applies. */
#define PEERBAR_COOKIES_MAX 1024

/**
 * peerbar_cookie_add() - make a cookie for @buf, and take over the caller's reference on success
 * @offset: receives the offset for mmap()
 *
 * Return: 0; -EBUSY if there is no room; -ENOMEM.
 */
int peerbar_cookie_add(struct peerbar_cookies *cookies, struct peerbar_buffer *buf, u64 *offset);

/**
 * peerbar_cookie_del() - delete a cookie that was not passed to user space yet
 *
 * Returns the buffer's reference to the caller.
 */
void peerbar_cookie_del(struct peerbar_cookies *cookies, struct peerbar_buffer *buf);

/**
 * peerbar_cookie_mmap() - mmap() of the device at a cookie
 *
 * Return: -ENOENT if no cookie has the VMA's offset; otherwise as peerbar_buffer_mmap().
 */
int peerbar_cookie_mmap(struct peerbar_cookies *cookies, struct vm_area_struct *vma);

/**
 * peerbar_cookies_destroy() - delete all cookies, and drop their references to the buffers
 *
 * Does not kill the buffers; the exporter must.
 */
void peerbar_cookies_destroy(struct peerbar_cookies *cookies);

/* ---- peerbar's modules ---- */

/* Why a call for a buffer fails, for dynamic debugging: "buffer NUMBER (NAME): ", one sentence */
#define peerbar_dbg(buf, fmt, ...)                                                             \
	do {                                                                                   \
		const struct peerbar_buffer *_buf = (buf);                                     \
		pr_debug("buffer %llu (%s): " fmt "\n", _buf->id, _buf->label, ##__VA_ARGS__); \
	} while (0)

/** peerbar_set_cap() - set or clear a capability that PEERBAR_INFO reports */
void peerbar_set_cap(u32 cap, bool there);

/**
 * struct peerbar_bridge_ops - the module that runs PEERBAR_BRIDGE
 * @owner: the module, which is held during a call
 * @bridge: run the request, whose structure has @size bytes; no lock held. Returns 0 or an errno
 */
struct peerbar_bridge_ops {
	struct module *owner;
	int (*bridge)(void __user *user, u32 size);
};

/** peerbar_bridge_set_ops() - start or, with NULL, stop calling @ops, and report the capability */
void peerbar_bridge_set_ops(const struct peerbar_bridge_ops *ops);

/**
 * peerbar_note_revocation() - count a revocation in the page that processes map; in any context
 *
 * The core calls it for buffers of its own. An importer calls it for a dma-buf of another exporter
 * that was invalidated, after it has released its mapping, and before it tells a process: one that
 * knows must find the new count.
 */
void peerbar_note_revocation(void);

#endif
