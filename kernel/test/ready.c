// SPDX-License-Identifier: GPL-2.0
/*
 * Emulated devices are ready as soon as they have been reset or powered up, but the kernel waits
 * 10 to 100 ms for each, as it must for others. A test's fixture opens and closes two devices,
 * with a reset each time. Loading this module ends these waits for the devices that are present.
 *
 * vfio-pci enables a function when it is opened, and disables it when it is closed. Each time ACPI
 * evaluates the interrupt routing table, of 128 entries, which takes the debug kernel half a
 * second. The module enables functions once more, so that they stay enabled.
 */
#include <linux/module.h>
#include <linux/pci.h>

static int __init pb_test_ready_init(void)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		pdev->imm_ready = 1;
		pdev->d3hot_delay = 0;
		pdev->d3cold_delay = 0;
		if (pdev->pin && !pci_is_bridge(pdev) && pci_enable_device(pdev))
			pci_warn(pdev, "cannot be enabled\n");
	}
	return 0;
}
module_init(pb_test_ready_init);

static void __exit pb_test_ready_exit(void)
{
}
module_exit(pb_test_ready_exit);

MODULE_DESCRIPTION("peerbar test: devices that are ready at once after a reset");
MODULE_LICENSE("GPL");
