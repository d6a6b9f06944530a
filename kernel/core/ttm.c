// SPDX-License-Identifier: GPL-2.0
/*
 * Where a dma-buf of a GPU driver is that manages its memory with TTM. Reads it, and moves nothing.
 */
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/string.h>

#include "core.h"

#if IS_ENABLED(CONFIG_DRM_TTM)
#include <drm/drm_device.h>
#include <drm/drm_gem.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>

/* The drivers whose GEM objects are the base of a &struct ttm_buffer_object */
static const char *const drivers[] = { "amdgpu", "loongson", "nouveau", "radeon", "xe" };

static bool peerbar_is_ttm(struct dma_buf *dmabuf)
{
	/* Drivers from elsewhere bring a TTM of their own, with other structures. */
	if (!dmabuf->owner || test_bit(TAINT_OOT_MODULE, &dmabuf->owner->taints) ||
	    strcmp(dmabuf->exp_name, "drm"))
		return false;
	return match_string(drivers, ARRAY_SIZE(drivers), module_name(dmabuf->owner)) >= 0;
}

int peerbar_ttm_locate(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	struct ttm_buffer_object *bo;
	struct drm_gem_object *obj;

	if (!peerbar_is_ttm(dmabuf))
		return 0;
	if (dma_resv_lock_interruptible(dmabuf->resv, NULL))
		return -EINTR;
	obj = dmabuf->priv;
	bo = container_of(obj, struct ttm_buffer_object, base);
	/* Other memory types are those of a driver. */
	if (bo->resource && bo->resource->mem_type <= TTM_PL_TT) {
		facts->place = PEERBAR_PLACE_SYSTEM;
	} else if (bo->resource && bo->resource->mem_type == TTM_PL_VRAM) {
		facts->place = PEERBAR_PLACE_DEVICE;
		strscpy(facts->device, dev_name(obj->dev->dev));
	}
	if (facts->place)
		facts->place_basis = PEERBAR_BASIS_DERIVED;
	dma_resv_unlock(dmabuf->resv);
	return 0;
}
#else
int peerbar_ttm_locate(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	return 0;
}
#endif
