// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI driver peerbar-test-vram: lets the test exporter use a function's largest BAR as VRAM.
 */
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "exporter.h"

#define DRAIN_MAX (10 * HZ)

static struct pci_driver test_vram_driver;

static void test_vram_free(struct kref *refs)
{
	struct test_vram *vram = container_of(refs, struct test_vram, refs);

	memunmap(vram->base);
	pci_dev_put(vram->pdev);
	mutex_destroy(&vram->lock);
	kfree(vram);
}

void test_vram_put(struct test_vram *vram)
{
	kref_put(&vram->refs, test_vram_free);
}

struct test_vram *test_vram_get(const char *name)
{
	struct test_vram *vram = ERR_PTR(-ENODEV);
	struct device *dev;

	dev = bus_find_device_by_name(&pci_bus_type, NULL, name);
	if (!dev)
		return vram;
	device_lock(dev);
	if (dev->driver == &test_vram_driver.driver) {
		vram = dev_get_drvdata(dev);
		kref_get(&vram->refs);
	}
	device_unlock(dev);
	put_device(dev);
	return vram;
}

int test_vram_add(struct test_vram *vram, struct test_buffer *t)
{
	guard(mutex)(&vram->lock);
	if (vram->gone)
		return -ENODEV;
	list_add_tail(&t->node, &vram->buffers);
	return 0;
}

void test_vram_remove(struct test_buffer *t)
{
	guard(mutex)(&t->vram->lock);
	list_del(&t->node);
}

static int test_vram_largest_bar(struct pci_dev *pdev)
{
	int bar, largest = -ENODEV;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		if ((pci_resource_flags(pdev, bar) & IORESOURCE_MEM) &&
		    (largest < 0 || pci_resource_len(pdev, bar) > pci_resource_len(pdev, largest)))
			largest = bar;
	return largest;
}

static int test_vram_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct test_vram *vram;
	int bar, ret;

	bar = test_vram_largest_bar(pdev);
	if (bar < 0)
		return bar;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_p2pdma_init(pdev);
	if (ret && ret != -EOPNOTSUPP)
		return ret;
	vram = kzalloc_obj(*vram);
	if (!vram)
		return -ENOMEM;
	vram->bar = bar;
	vram->start = pci_resource_start(pdev, bar);
	vram->size = pci_resource_len(pdev, bar);
	vram->base = memremap(vram->start, vram->size, MEMREMAP_WC);
	if (!vram->base) {
		kfree(vram);
		return -ENOMEM;
	}
	kref_init(&vram->refs);
	mutex_init(&vram->lock);
	INIT_LIST_HEAD(&vram->buffers);
	vram->pdev = pci_dev_get(pdev);
	pci_set_drvdata(pdev, vram);
	return 0;
}

static void test_vram_unbind(struct pci_dev *pdev)
{
	struct test_vram *vram = pci_get_drvdata(pdev);
	struct test_buffer *t;

	mutex_lock(&vram->lock);
	vram->gone = true;
	/* The lock keeps the dma-bufs: their release takes it. */
	list_for_each_entry(t, &vram->buffers, node) {
		dma_resv_lock(t->dmabuf->resv, NULL);
		t->dead = true;
		WRITE_ONCE(t->revoked, true);
		dma_buf_invalidate_mappings(t->dmabuf);
		dma_resv_unlock(t->dmabuf->resv);
		if (wait_event_killable_timeout(t->drained, !READ_ONCE(t->maps), DRAIN_MAX) <= 0)
			pci_warn(pdev, "an importer still maps a dma-buf\n");
	}
	mutex_unlock(&vram->lock);
	test_vram_put(vram);
}

static struct pci_driver test_vram_driver = {
	.name = PEERBAR_TEST_VRAM_DRIVER,
	.probe = test_vram_probe,
	.remove = test_vram_unbind,
};

int test_vram_register(void)
{
	return pci_register_driver(&test_vram_driver);
}

void test_vram_unregister(void)
{
	pci_unregister_driver(&test_vram_driver);
}
