// SPDX-License-Identifier: GPL-2.0
/*
 * Dma-bufs that the test module exports itself, as other drivers do.
 */
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "exporter.h"

static int test_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct test_buffer *t = dmabuf->priv;

	if (READ_ONCE(t->revoked))
		return -ENODEV;
	return t->model == PEERBAR_MODEL_PINNED || dma_buf_attach_revocable(attach) ? 0 :
										      -EOPNOTSUPP;
}

static int test_attach_refuse(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	return -EOPNOTSUPP;
}

static int test_pin(struct dma_buf_attachment *attach)
{
	struct test_buffer *t = attach->dmabuf->priv;

	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	ret = test_failure(t, PEERBAR_TEST_FAIL_PIN);
	if (!ret)
		t->pins++;
	return ret;
}

static void test_unpin(struct dma_buf_attachment *attach)
{
	struct test_buffer *t = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	t->pins--;
}

/* The failure that the test asked for, once more. */
int test_failure(struct test_buffer *t, enum peerbar_test_operation operation)
{
	struct test_failure *failure = &t->failures[operation];
	int error = failure->error;

	if (failure->times && !--failure->times)
		failure->error = 0;
	return -error;
}

void test_mapped(struct test_buffer *t)
{
	WRITE_ONCE(t->maps, t->maps + 1);
}

void test_unmapped(struct test_buffer *t)
{
	WRITE_ONCE(t->maps, t->maps - 1);
	if (!t->maps)
		wake_up_all(&t->drained);
}

/* Make a scatterlist of the place in use; @piece is the importing device's limit of a segment. */
int test_fill_table(struct test_buffer *t, struct sg_table *sgt, size_t piece)
{
	const struct phys_vec *vec = t->places[t->place].vec;
	struct scatterlist *sg;
	unsigned int i, n = 0;
	size_t done, step;
	int ret;

	for (i = 0; i < t->places[t->place].nr; i++)
		n += DIV_ROUND_UP(vec[i].len, piece);
	ret = sg_alloc_table(sgt, n, GFP_KERNEL);
	if (ret)
		return ret;
	sg = sgt->sgl;
	for (i = 0; i < t->places[t->place].nr; i++) {
		for (done = 0; done < vec[i].len; done += step) {
			step = min(piece, vec[i].len - done);
			sg_set_page(sg, phys_to_page(vec[i].paddr + done), step, 0);
			sg = sg_next(sg);
		}
	}
	return 0;
}

static struct sg_table *test_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct test_buffer *t = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (t->revoked)
		return ERR_PTR(-ENODEV);
	ret = test_failure(t, PEERBAR_TEST_FAIL_MAP);
	if (ret)
		return ERR_PTR(ret);
	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = test_fill_table(t, sgt,
			      max(PAGE_SIZE,
				  ALIGN_DOWN(dma_get_max_seg_size(attach->dev), PAGE_SIZE)));
	if (ret)
		goto err_free;
	ret = dma_map_sgtable(attach->dev, sgt, dir, 0);
	if (ret)
		goto err_table;
	test_mapped(t);
	return sgt;

err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void test_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	struct test_buffer *t = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	dma_unmap_sgtable(attach->dev, sgt, dir, 0);
	sg_free_table(sgt);
	kfree(sgt);
	test_unmapped(t);
}

static void test_release(struct dma_buf *dmabuf)
{
	test_buffer_free(dmabuf->priv);
}

static const struct dma_buf_ops test_pinned_ops = {
	.map_dma_buf = test_map,
	.unmap_dma_buf = test_unmap,
	.release = test_release,
};

static const struct dma_buf_ops test_revocable_ops = {
	.attach = test_attach,
	.map_dma_buf = test_map,
	.unmap_dma_buf = test_unmap,
	.release = test_release,
};

static const struct dma_buf_ops test_dynamic_ops = {
	.pin = test_pin,
	.unpin = test_unpin,
	.map_dma_buf = test_map,
	.unmap_dma_buf = test_unmap,
	.release = test_release,
};

static const struct dma_buf_ops test_declared_ops = {
	.attach = test_attach,
	.map_dma_buf = test_map,
	.unmap_dma_buf = test_unmap,
	.release = test_release,
};

static const struct dma_buf_ops test_refusing_ops = {
	.attach = test_attach_refuse,
	.map_dma_buf = test_map,
	.unmap_dma_buf = test_unmap,
	.release = test_release,
};

static enum peerbar_model test_declared_model(struct dma_buf *dmabuf)
{
	struct test_buffer *t = dmabuf->priv;

	return t->model;
}

struct peerbar_exporter test_declared_exporter = {
	.ops = &test_declared_ops,
	.model = test_declared_model,
};

bool test_is_foreign(struct dma_buf *dmabuf)
{
	return dmabuf->ops == &test_pinned_ops || dmabuf->ops == &test_revocable_ops ||
		dmabuf->ops == &test_dynamic_ops || dmabuf->ops == &test_declared_ops ||
		dmabuf->ops == &test_refusing_ops;
}

int test_foreign_export(struct test_buffer *t, u32 source)
{
	static const struct dma_buf_ops *const foreign[] = {
		[PEERBAR_MODEL_PINNED] = &test_pinned_ops,
		[PEERBAR_MODEL_REVOCABLE] = &test_revocable_ops,
		[PEERBAR_MODEL_DYNAMIC] = &test_dynamic_ops,
	};
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	if (source == PEERBAR_TEST_SOURCE_FOREIGN)
		info.ops = foreign[t->model];
	else if (source == PEERBAR_TEST_SOURCE_DECLARED)
		info.ops = &test_declared_ops;
	else
		info.ops = &test_refusing_ops;
	info.size = t->size;
	info.flags = O_RDWR | O_CLOEXEC;
	info.priv = t;
	t->dmabuf = dma_buf_export(&info);
	return PTR_ERR_OR_ZERO(t->dmabuf);
}

int test_foreign_move(struct test_buffer *t)
{
	struct dma_resv *resv = t->dmabuf->resv;
	long ret;

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return ret;
	if (t->revoked) {
		ret = -ENODEV;
		goto unlock;
	}
	if (t->pins) {
		ret = -EBUSY;
		goto unlock;
	}
	dma_buf_invalidate_mappings(t->dmabuf);
	/*
	 * Nothing maps while the lock is held. An importer that has not unmapped after its fences
	 * may only read, and must discard what it read.
	 */
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		goto unlock;
	ret = test_change_place(NULL, t);
unlock:
	dma_resv_unlock(resv);
	return ret;
}

int test_foreign_revoke(struct test_buffer *t, bool for_good)
{
	struct dma_resv *resv = t->dmabuf->resv;
	struct dma_buf_attachment *attach;
	bool unwilling = false;
	long ret;

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return ret;
	t->dead |= for_good;
	if (!t->revoked) {
		WRITE_ONCE(t->revoked, true);
		dma_buf_invalidate_mappings(t->dmabuf);
	}
	list_for_each_entry(attach, &t->dmabuf->attachments, node)
		unwilling |= !dma_buf_attach_revocable(attach);
	unwilling = unwilling && t->maps;
	dma_resv_unlock(resv);
	if (unwilling)
		return -EBUSY;
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		return ret;
	return wait_event_interruptible(t->drained, !READ_ONCE(t->maps));
}
