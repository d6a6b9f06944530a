# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""libpeerbar for Python: P2P DMA to the memory of PCI devices.

    with peerbar.Iommu() as iommu, iommu.open('0000:01:00.0') as gpu:
        buffer = gpu.export(2, [(0, 2 << 20)])
        print(buffer.query().model)

Every function that fails raises peerbar.Error, an OSError with one sentence. The module calls the installed library by ctypes and needs
no compiler; the environment variable PEERBAR_LIBRARY names another library.
"""
from ._buffer import Buffer, exporter_model, list_importers
from ._device import CONFIG, Device, Iommu
from ._guest import NOWHERE, Guest, GuestDevice, Trap
from ._ioas import Ioas, Mapping
from ._library import Error, version
from ._memory import Memory
from ._pci import add_rdma_link, bind, capabilities, delete_rdma_link, find, functions, holders, module_abi, unbind
from ._records import (
    Answer, BufferInfo, BufferState, Capability, CapabilityIndex, Event, EventType, Extent, GuestRange, GuestState, Holder, HolderKind,
    Importer, ImporterKind, IovaRange, Listed, Memattr, Model, ModelBasis, PciBar, PciFunction, Place, Range, Reason, Region, State,
)
from ._watch import Watch, list_buffers

__all__ = [
    'CONFIG', 'NOWHERE',
    'Answer', 'Buffer', 'BufferInfo', 'BufferState', 'Capability', 'CapabilityIndex', 'Device', 'Error', 'Event', 'EventType', 'Extent',
    'Guest', 'GuestDevice', 'GuestRange', 'GuestState', 'Holder', 'HolderKind', 'Importer', 'ImporterKind', 'Ioas', 'Iommu', 'IovaRange',
    'Listed', 'Mapping', 'Memattr', 'Memory', 'Model', 'ModelBasis', 'PciBar', 'PciFunction', 'Place', 'Range', 'Reason', 'Region', 'State',
    'Trap', 'Watch',
    'add_rdma_link', 'bind', 'capabilities', 'delete_rdma_link', 'exporter_model', 'find', 'functions', 'holders', 'list_buffers',
    'list_importers', 'module_abi', 'unbind', 'version',
]
