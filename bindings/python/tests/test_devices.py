# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Functions, devices, address spaces and guests, on stock vfio-pci."""
import ctypes
import errno
import gc
import mmap
import os
import unittest

import peerbar
from lab import BAR, EDU, GPU, MIB, LabTest, bdf
from peerbar import _declarations


class Layout(unittest.TestCase):
    def test_structures_are_those_of_c(self):
        found = []
        for structure in _declarations.STRUCTURES:
            found.append(f'{structure.__name__} {ctypes.sizeof(structure)}')
            found += [f'{structure.__name__}.{name} {getattr(structure, name).offset}' for name, _ in structure._fields_]
        with open(os.environ['PEERBAR_LAYOUT']) as file:
            self.assertEqual(found, file.read().splitlines())

    def test_library_has_every_function(self):
        for name in _declarations.FUNCTIONS:
            self.assertTrue(callable(peerbar._library.function(name)), name)

    def test_names_are_those_of_the_library(self):
        for kind, name in ((peerbar.Model, 'model'), (peerbar.Answer, 'answer'), (peerbar.Place, 'place'), (peerbar.Memattr, 'memattr'),
                           (peerbar.BufferState, 'buffer_state'), (peerbar.GuestState, 'guest_state')):
            found = peerbar._library.function(f'pb_{name}_name')
            self.assertEqual([found(member).decode() for member in kind], [member.name for member in kind])

    def test_numbers_without_a_name(self):
        self.assertEqual(int(peerbar.Memattr(0x1000001)), 0x1000001)
        self.assertEqual(peerbar.Model(1), peerbar.Model.PINNED)


class Devices(LabTest):
    DRIVER = 'vfio-pci'

    def test_functions(self):
        found = peerbar.find(bdf(GPU))
        self.assertEqual(found.driver, 'vfio-pci')
        self.assertEqual(found.bars[BAR].size, 256 * MIB)
        self.assertIn(found, peerbar.functions())
        holders = peerbar.holders(bdf(GPU))
        self.assertIn((os.getpid(), peerbar.HolderKind.DEVICE), [(h.pid, h.kind) for h in holders])
        with self.failure(errno.EINVAL, 'nonsense'):
            peerbar.find('nonsense')
        with self.failure(errno.ENOENT, 'no-such-driver'):
            peerbar.bind(bdf(EDU), 'no-such-driver')

    def test_capabilities(self):
        found = peerbar.capabilities()
        self.assertTrue(found[peerbar.CapabilityIndex.CAP_IOMMUFD].there)
        self.assertEqual(found[peerbar.CapabilityIndex.CAP_IOMMUFD].missing, '')

    def test_regions(self):
        self.assertEqual(self.gpu.region(BAR).size, 256 * MIB)
        self.assertEqual(self.gpu.read(peerbar.CONFIG, 0, 4), bytes.fromhex('f41a1011'))
        self.gpu.write(BAR, 4096, b'by the kernel')
        self.assertEqual(self.gpu.read(BAR, 4096, 13), b'by the kernel')
        with self.gpu.mmap(BAR, 4096, 4096) as memory:
            self.assertEqual(memory[0:13], b'by the kernel')
        self.assertTrue(self.gpu.decoding)
        self.gpu.decoding = False
        with self.failure(errno.EIO):
            self.gpu.read(BAR, 4096, 13)
        self.gpu.decoding = True
        self.gpu.reset()

    def test_buffer(self):
        with self.gpu.export(BAR, [(0, MIB), peerbar.Range(4 * MIB, MIB)]) as buffer:
            info = buffer.query()
            self.assertEqual((info.size, info.bar, info.nr_ranges, info.bdf), (2 * MIB, BAR, 2, bdf(GPU)))
            self.assertEqual(info.model, peerbar.Model.REVOCABLE)
            self.assertEqual((info.can_revoke, info.place, info.place_bdf), (peerbar.Answer.YES, peerbar.Place.BAR, bdf(GPU)))
            self.assertEqual(buffer.probe(), info)
            self.assertEqual(buffer.ranges(), [peerbar.Range(0, MIB), peerbar.Range(4 * MIB, MIB)])
            with peerbar.Buffer(buffer.fileno()) as other, buffer.share() as shared:
                self.assertEqual(other.id, buffer.id)
                self.assertEqual(len(shared), 2 * MIB)
            with self.failure(errno.EOPNOTSUPP, 'peerbar-vfio-pci'):
                buffer.mmap()
        with self.assertRaises(ValueError):
            buffer.query()
        with self.failure(errno.EINVAL, 'page'):
            self.gpu.export(BAR, [(1, MIB)])
        self.assertEqual(peerbar.exporter_model('udmabuf'), peerbar.Model.PINNED)

    def test_mapping(self):
        buffer = self.gpu.export(BAR, [(0, MIB)])
        with self.iommu.create_ioas() as ioas:
            ioas.attach(self.gpu)
            self.assertTrue(ioas.aperture())
            page = ioas.alignment()
            self.assertEqual(page, mmap.PAGESIZE)
            with self.failure(errno.EINVAL, 'multiple'):
                ioas.map(buffer, iova=0x10000000 + page // 2)
            memory = mmap.mmap(-1, 8192)
            ram = ioas.map_memory(memory, iova=0x100000)
            self.assertEqual((ram.iova, len(ram)), (0x100000, 8192))
            with self.assertRaises(BufferError):
                memory.close()
            ram.close()
            memory.close()
            mapping = ioas.map(buffer, iova=0x10000000)
            self.assertEqual((mapping.iova, len(mapping), mapping.state), (0x10000000, MIB, peerbar.State.LIVE))
            with self.failure(errno.EEXIST):
                ioas.map(buffer, iova=0x10000000)
            self.assertEqual(ioas.revoked(), [])
            self.gpu.decoding = False
            self.assertEqual(mapping.state, peerbar.State.REVOKED)
            self.assertEqual(ioas.revoked(), [mapping])
            with self.failure(errno.ENODEV):
                mapping.restore()
            self.gpu.decoding = True
            mapping.restore()
            self.assertEqual(mapping.state, peerbar.State.LIVE)
        # The address space ended it.
        self.assertTrue(mapping.closed)
        with self.assertRaises(ValueError):
            mapping.restore()

    def test_descriptors(self):
        """Nothing that is collected, or fails, leaves a descriptor."""
        def use():
            buffer = self.gpu.export(BAR, [(0, MIB)])
            buffer.query()
            ioas = self.iommu.create_ioas()
            ioas.map(buffer)
            peerbar.Guest().add_ioas(ioas)
            for bad in (lambda: self.gpu.export(BAR, [(0, 1 << 40)]), lambda: peerbar.Buffer(0), lambda: self.iommu.open('0000:00:00.0')):
                self.assertRaises(peerbar.Error, bad)

        use()
        gc.collect()
        before = len(os.listdir('/proc/self/fd'))
        use()
        gc.collect()
        self.assertEqual(len(os.listdir('/proc/self/fd')), before)


class Guests(LabTest):
    DRIVER = 'vfio-pci'

    def setUp(self):
        super().setUp()
        self.ioas = self.enterContext(self.iommu.create_ioas())
        self.ioas.attach(self.gpu)
        self.guest = self.enterContext(peerbar.Guest())
        self.guest.add_ioas(self.ioas)
        self.device = self.guest.add_device(self.gpu, [peerbar.Trap(BAR, 0, 1)])

    def bar(self):
        return [(r.state, r.address, r.length) for r in self.guest.ranges() if r.bar == BAR]

    def test_bar_follows_the_guest(self):
        state = peerbar.GuestState
        self.assertEqual(self.bar()[0][0], state.UNPLACED)
        self.device.set_bar(BAR, 0x1080000000)
        self.assertEqual(self.bar()[0][0], state.OFF)
        self.device.set_decoding(True)
        self.assertEqual(self.bar(), [(state.TRAPPED, 0x1080000000, 4096), (state.MAPPED, 0x1080001000, 256 * MIB - 4096)])
        self.device.set_bar(BAR)
        self.assertEqual(self.bar()[0][0], state.UNPLACED)
        self.assertEqual(list(self.guest.reports()), [])
        self.assertEqual(self.guest.check(), 0)

    def test_reserved_range(self):
        """A BAR over the addresses of interrupts: all other pages are mapped, the sentence names the range, and moving away heals."""
        self.device.set_bar(BAR, 0xf0000000)
        self.device.set_decoding(True)
        self.assertEqual(self.guest.refused, 1)
        report, = self.guest.reports()
        self.assertEqual((report.state, report.address, report.length), (peerbar.GuestState.REFUSED, 0xfee00000, MIB))
        self.assertIn('fee00000', report.why.text)
        self.assertIs(self.guest.device_of(report), self.device)
        self.assertEqual(sum(r.length for r in self.guest.ranges() if r.state == peerbar.GuestState.MAPPED and r.bar == BAR), 255 * MIB - 4096)
        self.device.set_bar(BAR, 0x1080000000)
        self.assertEqual(self.guest.refused, 0)

    def test_removed(self):
        self.device.close()
        self.assertEqual([r for r in self.guest.ranges()], [])
        with self.assertRaises(ValueError):
            self.device.set_decoding(True)
        second = self.guest.add_device(self.gpu)
        self.guest.close()
        self.assertTrue(second.closed)


if __name__ == '__main__':
    unittest.main()
