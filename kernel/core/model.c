// SPDX-License-Identifier: GPL-2.0
/*
 * The memory model of a dma-buf of any exporter.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/rwsem.h>

#include "core.h"

static DECLARE_RWSEM(exporters_lock); /* held while calling an exporter, so that it stays */
static LIST_HEAD(exporters);

int peerbar_exporter_register(struct peerbar_exporter *exporter)
{
	struct peerbar_exporter *other;

	guard(rwsem_write)(&exporters_lock);
	list_for_each_entry(other, &exporters, node) {
		if (other->ops == exporter->ops) {
			pr_debug("exporter refused: its dma_buf_ops are registered already\n");
			return -EEXIST;
		}
	}
	list_add_tail(&exporter->node, &exporters);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_exporter_register);

void peerbar_exporter_unregister(struct peerbar_exporter *exporter)
{
	guard(rwsem_write)(&exporters_lock);
	list_del(&exporter->node);
}
EXPORT_SYMBOL_GPL(peerbar_exporter_unregister);

static bool peerbar_declared_model(struct dma_buf *dmabuf, enum peerbar_model *model)
{
	struct peerbar_exporter *exporter;

	guard(rwsem_read)(&exporters_lock);
	list_for_each_entry(exporter, &exporters, node) {
		if (exporter->ops == dmabuf->ops) {
			*model = exporter->model(dmabuf);
			return true;
		}
	}
	return false;
}

static void peerbar_probe_invalidate(struct dma_buf_attachment *attach)
{
	/* A probe has no mappings. */
}

/* One importer without invalidate_mappings(), which keeps its mappings, and one with it. */
static const struct dma_buf_attach_ops peerbar_probe_static = {
	.allow_peer2peer = true,
};

static const struct dma_buf_attach_ops peerbar_probe_revocable = {
	.allow_peer2peer = true,
	.invalidate_mappings = peerbar_probe_invalidate,
};

static int peerbar_probe(struct dma_buf *dmabuf, const struct dma_buf_attach_ops *ops)
{
	struct dma_buf_attachment *attach;

	attach = dma_buf_dynamic_attach(dmabuf, peerbar_probe_device(), ops, NULL);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	dma_buf_detach(dmabuf, attach);
	return 0;
}

/*
 * Derive the model by the contract of dma-buf:
 * - an exporter with a pin operation moves memory that is not pinned: DYNAMIC;
 * - an exporter without it that accepts importers without invalidate_mappings() keeps the memory in
 *   place while they are attached: PINNED;
 * - an exporter that refuses only those importers revokes memory: REVOCABLE.
 */
static enum peerbar_model peerbar_derived_model(struct dma_buf *dmabuf)
{
	if (dma_buf_is_dynamic(dmabuf))
		return PEERBAR_MODEL_DYNAMIC;
	switch (peerbar_probe(dmabuf, &peerbar_probe_static)) {
	case 0:
		return PEERBAR_MODEL_PINNED;
	case -EOPNOTSUPP:
		if (!peerbar_probe(dmabuf, &peerbar_probe_revocable))
			return PEERBAR_MODEL_REVOCABLE;
	}
	return PEERBAR_MODEL_UNKNOWN;
}

enum peerbar_model peerbar_dma_buf_model(struct dma_buf *dmabuf, bool *declared)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);
	enum peerbar_model model;
	bool said = true;

	if (buf) {
		model = buf->info.model;
	} else if (!peerbar_declared_model(dmabuf, &model)) {
		model = peerbar_derived_model(dmabuf);
		said = false;
	}
	if (declared)
		*declared = said;
	return model;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_model);

bool peerbar_dma_buf_revoked(struct dma_buf *dmabuf)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);

	if (buf)
		return READ_ONCE(buf->state) != PEERBAR_STATE_LIVE;
	return peerbar_probe(dmabuf, &peerbar_probe_revocable) == -ENODEV;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_revoked);
