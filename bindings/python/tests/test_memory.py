# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""mmap, revocation, the list and the events of buffers, on peerbar-vfio-pci."""
import ctypes
import errno
import fcntl
import os
import signal
import struct
import subprocess
import threading
import time
import unittest

import peerbar
from lab import BAR, GPU, MIB, LabTest, bdf, host_bytes


class MemoryTest(LabTest):
    def setUp(self):
        super().setUp()
        self.buffer = self.enterContext(self.gpu.export(BAR, [(MIB, MIB), (8 * MIB, 2 * MIB)]))
        self.memory = self.enterContext(self.buffer.mmap())

    def test_bytes_arrive(self):
        data = os.urandom(3 * MIB)
        self.memory.write(0, data)
        self.assertEqual(host_bytes(MIB, MIB) + host_bytes(8 * MIB, 2 * MIB), data)
        self.assertEqual(self.memory.read(), data)
        self.memory[5] = 7
        self.memory[-1] = 8
        self.memory[10:13] = b'abc'
        self.assertEqual((self.memory[5], self.memory[-1], self.memory[10:13]), (7, 8, b'abc'))
        self.assertEqual(host_bytes(MIB + 5, 1) + host_bytes(MIB + 10, 3), b'\x07abc')
        for bad in (3 * MIB, -3 * MIB - 1):
            with self.assertRaises(IndexError):
                self.memory[bad] = 1
        with self.assertRaises(ValueError):
            self.memory[0:4] = b'abc'
        with self.assertRaises(IndexError):
            self.memory.write(3 * MIB - 1, b'ab')
        with self.buffer.mmap(MIB, 4096, writable=False) as part:
            self.assertEqual(part[:16], data[MIB:MIB + 16])
            with self.assertRaises(TypeError):
                part[0] = 1

    def test_view(self):
        with self.memory.view() as view:
            view.cast('I')[1] = 0x01020304
            with self.assertRaises(BufferError):
                self.memory.close()
        self.assertEqual(host_bytes(MIB + 4, 4), b'\x04\x03\x02\x01')
        # A view keeps the mapping.
        view = self.buffer.mmap(0, 4096).view()
        view[0] = 1
        self.assertEqual(view[0], 1)
        view.release()
        with self.buffer.mmap(0, 4096, writable=False) as part, part.view() as view:
            with self.assertRaises(TypeError):
                view[0] = 1

    def test_revoked(self):
        self.memory[0:4] = b'abcd'
        self.gpu.decoding = False
        for access in (lambda: self.memory[0:4], lambda: self.memory.write(0, b'no'), lambda: self.memory.view(), self.memory.read):
            with self.failure(errno.EFAULT, 'revoked'):
                access()
        self.assertEqual(self.buffer.query().state, peerbar.BufferState.REVOKED)
        self.gpu.decoding = True
        self.assertEqual(self.memory[0:4], b'abcd')
        self.gpu.revoke(self.buffer)
        with self.failure(errno.EFAULT, 'revoked'):
            self.memory[0]
        with self.failure(errno.ENODEV):
            self.buffer.mmap()
        self.assertEqual(self.buffer.query().state, peerbar.BufferState.DEAD)

    def test_revoked_while_it_is_read(self):
        """A revocation in the middle of a copy is an exception, too."""
        over = threading.Event()

        def toggle():
            while not over.is_set():
                self.gpu.decoding = False
                time.sleep(0.002)
                self.gpu.decoding = True
                time.sleep(0.02)

        thread = threading.Thread(target=toggle)
        thread.start()
        read = refused = 0
        end = time.monotonic() + 4
        try:
            while time.monotonic() < end:
                try:
                    self.memory.read(0, 256 << 10)
                    self.memory.write(0, bytes(64 << 10))
                    read += 1
                except peerbar.Error as error:
                    self.assertEqual(error.errno, errno.EFAULT)
                    refused += 1
        finally:
            over.set()
            thread.join()
        self.assertTrue(read and refused, f'{read} were copied, {refused} were refused')

    def test_view_is_not_protected(self):
        """What cannot be had: an access through a view while the memory is revoked is SIGBUS."""
        view = self.memory.view()
        self.gpu.decoding = False
        child = os.fork()
        if child == 0:
            try:
                view[0]
            finally:
                os._exit(0)
        self.assertEqual(os.WTERMSIG(os.waitpid(child, 0)[1]), signal.SIGBUS)
        view.release()

    def test_attributes(self):
        self.assertEqual(self.gpu.memattr(self.buffer), peerbar.Memattr.NC)
        self.assertEqual(self.gpu.set_memattr(self.buffer, peerbar.Memattr.WB, peerbar.Memattr.WC), peerbar.Memattr.WC)
        self.assertEqual(self.buffer.query().memattr, peerbar.Memattr.WC)
        cookie = self.gpu.cookie(BAR, MIB, 4096, peerbar.Memattr.WC)
        with self.gpu.mmap_at(cookie, 4096) as memory:
            memory[0:2] = b'wc'
        self.assertEqual(self.memory[0:2], b'wc')

    def test_list(self):
        listed, = [b for b in peerbar.list_buffers() if b.id == self.buffer.query().list_id]
        self.assertEqual((listed.device, listed.size, listed.nr_ranges, listed.nr_mmaps), (bdf(GPU), 3 * MIB, 2, 1))
        self.assertEqual([e.length for e in listed.extents], [MIB, 2 * MIB])
        with self.iommu.create_ioas() as ioas, self.gpu.export(BAR, [(0, MIB)]) as buffer:
            ioas.attach(self.gpu)
            mapping = ioas.map(buffer)
            importer, = buffer.importers()
            self.assertEqual((importer.kind, importer.bytes), (peerbar.ImporterKind.DEVICE, MIB))
            self.assertIn(importer.list_id, [i.list_id for i in peerbar.list_importers()])
            mapping.close()


class ProbeTest(unittest.TestCase):
    """Memory of the test exporter, whose model only an attachment can determine, and which that moves."""

    # of kernel/test/peerbar_test.h
    EXPORT_VRAM = 0x4030b60a
    NO_PIN, ATTACH_MIGRATES = 1, 8

    def export(self):
        segment = ctypes.create_string_buffer(struct.pack('=QQQ', 0, 8 * MIB, MIB))
        request = struct.pack('=32sIIQ', bdf(GPU).encode(), self.NO_PIN | self.ATTACH_MIGRATES, 1, ctypes.addressof(segment))
        with open('/dev/peerbar-test-exporter', 'rb+', buffering=0) as exporter:
            return fcntl.ioctl(exporter, self.EXPORT_VRAM, bytearray(request))

    def test_probe(self):
        subprocess.run(['modprobe', 'peerbar-test-exporter'], check=True)
        peerbar.bind(bdf(GPU), 'peerbar-test-vram', force=True)
        self.addCleanup(peerbar.bind, bdf(GPU), 'peerbar-vfio-pci')
        fd = self.export()
        with peerbar.Buffer(fd) as buffer:
            os.close(fd)
            info = buffer.query()
            self.assertEqual((info.model, info.basis), (peerbar.Model.UNKNOWN, peerbar.ModelBasis.BASIS_NONE))
            self.assertEqual((info.state, info.can_pin), (peerbar.BufferState.UNKNOWN, peerbar.Answer.NO))
            info = buffer.probe()
            self.assertEqual((info.model, info.basis), (peerbar.Model.PINNED, peerbar.ModelBasis.BASIS_DERIVED))
            self.assertEqual(info.state, peerbar.BufferState.LIVE)


class WatchTest(LabTest):
    def test_iterator(self):
        with peerbar.Watch() as watch:
            self.assertIsNone(watch.next(0))
            began = time.monotonic()
            self.assertIsNone(watch.next(0.2))
            self.assertGreaterEqual(time.monotonic() - began, 0.2)
            buffer = self.gpu.export(BAR, [(0, MIB)])
            number = buffer.query().list_id
            self.gpu.decoding = False
            self.gpu.decoding = True
            # The kernel checks in a worker whether it is restored, a query at once: so RESTORED comes before close().
            self.assertEqual(buffer.query().state, peerbar.BufferState.LIVE)
            buffer.close()
            types = []
            for event in watch:
                if event.buffer.id == number:
                    types.append(event.type.name)
                    self.assertEqual(event.buffer.size, MIB)
                if types[-1:] == ['RELEASED']:
                    break
        self.assertEqual(types, ['CREATED', 'REVOKED', 'RESTORED', 'RELEASED'])


if __name__ == '__main__':
    unittest.main()
