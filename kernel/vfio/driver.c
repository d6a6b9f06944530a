// SPDX-License-Identifier: GPL-2.0
/*
 * peerbar-vfio-pci: vfio-pci with dma-bufs that processes can map and owners can revoke
 * permanently. It binds to a device through driver_override, and has vfio-pci's parameters. The
 * other files contain the differences.
 *
 * It lacks vfio-pci's regions of Intel's integrated graphics, whose code is not exported. It has no
 * device table: with a table of all devices, as vfio-pci's, programs that look up a driver by a
 * device's alias (libvirt) would find it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/iommufd.h>
#include <linux/module.h>
#include <linux/pci.h>

#include "vfio.h"

/* ---- parameters of vfio-pci ---- */

static char ids[1024] __initdata;
module_param_string(ids, ids, sizeof(ids), 0);
MODULE_PARM_DESC(ids, "Devices to bind to, \"vendor:device[:subvendor[:subdevice[:class[:class_mask]]]]\", separated by commas");

static bool nointxmask;
module_param(nointxmask, bool, 0644);
MODULE_PARM_DESC(nointxmask, "Disable support for PCI 2.3 style INTx masking, for devices where it is broken");

static bool disable_vga;
#ifdef CONFIG_VFIO_PCI_VGA
module_param(disable_vga, bool, 0444);
MODULE_PARM_DESC(disable_vga, "Disable access to VGA resources");
#endif

static bool disable_idle_d3;
module_param(disable_idle_d3, bool, 0644);
MODULE_PARM_DESC(disable_idle_d3, "Disable using the D3 low power state for idle, unused devices");

static bool enable_sriov;
#ifdef CONFIG_PCI_IOV
module_param(enable_sriov, bool, 0644);
MODULE_PARM_DESC(enable_sriov, "Allow sriov_numvfs to create virtual functions, which may depend on the user of the physical function");
#endif

static bool disable_denylist;
module_param(disable_denylist, bool, 0444);
MODULE_PARM_DESC(disable_denylist, "Bind to devices with errata that untrusted users can exploit");

/* ---- BAR mappings at VFIO's region offsets ---- */

static int peerbar_bar_release(struct inode *inode, struct file *file)
{
	fput(file->private_data);
	return 0;
}

static const struct file_operations peerbar_bar_fops = {
	.owner = THIS_MODULE,
	.release = peerbar_bar_release,
};

/*
 * /proc/PID/maps shows the name of the VMA's file. Give the VMA a file of its own, which holds a
 * reference to the core's file and uses its address space, so that the core still zaps the VMA.
 */
static int peerbar_name_vma(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	unsigned int bar = vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	struct file *file;
	char name[48];

	snprintf(name, sizeof(name), "[vfio-pci:%s/BAR%u]", dev_name(vdev->dev), bar);
	file = anon_inode_getfile(name, &peerbar_bar_fops, vma->vm_file, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	get_file(vma->vm_file);
	file->f_mapping = vma->vm_file->f_mapping;
	vma_set_file(vma, file);
	fput(file);
	return 0;
}

static int peerbar_vfio_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct peerbar_vfio_device *device = to_peerbar_vfio(vdev);
	int ret;

	ret = peerbar_cookie_mmap(&device->cookies, vma);
	if (ret != -ENOENT)
		return ret;
	ret = vfio_pci_core_mmap(vdev, vma);
	if (ret ||
	    vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT) >= VFIO_PCI_ROM_REGION_INDEX)
		return ret;
	return peerbar_name_vma(vdev, vma);
}

/* ---- device operations ---- */

/*
 * Page offsets for cookies: half a TiB that belongs to BAR 5 but is beyond its end, so that the
 * core zaps it with all others.
 */
#define PEERBAR_COOKIE_FIRST                                                    \
	((VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_BAR5_REGION_INDEX) >> PAGE_SHIFT) + \
	 (1UL << (VFIO_PCI_OFFSET_SHIFT - 1 - PAGE_SHIFT)))
#define PEERBAR_COOKIE_LAST \
	((VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX) >> PAGE_SHIFT) - 1)

static int peerbar_vfio_open(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = to_peerbar_vfio(vdev);
	struct peerbar_vfio_tracker *tracker;
	int ret;

	tracker = peerbar_vfio_tracker_alloc(device);
	if (!tracker)
		return -ENOMEM;
	ret = vfio_pci_core_enable(&device->core);
	if (ret) {
		pci_dbg(device->core.pdev,
			"cannot open: vfio-pci-core cannot enable the device: error %d\n", ret);
		peerbar_vfio_tracker_put(tracker);
		return ret;
	}
	scoped_guard(mutex, &device->tracker_lock)
		device->tracker = tracker;
	peerbar_cookies_init(&device->cookies, PEERBAR_COOKIE_FIRST, PEERBAR_COOKIE_LAST);
	vfio_pci_core_finish_enable(&device->core);
	return 0;
}

static void peerbar_vfio_close(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = to_peerbar_vfio(vdev);
	struct peerbar_vfio_tracker *tracker = device->tracker;

	peerbar_vfio_stop_all(tracker);
	peerbar_vfio_drain_all(tracker);
	peerbar_cookies_destroy(&device->cookies);
	vfio_pci_core_close_device(vdev);
	/* All buffers are DEAD, so nothing queues it any more. */
	cancel_work_sync(&tracker->restore);
	scoped_guard(mutex, &device->tracker_lock)
		device->tracker = NULL;
	peerbar_vfio_tracker_put(tracker);
}

/*
 * Check unattached buffers after an operation that may restore memory: the core does not notify
 * buffers that were exported without it.
 */
static void peerbar_vfio_check_unattached(struct vfio_device *vdev)
{
	peerbar_vfio_settle_unattached(to_peerbar_vfio(vdev)->tracker);
}

static ssize_t peerbar_vfio_write(struct vfio_device *vdev, const char __user *from, size_t count,
				  loff_t *pos)
{
	ssize_t ret = vfio_pci_core_write(vdev, from, count, pos);

	peerbar_vfio_check_unattached(vdev);
	return ret;
}

static long peerbar_vfio_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	long ret = vfio_pci_core_ioctl(vdev, cmd, arg);

	peerbar_vfio_check_unattached(vdev);
	return ret;
}

static int peerbar_vfio_device_feature(struct vfio_device *vdev, u32 flags, void __user *arg,
				       size_t argsz)
{
	int ret = peerbar_vfio_feature(vdev, flags, arg, argsz);

	peerbar_vfio_check_unattached(vdev);
	return ret;
}

static int peerbar_vfio_init_dev(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = to_peerbar_vfio(vdev);

	/* Copy: later changes of the parameters don't affect this device. */
	device->core.nointxmask = nointxmask;
	device->core.disable_idle_d3 = disable_idle_d3;
	device->core.disable_vga = disable_vga;
	mutex_init(&device->export_lock);
	mutex_init(&device->tracker_lock);
	return vfio_pci_core_init_dev(vdev);
}

static const struct vfio_device_ops peerbar_vfio_ops = {
	.name = "peerbar-vfio-pci",
	.init = peerbar_vfio_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = peerbar_vfio_open,
	.close_device = peerbar_vfio_close,
	.ioctl = peerbar_vfio_ioctl,
	.get_region_info_caps = vfio_pci_ioctl_get_region_info,
	.device_feature = peerbar_vfio_device_feature,
	.read = vfio_pci_core_read,
	.write = peerbar_vfio_write,
	.mmap = peerbar_vfio_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
	.match_token_uuid = vfio_pci_core_match_token_uuid,
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
	.pasid_attach_ioas = vfio_iommufd_physical_pasid_attach_ioas,
	.pasid_detach_ioas = vfio_iommufd_physical_pasid_detach_ioas,
};

static const struct vfio_pci_device_ops peerbar_vfio_pci_ops = {
	.get_dmabuf_phys = peerbar_vfio_get_dmabuf_phys,
};

/* Devices with errata that untrusted users can exploit; vfio-pci denies them as well */
static const struct pci_device_id peerbar_vfio_denied[] = {
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C3XXX) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C3XXX_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C62X) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C62X_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_DH895XCC) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_DH895XCC_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_DSA_SPR0) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_IAX_SPR0) },
	{}
};

static int peerbar_vfio_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct peerbar_vfio_device *device;
	int ret;

	if (pci_match_id(peerbar_vfio_denied, pdev)) {
		if (!disable_denylist) {
			pci_warn(pdev,
				 "cannot bind: untrusted users can exploit errata of this device; load with disable_denylist=1 to override\n");
			return -EINVAL;
		}
		pci_warn(pdev,
			 "bound because of disable_denylist=1: untrusted users can exploit errata of this device\n");
	}
	device = vfio_alloc_device(peerbar_vfio_device, core.vdev, &pdev->dev, &peerbar_vfio_ops);
	if (IS_ERR(device))
		return PTR_ERR(device);
	dev_set_drvdata(&pdev->dev, &device->core);
	device->core.pci_ops = &peerbar_vfio_pci_ops;
	ret = vfio_pci_core_register_device(&device->core);
	if (ret)
		goto err_put;
	return 0;

err_put:
	vfio_put_device(&device->core.vdev);
	return ret;
}

static void peerbar_vfio_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);
	struct peerbar_vfio_device *device = to_peerbar_vfio(&core->vdev);
	struct peerbar_vfio_tracker *tracker;

	/*
	 * Stop the buffers at once; don't wait for the user to close the device. Don't drain them:
	 * the close does, and vfio_unregister_group_dev() waits for the close. That wait is VFIO's,
	 * and not killable, since remove cannot fail.
	 */
	WRITE_ONCE(device->gone, true);
	tracker = peerbar_vfio_tracker_get(device);
	if (tracker) {
		peerbar_vfio_stop_all(tracker);
		peerbar_vfio_tracker_put(tracker);
	}
	vfio_pci_core_unregister_device(core);
	vfio_put_device(&core->vdev);
}

static int peerbar_vfio_sriov_configure(struct pci_dev *pdev, int nr_virtfn)
{
	if (!enable_sriov) {
		pci_dbg(pdev,
			"cannot create %d virtual functions: load with enable_sriov=1 to allow it\n",
			nr_virtfn);
		return -ENOENT;
	}
	return vfio_pci_core_sriov_configure(dev_get_drvdata(&pdev->dev), nr_virtfn);
}

/*
 * Handle a reset from outside the core: by sysfs, or of the bus. The core is not notified of it, so
 * revoke here. Wait until importers have unmapped: no DMA may reach a function that is being reset.
 * Not killable: the reset cannot be cancelled.
 *
 * A reset by the core also comes here, with memory_lock held. The core has then revoked all
 * buffers, and waited.
 */
static void peerbar_vfio_reset_prepare(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);
	struct peerbar_vfio_device *device = to_peerbar_vfio(&core->vdev);
	struct peerbar_vfio_tracker *tracker;

	WRITE_ONCE(device->resetting, true);
	tracker = peerbar_vfio_tracker_get(device);
	if (!tracker)
		return;
	peerbar_vfio_revoke_all(tracker);
	peerbar_vfio_tracker_put(tracker);
}

static void peerbar_vfio_reset_done(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);
	struct peerbar_vfio_device *device = to_peerbar_vfio(&core->vdev);

	WRITE_ONCE(device->resetting, false);
	guard(mutex)(&device->tracker_lock);
	if (device->tracker)
		peerbar_vfio_queue_restore_all(device->tracker);
}

static const struct pci_error_handlers peerbar_vfio_err_handlers = {
	.error_detected = vfio_pci_core_aer_err_detected,
	.reset_prepare = peerbar_vfio_reset_prepare,
	.reset_done = peerbar_vfio_reset_done,
};

/* No MODULE_DEVICE_TABLE(): the administrator must name this driver for a device. */
static const struct pci_device_id peerbar_vfio_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) }, {}
};

static struct pci_driver peerbar_vfio_driver = {
	.name = "peerbar-vfio-pci",
	.id_table = peerbar_vfio_ids,
	.probe = peerbar_vfio_probe,
	.remove = peerbar_vfio_remove,
	.sriov_configure = peerbar_vfio_sriov_configure,
	.err_handler = &peerbar_vfio_err_handlers,
	.driver_managed_dma = true,
};

static void __init peerbar_vfio_add_ids(void)
{
	unsigned int vendor, device, subvendor, subdevice, class, class_mask;
	char *list = ids, *id;
	int ret;

	while ((id = strsep(&list, ","))) {
		if (!*id)
			continue;
		subvendor = PCI_ANY_ID;
		subdevice = PCI_ANY_ID;
		class = 0;
		class_mask = 0;
		if (sscanf(id, "%x:%x:%x:%x:%x:%x", &vendor, &device, &subvendor, &subdevice,
			   &class, &class_mask) < 2) {
			pr_warn("ids: '%s' ignored: not vendor:device in hexadecimal\n", id);
			continue;
		}
		ret = pci_add_dynid(&peerbar_vfio_driver, vendor, device, subvendor, subdevice,
				    class, class_mask, 0);
		if (ret)
			pr_warn("ids: cannot add '%s': error %d\n", id, ret);
	}
}

/*
 * CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV determine the layout of struct vfio_device. Without
 * modversions, this module would load with a vfio that was built with other options. If it was
 * built with them and vfio was not, symbols are missing; detect the reverse by a symbol of that
 * vfio.
 */
static bool __init peerbar_vfio_has_other_layout(void)
{
#if IS_ENABLED(CONFIG_IOMMUFD)
	return false;
#else
	if (!__symbol_get("vfio_iommufd_physical_bind"))
		return false;
	__symbol_put("vfio_iommufd_physical_bind");
	return true;
#endif
}

static int __init peerbar_vfio_init(void)
{
	int ret;

	if (peerbar_vfio_has_other_layout()) {
		pr_err("built for a vfio without iommufd, but vfio has it; build this module again\n");
		return -ENOEXEC;
	}
	ret = pci_register_driver(&peerbar_vfio_driver);
	if (ret)
		return ret;
	peerbar_vfio_add_ids();
	peerbar_set_cap(PEERBAR_CAP_VFIO, true);
	return 0;
}

static void __exit peerbar_vfio_exit(void)
{
	peerbar_set_cap(PEERBAR_CAP_VFIO, false);
	pci_unregister_driver(&peerbar_vfio_driver);
}

module_init(peerbar_vfio_init);
module_exit(peerbar_vfio_exit);

MODULE_DESCRIPTION("vfio-pci with dma-bufs that processes can map and owners can revoke");
MODULE_AUTHOR("The peerbar authors");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
