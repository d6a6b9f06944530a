// SPDX-License-Identifier: GPL-2.0
/*
 * Fences of the test exporter, which acts as if it copied a dma-buf to its place.
 */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>

#include "exporter.h"

static const char *test_copy_name(struct dma_fence *fence)
{
	return PEERBAR_TEST_EXPORTER;
}

/* Without wait and release operations, a signalled fence does not need this module any more. */
static const struct dma_fence_ops test_copy_ops = {
	.get_driver_name = test_copy_name,
	.get_timeline_name = test_copy_name,
};

int test_copy_begin(struct test_buffer *t)
{
	struct dma_fence *fence;
	int ret;

	fence = kzalloc_obj(*fence);
	if (!fence)
		return -ENOMEM;
	ret = dma_resv_lock_interruptible(t->dmabuf->resv, NULL);
	if (ret)
		goto err_free;
	ret = t->copying ? -EBUSY : dma_resv_reserve_fences(t->dmabuf->resv, 1);
	if (ret)
		goto err_unlock;
	dma_fence_init(fence, &test_copy_ops, NULL, dma_fence_context_alloc(1), 1);
	dma_resv_add_fence(t->dmabuf->resv, fence, DMA_RESV_USAGE_KERNEL);
	t->copying = fence;
	dma_resv_unlock(t->dmabuf->resv);
	return 0;

err_unlock:
	dma_resv_unlock(t->dmabuf->resv);
err_free:
	kfree(fence);
	return ret;
}

/* Don't lock the reservation object: a task that waits for the fence may hold it. */
int test_copy_end(struct test_buffer *t)
{
	struct dma_fence *fence = xchg(&t->copying, NULL);

	if (!fence)
		return -EINVAL;
	dma_fence_signal(fence);
	dma_fence_put(fence);
	return 0;
}
