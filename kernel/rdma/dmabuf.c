// SPDX-License-Identifier: GPL-2.0
/*
 * Regions of dma-bufs: pinned, and blocked for good on a revocation; or on demand, following the
 * memory when the exporter moves it. Struct pbr_dmabuf describes the locks.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/ktime.h>
#include <linux/slab.h>

#include "dmabuf.h"
#include "peerbar_kapi.h"
#include "trace.h"

#define UVERBS_MODULE_NAME peerbar
#include <rdma/uverbs_named_ioctl.h>

/* ---- mapping and unmapping; reservation lock held ---- */

/* On return, no task accesses the memory. Return whether tasks could enter the region before. */
static bool pbr_dmabuf_unmap(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	bool was_open = buf->open;

	if (was_open)
		pbr_mr_block(mr);
	buf->open = false;
	pbr_segments_free(mr);
	if (buf->sgt)
		dma_buf_unmap_attachment(buf->attach, buf->sgt, DMA_BIDIRECTIONAL);
	buf->sgt = NULL;
	return was_open;
}

/* Unmap and unpin for good. */
static bool pbr_dmabuf_end(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	bool was_open = pbr_dmabuf_unmap(mr);

	if (buf->pinned)
		dma_buf_unpin(buf->attach);
	buf->pinned = false;
	buf->ended = true;
	return was_open;
}

/*
 * The memory is revoked, or moves. The key of a revoked region stays allocated until the region is
 * deregistered.
 */
static void pbr_invalidate_mappings(struct dma_buf_attachment *attach)
{
	struct pbr_mr *mr = attach->importer_priv;
	struct pbr_device *dev = to_pbr(mr->pd->device);
	u64 begin = ktime_get_ns();

	/* While attaching, and after a revocation, there is nothing to invalidate. */
	if (!mr->dmabuf->sgt)
		return;
	if (mr->on_demand) {
		pbr_dmabuf_unmap(mr);
		trace_rdma_mr_unmap(mr, ktime_get_ns() - begin);
		pbr_count(dev, PBR_PAGE_INVALIDATIONS);
		return;
	}
	/* A region that was never open has no user yet; its registration fails. */
	if (!pbr_dmabuf_end(mr))
		return;
	mr->revoked = true;
	trace_rdma_mr_revoke(mr, ktime_get_ns() - begin);
	pbr_count(dev, PBR_REVOKED_REGIONS);
	/*
	 * Count when the region has ended: readers that see the new count query it. Count before
	 * the process is told: it must not find the region in a cache then.
	 */
	peerbar_note_revocation();
	if (mr->ctx)
		pbr_tell_revoked(mr->ctx, mr->key);
}

static const struct dma_buf_attach_ops pbr_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = pbr_invalidate_mappings,
};

/*
 * Log why the dma-buf cannot be used, with the exporter's errno. Evaluates to an errno for user
 * space.
 */
#define pbr_dmabuf_fail(mr, err, fmt, ...)                                                    \
	({                                                                                    \
		const struct pbr_mr *__mr = (mr);                                             \
		int __err = (err);                                                            \
		dev_notice_ratelimited(&__mr->pd->device->dev,                                \
				       "cannot %s a dma-buf of %s: " fmt ": error %d\n",      \
				       __mr->ib.lkey ? "access" : "register",                 \
				       __mr->dmabuf->dmabuf->exp_name, ##__VA_ARGS__, __err); \
		__err == -ENOTSUPP ? -EOPNOTSUPP : __err;                                     \
	})

/* The function for which the dma-buf is attached, for messages. */
static const char *pbr_function_name(const struct pbr_mr *mr)
{
	const struct pbr_device *dev = to_pbr(mr->pd->device);

	return dev->pdev ? pci_name(dev->pdev) :
			   "a network device that has no PCI function for P2P DMA";
}

/* Exporters clear it when they attach an importer that peer-to-peer DMA does not connect. */
static const char *pbr_reach(const struct pbr_dmabuf *buf)
{
	return buf->attach->peer2peer ? "" : ", which cannot reach it by peer-to-peer DMA";
}

static int pbr_dmabuf_map(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	struct sg_table *sgt;
	int ret;

	sgt = dma_buf_map_attachment(buf->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		if (ret == -EINTR || ret == -ERESTARTSYS)
			return ret;
		if (ret == -ENODEV)
			return pbr_dmabuf_fail(mr, ret, "it is revoked");
		return pbr_dmabuf_fail(mr, ret, "the exporter does not map it for %s%s",
				       pbr_function_name(mr), pbr_reach(buf));
	}
	buf->sgt = sgt;
	ret = pbr_segments_make(mr, buf->attach, sgt, buf->offset);
	if (ret) {
		dma_buf_unmap_attachment(buf->attach, sgt, DMA_BIDIRECTIONAL);
		buf->sgt = NULL;
	}
	if (ret == -EFAULT)
		return pbr_dmabuf_fail(mr, ret,
				       "the exporter's DMA addresses are not mapped for this function, %s",
				       pbr_function_name(mr));
	return ret ? pbr_dmabuf_fail(mr, ret, "the CPU cannot address all of its memory") : 0;
}

static int pbr_dmabuf_pin(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	int ret;

	ret = dma_buf_pin(buf->attach);
	if (ret)
		return pbr_dmabuf_fail(mr, ret, "the exporter does not pin it for %s%s",
				       pbr_function_name(mr), pbr_reach(buf));
	buf->pinned = true;
	return 0;
}

/* Let tasks enter the region. Return -EINPROGRESS while the exporter still moves the memory. */
static int pbr_dmabuf_open(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	int ret;

	dma_resv_assert_held(buf->dmabuf->resv);
	if (buf->ended)
		return -ENODEV;
	if (buf->open)
		return 0;
	if (!mr->on_demand && !buf->pinned) {
		ret = pbr_dmabuf_pin(mr);
		if (ret)
			return ret;
	}
	if (!buf->sgt) {
		ret = pbr_dmabuf_map(mr);
		if (ret)
			return ret;
	}
	if (!dma_resv_test_signaled(buf->dmabuf->resv, DMA_RESV_USAGE_KERNEL))
		return -EINPROGRESS;
	buf->open = true;
	pbr_mr_unblock(mr);
	return 0;
}

/* ---- registration ---- */

static struct dma_resv *pbr_resv(const struct pbr_mr *mr)
{
	return mr->dmabuf->dmabuf->resv;
}

/* Pin, map, and wait until the memory is in place. An on-demand region waits when it is used. */
static int pbr_dmabuf_first_map(struct pbr_mr *mr)
{
	long left;
	int ret;

	for (;;) {
		ret = dma_resv_lock_interruptible(pbr_resv(mr), NULL);
		if (ret)
			return ret;
		ret = pbr_dmabuf_open(mr);
		dma_resv_unlock(pbr_resv(mr));
		if (ret != -EINPROGRESS || mr->on_demand)
			return ret == -EINPROGRESS ? 0 : ret;
		left = dma_resv_wait_timeout(pbr_resv(mr), DMA_RESV_USAGE_KERNEL, true,
					     MAX_SCHEDULE_TIMEOUT);
		if (left < 0)
			return left;
	}
}

static int pbr_dmabuf_attach(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	struct dma_buf_attachment *attach;

	attach = dma_buf_dynamic_attach(buf->dmabuf, to_pbr(mr->pd->device)->dma, &pbr_attach_ops,
					mr);
	if (PTR_ERR_OR_ZERO(attach) == -ENODEV)
		return pbr_dmabuf_fail(mr, -ENODEV, "it is revoked");
	if (IS_ERR(attach))
		return pbr_dmabuf_fail(mr, PTR_ERR(attach),
				       "the exporter does not let %s attach to it",
				       pbr_function_name(mr));
	buf->attach = attach;
	return 0;
}

/*
 * Refuse memory that may move and cannot be pinned. A driver with a pin operation pins, whatever
 * its model; a region on demand follows.
 */
static int pbr_check_model(struct pbr_mr *mr)
{
	struct dma_buf *dmabuf = mr->dmabuf->dmabuf;

	if (mr->on_demand || dma_buf_is_dynamic(dmabuf))
		return 0;
	switch (peerbar_dma_buf_model(dmabuf, NULL)) {
	case PEERBAR_MODEL_PINNED:
	case PEERBAR_MODEL_REVOCABLE:
		return 0;
	case PEERBAR_MODEL_DYNAMIC:
		return pbr_dmabuf_fail(mr, -EOPNOTSUPP,
				       "its memory model is DYNAMIC, it may move, and the exporter cannot pin it; register it with IBV_ACCESS_ON_DEMAND");
	default:
		if (peerbar_dma_buf_revoked(dmabuf))
			return pbr_dmabuf_fail(mr, -ENODEV, "it is revoked");
		return pbr_dmabuf_fail(mr, -EOPNOTSUPP, "its memory model is UNKNOWN");
	}
}

static int pbr_dmabuf_charge(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	struct pbr_pin *pin;

	if (mr->on_demand || !dma_buf_is_dynamic(buf->dmabuf))
		return 0;
	pin = pbr_pin_charge(mr->ctx, buf->dmabuf);
	if (IS_ERR(pin))
		return pbr_dmabuf_fail(mr, PTR_ERR(pin),
				       "pinning its %zu bytes exceeds RLIMIT_MEMLOCK of process %d",
				       buf->dmabuf->size, task_tgid_nr(current));
	buf->pin = pin;
	return 0;
}

void pbr_dmabuf_release(struct pbr_mr *mr)
{
	struct pbr_dmabuf *buf = mr->dmabuf;

	if (buf->attach) {
		dma_resv_lock(pbr_resv(mr), NULL);
		pbr_dmabuf_end(mr);
		dma_resv_unlock(pbr_resv(mr));
		dma_buf_detach(buf->dmabuf, buf->attach);
	}
	if (buf->pin)
		pbr_pin_uncharge(mr->ctx, buf->pin);
	dma_buf_put(buf->dmabuf);
	kfree(buf);
	mr->dmabuf = NULL;
}

static struct pbr_mr *pbr_dmabuf_alloc(struct ib_pd *pd, struct dma_buf *dmabuf, u64 offset,
				       u64 length, u64 iova, int access)
{
	struct pbr_mr *mr;

	mr = pbr_mr_alloc(pd, PBR_MR_SEGMENTS, access & IB_ZERO_BASED ? 0 : iova, length, access);
	if (!mr)
		return NULL;
	mr->dmabuf = kzalloc_obj(*mr->dmabuf, pbr_gfp(true));
	if (!mr->dmabuf) {
		kfree(mr);
		return NULL;
	}
	get_dma_buf(dmabuf);
	mr->dmabuf->dmabuf = dmabuf;
	mr->first = offset_in_page(offset);
	mr->dmabuf->offset = offset - mr->first;
	mr->on_demand = access & IB_ACCESS_ON_DEMAND;
	/* Publish blocked: there is no memory to enter yet, but a revocation needs the key. */
	atomic_set(&mr->users, INT_MIN);
	return mr;
}

static int pbr_dmabuf_register(struct pbr_mr *mr)
{
	int ret;

	ret = pbr_check_model(mr);
	if (!ret)
		ret = pbr_dmabuf_charge(mr);
	if (!ret)
		ret = pbr_dmabuf_attach(mr);
	if (!ret)
		ret = pbr_dmabuf_first_map(mr);
	return ret;
}

static int pbr_check_range(struct ib_pd *pd, const struct dma_buf *dmabuf, u64 offset, u64 length)
{
	u64 end;

	if (length && !check_add_overflow(offset, length, &end) && end <= dmabuf->size)
		return 0;
	return pbr_fail(pd->device, -EINVAL,
			"reg_dmabuf_mr: %llu bytes from %llu on; the dma-buf has %zu", length,
			offset, dmabuf->size);
}

static struct ib_mr *pbr_reg_dmabuf(struct ib_pd *pd, struct dma_buf *dmabuf, u64 offset,
				    u64 length, u64 iova, int access)
{
	struct pbr_device *dev = to_pbr(pd->device);
	struct pbr_mr *mr;
	int ret;

	ret = pbr_check_range(pd, dmabuf, offset, length);
	if (ret)
		return ERR_PTR(ret);
	/* As with mmap(). */
	if (ib_access_writable(access) && !(dmabuf->file->f_mode & FMODE_WRITE))
		return pbr_fail(pd->device, ERR_PTR(-EACCES),
				"reg_dmabuf_mr: the descriptor is read-only, and access %#x writes",
				access);
	mr = pbr_dmabuf_alloc(pd, dmabuf, offset, length, iova, access);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	ret = pbr_mr_publish(dev, mr);
	if (ret)
		goto err_release;
	ret = pbr_dmabuf_register(mr);
	if (ret)
		goto err_unpublish;
	trace_rdma_mr_register(mr);
	return pbr_mr_done(mr);

err_unpublish:
	pbr_mr_unpublish(dev, mr);
	pbr_mr_end_faults(mr);
err_release:
	pbr_dmabuf_release(mr);
	kfree_rcu(mr, rcu);
	return ERR_PTR(ret);
}

/* The core refuses these flags for dma-bufs, so they are in an attribute of the driver. */
static int pbr_extra_access(const struct uverbs_attr_bundle *attrs, int *access)
{
	u32 extra;
	int ret;

	ret = uverbs_get_flags32(&extra, attrs, PEERBAR_ATTR_REG_DMABUF_MR_ACCESS,
				 IB_ACCESS_ON_DEMAND | IB_ACCESS_FLUSH_GLOBAL);
	if (!ret)
		*access |= extra;
	return ret == -ENOENT ? 0 : ret;
}

static struct ib_mr *pbr_reg_user_mr_dmabuf(struct ib_pd *pd, u64 offset, u64 length, u64 iova,
					    int fd, int access, struct ib_dmah *dmah,
					    struct uverbs_attr_bundle *attrs)
{
	struct dma_buf *dmabuf;
	struct ib_mr *ib;
	int ret;

	ret = pbr_extra_access(attrs, &access);
	if (ret)
		return ERR_PTR(ret);
	if (dmah || access & ~PBR_DMABUF_ACCESS)
		return pbr_fail(pd->device, ERR_PTR(-EOPNOTSUPP),
				"reg_dmabuf_mr: access is %#x%s; bits of %#x are supported, without DMA handle",
				access, dmah ? " with a DMA handle" : "", PBR_DMABUF_ACCESS);
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return pbr_fail(pd->device, ERR_CAST(dmabuf),
				"reg_dmabuf_mr: descriptor %d is not a dma-buf", fd);
	ib = pbr_reg_dmabuf(pd, dmabuf, offset, length, iova, access);
	dma_buf_put(dmabuf);
	return ib;
}

/* ---- faults ---- */

/* How long a fault waits for the exporter to finish a move, before it is deferred */
#define PBR_MOVE_PATIENCE (HZ / 100)

int pbr_dmabuf_fault(struct pbr_mr *mr, bool mapped_only)
{
	struct pbr_dmabuf *buf = mr->dmabuf;
	long left;
	int ret;

	/* Don't let a pending signal prevent what needs no waiting. */
	if (!dma_resv_trylock(pbr_resv(mr))) {
		ret = dma_resv_lock_interruptible(pbr_resv(mr), NULL);
		if (ret)
			return ret;
	}
	ret = mapped_only && !buf->sgt ? 0 : pbr_dmabuf_open(mr);
	dma_resv_unlock(pbr_resv(mr));
	if (ret != -EINPROGRESS)
		return ret;
	left = dma_resv_wait_timeout(pbr_resv(mr), DMA_RESV_USAGE_KERNEL, true, PBR_MOVE_PATIENCE);
	return left < 0 ? left : -EINPROGRESS;
}

ADD_UVERBS_ATTRIBUTES_SIMPLE(pbr_reg_dmabuf_mr, UVERBS_OBJECT_MR, UVERBS_METHOD_REG_DMABUF_MR,
			     UVERBS_ATTR_FLAGS_IN(PEERBAR_ATTR_REG_DMABUF_MR_ACCESS,
						  enum ib_access_flags, UA_OPTIONAL));

const struct uapi_definition pbr_uapi[] = {
	UAPI_DEF_CHAIN_OBJ_TREE(UVERBS_OBJECT_MR, &pbr_reg_dmabuf_mr),
	{},
};

const struct ib_device_ops pbr_dmabuf_ops = {
	.reg_user_mr_dmabuf = pbr_reg_user_mr_dmabuf,
};
