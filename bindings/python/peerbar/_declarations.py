# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# Written by bindings/generate from lib/peerbar/*.h. Do not edit.
"""The structures, prototypes and constants of libpeerbar, for ctypes."""
from __future__ import annotations

import ctypes
from typing import Any

PB_BARS = 0x6
PB_BDF_LEN = 0x18
PB_GUEST_NOWHERE = 0xffffffffffffffff
PB_NAME_LEN = 0x40
PB_REGION_CONFIG = 0x7
PB_REGION_ROM = 0x6
PB_VERSION = 0x100
PB_VERSION_MAJOR = 0x0
PB_VERSION_MICRO = 0x0
PB_VERSION_MINOR = 0x1


class pb_range(ctypes.Structure):
    offset: int
    length: int
    _fields_ = [
        ('offset', ctypes.c_uint64),
        ('length', ctypes.c_uint64),
    ]


class pb_buffer_info(ctypes.Structure):
    size: int
    id: int
    model: int
    basis: int
    exporter: Any
    name: Any
    bdf: Any
    bar: int
    nr_ranges: int
    state: int
    asked: bool
    mappable: bool
    managed: bool
    importers: int
    memattr: int
    list_id: int
    faults: Any
    counted: bool
    revocations: int
    state_basis: int
    can_pin: int
    can_pin_basis: int
    can_revoke: int
    can_revoke_basis: int
    place: int
    place_basis: int
    place_bdf: Any
    place_bar: int
    place_offset: int
    migrates: bool
    driver: Any
    _fields_ = [
        ('size', ctypes.c_uint64),
        ('id', ctypes.c_uint64),
        ('model', ctypes.c_uint),
        ('basis', ctypes.c_uint),
        ('exporter', ctypes.c_char * 64),
        ('name', ctypes.c_char * 64),
        ('bdf', ctypes.c_char * 24),
        ('bar', ctypes.c_int),
        ('nr_ranges', ctypes.c_uint),
        ('state', ctypes.c_uint),
        ('asked', ctypes.c_bool),
        ('mappable', ctypes.c_bool),
        ('managed', ctypes.c_bool),
        ('importers', ctypes.c_uint),
        ('memattr', ctypes.c_uint),
        ('list_id', ctypes.c_uint64),
        ('faults', ctypes.c_uint64 * 3),
        ('counted', ctypes.c_bool),
        ('revocations', ctypes.c_uint64),
        ('state_basis', ctypes.c_uint),
        ('can_pin', ctypes.c_uint),
        ('can_pin_basis', ctypes.c_uint),
        ('can_revoke', ctypes.c_uint),
        ('can_revoke_basis', ctypes.c_uint),
        ('place', ctypes.c_uint),
        ('place_basis', ctypes.c_uint),
        ('place_bdf', ctypes.c_char * 64),
        ('place_bar', ctypes.c_uint),
        ('place_offset', ctypes.c_uint64),
        ('migrates', ctypes.c_bool),
        ('driver', ctypes.c_char * 64),
    ]


class pb_capability(ctypes.Structure):
    name: Any
    purpose: Any
    there: bool
    missing: Any
    _fields_ = [
        ('name', ctypes.c_char_p),
        ('purpose', ctypes.c_char_p),
        ('there', ctypes.c_bool),
        ('missing', ctypes.c_char * 200),
    ]


class pb_region(ctypes.Structure):
    index: int
    size: int
    readable: bool
    writable: bool
    mappable: bool
    _fields_ = [
        ('index', ctypes.c_uint32),
        ('size', ctypes.c_uint64),
        ('readable', ctypes.c_bool),
        ('writable', ctypes.c_bool),
        ('mappable', ctypes.c_bool),
    ]


class pb_error(ctypes.Structure):
    code: int
    text: Any
    _fields_ = [
        ('code', ctypes.c_int),
        ('text', ctypes.c_char * 380),
    ]


class pb_guest_window(ctypes.Structure):
    iova: int
    address: int
    length: int
    flags: int
    _fields_ = [
        ('iova', ctypes.c_uint64),
        ('address', ctypes.c_uint64),
        ('length', ctypes.c_uint64),
        ('flags', ctypes.c_uint),
    ]


class pb_guest_trap(ctypes.Structure):
    bar: int
    offset: int
    length: int
    _fields_ = [
        ('bar', ctypes.c_uint),
        ('offset', ctypes.c_uint64),
        ('length', ctypes.c_uint64),
    ]


class pb_guest_range(ctypes.Structure):
    device: Any
    data: Any
    bdf: Any
    bar: int
    offset: int
    length: int
    address: int
    ioas: Any
    iova: int
    state: int
    why: pb_error
    _fields_ = [
        ('device', ctypes.c_void_p),
        ('data', ctypes.c_void_p),
        ('bdf', ctypes.c_char * 24),
        ('bar', ctypes.c_uint),
        ('offset', ctypes.c_uint64),
        ('length', ctypes.c_uint64),
        ('address', ctypes.c_uint64),
        ('ioas', ctypes.c_void_p),
        ('iova', ctypes.c_uint64),
        ('state', ctypes.c_uint),
        ('why', pb_error),
    ]


class pb_importer(ctypes.Structure):
    list_id: int
    buffer: Any
    state: int
    kind: int
    device: Any
    driver: Any
    timeline: Any
    id: int
    context: int
    bytes: int
    nr_maps: int
    addresses: bool
    revocable: bool
    pinned: bool
    waited_for: bool
    attached_ns: int
    mapped_ns: int
    waited_ns: int
    _fields_ = [
        ('list_id', ctypes.c_uint64),
        ('buffer', ctypes.c_char * 64),
        ('state', ctypes.c_uint),
        ('kind', ctypes.c_uint),
        ('device', ctypes.c_char * 64),
        ('driver', ctypes.c_char * 64),
        ('timeline', ctypes.c_char * 64),
        ('id', ctypes.c_uint64),
        ('context', ctypes.c_uint64),
        ('bytes', ctypes.c_uint64),
        ('nr_maps', ctypes.c_uint),
        ('addresses', ctypes.c_bool),
        ('revocable', ctypes.c_bool),
        ('pinned', ctypes.c_bool),
        ('waited_for', ctypes.c_bool),
        ('attached_ns', ctypes.c_uint64),
        ('mapped_ns', ctypes.c_uint64),
        ('waited_ns', ctypes.c_uint64),
    ]


class pb_iova_range(ctypes.Structure):
    first: int
    last: int
    _fields_ = [
        ('first', ctypes.c_uint64),
        ('last', ctypes.c_uint64),
    ]


class pb_pci_bar(ctypes.Structure):
    size: int
    memory: bool
    prefetchable: bool
    _fields_ = [
        ('size', ctypes.c_uint64),
        ('memory', ctypes.c_bool),
        ('prefetchable', ctypes.c_bool),
    ]


class pb_pci_function(ctypes.Structure):
    bdf: Any
    vendor: int
    device: int
    pci_class: int
    driver: Any
    cdev: Any
    iommu_group: int
    bars: Any
    _fields_ = [
        ('bdf', ctypes.c_char * 24),
        ('vendor', ctypes.c_uint16),
        ('device', ctypes.c_uint16),
        ('pci_class', ctypes.c_uint32),
        ('driver', ctypes.c_char * 64),
        ('cdev', ctypes.c_char * 64),
        ('iommu_group', ctypes.c_int),
        ('bars', pb_pci_bar * 6),
    ]


class pb_holder(ctypes.Structure):
    pid: int
    fd: int
    kind: int
    command: Any
    _fields_ = [
        ('pid', ctypes.c_int),
        ('fd', ctypes.c_int),
        ('kind', ctypes.c_uint),
        ('command', ctypes.c_char * 64),
    ]


class pb_extent(ctypes.Structure):
    start: int
    length: int
    _fields_ = [
        ('start', ctypes.c_uint64),
        ('length', ctypes.c_uint64),
    ]


class pb_listed(ctypes.Structure):
    id: int
    exporter: Any
    device: Any
    name: Any
    size: int
    model: int
    state: int
    memattr: int
    nr_ranges: int
    nr_importers: int
    nr_mmaps: int
    creator: int
    nr_extents: int
    extents: Any
    nr_importer_names: int
    importer_names: Any
    can_pin: int
    can_revoke: int
    place: int
    bar: int
    bar_offset: int
    _fields_ = [
        ('id', ctypes.c_uint64),
        ('exporter', ctypes.c_char * 64),
        ('device', ctypes.c_char * 64),
        ('name', ctypes.c_char * 64),
        ('size', ctypes.c_uint64),
        ('model', ctypes.c_uint),
        ('state', ctypes.c_uint),
        ('memattr', ctypes.c_uint),
        ('nr_ranges', ctypes.c_uint),
        ('nr_importers', ctypes.c_uint),
        ('nr_mmaps', ctypes.c_uint),
        ('creator', ctypes.c_uint32),
        ('nr_extents', ctypes.c_uint),
        ('extents', ctypes.POINTER(pb_extent)),
        ('nr_importer_names', ctypes.c_uint),
        ('importer_names', ctypes.POINTER(ctypes.c_char * 64)),
        ('can_pin', ctypes.c_uint),
        ('can_revoke', ctypes.c_uint),
        ('place', ctypes.c_uint),
        ('bar', ctypes.c_uint),
        ('bar_offset', ctypes.c_uint64),
    ]


class pb_event(ctypes.Structure):
    type: int
    buffer: pb_listed
    _fields_ = [
        ('type', ctypes.c_uint),
        ('buffer', pb_listed),
    ]


STRUCTURES: list[type[ctypes.Structure]] = [
    pb_range,
    pb_buffer_info,
    pb_capability,
    pb_region,
    pb_error,
    pb_guest_window,
    pb_guest_trap,
    pb_guest_range,
    pb_importer,
    pb_iova_range,
    pb_pci_bar,
    pb_pci_function,
    pb_holder,
    pb_extent,
    pb_listed,
    pb_event,
]

# The result and the parameters of each function.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    'pb_version': (ctypes.c_char_p, []),
    'pb_model_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_model_basis_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_exporter_model': (ctypes.c_uint, [ctypes.c_char_p]),
    'pb_answer_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_place_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_buffer_state_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_memattr_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_buffer_export': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(pb_range), ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_buffer_from_fd': (ctypes.c_int, [ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_buffer_fd': (ctypes.c_int, [ctypes.c_void_p]),
    'pb_buffer_query_sized': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_buffer_info), ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_buffer_probe_sized': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_buffer_info), ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_buffer_ranges': (ctypes.c_uint, [ctypes.c_void_p, ctypes.POINTER(pb_range), ctypes.c_uint]),
    'pb_buffer_id': (ctypes.c_uint64, [ctypes.c_void_p]),
    'pb_buffer_size': (ctypes.c_uint64, [ctypes.c_void_p]),
    'pb_buffer_share': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_buffer_close': (None, [ctypes.c_void_p]),
    'pb_buffer_mmap': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_bool, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_buffer_set_memattr': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint), ctypes.c_uint, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_buffer_memattr': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_buffer_revoke': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_device_mmap_cookie': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint, ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(pb_error)]),
    'pb_device_mmap_at': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_bool, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_capabilities_sized': (ctypes.c_int, [ctypes.POINTER(ctypes.POINTER(pb_capability)), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_module_abi': (ctypes.c_uint, []),
    'pb_iommu_open': (ctypes.c_int, [ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_iommu_from_fd': (ctypes.c_int, [ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_iommu_fd': (ctypes.c_int, [ctypes.c_void_p]),
    'pb_iommu_close': (None, [ctypes.c_void_p]),
    'pb_device_open': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_device_from_fd': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_device_bdf': (ctypes.c_char_p, [ctypes.c_void_p]),
    'pb_device_fd': (ctypes.c_int, [ctypes.c_void_p]),
    'pb_device_close': (None, [ctypes.c_void_p]),
    'pb_device_regions': (ctypes.c_uint, [ctypes.c_void_p]),
    'pb_device_region_sized': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(pb_region), ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_device_read': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_device_write': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_device_mmap': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_bool, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_device_set_decoding': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_bool, ctypes.POINTER(pb_error)]),
    'pb_device_decoding': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_bool), ctypes.POINTER(pb_error)]),
    'pb_device_set_bus_master': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_bool, ctypes.POINTER(pb_error)]),
    'pb_device_reset': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_guest_create': (ctypes.c_int, [ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_guest_destroy': (None, [ctypes.c_void_p]),
    'pb_guest_add_ioas': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(pb_error)]),
    'pb_guest_remove_ioas': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_guest_add_window': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(pb_guest_window), ctypes.POINTER(pb_error)]),
    'pb_guest_remove_window': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.POINTER(pb_error)]),
    'pb_guest_add_device': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(pb_guest_trap), ctypes.c_uint, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_guest_remove_device': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_guest_set_bar': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.POINTER(pb_error)]),
    'pb_guest_set_decoding': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_bool, ctypes.POINTER(pb_error)]),
    'pb_guest_set_power': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_bool, ctypes.POINTER(pb_error)]),
    'pb_guest_reset_begin': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_guest_reset_done': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_guest_sync': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(pb_error)]),
    'pb_guest_nr_refused': (ctypes.c_uint, [ctypes.c_void_p]),
    'pb_guest_check': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_guest_fd': (ctypes.c_int, [ctypes.c_void_p]),
    'pb_guest_state_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_guest_list_sized': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.POINTER(pb_guest_range)), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_guest_next_report_sized': (ctypes.c_bool, [ctypes.c_void_p, ctypes.POINTER(pb_guest_range), ctypes.c_size_t]),
    'pb_fd_importers_sized': (ctypes.c_int, [ctypes.c_int, ctypes.POINTER(ctypes.POINTER(pb_importer)), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_list_importers_sized': (ctypes.c_int, [ctypes.POINTER(ctypes.POINTER(pb_importer)), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_ioas_create': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_ioas_from_id': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_ioas_id': (ctypes.c_uint32, [ctypes.c_void_p]),
    'pb_ioas_destroy': (None, [ctypes.c_void_p]),
    'pb_ioas_attach': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_ioas_detach': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_ioas_aperture': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_iova_range), ctypes.c_uint, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(pb_error)]),
    'pb_map_memory': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_map_buffer': (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_mapping_iova': (ctypes.c_uint64, [ctypes.c_void_p]),
    'pb_mapping_length': (ctypes.c_uint64, [ctypes.c_void_p]),
    'pb_mapping_state': (ctypes.c_uint, [ctypes.c_void_p]),
    'pb_mapping_restore': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_unmap': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_error)]),
    'pb_mapping_set_data': (None, [ctypes.c_void_p, ctypes.c_void_p]),
    'pb_mapping_data': (ctypes.c_void_p, [ctypes.c_void_p]),
    'pb_ioas_event_fd': (ctypes.c_int, [ctypes.c_void_p]),
    'pb_ioas_next_revoked': (ctypes.c_void_p, [ctypes.c_void_p]),
    'pb_ioas_check': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_pci_get_sized': (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(pb_pci_function), ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_pci_list_sized': (ctypes.c_int, [ctypes.POINTER(ctypes.POINTER(pb_pci_function)), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_pci_bind': (ctypes.c_int, [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(pb_error)]),
    'pb_pci_bind_flags': (ctypes.c_int, [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.POINTER(pb_error)]),
    'pb_pci_unbind': (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(pb_error)]),
    'pb_pci_holders': (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(pb_holder)), ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_rdma_link_add': (ctypes.c_int, [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(pb_error)]),
    'pb_rdma_link_delete': (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(pb_error)]),
    'pb_list_buffers_sized': (ctypes.c_int, [ctypes.POINTER(ctypes.POINTER(pb_listed)), ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(pb_error)]),
    'pb_event_name': (ctypes.c_char_p, [ctypes.c_uint]),
    'pb_watch_open': (ctypes.c_int, [ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(pb_error)]),
    'pb_watch_fd': (ctypes.c_int, [ctypes.c_void_p]),
    'pb_watch_next_sized': (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(pb_event), ctypes.c_size_t, ctypes.POINTER(pb_error)]),
    'pb_watch_close': (None, [ctypes.c_void_p]),
}
