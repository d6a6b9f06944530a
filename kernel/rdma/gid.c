// SPDX-License-Identifier: GPL-2.0
/* All devices, and lookup of a device by address. */
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/rculist.h>
#include <rdma/ib_cache.h>

#include "rdma.h"

/* All devices; changed under the lock, read under RCU */
static LIST_HEAD(pbr_devices);
static DEFINE_SPINLOCK(pbr_devices_lock);

static bool pbr_direct = true;
module_param_named(direct, pbr_direct, bool, 0644);
MODULE_PARM_DESC(direct, "Copy directly between queue pairs of this host that connect later; without it they use the network, for tests");

/* ---- lookup ---- */

static bool pbr_has_gid(struct pbr_device *dev, const union ib_gid *gid)
{
	const struct ib_gid_attr *attr;

	/* Skip a device that is being unregistered. */
	if (!ib_device_try_get(&dev->ib))
		return false;
	attr = rdma_find_gid(&dev->ib, gid, IB_GID_TYPE_ROCE_UDP_ENCAP, NULL);
	if (!IS_ERR(attr))
		rdma_put_gid_attr(attr);
	ib_device_put(&dev->ib);
	return !IS_ERR(attr);
}

/* Whether @dmac is the address of the device's network device. */
static bool pbr_has_mac(struct pbr_device *dev, const u8 *dmac)
{
	struct net_device *ndev = ib_device_get_netdev(&dev->ib, 1);
	bool same;

	if (!ndev)
		return false;
	same = ether_addr_equal(ndev->dev_addr, dmac);
	dev_put(ndev);
	return same;
}

/*
 * Try the sender's own device first, then those of its network namespace, where an address belongs
 * to one device. Use a device of another namespace only if the network leads there: if the sender's
 * namespace resolved the address to that network device.
 */
u32 pbr_find_device(struct pbr_device *from, const union ib_gid *gid, const u8 *dmac)
{
	struct pbr_device *dev;
	u32 foreign = 0;
	bool several = false;

	if (!READ_ONCE(pbr_direct) && from->port)
		return 0;
	guard(rcu)();
	if (pbr_has_gid(from, gid))
		return from->id;
	list_for_each_entry_rcu(dev, &pbr_devices, node) {
		if (dev == from || !pbr_has_gid(dev, gid))
			continue;
		if (dev->net == from->net)
			return dev->id;
		if (!pbr_has_mac(dev, dmac))
			continue;
		several = foreign;
		foreign = dev->id;
	}
	return several ? 0 : foreign;
}

struct pbr_device *pbr_find_device_of_netdev(const struct net_device *ndev)
{
	struct pbr_device *dev;

	list_for_each_entry_rcu(dev, &pbr_devices, node)
		if (dev->ndev == ndev)
			return dev;
	return NULL;
}

struct pbr_device *pbr_find_device_of_gid(const struct net *net, const union ib_gid *gid)
{
	struct pbr_device *dev;

	list_for_each_entry_rcu(dev, &pbr_devices, node)
		if (dev->net == net && pbr_has_gid(dev, gid))
			return dev;
	return NULL;
}

struct pbr_qp_handle *pbr_find_gsi(u32 id)
{
	struct pbr_device *dev;

	list_for_each_entry_rcu(dev, &pbr_devices, node)
		if (dev->id == id)
			return rcu_dereference(dev->gsi);
	return NULL;
}

/* ---- the list ---- */

/* Caller holds pbr_devices_lock. */
static bool pbr_function_has_device(struct device *dma, unsigned int *max_seg_size)
{
	struct pbr_device *dev;

	list_for_each_entry(dev, &pbr_devices, node) {
		if (dev->dma != dma)
			continue;
		*max_seg_size = dev->max_seg_size;
		return true;
	}
	return false;
}

/*
 * Raise the function's limit of a segment: an exporter may map a dma-buf as one segment, and copies
 * by the CPU have no limit. The NIC's own driver is affected only if it maps scatterlists: the
 * IOMMU may then merge more entries. Restore the limit with the function's last device.
 */
void pbr_device_list(struct pbr_device *dev)
{
	struct device *function = dev->dma;

	spin_lock(&pbr_devices_lock);
	if (!pbr_function_has_device(function, &dev->max_seg_size))
		dev->max_seg_size = dma_get_max_seg_size(function);
	if (dma_get_max_seg_size(function) < SZ_2G)
		dma_set_max_seg_size(function, SZ_2G);
	list_add_rcu(&dev->node, &pbr_devices);
	spin_unlock(&pbr_devices_lock);
}

void pbr_device_unlist(struct pbr_device *dev)
{
	struct device *function = dev->dma;
	unsigned int unused;

	spin_lock(&pbr_devices_lock);
	list_del_rcu(&dev->node);
	/* Keep the limit if the driver has changed it. */
	if (!pbr_function_has_device(function, &unused) && dma_get_max_seg_size(function) == SZ_2G)
		dma_set_max_seg_size(function, dev->max_seg_size);
	spin_unlock(&pbr_devices_lock);
}
