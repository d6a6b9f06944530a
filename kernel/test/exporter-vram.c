// SPDX-License-Identifier: GPL-2.0
/*
 * Dma-bufs in a BAR that behave as those of GPU drivers: they move within the BAR, and migrate to
 * system memory. peerbar_test.h describes them.
 */
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "exporter.h"

#define SYSTEM_CHUNK SZ_64K

/* Several importers map the same memory: don't let DMA debugging warn about it. */
#define PAGES_ATTRS DMA_ATTR_DEBUGGING_IGNORE_CACHELINES

/* ---- moves; the reservation lock is held ---- */

static int test_vram_alloc_system(struct test_buffer *t)
{
	struct test_place *p = &t->places[TEST_PLACE_SYSTEM];
	unsigned int i;

	if (p->nr)
		return 0;
	p->vec = kvcalloc(DIV_ROUND_UP(t->size, SYSTEM_CHUNK), sizeof(*p->vec), GFP_KERNEL);
	if (!p->vec)
		return -ENOMEM;
	p->nr = DIV_ROUND_UP(t->size, SYSTEM_CHUNK);
	for (i = 0; i < p->nr; i++)
		p->vec[i].len = min(t->size - (size_t)i * SYSTEM_CHUNK, SYSTEM_CHUNK);
	return test_place_alloc(p);
}

static int test_vram_change_place(struct test_buffer *t, unsigned int place)
{
	struct dma_resv *resv = t->dmabuf->resv;
	unsigned int old = t->place;
	long ret;

	dma_resv_assert_held(resv);
	if (place == old)
		return 0;
	if (t->pins)
		return -EBUSY;
	ret = place == TEST_PLACE_SYSTEM ? test_vram_alloc_system(t) : 0;
	if (ret)
		return ret;
	dma_buf_invalidate_mappings(t->dmabuf);
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, true, MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		return ret;
	test_copy_place(t, old, place);
	test_poison(t, old);
	t->place = place;
	t->moves++;
	return 0;
}

int test_vram_move(struct test_buffer *t, u32 asked, u32 *now)
{
	unsigned int place;
	int ret;

	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = test_place(t, asked, &place);
	if (!ret)
		ret = t->revoked ? -ENODEV : test_vram_change_place(t, place);
	*now = PEERBAR_TEST_PLACE_A + t->place;
	dma_resv_unlock(t->dmabuf->resv);
	return ret;
}

/* Make the memory reachable for importers, if it may migrate. */
static int test_vram_migrate(struct test_buffer *t)
{
	if (t->flags & PEERBAR_TEST_VRAM_STAY)
		return t->place == TEST_PLACE_SYSTEM ? 0 : -EOPNOTSUPP;
	if (t->place != TEST_PLACE_SYSTEM && t->pins)
		return -EINVAL;
	return test_vram_change_place(t, TEST_PLACE_SYSTEM);
}

/* ---- dma-buf ---- */

static int test_vram_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct test_buffer *t = dmabuf->priv;
	int ret;

	if (READ_ONCE(t->revoked))
		return -ENODEV;
	if (pci_p2pdma_distance(t->vram->pdev, attach->dev, false) < 0)
		attach->peer2peer = false;
	if (!(t->flags & PEERBAR_TEST_VRAM_ATTACH_MIGRATES) &&
	    (!(t->flags & PEERBAR_TEST_VRAM_STATIC_MIGRATES) || dma_buf_attach_revocable(attach)))
		return 0;
	ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = test_vram_change_place(t, TEST_PLACE_SYSTEM);
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

static int test_vram_pin(struct dma_buf_attachment *attach)
{
	struct test_buffer *t = attach->dmabuf->priv;
	struct dma_buf_attachment *other;
	bool reached = true;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (t->revoked)
		return -ENODEV;
	ret = test_failure(t, PEERBAR_TEST_FAIL_PIN);
	if (ret)
		return ret;
	list_for_each_entry(other, &attach->dmabuf->attachments, node)
		reached &= other->peer2peer;
	if (!reached)
		ret = test_vram_migrate(t);
	else if (t->place == TEST_PLACE_SYSTEM && !t->pins && !(t->flags & PEERBAR_TEST_VRAM_STAY))
		ret = test_vram_change_place(t, TEST_PLACE_A);
	if (!ret)
		t->pins++;
	return ret;
}

static void test_vram_unpin(struct dma_buf_attachment *attach)
{
	struct test_buffer *t = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	t->pins--;
}

static void test_vram_unmap_bar(struct dma_buf_attachment *attach, struct sg_table *sgt,
				unsigned int nr, enum dma_data_direction dir)
{
	struct test_buffer *t = attach->dmabuf->priv;
	struct scatterlist *sg;
	unsigned int i;

	if (t->flags & PEERBAR_TEST_VRAM_UNTRANSLATED)
		return;
	for_each_sgtable_sg(sgt, sg, i)
		if (i < nr)
			dma_unmap_resource(attach->dev, sg_dma_address(sg), sg_dma_len(sg), dir, 0);
}

/*
 * Map as GPU drivers do: each segment by itself, without pages, and whatever size of a segment the
 * importer's device allows.
 */
static int test_vram_map_bar(struct dma_buf_attachment *attach, struct sg_table *sgt,
			     enum dma_data_direction dir)
{
	struct test_buffer *t = attach->dmabuf->priv;
	const struct test_place *p = &t->places[t->place];
	struct scatterlist *sg;
	dma_addr_t addr;
	unsigned int i;
	int ret;

	ret = sg_alloc_table(sgt, p->nr, GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_sg(sgt, sg, i) {
		addr = p->vec[i].paddr;
		if (!(t->flags & PEERBAR_TEST_VRAM_UNTRANSLATED)) {
			addr = dma_map_resource(attach->dev, addr, p->vec[i].len, dir, 0);
			if (dma_mapping_error(attach->dev, addr))
				goto err;
		}
		sg_set_page(sg, NULL, p->vec[i].len, 0);
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = p->vec[i].len;
	}
	return 0;

err:
	test_vram_unmap_bar(attach, sgt, i, dir);
	sg_free_table(sgt);
	return -EIO;
}

static int test_vram_map_system(struct dma_buf_attachment *attach, struct sg_table *sgt,
				size_t piece, enum dma_data_direction dir)
{
	int ret;

	ret = test_fill_table(attach->dmabuf->priv, sgt, piece);
	if (ret)
		return ret;
	ret = dma_map_sgtable(attach->dev, sgt, dir, PAGES_ATTRS);
	if (ret)
		sg_free_table(sgt);
	return ret;
}

static struct sg_table *test_vram_map(struct dma_buf_attachment *attach,
				      enum dma_data_direction dir)
{
	size_t piece = max(PAGE_SIZE, ALIGN_DOWN(dma_get_max_seg_size(attach->dev), PAGE_SIZE));
	struct test_buffer *t = attach->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (t->revoked)
		return ERR_PTR(-ENODEV);
	ret = test_failure(t, PEERBAR_TEST_FAIL_MAP);
	if (!ret && !attach->peer2peer)
		ret = test_vram_migrate(t);
	if (ret)
		return ERR_PTR(ret);
	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = t->place == TEST_PLACE_SYSTEM ? test_vram_map_system(attach, sgt, piece, dir) :
					      test_vram_map_bar(attach, sgt, dir);
	if (ret) {
		kfree(sgt);
		return ERR_PTR(ret);
	}
	test_mapped(t);
	return sgt;
}

static void test_vram_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			    enum dma_data_direction dir)
{
	dma_resv_assert_held(attach->dmabuf->resv);
	if (sg_page(sgt->sgl))
		dma_unmap_sgtable(attach->dev, sgt, dir, PAGES_ATTRS);
	else
		test_vram_unmap_bar(attach, sgt, sgt->orig_nents, dir);
	sg_free_table(sgt);
	kfree(sgt);
	test_unmapped(attach->dmabuf->priv);
}

static void test_vram_release(struct dma_buf *dmabuf)
{
	struct test_buffer *t = dmabuf->priv;
	struct test_vram *vram = t->vram;

	test_vram_remove(t);
	test_buffer_free(t);
	test_vram_put(vram);
}

static const struct dma_buf_ops test_vram_ops = {
	.attach = test_vram_attach,
	.pin = test_vram_pin,
	.unpin = test_vram_unpin,
	.map_dma_buf = test_vram_map,
	.unmap_dma_buf = test_vram_unmap,
	.release = test_vram_release,
};

static const struct dma_buf_ops test_vram_no_pin_ops = {
	.attach = test_vram_attach,
	.map_dma_buf = test_vram_map,
	.unmap_dma_buf = test_vram_unmap,
	.release = test_vram_release,
};

/* The same, declared to the core */
static const struct dma_buf_ops test_vram_declared_ops = {
	.attach = test_vram_attach,
	.pin = test_vram_pin,
	.unpin = test_vram_unpin,
	.map_dma_buf = test_vram_map,
	.unmap_dma_buf = test_vram_unmap,
	.release = test_vram_release,
};

static enum peerbar_model test_vram_model(struct dma_buf *dmabuf)
{
	return PEERBAR_MODEL_DYNAMIC;
}

static void test_vram_describe(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	struct test_buffer *t = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	facts->can_revoke = PEERBAR_ANSWER_YES;
	facts->state = t->dead ? PEERBAR_STATE_DEAD :
		t->revoked     ? PEERBAR_STATE_REVOKED :
				 PEERBAR_STATE_LIVE;
	if (t->places[t->place].bar)
		peerbar_facts_locate(facts, &t->vram->pdev->dev, t->places[t->place].vec[0].paddr);
	else
		facts->place = PEERBAR_PLACE_SYSTEM;
	dma_resv_unlock(dmabuf->resv);
}

struct peerbar_exporter test_vram_declared = {
	.ops = &test_vram_declared_ops,
	.model = test_vram_model,
	.describe = test_vram_describe,
};

bool test_is_vram(struct dma_buf *dmabuf)
{
	return dmabuf->ops == &test_vram_ops || dmabuf->ops == &test_vram_no_pin_ops ||
		dmabuf->ops == &test_vram_declared_ops;
}

/* ---- export ---- */

static bool test_vram_fits(const struct test_vram *vram, u64 offset, u64 length)
{
	return offset <= vram->size && length <= vram->size - offset;
}

static int test_vram_fill_places(struct test_buffer *t,
				 const struct peerbar_test_vram_segment *segments, unsigned int nr)
{
	struct test_place *p;
	unsigned int i;

	for (p = t->places; p < t->places + TEST_PLACE_SYSTEM; p++) {
		p->vec = kvcalloc(nr, sizeof(*p->vec), GFP_KERNEL);
		if (!p->vec)
			return -ENOMEM;
		p->nr = nr;
		p->bar = true;
	}
	for (i = 0; i < nr; i++) {
		const struct peerbar_test_vram_segment *s = &segments[i];

		if (!s->length || !PAGE_ALIGNED(s->length | s->a | s->b))
			return -EINVAL;
		if (!test_vram_fits(t->vram, s->a, s->length) ||
		    !test_vram_fits(t->vram, s->b, s->length))
			return -ERANGE;
		t->places[TEST_PLACE_A].vec[i].paddr = t->vram->start + s->a;
		t->places[TEST_PLACE_A].vec[i].len = s->length;
		t->places[TEST_PLACE_B].vec[i].paddr = t->vram->start + s->b;
		t->places[TEST_PLACE_B].vec[i].len = s->length;
		t->size += s->length;
	}
	return 0;
}

static int test_vram_create(struct test_buffer *t, const struct peerbar_test_vram_segment *segments,
			    unsigned int nr)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	int ret;

	ret = test_vram_fill_places(t, segments, nr);
	if (ret)
		return ret;
	test_poison(t, TEST_PLACE_B);
	info.ops = t->flags & PEERBAR_TEST_VRAM_DECLARED ? &test_vram_declared_ops :
		t->flags & PEERBAR_TEST_VRAM_NO_PIN	 ? &test_vram_no_pin_ops :
							   &test_vram_ops;
	info.size = t->size;
	info.flags = O_RDWR | O_CLOEXEC;
	info.priv = t;
	INIT_LIST_HEAD(&t->node);
	t->dmabuf = dma_buf_export(&info);
	return PTR_ERR_OR_ZERO(t->dmabuf);
}

struct test_buffer *test_vram_export(const struct peerbar_test_export_vram *arg)
{
	struct peerbar_test_vram_segment *segments;
	struct test_vram *vram;
	struct test_buffer *t;
	int ret;

	if (arg->flags & ~PEERBAR_TEST_VRAM_FLAGS || !arg->nr_segments ||
	    arg->nr_segments > PEERBAR_TEST_VRAM_SEGMENTS ||
	    strnlen(arg->device, sizeof(arg->device)) == sizeof(arg->device))
		return ERR_PTR(-EINVAL);
	segments = vmemdup_array_user(u64_to_user_ptr(arg->segments), arg->nr_segments,
				      sizeof(*segments));
	if (IS_ERR(segments))
		return ERR_CAST(segments);
	vram = test_vram_get(arg->device);
	if (IS_ERR(vram)) {
		t = ERR_CAST(vram);
		goto free_segments;
	}
	t = test_buffer_new(PEERBAR_MODEL_DYNAMIC);
	if (!t) {
		ret = -ENOMEM;
		goto err_vram;
	}
	t->vram = vram;
	t->flags = arg->flags;
	ret = test_vram_create(t, segments, arg->nr_segments);
	if (ret)
		goto err_buffer;
	/* From here on, the dma-buf's release frees the buffer. */
	ret = test_vram_add(vram, t);
	if (ret) {
		dma_buf_put(t->dmabuf);
		t = ERR_PTR(ret);
	}
free_segments:
	kvfree(segments);
	return t;

err_buffer:
	test_buffer_free(t);
err_vram:
	test_vram_put(vram);
	kvfree(segments);
	return ERR_PTR(ret);
}
