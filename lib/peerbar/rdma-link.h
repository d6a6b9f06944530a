/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* RDMA devices of the driver peerbar-rdma. */
#ifndef PEERBAR_RDMA_LINK_H
#define PEERBAR_RDMA_LINK_H

#include <peerbar/api.h>
#include <peerbar/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * pb_rdma_link_add() - create an RDMA device of the driver peerbar-rdma
 * @name: its name, for example "pb0"; at most 63 characters
 * @netdev: the Ethernet device to create it on, in the caller's network namespace; must have a PCI
 *	function, whose DMA identity the RDMA device uses
 * @err: may be NULL
 *
 * Equivalent to "rdma link add @name type peerbar netdev @netdev". The kernel loads the module
 * peerbar-rdma if it finds it.
 *
 * Return: 0; -EINVAL if a name is invalid, or the kernel has no such links (the module peerbar-rdma
 * is missing); -ENODEV if there is no such network device; -EEXIST if the name is in use, or
 * @netdev has such a device; -EOPNOTSUPP if @netdev has no PCI function or is not Ethernet; -EPERM
 * without CAP_NET_ADMIN; -EPROTONOSUPPORT without the kernel's RDMA core; -ENOMEM; -EIO if netlink
 * fails.
 */
PB_API int pb_rdma_link_add(const char *name, const char *netdev, struct pb_error *err);

/**
 * pb_rdma_link_delete() - remove an RDMA device that was created by a link
 * @name: its name, for example "pb0"
 * @err: may be NULL
 *
 * Processes that have it open get IBV_EVENT_DEVICE_FATAL, and errors from then on.
 *
 * Return: 0; -ENODEV if there is none of that name; -EINVAL if it cannot be removed, such as a
 * hardware device; -EPERM without CAP_NET_ADMIN; otherwise as pb_rdma_link_add().
 */
PB_API int pb_rdma_link_delete(const char *name, struct pb_error *err);

#ifdef __cplusplus
}
#endif

#endif
