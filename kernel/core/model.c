// SPDX-License-Identifier: GPL-2.0
/*
 * The memory model of a dma-buf of any exporter.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/string.h>

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

/* Ask the exporter; false if it declares nothing. */
static bool peerbar_declare(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	struct peerbar_exporter *exporter;

	guard(rwsem_read)(&exporters_lock);
	list_for_each_entry(exporter, &exporters, node) {
		if (exporter->ops != dmabuf->ops)
			continue;
		facts->model = exporter->model(dmabuf);
		facts->model_basis = PEERBAR_BASIS_DECLARED;
		if (exporter->describe)
			exporter->describe(dmabuf, facts);
		if (facts->state)
			facts->state_basis = PEERBAR_BASIS_DECLARED;
		if (facts->can_pin)
			facts->can_pin_basis = PEERBAR_BASIS_DECLARED;
		if (facts->can_revoke)
			facts->can_revoke_basis = PEERBAR_BASIS_DECLARED;
		if (facts->place)
			facts->place_basis = PEERBAR_BASIS_DECLARED;
		return true;
	}
	return false;
}

/* ---- known exporters ---- */

/**
 * struct peerbar_known - what the source of an exporter in the kernel says (Linux 7.2 and 7.3)
 * @exporter: its exp_name
 * @driver: its module; NULL: any
 * @model: the model of its dma-bufs
 * @place: where the memory is; UNKNOWN if it can move before an importer attaches
 * @harmless: attaching does not move the memory
 * @never_pins: its pin operation always fails
 * @moves: attaching moves the memory to system memory, and pins it there until detached
 */
struct peerbar_known {
	const char *exporter;
	const char *driver;
	enum peerbar_model model;
	enum peerbar_place place;
	bool harmless;
	bool never_pins;
	bool moves;
};

static const struct peerbar_known peerbar_known[] = {
	{ .exporter = "vfio_pci_core",
	  .model = PEERBAR_MODEL_REVOCABLE,
	  .place = PEERBAR_PLACE_BAR,
	  .harmless = true },
	{ .exporter = "ib_uverbs",
	  .model = PEERBAR_MODEL_REVOCABLE,
	  .place = PEERBAR_PLACE_BAR,
	  .harmless = true,
	  .never_pins = true },
	{ .exporter = "habanalabs",
	  .model = PEERBAR_MODEL_PINNED,
	  .place = PEERBAR_PLACE_BAR,
	  .harmless = true },
	{ .exporter = "udmabuf",
	  .model = PEERBAR_MODEL_PINNED,
	  .place = PEERBAR_PLACE_SYSTEM,
	  .harmless = true },
	{ .exporter = "system",
	  .model = PEERBAR_MODEL_PINNED,
	  .place = PEERBAR_PLACE_SYSTEM,
	  .harmless = true },
	{ .exporter = "default_cma_region",
	  .model = PEERBAR_MODEL_PINNED,
	  .place = PEERBAR_PLACE_SYSTEM,
	  .harmless = true },
	{ .exporter = "drm",
	  .driver = "vgem",
	  .model = PEERBAR_MODEL_PINNED,
	  .place = PEERBAR_PLACE_SYSTEM,
	  .harmless = true },
	/* In system memory or in a BAR, where it stays. */
	{ .exporter = "drm",
	  .driver = "virtio_gpu",
	  .model = PEERBAR_MODEL_PINNED,
	  .harmless = true },
	{ .exporter = "drm", .driver = "i915", .model = PEERBAR_MODEL_PINNED, .moves = true },
	{ .exporter = "drm", .driver = "nouveau", .model = PEERBAR_MODEL_PINNED, .moves = true },
	{ .exporter = "drm", .driver = "radeon", .model = PEERBAR_MODEL_PINNED, .moves = true },
	{ .exporter = "drm", .driver = "loongson", .model = PEERBAR_MODEL_PINNED, .moves = true },
};

static const struct peerbar_known *peerbar_find_known(struct dma_buf *dmabuf)
{
	const struct peerbar_known *known;

	for (known = peerbar_known; known < peerbar_known + ARRAY_SIZE(peerbar_known); known++)
		if (!strcmp(known->exporter, dmabuf->exp_name) &&
		    (!known->driver ||
		     (dmabuf->owner && !strcmp(known->driver, module_name(dmabuf->owner)))))
			return known;
	return NULL;
}

/* ---- behaviour ---- */

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

static void peerbar_set_model(struct peerbar_facts *facts, enum peerbar_model model,
			      enum peerbar_basis basis)
{
	facts->model = model;
	facts->model_basis = basis;
}

static void peerbar_set_state(struct peerbar_facts *facts, enum peerbar_state state,
			      enum peerbar_basis basis)
{
	facts->state = state;
	facts->state_basis = basis;
}

/*
 * Derive model and state from the exporter's answers to attachments, by the contract of dma-buf:
 * - an exporter that refuses every importer with ENODEV has revoked the memory: REVOCABLE;
 * - an exporter that accepts importers without invalidate_mappings() keeps the memory in place
 *   while they are attached: PINNED;
 * - an exporter that refuses only those importers revokes memory: REVOCABLE.
 */
static void peerbar_derive_by_attaching(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	int ret = peerbar_probe(dmabuf, &peerbar_probe_revocable);

	if (!ret)
		peerbar_set_state(facts, PEERBAR_STATE_LIVE, PEERBAR_BASIS_DERIVED);
	else if (ret == -ENODEV)
		peerbar_set_state(facts, PEERBAR_STATE_REVOKED, PEERBAR_BASIS_DERIVED);
	if (facts->model)
		return;
	if (ret == -ENODEV) {
		peerbar_set_model(facts, PEERBAR_MODEL_REVOCABLE, PEERBAR_BASIS_DERIVED);
	} else if (!ret) {
		ret = peerbar_probe(dmabuf, &peerbar_probe_static);
		if (!ret)
			peerbar_set_model(facts, PEERBAR_MODEL_PINNED, PEERBAR_BASIS_DERIVED);
		else if (ret == -EOPNOTSUPP)
			peerbar_set_model(facts, PEERBAR_MODEL_REVOCABLE, PEERBAR_BASIS_DERIVED);
	}
}

/*
 * Derive what follows from the operations alone:
 * - an exporter with a pin operation moves memory that is not pinned: DYNAMIC;
 * - an exporter with neither a pin nor an attach operation accepts every importer: PINNED.
 */
static void peerbar_derive_by_operations(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	if (dma_buf_is_dynamic(dmabuf))
		peerbar_set_model(facts, PEERBAR_MODEL_DYNAMIC, PEERBAR_BASIS_DERIVED);
	else if (!dmabuf->ops->attach)
		peerbar_set_model(facts, PEERBAR_MODEL_PINNED, PEERBAR_BASIS_DERIVED);
}

static void peerbar_find_by_name(const struct peerbar_known *known, struct peerbar_facts *facts)
{
	if (!facts->model)
		peerbar_set_model(facts, known->model, PEERBAR_BASIS_NAME);
	if (known->never_pins) {
		facts->can_pin = PEERBAR_ANSWER_NO;
		facts->can_pin_basis = PEERBAR_BASIS_NAME;
	}
	if (known->place) {
		facts->place = known->place;
		facts->place_basis = PEERBAR_BASIS_NAME;
	}
	facts->migrates = known->moves;
}

void peerbar_find_facts(struct dma_buf *dmabuf, enum peerbar_probing probing,
			struct peerbar_facts *facts)
{
	const struct peerbar_known *known = NULL;

	if (!peerbar_declare(dmabuf, facts)) {
		known = peerbar_find_known(dmabuf);
		if (!known || !known->never_pins)
			peerbar_derive_by_operations(dmabuf, facts);
		/* What is known beats what an attachment suggests, unless that is harmless. */
		if (known && (known->never_pins || !known->harmless))
			peerbar_find_by_name(known, facts);
	}
	if ((known && known->harmless) || (probing == PEERBAR_PROBE_ALL && !facts->state) ||
	    (probing == PEERBAR_PROBE_MODEL && !facts->model))
		peerbar_derive_by_attaching(dmabuf, facts);
	if (known)
		peerbar_find_by_name(known, facts);
}

enum peerbar_model peerbar_dma_buf_model(struct dma_buf *dmabuf, bool *declared)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);
	struct peerbar_facts facts = {};

	if (buf) {
		facts.model = buf->info.model;
		facts.model_basis = PEERBAR_BASIS_DECLARED;
	} else {
		peerbar_find_facts(dmabuf, PEERBAR_PROBE_MODEL, &facts);
	}
	if (declared)
		*declared = facts.model_basis == PEERBAR_BASIS_DECLARED;
	return facts.model;
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
