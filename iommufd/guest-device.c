// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The devices of a guest: their BARs and trapped pages. */
#include <inttypes.h>

#include "guest-state.h"
#include "uapi.h"

/* ---- traps ---- */

/* Trap the pages that overlap [offset, offset + length) of the BAR. Must have room. */
static void add_trap(struct guest_bar *bar, uint64_t offset, uint64_t length)
{
	uint64_t page = pb_page_size();

	bar->traps[bar->nr_traps++] = (struct pb_span){
		.first = offset & ~(page - 1), .last = (offset + length - 1) | (page - 1)
	};
}

static uint32_t read_config32(struct pb_device *device, unsigned int at)
{
	uint8_t le[4];

	if (pb_device_read(device, PB_REGION_CONFIG, at, le, sizeof(le), NULL))
		return 0;
	return (uint32_t)le[0] | (uint32_t)le[1] << 8 | (uint32_t)le[2] << 16 |
		(uint32_t)le[3] << 24;
}

/* Trap the MSI-X table, which every VMM emulates, and the pending bits, which no peer needs. */
static void trap_msix(struct pb_guest_device *dev)
{
	struct pb_device *device = dev->device;
	uint32_t entries, where;

	if (!device->cap_msix)
		return;
	entries = ((read_config32(device, device->cap_msix) >> 16) & PCI_MSIX_FLAGS_QSIZE) + 1;
	where = read_config32(device, device->cap_msix + PCI_MSIX_TABLE);
	if ((where & PCI_MSIX_TABLE_BIR) < PB_BARS && dev->bars[where & PCI_MSIX_TABLE_BIR].size)
		add_trap(&dev->bars[where & PCI_MSIX_TABLE_BIR], where & PCI_MSIX_TABLE_OFFSET,
			 entries * PCI_MSIX_ENTRY_SIZE);
	where = read_config32(device, device->cap_msix + PCI_MSIX_PBA);
	if ((where & PCI_MSIX_PBA_BIR) < PB_BARS && dev->bars[where & PCI_MSIX_PBA_BIR].size)
		add_trap(&dev->bars[where & PCI_MSIX_PBA_BIR], where & PCI_MSIX_PBA_OFFSET,
			 (entries + 63) / 64 * 8);
}

static int check_trap(const struct pb_guest_device *dev, const struct pb_guest_trap *trap,
		      struct pb_error *err)
{
	uint64_t size = trap->bar < PB_BARS ? dev->bars[trap->bar].size : 0;

	if (!size || !trap->length || trap->offset >= size || trap->length > size - trap->offset)
		return pb_fail(err, EINVAL,
			       "0x%" PRIx64 " bytes at 0x%" PRIx64
			       " of BAR %u of %s cannot be trapped: they are not inside a BAR with memory",
			       trap->length, trap->offset, trap->bar, dev->device->bdf);
	return 0;
}

/* ---- devices ---- */

static int set_up_bars(struct pb_guest_device *dev, const struct pb_guest_trap *traps,
		       unsigned int nr_traps, struct pb_error *err)
{
	struct guest_bar *bar;
	unsigned int i;
	int ret;

	for_each_bar(bar, dev) {
		bar->device = dev;
		bar->index = (unsigned int)(bar - dev->bars);
		bar->address = PB_GUEST_NOWHERE;
		if (dev->device->memory_bar[bar->index] && bar->index < dev->device->nr_regions)
			bar->size = dev->device->regions[bar->index].size;
		if (!bar->size)
			continue;
		bar->wide = (read_config32(dev->device, PCI_BASE_ADDRESS_0 + 4 * bar->index) &
			     PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
		/* The caller's, the MSI-X table, the pending bits, and an incomplete last page. */
		bar->traps = calloc((size_t)nr_traps + 3, sizeof(*bar->traps));
		if (!bar->traps)
			return pb_fail_errno(err, ENOMEM, "cannot add %s to a guest",
					     dev->device->bdf);
		if (bar->size % pb_page_size())
			add_trap(bar, bar->size - 1, 1);
	}
	for (i = 0; i < nr_traps; i++) {
		ret = check_trap(dev, &traps[i], err);
		if (ret)
			return ret;
		add_trap(&dev->bars[traps[i].bar], traps[i].offset, traps[i].length);
	}
	trap_msix(dev);
	return 0;
}

void pb_guest_free_device(struct pb_guest_device *dev)
{
	struct guest_bar *bar;

	for_each_bar(bar, dev) {
		pb_guest_forget_buffer(bar);
		free(bar->traps);
	}
	free(dev);
}

int pb_guest_add_device(struct pb_guest *guest, struct pb_device *device,
			const struct pb_guest_trap *traps, unsigned int nr_traps, void *data,
			struct pb_guest_device **guest_device, struct pb_error *err)
{
	struct pb_guest_device *new, *dev;
	int ret;

	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot add %s to a guest", device->bdf);
	new->guest = guest;
	new->device = device;
	new->data = data;
	new->powered = true;
	ret = set_up_bars(new, traps, nr_traps, err);
	if (ret) {
		pb_guest_free_device(new);
		return ret;
	}
	pthread_mutex_lock(&guest->lock);
	LIST_FOREACH(dev, &guest->devices, in_guest)
		if (dev->device == device)
			break;
	if (!dev) {
		LIST_INSERT_HEAD(&guest->devices, new, in_guest);
		*guest_device = new;
	}
	pthread_mutex_unlock(&guest->lock);
	if (dev) {
		pb_guest_free_device(new);
		return pb_fail(err, EEXIST, "%s was added to this guest already", device->bdf);
	}
	return 0;
}

/* Returns whether the device has any range. */
static bool has_ranges(const struct pb_guest_device *dev)
{
	struct guest_window *window;
	struct guest_space *space;
	struct guest_range *range;

	LIST_FOREACH(space, &dev->guest->spaces, in_guest)
		LIST_FOREACH(window, &space->windows, in_space)
			LIST_FOREACH(range, &window->ranges, in_window)
				if (range->bar->device == dev)
					return true;
	return false;
}

int pb_guest_remove_device(struct pb_guest_device *dev, struct pb_error *err)
{
	struct guest_report *waiting, *next;
	struct pb_guest *guest;
	int ret = 0;

	if (!dev)
		return 0;
	guest = dev->guest;
	pthread_mutex_lock(&guest->lock);
	dev->decoding = false;
	pb_guest_settle(guest);
	if (has_ranges(dev)) {
		ret = pb_fail(err, EBUSY, "the kernel did not unmap all BARs of %s; call again",
			      dev->device->bdf);
	} else {
		LIST_REMOVE(dev, in_guest);
		for (waiting = TAILQ_FIRST(&guest->reports); waiting; waiting = next) {
			next = TAILQ_NEXT(waiting, in_guest);
			if (waiting->range.device == dev)
				pb_guest_free_report(guest, waiting);
		}
		pb_guest_free_device(dev);
	}
	pthread_mutex_unlock(&guest->lock);
	return ret;
}
