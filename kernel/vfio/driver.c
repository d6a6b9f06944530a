// SPDX-License-Identifier: GPL-2.0
/*
 * peerbar-vfio-pci: vfio-pci whose dma-bufs can be mapped by processes and revoked for good. It binds to whatever driver_override
 * names it for, and has vfio-pci's parameters; what is different is in the other files.
 *
 * Of vfio-pci it lacks the regions of Intel's integrated graphics, whose code is not exported. And it has no device table: a
 * table of all devices, as vfio-pci's, would let programs that look for the driver of a device by its alias (libvirt) find it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/iommufd.h>
#include <linux/module.h>
#include <linux/pci.h>

#include "vfio.h"

/* ---- parameters, as those of vfio-pci ---- */

static char ids[1024] __initdata;
module_param_string(ids, ids, sizeof(ids), 0);
MODULE_PARM_DESC(ids, "Devices to bind to, \"vendor:device[:subvendor[:subdevice[:class[:class_mask]]]]\", separated by commas");

static bool nointxmask;
module_param(nointxmask, bool, 0644);
MODULE_PARM_DESC(nointxmask, "Disable support for PCI 2.3 style INTx masking, for devices that get it wrong");

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
MODULE_PARM_DESC(enable_sriov, "Let sriov_numvfs create virtual functions, which may need support by the user of the physical one");
#endif

static bool disable_denylist;
module_param(disable_denylist, bool, 0444);
MODULE_PARM_DESC(disable_denylist, "Bind to devices with errata that untrusted users can exploit");

/* ---- all buffers of a device ---- */

static DEFINE_MUTEX(peerbar_vfio_lock);

void peerbar_vfio_track(struct peerbar_vfio_device *device, struct peerbar_vfio_buffer *vbuf)
{
	struct peerbar_vfio_buffer *before;

	guard(mutex)(&peerbar_vfio_lock);
	/* by ascending number, which is how they come but for those that are made at the same time */
	list_for_each_entry_reverse(before, &device->buffers, node)
		if (before->buf->id < vbuf->buf->id)
			break;
	list_add(&vbuf->node, &before->node);
}

void peerbar_vfio_untrack(struct peerbar_vfio_buffer *vbuf)
{
	guard(mutex)(&peerbar_vfio_lock);
	list_del_init(&vbuf->node);
}

/* The next buffer after @id in one of two states, with a reference. */
static struct peerbar_buffer *peerbar_vfio_next(struct peerbar_vfio_device *device, u64 id, enum peerbar_state a,
						enum peerbar_state b)
{
	struct peerbar_vfio_buffer *vbuf;

	guard(mutex)(&peerbar_vfio_lock);
	list_for_each_entry(vbuf, &device->buffers, node) {
		enum peerbar_state state = READ_ONCE(vbuf->buf->state);

		if (vbuf->buf->id > id && (state == a || state == b) && peerbar_buffer_tryget(vbuf->buf))
			return vbuf->buf;
	}
	return NULL;
}

/* Importers may take their time to let go, and are waited for without a lock. */
static void peerbar_vfio_kill_all(struct peerbar_vfio_device *device)
{
	struct peerbar_buffer *buf;

	while ((buf = peerbar_vfio_next(device, 0, PEERBAR_STATE_LIVE, PEERBAR_STATE_REVOKED))) {
		peerbar_buffer_kill(buf, false);
		peerbar_buffer_put(buf);
	}
}

/* The memory may be back: see for whom. */
void peerbar_vfio_settle_all(struct peerbar_vfio_device *device)
{
	struct peerbar_vfio_buffer *vbuf;
	struct peerbar_buffer *buf;
	u64 id = 0;

	WRITE_ONCE(device->unattached, false);
	while ((buf = peerbar_vfio_next(device, id, PEERBAR_STATE_REVOKED, PEERBAR_STATE_REVOKED))) {
		id = buf->id;
		peerbar_buffer_settle(buf);
		vbuf = buf->info.priv;
		if (!READ_ONCE(vbuf->attach))
			WRITE_ONCE(device->unattached, true);
		peerbar_buffer_put(buf);
	}
}

static void peerbar_vfio_restore(struct work_struct *work)
{
	struct peerbar_vfio_device *device = container_of(work, struct peerbar_vfio_device, restore);

	/* the core says so before it lets anybody map, but has its lock until it does */
	down_read(&device->core.memory_lock);
	up_read(&device->core.memory_lock);
	peerbar_vfio_settle_all(device);
}

/* No buffer knows the device any more. */
static void peerbar_vfio_forget_all(struct peerbar_vfio_device *device)
{
	struct peerbar_vfio_buffer *vbuf, *next;

	guard(mutex)(&peerbar_vfio_lock);
	list_for_each_entry_safe(vbuf, next, &device->buffers, node) {
		list_del_init(&vbuf->node);
		WRITE_ONCE(vbuf->device, NULL);
	}
}

/* ---- mappings of BARs by the offsets that VFIO gives ---- */

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
 * The name in /proc/PID/maps is that of the file. So the VMA gets a file of its own, which keeps the core's open, and is in that
 * one's address space, so that the core zaps it as ever.
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
	struct peerbar_vfio_device *device = peerbar_vfio(vdev);
	int ret;

	ret = peerbar_cookie_mmap(&device->cookies, vma);
	if (ret != -ENOENT)
		return ret;
	ret = vfio_pci_core_mmap(vdev, vma);
	if (ret || vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT) >= VFIO_PCI_ROM_REGION_INDEX)
		return ret;
	return peerbar_name_vma(vdev, vma);
}

/* ---- the device ---- */

/* half a TiB of page offsets that belong to BAR 5 but are beyond its end, and that the core zaps with all others */
#define PEERBAR_COOKIE_FIRST	((VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_BAR5_REGION_INDEX) >> PAGE_SHIFT) + \
				 (1UL << (VFIO_PCI_OFFSET_SHIFT - 1 - PAGE_SHIFT)))
#define PEERBAR_COOKIE_LAST	((VFIO_PCI_INDEX_TO_OFFSET(VFIO_PCI_ROM_REGION_INDEX) >> PAGE_SHIFT) - 1)

static int peerbar_vfio_open(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = peerbar_vfio(vdev);
	int ret;

	ret = vfio_pci_core_enable(&device->core);
	if (ret)
		return ret;
	peerbar_cookies_init(&device->cookies, PEERBAR_COOKIE_FIRST, PEERBAR_COOKIE_LAST);
	vfio_pci_core_finish_enable(&device->core);
	return 0;
}

static void peerbar_vfio_close(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = peerbar_vfio(vdev);

	peerbar_vfio_kill_all(device);
	peerbar_cookies_destroy(&device->cookies);
	vfio_pci_core_close_device(vdev);
	cancel_work_sync(&device->restore);
	peerbar_vfio_forget_all(device);
}

/* What may bring the memory back: buffers that were exported without it are not told by the core. */
static void peerbar_vfio_look(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = peerbar_vfio(vdev);

	if (READ_ONCE(device->unattached))
		peerbar_vfio_settle_all(device);
}

static ssize_t peerbar_vfio_write(struct vfio_device *vdev, const char __user *from, size_t count, loff_t *pos)
{
	ssize_t ret = vfio_pci_core_write(vdev, from, count, pos);

	peerbar_vfio_look(vdev);
	return ret;
}

static long peerbar_vfio_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	long ret = vfio_pci_core_ioctl(vdev, cmd, arg);

	peerbar_vfio_look(vdev);
	return ret;
}

static int peerbar_vfio_device_feature(struct vfio_device *vdev, u32 flags, void __user *arg, size_t argsz)
{
	int ret = peerbar_vfio_feature(vdev, flags, arg, argsz);

	peerbar_vfio_look(vdev);
	return ret;
}

static int peerbar_vfio_init_dev(struct vfio_device *vdev)
{
	struct peerbar_vfio_device *device = peerbar_vfio(vdev);

	/* for this device, whatever becomes of the parameters */
	device->core.nointxmask = nointxmask;
	device->core.disable_idle_d3 = disable_idle_d3;
	device->core.disable_vga = disable_vga;
	mutex_init(&device->export_lock);
	INIT_LIST_HEAD(&device->buffers);
	INIT_WORK(&device->restore, peerbar_vfio_restore);
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

/* devices with errata that vfio-pci, too, does not hand to untrusted users unless told to */
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
			pci_warn(pdev, "this device has errata that untrusted users can exploit: needs disable_denylist=1\n");
			return -EINVAL;
		}
		pci_warn(pdev, "this device has errata that untrusted users can exploit: bound by disable_denylist=1\n");
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
	struct peerbar_vfio_device *device = peerbar_vfio(&core->vdev);

	/* at once, and not only when the user has been talked into closing the device */
	WRITE_ONCE(device->gone, true);
	peerbar_vfio_kill_all(device);
	vfio_pci_core_unregister_device(core);
	vfio_put_device(&core->vdev);
}

static int peerbar_vfio_sriov_configure(struct pci_dev *pdev, int nr_virtfn)
{
	if (!enable_sriov)
		return -ENOENT;
	return vfio_pci_core_sriov_configure(dev_get_drvdata(&pdev->dev), nr_virtfn);
}

/* No MODULE_DEVICE_TABLE(): whoever wants this driver for a device names it. */
static const struct pci_device_id peerbar_vfio_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};

static struct pci_driver peerbar_vfio_driver = {
	.name = "peerbar-vfio-pci",
	.id_table = peerbar_vfio_ids,
	.probe = peerbar_vfio_probe,
	.remove = peerbar_vfio_remove,
	.sriov_configure = peerbar_vfio_sriov_configure,
	.err_handler = &vfio_pci_core_err_handlers,
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
		if (sscanf(id, "%x:%x:%x:%x:%x:%x", &vendor, &device, &subvendor, &subdevice, &class, &class_mask) < 2) {
			pr_warn("ids: '%s' is not vendor:device, in hexadecimal digits: ignored\n", id);
			continue;
		}
		ret = pci_add_dynid(&peerbar_vfio_driver, vendor, device, subvendor, subdevice, class, class_mask, 0);
		if (ret)
			pr_warn("ids: '%s' cannot be added: %d\n", id, ret);
	}
}

static int __init peerbar_vfio_init(void)
{
	int ret = pci_register_driver(&peerbar_vfio_driver);

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
