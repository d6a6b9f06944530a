// SPDX-License-Identifier: GPL-2.0
/*
 * Memory regions of kernel users: fast registration, where work requests register a list of pages
 * and invalidate it again, and the region of all memory that a kernel user may request together
 * with its protection domain. User space can reach neither: uverbs has no call for them, and
 * IB_WR_REG_MR is refused in a ring that user space writes to.
 *
 * All of them refer to memory by DMA addresses of the function, as for a NIC. A DMA address is
 * translated when bytes are copied, so a request fails if the address was unmapped meanwhile.
 */
#include <linux/log2.h>
#include <linux/slab.h>

#include "region.h"
#include "trace.h"

#define PBR_FAST_ACCESS                                                           \
	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | \
	 IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_OPTIONAL)

/**
 * struct pbr_page_list - pages of a region for fast registration
 * @nr: number of @addrs in use
 * @max: size of @addrs
 * @page_size: size of each page
 * @addrs: DMA addresses
 */
struct pbr_page_list {
	unsigned int nr;
	unsigned int max;
	unsigned int page_size;
	u64 addrs[] __counted_by(max);
};

u64 pbr_fast_dma(const struct pbr_mr *mr, u64 offset, size_t *len)
{
	const struct pbr_page_list *list = mr->registered;
	u64 in_page = offset & (list->page_size - 1);

	*len = list->page_size - in_page;
	return list->addrs[offset >> ilog2(list->page_size)] + in_page;
}

static struct pbr_page_list *pbr_page_list_alloc(u32 max)
{
	struct pbr_page_list *list = kvzalloc(struct_size(list, addrs, max), GFP_KERNEL);

	if (list)
		list->max = max;
	return list;
}

void pbr_fast_free(struct pbr_mr *mr)
{
	kvfree(mr->registered);
	kvfree(mr->mapped);
}

/* Allocate a region in the free state: with length 0, so that no request can use it. */
static struct ib_mr *pbr_alloc_mr(struct ib_pd *pd, enum ib_mr_type type, u32 max_num_sg)
{
	struct pbr_mr *mr;
	int ret = -ENOMEM;

	if (type != IB_MR_TYPE_MEM_REG)
		return pbr_fail(pd->device, ERR_PTR(-EOPNOTSUPP),
				"alloc_mr: type %d; only %d is supported", type,
				IB_MR_TYPE_MEM_REG);
	if (!max_num_sg || max_num_sg > PBR_MAX_FAST_PAGES)
		return pbr_fail(pd->device, ERR_PTR(-EINVAL),
				"alloc_mr: %u pages; 1 to %d are possible", max_num_sg,
				PBR_MAX_FAST_PAGES);
	mr = pbr_mr_alloc(pd, PBR_MR_FAST, 0, 0, 0);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->registered = pbr_page_list_alloc(max_num_sg);
	mr->mapped = pbr_page_list_alloc(max_num_sg);
	if (mr->registered && mr->mapped)
		ret = pbr_mr_publish(to_pbr(pd->device), mr);
	if (ret)
		goto err_free;
	return pbr_mr_done(mr);

err_free:
	pbr_fast_free(mr);
	kfree(mr);
	return ERR_PTR(ret);
}

static int pbr_set_page(struct ib_mr *ib, u64 addr)
{
	struct pbr_page_list *list = to_pbr_mr(ib)->mapped;

	if (list->nr == list->max)
		return -ENOMEM;
	list->addrs[list->nr++] = addr;
	return 0;
}

/* Fill the list that the next IB_WR_REG_MR registers; the registered pages are another list. */
static int pbr_map_mr_sg(struct ib_mr *ib, struct scatterlist *sg, int nents, unsigned int *offset)
{
	struct pbr_page_list *list = to_pbr_mr(ib)->mapped;

	if (ib->page_size < SZ_4K || !is_power_of_2(ib->page_size))
		return pbr_fail(ib->device, -EINVAL,
				"map_mr_sg: pages of %u bytes; a power of 2 from 4096 on is valid",
				ib->page_size);
	list->nr = 0;
	list->page_size = ib->page_size;
	return ib_sg_to_pages(ib, sg, nents, offset, pbr_set_page);
}

/* Copy the region's address and length at the time of the post. */
void pbr_fast_post(const struct ib_reg_wr *wr, struct peerbar_sqe *sqe)
{
	sqe->mw.addr = wr->mr->iova;
	sqe->mw.length = wr->mr->length;
	sqe->mw.mr_lkey = to_pbr_mr(wr->mr)->key;
	sqe->mw.new_rkey = wr->key;
	sqe->mw.access = wr->access;
}

/* Whether the mapped list covers all of the region. */
static bool pbr_fast_fits(const struct pbr_page_list *list, const struct peerbar_sqe *sqe)
{
	u64 size = (u64)list->nr * list->page_size;

	/* Test the length first: an empty list has no page size yet. */
	return sqe->mw.length && sqe->mw.length <= size &&
		(sqe->mw.addr & (list->page_size - 1)) <= size - sqe->mw.length;
}

/* IB_WR_REG_MR: give a free region the mapped pages, and a new key of the same index. */
int pbr_fast_register(struct pbr_device *dev, struct ib_pd *pd, const struct peerbar_sqe *sqe)
{
	struct pbr_mr *mr;
	int ret = -EINVAL;

	if (sqe->mw.access & ~PBR_FAST_ACCESS || (sqe->mw.mr_lkey ^ sqe->mw.new_rkey) >> 8)
		return pbr_fail(&dev->ib, -EINVAL,
				"reg_mr: key %#x for region %#x, access %#x; the index must not change, and access have only bits of %#x",
				sqe->mw.new_rkey, sqe->mw.mr_lkey, sqe->mw.access, PBR_FAST_ACCESS);
	mr = pbr_mr_lock(dev, pd, sqe->mw.mr_lkey, ~0xffU);
	if (!mr)
		return -EINVAL;
	if (mr->kind == PBR_MR_FAST && !mr->length && pbr_fast_fits(mr->mapped, sqe)) {
		swap(mr->registered, mr->mapped);
		mr->first = sqe->mw.addr & (mr->registered->page_size - 1);
		mr->iova = sqe->mw.addr;
		mr->length = sqe->mw.length;
		mr->access = sqe->mw.access;
		mr->key = sqe->mw.new_rkey;
		trace_rdma_mr_register(mr);
		ret = 0;
	} else {
		ibdev_dbg(&dev->ib,
			  "reg_mr: region %#x, %llu bytes: it is not invalidated, or its %u mapped pages have fewer\n",
			  mr->key, sqe->mw.length, mr->kind == PBR_MR_FAST ? mr->mapped->nr : 0);
	}
	pbr_mr_unblock(mr);
	return ret;
}

/* Return a blocked region to the free state; harmless if it is free already. */
void pbr_fast_invalidate(struct pbr_mr *mr)
{
	mr->length = 0;
	mr->access = 0;
}

/*
 * Register all memory, at DMA addresses, under a key of its own. IB_PD_UNSAFE_GLOBAL_RKEY requests
 * remote access to it.
 */
static struct ib_mr *pbr_get_dma_mr(struct ib_pd *pd, int access)
{
	struct pbr_mr *mr;
	int ret;

	mr = pbr_mr_alloc(pd, PBR_MR_DMA, 0, U64_MAX, access);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	ret = pbr_mr_publish(to_pbr(pd->device), mr);
	if (ret) {
		kfree(mr);
		return ERR_PTR(ret);
	}
	trace_rdma_mr_register(mr);
	return pbr_mr_done(mr);
}

const struct ib_device_ops pbr_frmr_ops = {
	.alloc_mr = pbr_alloc_mr,
	.get_dma_mr = pbr_get_dma_mr,
	.map_mr_sg = pbr_map_mr_sg,
};
