# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""PCI functions, what the system can do, and the RDMA devices of peerbar-rdma."""
from __future__ import annotations

import ctypes

from . import _declarations as c
from ._library import call, function, records
from ._records import BindFlags, Capability, Holder, PciFunction


def functions() -> list[PciFunction]:
    """All PCI functions, sorted by address."""
    return records('pb_pci_list_sized', c.pb_pci_function, PciFunction)


def find(bdf: str) -> PciFunction:
    """One PCI function, by its address: '0000:01:00.0' or, in domain 0, '01:00.0'."""
    raw = c.pb_pci_function()
    call('pb_pci_get_sized', bdf.encode(), ctypes.byref(raw), ctypes.sizeof(raw))
    return PciFunction._of(raw)


def bind(bdf: str, driver: str = 'vfio-pci', *, force: bool = False) -> None:
    """Bind a function to a driver. A VFIO driver takes any device; @force makes another driver take one that it does not support."""
    call('pb_pci_bind_flags', bdf.encode(), driver.encode(), int(BindFlags.FORCE) if force else 0)


def unbind(bdf: str) -> None:
    """Unbind a function, and let the kernel bind the default driver."""
    call('pb_pci_unbind', bdf.encode())


def holders(bdf: str) -> list[Holder]:
    """The processes that hold the function's VFIO device, its group, or a dma-buf of it."""
    array, count = ctypes.POINTER(c.pb_holder)(), ctypes.c_uint()
    call('pb_pci_holders', bdf.encode(), ctypes.byref(array), ctypes.byref(count))
    try:
        return [Holder._of(array[i]) for i in range(count.value)]
    finally:
        from ._library import _libc
        _libc.free(ctypes.cast(array, ctypes.c_void_p))


def capabilities() -> list[Capability]:
    """What this process can do on this system, and what is missing for the rest."""
    return records('pb_capabilities_sized', c.pb_capability, Capability)


def module_abi() -> int:
    """The ABI version of the kernel module peerbar; 0 if the module does not answer."""
    return int(function('pb_module_abi')())


def add_rdma_link(name: str, netdev: str) -> None:
    """Create an RDMA device of the driver peerbar-rdma on an Ethernet device."""
    call('pb_rdma_link_add', name.encode(), netdev.encode())


def delete_rdma_link(name: str) -> None:
    """Remove an RDMA device that add_rdma_link() created."""
    call('pb_rdma_link_delete', name.encode())
