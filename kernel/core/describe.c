// SPDX-License-Identifier: GPL-2.0
/*
 * What is known about a dma-buf of any exporter: its model, its state, what its exporter can do,
 * and where its memory is. model.c has the sources of what the core does not know by itself.
 */
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>

#include "core.h"

void peerbar_facts_locate(struct peerbar_facts *facts, struct device *dev, phys_addr_t paddr)
{
	struct pci_dev *pdev = dev && dev_is_pci(dev) ? to_pci_dev(dev) : NULL;
	unsigned int bar;

	facts->place = PEERBAR_PLACE_DEVICE;
	if (dev)
		strscpy(facts->device, dev_name(dev));
	for (bar = 0; pdev && bar < PCI_STD_NUM_BARS; bar++) {
		if (!(pci_resource_flags(pdev, bar) & IORESOURCE_MEM) ||
		    paddr < pci_resource_start(pdev, bar) || paddr > pci_resource_end(pdev, bar))
			continue;
		facts->place = PEERBAR_PLACE_BAR;
		facts->bar = bar;
		facts->bar_offset = paddr - pci_resource_start(pdev, bar);
		break;
	}
}
EXPORT_SYMBOL_GPL(peerbar_facts_locate);

void peerbar_buffer_describe_locked(struct peerbar_buffer *buf, struct peerbar_facts *facts)
{
	lockdep_assert(lockdep_is_held(&buf->importers_lock) || dma_resv_held(buf->dmabuf->resv));

	facts->model = buf->info.model;
	facts->state = READ_ONCE(buf->state);
	facts->can_pin = facts->model == PEERBAR_MODEL_DYNAMIC ? PEERBAR_ANSWER_YES :
								 PEERBAR_ANSWER_NO;
	facts->can_revoke = facts->model == PEERBAR_MODEL_PINNED ? PEERBAR_ANSWER_NO :
								   PEERBAR_ANSWER_YES;
	if (buf->info.mmio)
		peerbar_facts_locate(facts, buf->info.dev, buf->ranges[0].paddr);
	else
		facts->place = PEERBAR_PLACE_SYSTEM;
	facts->model_basis = PEERBAR_BASIS_DECLARED;
	facts->state_basis = PEERBAR_BASIS_DECLARED;
	facts->can_pin_basis = PEERBAR_BASIS_DECLARED;
	facts->can_revoke_basis = PEERBAR_BASIS_DECLARED;
	facts->place_basis = PEERBAR_BASIS_DECLARED;
}

/* What follows from the model and the operations, as far as it is not known otherwise. */
static void peerbar_complete_facts(struct dma_buf *dmabuf, struct peerbar_facts *facts)
{
	if (!facts->can_pin) {
		facts->can_pin = dma_buf_is_dynamic(dmabuf) ? PEERBAR_ANSWER_YES :
							      PEERBAR_ANSWER_NO;
		facts->can_pin_basis = PEERBAR_BASIS_DERIVED;
	}
	if (!facts->can_revoke &&
	    (facts->model == PEERBAR_MODEL_PINNED || facts->model == PEERBAR_MODEL_REVOCABLE)) {
		facts->can_revoke = facts->model == PEERBAR_MODEL_PINNED ? PEERBAR_ANSWER_NO :
									   PEERBAR_ANSWER_YES;
		facts->can_revoke_basis = facts->model_basis;
	}
	if (!facts->state && facts->can_revoke == PEERBAR_ANSWER_NO) {
		facts->state = PEERBAR_STATE_LIVE;
		facts->state_basis = facts->can_revoke_basis;
	}
}

int peerbar_dma_buf_describe(struct dma_buf *dmabuf, bool probe, struct peerbar_facts *facts)
{
	struct peerbar_buffer *buf = peerbar_buffer_of(dmabuf);

	*facts = (struct peerbar_facts){};
	if (!buf) {
		peerbar_find_facts(dmabuf, probe ? PEERBAR_PROBE_ALL : PEERBAR_PROBE_NOTHING,
				   facts);
		peerbar_complete_facts(dmabuf, facts);
		return facts->place ? 0 : peerbar_ttm_locate(dmabuf, facts);
	}
	peerbar_buffer_settle(buf);
	if (dma_resv_lock_interruptible(dmabuf->resv, NULL))
		return -EINTR;
	peerbar_buffer_describe_locked(buf, facts);
	dma_resv_unlock(dmabuf->resv);
	return 0;
}
EXPORT_SYMBOL_GPL(peerbar_dma_buf_describe);
