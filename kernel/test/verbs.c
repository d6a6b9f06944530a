// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel user of verbs, for tests: two connected queue pairs of one device, and a region for fast
 * registration. Write the name of a case and of the device, as in "write pb0", to the module
 * parameter "run" to run the case. A failed case fails the write with EPROTO and logs the reason.
 * The parameter "cases" lists the cases. All requests are posted with interrupts off.
 */
#define pr_fmt(fmt) "peerbar-test-verbs: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_verbs.h>

#define PAGES  4
#define BYTES  (PAGES * PAGE_SIZE)
/* Start of the region in its first page, and its length: it ends within the last page */
#define OFFSET 1000
#define LENGTH (BYTES - 2 * OFFSET)
#define FILLER 0xee

/**
 * struct test_end - one of the two ends
 * @fired: the completion handler was called
 * @calls: number of calls
 * @again: a request that the completion handler posts, once
 */
struct test_end {
	struct ib_cq *cq;
	struct ib_qp *qp;
	struct completion fired;
	unsigned int calls;
	struct ib_send_wr *again;
};

/**
 * struct test - fixture of a case
 * @pd: of both ends, with a key for all memory
 * @a: requester
 * @b: responder
 * @from: memory of @a: random bytes
 * @sg: memory of @b: pages
 * @nents: number of mapped elements of @sg; 0 if it is not mapped
 * @mr: a region for it
 */
struct test {
	struct ib_device *dev;
	struct ib_pd *pd;
	struct test_end a;
	struct test_end b;
	union ib_gid gid;
	int gid_index;
	u8 *from;
	u64 from_dma;
	struct scatterlist sg[PAGES];
	int nents;
	struct ib_mr *mr;
};

/* ---- devices; removing one waits for a case to end ---- */

struct test_device {
	struct list_head node;
	struct ib_device *dev;
};

static LIST_HEAD(test_devices);
static DEFINE_MUTEX(test_lock); /* protects the list; held while a case runs */

static int test_add(struct ib_device *dev);
static void test_remove(struct ib_device *dev, void *data);
static struct ib_client test_client = { .name = "peerbar-test-verbs",
					.add = test_add,
					.remove = test_remove };

static int test_add(struct ib_device *dev)
{
	struct test_device *device = kzalloc_obj(*device);

	if (!device)
		return -ENOMEM;
	device->dev = dev;
	mutex_lock(&test_lock);
	list_add(&device->node, &test_devices);
	mutex_unlock(&test_lock);
	ib_set_client_data(dev, &test_client, device);
	return 0;
}

static void test_remove(struct ib_device *dev, void *data)
{
	struct test_device *device = data;

	mutex_lock(&test_lock);
	list_del(&device->node);
	mutex_unlock(&test_lock);
	kfree(device);
}

static struct ib_device *test_find_device(const char *name)
{
	struct test_device *device;

	list_for_each_entry(device, &test_devices, node)
		if (!strcmp(dev_name(&device->dev->dev), name))
			return device->dev;
	return NULL;
}

/* ---- ends ---- */

static void test_fired(struct ib_cq *cq, void *context)
{
	struct test_end *end = context;
	const struct ib_send_wr *bad;
	unsigned long flags;

	local_irq_save(flags);
	end->calls++;
	if (end->again && ib_post_send(end->qp, end->again, &bad))
		pr_err("cannot post in the completion handler\n");
	end->again = NULL;
	local_irq_restore(flags);
	complete(&end->fired);
}

static void test_end_close(struct test_end *end)
{
	if (end->qp)
		ib_destroy_qp(end->qp);
	if (end->cq)
		ib_destroy_cq(end->cq);
	end->qp = NULL;
	end->cq = NULL;
}

static int test_end_open(struct test *t, struct test_end *end, struct ib_pd *pd)
{
	struct ib_cq_init_attr cq = { .cqe = 64 };
	struct ib_qp_init_attr qp = {
		.qp_type = IB_QPT_RC,
		.sq_sig_type = IB_SIGNAL_ALL_WR,
		.cap = { .max_send_wr = 16,
			 .max_recv_wr = 16,
			 .max_send_sge = 2,
			 .max_recv_sge = 2 },
	};
	int ret;

	init_completion(&end->fired);
	end->cq = ib_create_cq(t->dev, test_fired, NULL, end, &cq);
	if (IS_ERR(end->cq)) {
		ret = PTR_ERR(end->cq);
		end->cq = NULL;
		return ret;
	}
	qp.send_cq = end->cq;
	qp.recv_cq = end->cq;
	end->qp = ib_create_qp(pd, &qp);
	if (IS_ERR(end->qp)) {
		ret = PTR_ERR(end->qp);
		end->qp = NULL;
		return ret;
	}
	return 0;
}

static int test_end_connect(struct test *t, struct test_end *end, struct test_end *peer)
{
	struct ib_qp_attr attr = {
		.qp_state = IB_QPS_RESET,
		.port_num = 1,
		.qp_access_flags = IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ |
			IB_ACCESS_REMOTE_ATOMIC,
		.path_mtu = IB_MTU_1024,
		.dest_qp_num = peer->qp->qp_num,
		.max_rd_atomic = 1,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 1,
		.timeout = 14,
		.retry_cnt = 3,
		.rnr_retry = 3,
	};
	struct ib_wc wc;
	int ret;

	attr.ah_attr.type = rdma_ah_find_type(t->dev, 1);
	rdma_ah_set_port_num(&attr.ah_attr, 1);
	rdma_ah_set_grh(&attr.ah_attr, &t->gid, 0, t->gid_index, 1, 0);
	ret = ib_modify_qp(end->qp, &attr, IB_QP_STATE);
	attr.qp_state = IB_QPS_INIT;
	if (!ret)
		ret = ib_modify_qp(end->qp, &attr,
				   IB_QP_STATE | IB_QP_PKEY_INDEX | IB_QP_PORT |
					   IB_QP_ACCESS_FLAGS);
	attr.qp_state = IB_QPS_RTR;
	if (!ret)
		ret = ib_modify_qp(end->qp, &attr,
				   IB_QP_STATE | IB_QP_AV | IB_QP_PATH_MTU | IB_QP_DEST_QPN |
					   IB_QP_RQ_PSN | IB_QP_MAX_DEST_RD_ATOMIC |
					   IB_QP_MIN_RNR_TIMER);
	attr.qp_state = IB_QPS_RTS;
	if (!ret)
		ret = ib_modify_qp(end->qp, &attr,
				   IB_QP_STATE | IB_QP_TIMEOUT | IB_QP_RETRY_CNT | IB_QP_RNR_RETRY |
					   IB_QP_SQ_PSN | IB_QP_MAX_QP_RD_ATOMIC);
	/* Discard earlier completions. */
	while (ib_poll_cq(end->cq, 1, &wc) > 0)
		;
	if (ret)
		pr_err("cannot connect a queue pair: %d\n", ret);
	return ret;
}

/* Reset and connect both ends. */
static int test_connect(struct test *t)
{
	return test_end_connect(t, &t->a, &t->b) ?: test_end_connect(t, &t->b, &t->a);
}

static int test_find_gid(struct test *t)
{
	const struct ib_gid_attr *attr;
	int i;

	for (i = 0; i < 256; i++) {
		attr = rdma_get_gid_attr(t->dev, 1, i);
		if (IS_ERR(attr))
			continue;
		t->gid = attr->gid;
		t->gid_index = attr->gid_type == IB_GID_TYPE_ROCE_UDP_ENCAP ? i : -1;
		rdma_put_gid_attr(attr);
		if (t->gid_index >= 0)
			return 0;
	}
	pr_err("%s has no RoCE v2 GID\n", dev_name(&t->dev->dev));
	return -ENODEV;
}

/* ---- memory ---- */

static void test_memory_free(struct test *t)
{
	int i;

	if (t->nents)
		ib_dma_unmap_sg(t->dev, t->sg, PAGES, DMA_BIDIRECTIONAL);
	for (i = 0; i < PAGES; i++)
		if (sg_page(&t->sg[i]))
			__free_page(sg_page(&t->sg[i]));
	if (t->from_dma)
		ib_dma_unmap_single(t->dev, t->from_dma, BYTES, DMA_BIDIRECTIONAL);
	kfree(t->from);
}

static int test_memory_alloc(struct test *t)
{
	struct page *page;
	int i;

	sg_init_table(t->sg, PAGES);
	t->from = kmalloc(BYTES, GFP_KERNEL);
	if (!t->from)
		return -ENOMEM;
	get_random_bytes(t->from, BYTES);
	t->from_dma = ib_dma_map_single(t->dev, t->from, BYTES, DMA_BIDIRECTIONAL);
	if (ib_dma_mapping_error(t->dev, t->from_dma)) {
		t->from_dma = 0;
		return -ENOMEM;
	}
	for (i = 0; i < PAGES; i++) {
		page = alloc_page(GFP_KERNEL);
		if (!page)
			return -ENOMEM;
		memset(page_address(page), FILLER, PAGE_SIZE);
		sg_set_page(&t->sg[i], page, PAGE_SIZE, 0);
	}
	t->nents = ib_dma_map_sg(t->dev, t->sg, PAGES, DMA_BIDIRECTIONAL);
	return t->nents ? 0 : -ENOMEM;
}

static u8 *test_byte(struct test *t, size_t at)
{
	return (u8 *)page_address(sg_page(&t->sg[at / PAGE_SIZE])) + at % PAGE_SIZE;
}

/* Check that the pages contain the first @len bytes of @from at @at, and filler around them. */
static int test_has(struct test *t, size_t at, size_t len)
{
	size_t i;
	u8 want;

	for (i = 0; i < BYTES; i++) {
		want = i >= at && i < at + len ? t->from[i - at] : FILLER;
		if (*test_byte(t, i) != want) {
			pr_err("byte %zu is 0x%02x, expected 0x%02x\n", i, *test_byte(t, i), want);
			return -EPROTO;
		}
	}
	return 0;
}

static int test_clear(struct test *t)
{
	int i;

	for (i = 0; i < PAGES; i++)
		memset(page_address(sg_page(&t->sg[i])), FILLER, PAGE_SIZE);
	return 0;
}

/* ---- requests ---- */

static int test_wait(struct test_end *end, struct ib_wc *wc)
{
	unsigned long end_time = jiffies + 10 * HZ;
	int n;

	while (!(n = ib_poll_cq(end->cq, 1, wc)) && time_before(jiffies, end_time))
		usleep_range(100, 1000);
	if (n == 1)
		return 0;
	pr_err("no completion within 10 s\n");
	return -EPROTO;
}

static int test_post(struct test_end *end, const struct ib_send_wr *wr)
{
	const struct ib_send_wr *bad;
	unsigned long flags;
	int ret;

	local_irq_save(flags);
	ret = ib_post_send(end->qp, wr, &bad);
	local_irq_restore(flags);
	if (ret)
		pr_err("cannot post a request of opcode %d: %d\n", wr->opcode, ret);
	return ret;
}

static int test_completes(struct test_end *end, enum ib_wc_opcode opcode, enum ib_wc_status status)
{
	struct ib_wc wc;
	int ret = test_wait(end, &wc);

	if (ret)
		return ret;
	if (wc.status != status || wc.qp != end->qp || (!status && wc.opcode != opcode)) {
		pr_err("a request of opcode %d completed with opcode %d and status %s, expected status %s\n",
		       opcode, wc.opcode, ib_wc_status_msg(wc.status), ib_wc_status_msg(status));
		return -EPROTO;
	}
	return 0;
}

/* Post, and check the completion. After an error, connect both ends again. */
static int test_do(struct test *t, struct test_end *end, const struct ib_send_wr *wr,
		   enum ib_wc_opcode opcode, enum ib_wc_status status)
{
	return test_post(end, wr)		    ?:
		test_completes(end, opcode, status) ?:
		status				    ? test_connect(t) :
						      0;
}

/* Write @len bytes of @from to @addr of the other end. */
static int test_write(struct test *t, u32 rkey, u64 addr, u32 len, enum ib_wc_status status)
{
	struct ib_sge sge = { .addr = t->from_dma, .length = len, .lkey = t->pd->local_dma_lkey };
	struct ib_rdma_wr wr = {
		.wr = { .opcode = IB_WR_RDMA_WRITE, .sg_list = &sge, .num_sge = 1 },
		.remote_addr = addr,
		.rkey = rkey,
	};
	int ret = test_do(t, &t->a, &wr.wr, IB_WC_RDMA_WRITE, status);

	if (ret)
		pr_err("failed request: write of %u bytes with key 0x%x\n", len, rkey);
	return ret;
}

/* Write from the region at end b to memory of end a: the region is the local side. */
static int test_write_from(struct test *t, u32 lkey, u64 addr, u32 len, u64 to, u32 rkey,
			   enum ib_wc_status status)
{
	struct ib_sge sge = { .addr = addr, .length = len, .lkey = lkey };
	struct ib_rdma_wr wr = {
		.wr = { .opcode = IB_WR_RDMA_WRITE, .sg_list = &sge, .num_sge = 1 },
		.remote_addr = to,
		.rkey = rkey,
	};

	return test_do(t, &t->b, &wr.wr, IB_WC_RDMA_WRITE, status);
}

static int test_map(struct test *t)
{
	unsigned int offset = OFFSET;
	int n = ib_map_mr_sg(t->mr, t->sg, t->nents, &offset, PAGE_SIZE);

	/* End OFFSET bytes before the end of the last page, too. */
	t->mr->length -= OFFSET;
	if (n == t->nents && t->mr->length == LENGTH)
		return 0;
	pr_err("mapped %d of %d elements, %llu bytes\n", n, t->nents, t->mr->length);
	return -EPROTO;
}

/* Register with the next key, at @end. */
static int test_register(struct test *t, struct test_end *end, int access, enum ib_wc_status status)
{
	struct ib_reg_wr wr = { .wr.opcode = IB_WR_REG_MR, .mr = t->mr, .access = access };

	ib_update_fast_reg_key(t->mr, ib_inc_rkey(t->mr->rkey));
	wr.key = t->mr->rkey;
	return test_do(t, end, &wr.wr, IB_WC_REG_MR, status);
}

static int test_invalidate(struct test *t, u32 key, enum ib_wc_status status)
{
	struct ib_send_wr wr = { .opcode = IB_WR_LOCAL_INV, .ex.invalidate_rkey = key };

	return test_do(t, &t->b, &wr, IB_WC_LOCAL_INV, status);
}

static int test_receive(struct test_end *end)
{
	const struct ib_recv_wr *bad;
	struct ib_recv_wr wr = {};
	unsigned long flags;
	int ret;

	local_irq_save(flags);
	ret = ib_post_recv(end->qp, &wr, &bad);
	local_irq_restore(flags);
	return ret;
}

#define REMOTE (IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ)

/* Map and register. */
static int test_ready(struct test *t, int access)
{
	return test_map(t) ?: test_register(t, &t->b, access, IB_WC_SUCCESS);
}

/* ---- cases ---- */

static int test_case_write(struct test *t)
{
	return test_ready(t, REMOTE)						 ?:
		test_write(t, t->mr->rkey, t->mr->iova, LENGTH, IB_WC_SUCCESS)	 ?:
		test_has(t, OFFSET, LENGTH)					 ?:
		test_clear(t)							 ?:
		test_write(t, t->mr->rkey, t->mr->iova + 5000, 7, IB_WC_SUCCESS) ?:
		test_has(t, OFFSET + 5000, 7);
}

static int test_case_read(struct test *t)
{
	struct ib_sge sge = { .addr = t->from_dma,
			      .length = LENGTH,
			      .lkey = t->pd->local_dma_lkey };
	struct ib_rdma_wr wr = {
		.wr = { .opcode = IB_WR_RDMA_READ, .sg_list = &sge, .num_sge = 1 },
	};
	size_t i;
	int ret;

	ret = test_ready(t, IB_ACCESS_REMOTE_READ);
	if (ret)
		return ret;
	for (i = 0; i < BYTES; i++)
		*test_byte(t, i) = i * 7 + i / 256;
	wr.remote_addr = t->mr->iova;
	wr.rkey = t->mr->rkey;
	ret = test_do(t, &t->a, &wr.wr, IB_WC_RDMA_READ, IB_WC_SUCCESS);
	for (i = 0; !ret && i < LENGTH; i++) {
		if (t->from[i] != *test_byte(t, OFFSET + i)) {
			pr_err("byte %zu read differs from the memory\n", i);
			ret = -EPROTO;
		}
	}
	return ret;
}

/* The region as the local side, by its lkey. */
static int test_case_local(struct test *t)
{
	int ret;

	memcpy(test_byte(t, OFFSET), "from the region", 16);
	ret = test_ready(t, IB_ACCESS_LOCAL_WRITE) ?:
		test_write_from(t, t->mr->lkey, t->mr->iova, 16, t->from_dma + 64,
				t->pd->unsafe_global_rkey, IB_WC_SUCCESS);
	if (!ret && memcmp(t->from + 64, "from the region", 16)) {
		pr_err("the bytes were not written\n");
		ret = -EPROTO;
	}
	return ret ?:
		     test_write_from(t, t->mr->lkey, t->mr->iova, LENGTH + 1, t->from_dma,
				     t->pd->unsafe_global_rkey, IB_WC_LOC_PROT_ERR);
}

/* A region that is not registered, or was invalidated, has no memory. */
static int test_case_free(struct test *t)
{
	int ret = test_map(t)							 ?:
		test_write(t, t->mr->rkey, t->mr->iova, 1, IB_WC_REM_ACCESS_ERR) ?:
		test_register(t, &t->b, REMOTE, IB_WC_SUCCESS)			 ?:
		test_write(t, t->mr->rkey, t->mr->iova, 1, IB_WC_SUCCESS)	 ?:
		test_invalidate(t, t->mr->rkey, IB_WC_SUCCESS)			 ?:
		test_clear(t)							 ?:
		test_write(t, t->mr->rkey, t->mr->iova, 1, IB_WC_REM_ACCESS_ERR);

	return ret ?: test_has(t, 0, 0);
}

static int test_case_bounds(struct test *t)
{
	return test_ready(t, REMOTE)							  ?:
		test_write(t, t->mr->rkey, t->mr->iova, LENGTH + 1, IB_WC_REM_ACCESS_ERR) ?:
		test_write(t, t->mr->rkey, t->mr->iova - 1, 2, IB_WC_REM_ACCESS_ERR)	  ?:
		test_write(t, t->mr->rkey, t->mr->iova + LENGTH, 1, IB_WC_REM_ACCESS_ERR) ?:
		test_has(t, 0, 0);
}

static int test_case_access(struct test *t)
{
	int ret = test_ready(t, IB_ACCESS_REMOTE_READ) ?:
		test_write(t, t->mr->rkey, t->mr->iova, 1, IB_WC_REM_ACCESS_ERR);

	return ret ?: test_has(t, 0, 0);
}

/* A second registration has another key, and the old key is invalid. */
static int test_case_keys(struct test *t)
{
	u32 old;

	if (test_ready(t, REMOTE))
		return -EPROTO;
	old = t->mr->rkey;
	return test_invalidate(t, old, IB_WC_SUCCESS)			 ?:
		test_ready(t, REMOTE)					 ?:
		test_write(t, old, t->mr->iova, 1, IB_WC_REM_ACCESS_ERR) ?:
		test_invalidate(t, old, IB_WC_LOC_QP_OP_ERR)		 ?:
		test_has(t, 0, 0)					 ?:
		test_write(t, t->mr->rkey, t->mr->iova, 1, IB_WC_SUCCESS);
}

/* A registered region cannot be registered again. */
static int test_case_twice(struct test *t)
{
	u32 key;

	if (test_ready(t, REMOTE))
		return -EPROTO;
	key = t->mr->rkey;
	return test_register(t, &t->b, REMOTE, IB_WC_MW_BIND_ERR) ?:
		test_write(t, key, t->mr->iova, 1, IB_WC_SUCCESS) ?:
								    test_has(t, OFFSET, 1);
}

/* Mapping pages for the next registration does not change the current one. */
static int test_case_mapped(struct test *t)
{
	struct scatterlist other;
	u64 iova;
	u32 key;

	if (test_ready(t, REMOTE))
		return -EPROTO;
	iova = t->mr->iova;
	key = t->mr->rkey;
	sg_init_one(&other, t->from, BYTES);
	sg_dma_address(&other) = t->from_dma;
	sg_dma_len(&other) = BYTES;
	if (ib_map_mr_sg(t->mr, &other, 1, NULL, PAGE_SIZE) != 1)
		return -EPROTO;
	return test_write(t, key, iova, LENGTH, IB_WC_SUCCESS) ?: test_has(t, OFFSET, LENGTH);
}

/* DMA addresses that are no longer mapped are refused. */
static int test_case_unmapped(struct test *t)
{
	if (test_ready(t, REMOTE))
		return -EPROTO;
	ib_dma_unmap_sg(t->dev, t->sg, PAGES, DMA_BIDIRECTIONAL);
	t->nents = 0;
	return test_write(t, t->mr->rkey, t->mr->iova, 8, IB_WC_REM_ACCESS_ERR) ?:
										  test_has(t, 0, 0);
}

/* A send invalidates the receiver's region. */
static int test_case_send_invalidates(struct test *t)
{
	struct ib_send_wr wr = { .opcode = IB_WR_SEND_WITH_INV };
	struct ib_wc wc;
	int ret;

	ret = test_ready(t, REMOTE) ?: test_receive(&t->b);
	wr.ex.invalidate_rkey = t->mr->rkey;
	ret = ret ?: test_do(t, &t->a, &wr, IB_WC_SEND, IB_WC_SUCCESS) ?: test_wait(&t->b, &wc);
	if (ret)
		return ret;
	if (wc.status || wc.opcode != IB_WC_RECV || !(wc.wc_flags & IB_WC_WITH_INVALIDATE) ||
	    wc.wc_flags & IB_WC_WITH_IMM || wc.ex.invalidate_rkey != t->mr->rkey) {
		pr_err("the receive does not report the invalidated key: status %d, flags 0x%x, key 0x%x\n",
		       wc.status, wc.wc_flags, wc.ex.invalidate_rkey);
		return -EPROTO;
	}
	return test_write(t, t->mr->rkey, t->mr->iova, 1, IB_WC_REM_ACCESS_ERR) ?:
										  test_has(t, 0, 0);
}

/* Refuse a region with another key, and a region of another protection domain. */
static int test_case_foreign(struct test *t)
{
	struct ib_mr *mr = t->mr, *other;
	struct ib_pd *pd;
	u32 key;
	int ret;

	pd = ib_alloc_pd(t->dev, 0);
	if (IS_ERR(pd))
		return PTR_ERR(pd);
	other = ib_alloc_mr(pd, IB_MR_TYPE_MEM_REG, PAGES);
	if (IS_ERR(other)) {
		ib_dealloc_pd(pd);
		return PTR_ERR(other);
	}
	t->mr = other;
	key = other->rkey;
	ret = test_map(t)					   ?:
		test_register(t, &t->b, REMOTE, IB_WC_MW_BIND_ERR) ?:
		test_invalidate(t, key, IB_WC_LOC_QP_OP_ERR);
	t->mr = mr;
	ib_dereg_mr(other);
	ib_dealloc_pd(pd);
	return ret;
}

/*
 * The key of all memory is for local use, unless the protection domain has one of its own for
 * remote use.
 */
static int test_case_all_memory(struct test *t)
{
	struct ib_pd *pd = ib_alloc_pd(t->dev, 0);
	u64 to = sg_dma_address(t->sg) + 8;
	u32 key = t->pd->unsafe_global_rkey;
	int ret;

	if (IS_ERR(pd))
		return PTR_ERR(pd);
	ret = test_write(t, key, to, 16, IB_WC_SUCCESS) ?:
		test_has(t, 8, 16)			?:
		test_clear(t)				?:
		test_write(t, t->pd->local_dma_lkey, to, 16, IB_WC_REM_ACCESS_ERR);
	/* Use a responder of another protection domain. */
	test_end_close(&t->b);
	ret = ret						 ?:
		test_end_open(t, &t->b, pd)			 ?:
		test_connect(t)					 ?:
		test_write(t, key, to, 16, IB_WC_REM_ACCESS_ERR) ?:
								   test_has(t, 0, 0);
	test_end_close(&t->b);
	ib_dealloc_pd(pd);
	return ret;
}

/* The handler is called once per request for notification; it may post. */
static int test_case_notified(struct test *t)
{
	struct ib_send_wr wr = { .opcode = IB_WR_RDMA_WRITE },
			  again = { .opcode = IB_WR_RDMA_WRITE };
	struct ib_rdma_wr first = { .wr = wr }, second = { .wr = again };
	int ret;

	/* Not armed yet. */
	ret = test_do(t, &t->a, &first.wr, IB_WC_RDMA_WRITE, IB_WC_SUCCESS);
	if (!ret && t->a.calls) {
		pr_err("the handler was called before notification was requested\n");
		return -EPROTO;
	}
	t->a.again = &second.wr;
	if (ib_req_notify_cq(t->a.cq, IB_CQ_NEXT_COMP))
		return -EPROTO;
	ret = ret ?: test_post(&t->a, &first.wr);
	if (!ret && !wait_for_completion_timeout(&t->a.fired, 10 * HZ)) {
		pr_err("the handler was not called\n");
		return -EPROTO;
	}
	ret = ret						       ?:
		test_completes(&t->a, IB_WC_RDMA_WRITE, IB_WC_SUCCESS) ?:
		test_completes(&t->a, IB_WC_RDMA_WRITE, IB_WC_SUCCESS);
	if (!ret && t->a.calls != 1) {
		pr_err("the handler was called %u times, expected 1\n", t->a.calls);
		return -EPROTO;
	}
	/* A completion before arming is reported as missed. */
	ret = ret ?: test_post(&t->a, &first.wr);
	msleep(100);
	if (!ret && ib_req_notify_cq(t->a.cq, IB_CQ_NEXT_COMP | IB_CQ_REPORT_MISSED_EVENTS) <= 0) {
		pr_err("a missed completion is not reported\n");
		return -EPROTO;
	}
	return ret;
}

/* Requests posted to a queue pair in error are flushed, on both queues. */
static int test_case_drain(struct test *t)
{
	struct ib_qp_attr attr = { .qp_state = IB_QPS_ERR };
	struct ib_rdma_wr wr = { .wr.opcode = IB_WR_RDMA_WRITE };

	return ib_modify_qp(t->a.qp, &attr, IB_QP_STATE)		    ?:
		test_post(&t->a, &wr.wr)				    ?:
		test_completes(&t->a, IB_WC_RDMA_WRITE, IB_WC_WR_FLUSH_ERR) ?:
		test_receive(&t->a)					    ?:
		test_completes(&t->a, IB_WC_RECV, IB_WC_WR_FLUSH_ERR);
}

static const struct {
	const char *name;
	int (*run)(struct test *t);
} test_cases[] = {
	{ "write", test_case_write },
	{ "read", test_case_read },
	{ "local", test_case_local },
	{ "free", test_case_free },
	{ "bounds", test_case_bounds },
	{ "access", test_case_access },
	{ "keys", test_case_keys },
	{ "twice", test_case_twice },
	{ "mapped", test_case_mapped },
	{ "unmapped", test_case_unmapped },
	{ "send-invalidates", test_case_send_invalidates },
	{ "foreign", test_case_foreign },
	{ "all-memory", test_case_all_memory },
	{ "notified", test_case_notified },
	{ "drain", test_case_drain },
};

static int test_open(struct test *t)
{
	int ret;

	/* ib_core logs the request for a key of all memory. */
	t->pd = ib_alloc_pd(t->dev, IB_PD_UNSAFE_GLOBAL_RKEY);
	if (IS_ERR(t->pd)) {
		ret = PTR_ERR(t->pd);
		t->pd = NULL;
		return ret;
	}
	t->mr = ib_alloc_mr(t->pd, IB_MR_TYPE_MEM_REG, PAGES);
	if (IS_ERR(t->mr)) {
		ret = PTR_ERR(t->mr);
		t->mr = NULL;
		return ret;
	}
	return test_memory_alloc(t)	       ?:
		test_find_gid(t)	       ?:
		test_end_open(t, &t->a, t->pd) ?:
		test_end_open(t, &t->b, t->pd) ?:
						 test_connect(t);
}

static void test_close(struct test *t)
{
	test_end_close(&t->b);
	test_end_close(&t->a);
	if (t->mr)
		ib_dereg_mr(t->mr);
	if (t->pd)
		ib_dealloc_pd(t->pd);
	if (t->from)
		test_memory_free(t);
}

static int test_run(const char *val, const struct kernel_param *kp)
{
	char name[32], device[IB_DEVICE_NAME_MAX];
	struct test *t;
	size_t i;
	int ret;

	if (sscanf(val, "%31s %63s", name, device) != 2)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(test_cases) && strcmp(test_cases[i].name, name); i++)
		;
	if (i == ARRAY_SIZE(test_cases))
		return -EINVAL;
	t = kzalloc_obj(*t);
	if (!t)
		return -ENOMEM;
	mutex_lock(&test_lock);
	t->dev = test_find_device(device);
	ret = t->dev ? test_open(t) ?: test_cases[i].run(t) : -ENODEV;
	if (ret)
		pr_err("%s: %d\n", name, ret);
	if (t->dev)
		test_close(t);
	mutex_unlock(&test_lock);
	kfree(t);
	return ret;
}

static int test_list(char *buf, const struct kernel_param *kp)
{
	int n = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(test_cases); i++)
		n += sysfs_emit_at(buf, n, "%s\n", test_cases[i].name);
	return n;
}

static const struct kernel_param_ops test_run_ops = { .set = test_run };
static const struct kernel_param_ops test_list_ops = { .get = test_list };

module_param_cb(run, &test_run_ops, NULL, 0200);
MODULE_PARM_DESC(run, "Run a case: its name and that of a device");
module_param_cb(cases, &test_list_ops, NULL, 0400);
MODULE_PARM_DESC(cases, "Names of all cases");

static int __init test_init(void)
{
	return ib_register_client(&test_client);
}

static void __exit test_exit(void)
{
	ib_unregister_client(&test_client);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("peerbar test: a kernel user of verbs");
MODULE_LICENSE("GPL");
