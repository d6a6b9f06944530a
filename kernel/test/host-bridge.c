// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel lets peers reach each other through a host bridge only if it knows the bridge's IDs
 * to forward such requests; on x86, a processor of AMD is enough. QEMU's host bridge for arm64
 * forwards them, but is not in that list. Loading this module gives it the IDs of one that is.
 */
#include <linux/module.h>
#include <linux/pci.h>

#define KNOWN_DEVICE 0x2030 /* Intel's Sky Lake-E */

static int __init pb_test_host_bridge_init(void)
{
	struct pci_dev *pdev = pci_get_device(PCI_VENDOR_ID_REDHAT, 0x0008, NULL);

	if (!pdev)
		return -ENODEV;
	pdev->vendor = PCI_VENDOR_ID_INTEL;
	pdev->device = KNOWN_DEVICE;
	pci_dev_put(pdev);
	return 0;
}
module_init(pb_test_host_bridge_init);

static void __exit pb_test_host_bridge_exit(void)
{
}
module_exit(pb_test_host_bridge_exit);

MODULE_DESCRIPTION("peerbar test: QEMU's host bridge for arm64 forwards requests between peers");
MODULE_LICENSE("GPL");
