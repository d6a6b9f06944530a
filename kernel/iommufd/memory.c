// SPDX-License-Identifier: GPL-2.0
/*
 * The physical ranges of a dma-buf, by the DMA addresses that its exporter returns for a twin.
 *
 * iommufd maps whatever address it gets, so check each: all of a range must be in one BAR, and all
 * ranges in BARs of one function.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "iommufd.h"

void peerbar_memory_put(struct peerbar_memory *memory)
{
	kvfree(memory->vec);
	pci_dev_put(memory->owner);
	*memory = (struct peerbar_memory){};
}

/*
 * The BAR that contains a range; -1 if none of the function does. Where bus addresses differ from
 * physical ones, an exporter may return either; refuse such a function.
 */
static int peerbar_find_bar(struct pci_dev *pdev, const struct phys_vec *range)
{
	struct resource want = DEFINE_RES_MEM(range->paddr, range->len), *res;
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		res = pci_resource_n(pdev, bar);
		if (resource_type(res) == IORESOURCE_MEM && resource_size(res) &&
		    !(res->flags & IORESOURCE_UNSET) && res->start <= want.start &&
		    res->end >= want.end && pci_bus_address(pdev, bar) == res->start)
			return bar;
	}
	return -1;
}

static struct pci_dev *peerbar_find_owner(const struct phys_vec *range, unsigned int *bar)
{
	struct pci_dev *pdev = NULL;
	int found;

	for_each_pci_dev(pdev) {
		found = peerbar_find_bar(pdev, range);
		if (found < 0)
			continue;
		*bar = found;
		return pdev;
	}
	return NULL;
}

static int peerbar_check_range(struct peerbar_memory *memory, const struct phys_vec *range,
			       u64 offset, struct peerbar_bridge *request)
{
	enum peerbar_bridge_reason reason = PEERBAR_BRIDGE_WHY_NOT_BAR;
	struct pci_dev *owner;
	unsigned int bar;

	if (memory->owner && peerbar_find_bar(memory->owner, range) >= 0)
		return 0;
	owner = peerbar_find_owner(range, &bar);
	if (owner && !memory->owner) {
		memory->owner = owner;
		memory->bar = bar;
		strscpy(request->device, pci_name(owner));
		return 0;
	}
	if (owner)
		reason = PEERBAR_BRIDGE_WHY_OTHER_DEVICE;
	else if (region_intersects(range->paddr, range->len, IORESOURCE_SYSTEM_RAM,
				   IORES_DESC_NONE) != REGION_DISJOINT)
		reason = PEERBAR_BRIDGE_WHY_SYSTEM_MEMORY;
	pci_dev_put(owner);
	request->offset = offset;
	return peerbar_refuse(request, reason, -EOPNOTSUPP);
}

/* Collect the DMA segments up to @size bytes, and join those that are adjacent. */
static int peerbar_collect(struct peerbar_memory *memory, struct sg_table *sgt, size_t size,
			   struct peerbar_bridge *request)
{
	struct phys_vec *last = NULL;
	struct scatterlist *sg;
	size_t done = 0, len;
	unsigned int i;

	memory->vec = kvcalloc(sgt->nents, sizeof(*memory->vec), GFP_KERNEL_ACCOUNT);
	if (!memory->vec)
		return -ENOMEM;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (done == size)
			break;
		request->offset = done;
		len = min_t(size_t, sg_dma_len(sg), size - done);
		if (!len || !PAGE_ALIGNED(sg_dma_address(sg)) || !PAGE_ALIGNED(len))
			return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_UNALIGNED, -EOPNOTSUPP);
		if (last && last->paddr + last->len == sg_dma_address(sg)) {
			last->len += len;
		} else {
			last = &memory->vec[memory->nr++];
			*last = (struct phys_vec){ .paddr = sg_dma_address(sg), .len = len };
		}
		done += len;
	}
	request->offset = done;
	if (done < size || !done)
		return peerbar_refuse(request, PEERBAR_BRIDGE_WHY_TOO_SHORT, -EOPNOTSUPP);
	request->offset = 0;
	return 0;
}

int peerbar_memory_get(struct peerbar_memory *memory, struct sg_table *sgt, size_t size,
		       struct peerbar_bridge *request)
{
	unsigned int i;
	u64 offset = 0;
	int ret;

	*memory = (struct peerbar_memory){};
	ret = peerbar_collect(memory, sgt, size, request);
	for (i = 0; !ret && i < memory->nr; i++) {
		ret = peerbar_check_range(memory, &memory->vec[i], offset, request);
		offset += memory->vec[i].len;
	}
	return ret;
}
